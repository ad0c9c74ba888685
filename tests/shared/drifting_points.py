"""A toy whose law is known: a point that is driven, a thing that is moved now and then or rests.

The state is the proprioception, so a model that reads it and adds the actions up is an oracle.

Axes: T steps, A = 4: what is added to the point's and to the thing's place.
"""

from __future__ import annotations

import numpy as np
import torch

from armillary.core.rng import generator
from armillary.core.values import Batch, Episode, Latent, Stream
from armillary.data import Cache

STEPS = 20
SIDE = 32
_THING = 6


def episode(number: int, steps: int = STEPS, actions: bool = True) -> Episode:
    """The thing moves in stretches of ten steps, or rests for as long."""
    rng = generator("drifting points", number)
    acts = rng.uniform(-0.1, 0.1, (steps - 1, 4))
    pushed = rng.random(steps // 10 + 1) < 0.5
    acts[:, 2:] = np.where(pushed[np.arange(steps - 1) // 10, None], acts[:, 2:] + 0.05, 0)
    start = rng.uniform(-0.3, 0.3, (1, 4))
    state = np.concatenate([start, start + np.cumsum(acts, 0)]).astype(np.float32)
    rgb = np.full((steps, SIDE, SIDE, 3), 90, np.uint8)
    places = (SIDE / 2 + SIDE / 3 * state).round().astype(int).clip(0, SIDE - _THING)
    for picture, place in zip(rgb, places, strict=True):
        for channel, (row, column) in zip((0, 2), place.reshape(2, 2), strict=True):
            picture[row : row + _THING, column : column + _THING, channel] = 220
    return Episode(
        streams={
            "rgb": Stream("rgb", rgb),
            "proprio": Stream("proprio", state),
            "point_xy": Stream("truth", state[:, :2], "m", "world"),
            "thing_xy": Stream("truth", state[:, 2:], "m", "world"),
        },
        time_ns=np.arange(steps, dtype=np.int64) * 10**8,
        actions=acts.astype(np.float32) if actions else None,
    )


def toy(count: int = 40, steps: int = STEPS, actions: bool = True) -> Cache:
    episodes = [episode(number, steps, actions) for number in range(count)]
    return Cache.from_episodes(episodes, SIDE)


class Seeing:
    """Its latent is the state; what it expects is for its children to say."""

    def encode(self, batch: Batch) -> Latent:
        return Latent(batch.streams["proprio"].float()[:, :, None], None)


class Oracle(Seeing):
    def rollout(self, latent: Latent, plans: torch.Tensor) -> torch.Tensor:
        if latent.actions is not None:  # what was done led from each step to the next
            added = latent.actions.unflatten(-1, (-1, 4)).sum(2)
            assert torch.allclose(latent.tokens[:, :-1, 0] + added, latent.tokens[:, 1:, 0])
        steps = plans.unflatten(-1, (-1, 4)).sum(3)
        return (latent.tokens[:, None, -1:, 0] + steps.cumsum(2))[:, :, :, None]


class Copier(Seeing):
    def rollout(self, latent: Latent, plans: torch.Tensor) -> torch.Tensor:
        return latent.tokens[:, None, -1:].expand(-1, *plans.shape[1:3], -1, -1)


class Constant(Copier):
    def encode(self, batch: Batch) -> Latent:
        return Latent(torch.ones(*batch.valid.shape, 1, 4), None)
