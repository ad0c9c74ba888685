"""Rollout states: a model's state some steps after the last picture that it saw.

Axes: E scenes, T steps, Z flattened latent, M memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.values import Batch
from armillary.models import JEPA
from armillary.worlds.stage import Scene, paint

_BATCH = 32


@dataclass(frozen=True)
class Moment:
    """The last picture that a model sees, and the step of its state; between them it rolls on.

    Attributes:
        looks: the last step whose picture it sees, by scene.
        asked: the step of the state, by scene.
    """

    looks: Sequence[int]
    asked: Sequence[int]


@dataclass(frozen=True)
class States:
    """A model's state in many scenes.

    Attributes:
        latent: encoded or predicted.
        memory: after it.
    """

    latent: Float[np.ndarray, "E Z"]
    memory: Float[np.ndarray, "E M"]

    @property
    def both(self) -> Float[np.ndarray, "E ZM"]:
        """Latent and memory side by side."""
        return np.concatenate([self.latent, self.memory], axis=1)


def states_at(model: JEPA, scenes: Sequence[Scene], moments: Sequence[Moment]) -> list[States]:
    """Return the states of each scene at each moment.

    Args:
        model: of pictures; its actions are those of a camera at rest.
        scenes: at least one, of equal length.
        moments: when.
    """
    looks, asked = (
        torch.tensor([getattr(moment, name) for moment in moments]) for name in ("looks", "asked")
    )
    parts = [
        _states_at(
            model, scenes[at : at + _BATCH], looks[:, at : at + _BATCH], asked[:, at : at + _BATCH]
        )
        for at in range(0, len(scenes), _BATCH)
    ]
    latents, memories = (torch.cat(part, 1).numpy() for part in zip(*parts, strict=True))
    return [States(*pair) for pair in zip(latents, memories, strict=True)]


@torch.no_grad()
def _states_at(
    model: JEPA, scenes: Sequence[Scene], looks: Tensor, asked: Tensor
) -> tuple[Tensor, Tensor]:
    """Return latents and memories [moments E _] of scenes that fit into one batch."""
    last = int(looks.max())
    clips = torch.from_numpy(np.stack([paint(scene)[: last + 1] for scene in scenes]))
    seen = model.encode(Batch({"rgb": clips}, None, torch.ones(clips.shape[:2]).bool())).tokens
    seen = seen.flatten(2).repeat(len(looks), 1, 1)
    looks, asked = looks.flatten(), asked.flatten()
    still = model.normalizer.actions(torch.zeros(len(seen), model.config.action_width))
    state, memory = seen[:, 0], model.predictor.start(seen[:, 0])
    latents, memories = torch.zeros_like(state), torch.zeros_like(memory)
    for step in range(int(asked.max()) + 1):
        state = torch.where((step <= looks)[:, None], seen[:, min(step, last)], state)
        predicted, memory = model.predictor(state, still, memory)
        now = torch.eq(asked, step)[:, None]
        latents, memories = torch.where(now, state, latents), torch.where(now, memory, memories)
        state = predicted
    return latents.unflatten(0, (-1, len(scenes))), memories.unflatten(0, (-1, len(scenes)))
