"""Latents for judges: encode a batch in pieces, and predict one step ahead from every step.

Nothing here learns. A model is anything that keeps the ``WorldModel`` protocol; its latent of a
step is taken to depend on no later step.

Axes: B clips, T steps, N tokens, D latent width, A action width.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.errors import ShapeError
from armillary.core.protocols import WorldModel
from armillary.core.values import Batch, Latent

FRAMES_AT_ONCE = 1024  # bounds memory: about 50 MB of float32 pixels at 64x64


def rows(batch: Batch, start: int, stop: int) -> Batch:
    """Return clips ``start`` to ``stop`` of a batch (views, not copies)."""
    return Batch(
        {name: values[start:stop] for name, values in batch.streams.items()},
        None if batch.actions is None else batch.actions[start:stop],
        batch.valid[start:stop],
    )


def stack(batches: list[Batch]) -> Batch:
    """Return the clips of several batches, all of one length, as one batch."""
    first = batches[0]
    lengths = {batch.valid.shape[1] for batch in batches}
    if len(lengths) > 1:
        raise ShapeError(f"Clips of one length were expected, got lengths {sorted(lengths)}.")
    streams = {name: torch.cat([b.streams[name] for b in batches]) for name in first.streams}
    actions = [b.actions for b in batches if b.actions is not None]
    return Batch(
        streams, torch.cat(actions) if actions else None, torch.cat([b.valid for b in batches])
    )


@torch.no_grad()
def encode(
    model: WorldModel, batch: Batch, frames_at_once: int = FRAMES_AT_ONCE
) -> Float[Tensor, "B T N D"]:
    """Return the tokens of every step in float32, encoded a bounded number of frames at a time."""
    clips, steps = batch.valid.shape
    size = max(1, frames_at_once // max(1, steps))
    pieces = [
        model.encode(rows(batch, start, start + size)).tokens.float()
        for start in range(0, clips, size)
    ]
    return torch.cat(pieces)


@torch.no_grad()
def predict_next(
    model: WorldModel,
    tokens: Float[Tensor, "B T N D"],
    actions: Float[Tensor, "B T-1 A"] | None,
    history: int,
) -> Float[Tensor, "B T-1 N D"]:
    """Return what the model expects at steps 1 to T-1, each from the steps before it.

    The context grows from one step to ``history`` steps and then slides; all steps with a context
    of the same length go through the model together.

    Args:
        model: the model.
        tokens: latents of the clips.
        actions: ``actions[:, t]`` leads from step t to step t+1; None for plain video.
        history: most steps that the model sees, at least 1.
    """
    return torch.cat(list(_expectations(model, tokens, actions, history)), dim=1)


def _expectations(
    model: WorldModel, tokens: Tensor, actions: Tensor | None, history: int
) -> Iterator[Tensor]:
    clips, steps = tokens.shape[:2]
    if actions is None:
        actions = tokens.new_zeros((clips, steps - 1, 0))
    grown = min(history, steps - 1)
    for length in range(1, grown):
        yield _one_step(model, tokens[:, None, :length], actions[:, None, :length])
    contexts = tokens[:, :-1].unfold(1, grown, 1).movedim(-1, 2)
    yield _one_step(model, contexts, actions.unfold(1, grown, 1).movedim(-1, 2))


def _one_step(
    model: WorldModel,
    contexts: Float[Tensor, "B W K N D"],
    actions: Float[Tensor, "B W K A"],
) -> Float[Tensor, "B W N D"]:
    """Roll out one step from B x W contexts of K steps; the last action leads to the prediction."""
    clips, windows = contexts.shape[:2]
    tokens, taken = contexts.flatten(0, 1), actions.flatten(0, 1)
    size = max(1, 4 * FRAMES_AT_ONCE // tokens.shape[1])
    pieces = []
    for start in range(0, len(tokens), size):
        context, plan = tokens[start : start + size], taken[start : start + size]
        past = plan[:, :-1] if plan.shape[-1] else None
        latent = Latent(context, past if context.shape[1] > 1 else None)
        pieces.append(model.rollout(latent, plan[:, None, -1:])[:, 0, 0].float())
    return torch.cat(pieces).unflatten(0, (clips, windows))
