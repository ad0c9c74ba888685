"""Foresight: what a predictor foresees from every step of a clip, several steps ahead at once.

Axes: B clips, T steps, R = T - K starts, K steps ahead, Z flattened latent, A action.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from armillary.models import JEPA


def foreseen_from_each(
    model: JEPA,
    latents: Float[Tensor, "B T Z"],
    actions: Float[Tensor, "B moves A"],
    steps_ahead: int,
    forgotten: Bool[Tensor, " B"] | None = None,
) -> Float[Tensor, "B R K Z"]:
    """Return K steps of foresight from every start at once.

    Starts keep the memory of what came before them.

    Args:
        model: that foresees.
        latents: of the clips.
        actions: between their steps, normalised.
        steps_ahead: K, less than T.
        forgotten: clips whose starts have an empty memory, as a planner's present has.
    """
    starts = latents.shape[1] - steps_ahead
    memories = _memories(model, latents, actions, starts)
    if forgotten is not None:
        kept = (~forgotten).to(memories.dtype).repeat_interleave(starts)
        memories = memories * kept[:, None]
    state = latents[:, :starts].flatten(0, 1)
    ahead = [actions[:, k : k + starts].flatten(0, 1) for k in range(steps_ahead)]
    foreseen = model.foresee(state, memories, torch.stack(ahead, 1))
    return foreseen.unflatten(0, (len(latents), starts))


def came_after_each(latents: Float[Tensor, "B T Z"], steps_ahead: int) -> Float[Tensor, "B R K Z"]:
    """Return what came in the K steps after every start."""
    return latents.unfold(1, steps_ahead, 1)[:, 1:].transpose(2, 3)


def _memories(model: JEPA, latents: Tensor, actions: Tensor, starts: int) -> Tensor:
    """Return the memory before each start, from what was seen: [B*R M]."""
    memory = model.predictor.start(latents[:, 0])
    memories = [memory]
    for step in range(starts - 1):
        memory = model.predictor.remember(latents[:, step], actions[:, step], memory)
        memories.append(memory)
    return torch.stack(memories, 1).flatten(0, 1)
