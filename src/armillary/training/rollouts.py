"""Rollouts: what a predictor predicts from every step of a clip, several steps ahead at once.

Axes: B clips, T steps, R = T - K starts, K steps ahead, Z flattened latent, A action.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from armillary.models import JEPA


def predict_from_each(
    model: JEPA,
    latents: Float[Tensor, "B T Z"],
    actions: Float[Tensor, "B moves A"],
    steps_ahead: int,
    forgotten: Bool[Tensor, " B"] | None = None,
    starts: Int[Tensor, " R"] | None = None,
) -> Float[Tensor, "B R K Z"]:
    """Return the latents predicted K steps ahead from every start at once.

    Starts keep the memory of the steps before them.

    Args:
        model: that predicts.
        latents: of the clips.
        actions: between their steps, normalised.
        steps_ahead: K, less than T.
        forgotten: clips whose starts have an empty memory, as a planner's present has.
        starts: steps to start from, 0 to T - K - 1; None for all of these.
    """
    if starts is None:
        starts = torch.arange(latents.shape[1] - steps_ahead, device=latents.device)
    memories = _memories(model, latents, actions, int(starts.max()) + 1)[:, starts]
    if forgotten is not None:
        memories = memories * (~forgotten).to(memories.dtype)[:, None, None]
    ahead = torch.stack([actions[:, starts + k] for k in range(steps_ahead)], 2)
    predicted = model.foresee(
        latents[:, starts].flatten(0, 1), memories.flatten(0, 1), ahead.flatten(0, 1)
    )
    return predicted.unflatten(0, (len(latents), len(starts)))


def targets_after_each(
    latents: Float[Tensor, "B T Z"], steps_ahead: int, starts: Int[Tensor, " R"] | None = None
) -> Float[Tensor, "B R K Z"]:
    """Return the targets: the latents of the K steps after every start.

    Args:
        latents: of the clips.
        steps_ahead: K, less than T.
        starts: as for ``predict_from_each``.
    """
    targets = latents.unfold(1, steps_ahead, 1)[:, 1:].transpose(2, 3)
    return targets if starts is None else targets[:, starts]


def some_starts(order: Int[Tensor, " S"], share: float) -> Int[Tensor, " R"]:
    """Return a share of the steps that can be started from, at least one, in the order of time.

    Args:
        order: a random permutation of 0 to T - K - 1.
        share: above 0, at most 1.
    """
    return order[: max(1, round(share * len(order)))].sort().values


def _memories(model: JEPA, latents: Tensor, actions: Tensor, steps: int) -> Tensor:
    """Return the memory before each of the first steps, from what was seen: [B steps M]."""
    memory = model.predictor.start(latents[:, 0])
    memories = [memory]
    for step in range(steps - 1):
        memory = model.predictor.remember(latents[:, step], actions[:, step], memory)
        memories.append(memory)
    return torch.stack(memories, 1)
