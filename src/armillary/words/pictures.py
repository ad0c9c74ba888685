"""Pictures: the world model's side. It sees pictures, predicts latents, and a ridge reads them.

The read-out (the probe) is fitted on the latents of training episodes and their recorded states.
It serves both sides: it reads predicted latents for the world model, and it reads the present for
the language model that gets its words from pictures.

Axes: E episodes, T steps, N tokens, D width, W windows, S plans, L steps ahead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from armillary.core.progress import Progress, silent
from armillary.core.rng import generator
from armillary.core.values import Batch, Latent, Observation
from armillary.data import Cache, Windows, batch_from_observations
from armillary.models import JEPA
from armillary.understanding.latents import encode
from armillary.understanding.ridge import PENALTIES, Ridge, fit_ridge
from armillary.words.experience import Experience

_EPISODES_AT_ONCE = 32
_FIT_EPISODES = 600  # 14,400 steps for 257 numbers of a read-out
_ROWS_AT_ONCE = 4096  # rollouts


@dataclass(frozen=True)
class Reader:
    """A world model and what reads states of its latents.

    Attributes:
        model: it.
        ridge: from flattened tokens to pusher x y, object x y, metres.
        action_scale: what an action of the language is times this, for the world model.
    """

    model: JEPA
    ridge: Ridge
    action_scale: float = 1.0

    def read(self, tokens: Float[Tensor, "*axes N D"]) -> Float[np.ndarray, "*axes 4"]:
        """Return the states that latents tell, metres."""
        flat = tokens.flatten(-2).numpy()
        rows = self.ridge.predict(flat.reshape(-1, flat.shape[-1]))
        return rows.reshape(*flat.shape[:-1], -1)

    @torch.no_grad()
    def ahead(
        self,
        before: Float[Tensor, "B T N D"],
        taken: Float[np.ndarray, "B T-1 2"],
        plans: Float[np.ndarray, "B S L 2"],
    ) -> Float[np.ndarray, "B S L 4"]:
        """Return the states that are read of predicted latents.

        Args:
            before: latents of the present and of the steps before it.
            taken: actions between them.
            plans: what is done from now on, m/s.
        """
        at_once = max(1, _ROWS_AT_ONCE // plans.shape[1])
        found = []
        for at in range(0, len(before), at_once):
            some = slice(at, at + at_once)
            acts = self._actions(taken[some]) if before.shape[1] > 1 else None
            latent = Latent(before[some], acts)
            predicted = self.model.rollout(latent, self._actions(plans[some]))
            found.append(self.read(predicted.float()))
        return np.concatenate(found)

    def _actions(self, actions: Float[np.ndarray, "*axes 2"]) -> Float[Tensor, "*axes 2"]:
        return torch.from_numpy(actions * self.action_scale).float()


def see_episodes(
    model: JEPA, cache: Cache, episodes: Int[np.ndarray, " E"], progress: Progress = silent
) -> Float[Tensor, "E T N D"]:
    """Return the latents of whole episodes of equal length."""
    length = int(cache.lengths[0])
    windows = Windows(cache, episodes, length, 1)
    found = []
    for at in range(0, len(episodes), _EPISODES_AT_ONCE):
        batch = windows.gather(np.arange(at, min(at + _EPISODES_AT_ONCE, len(episodes))))
        found.append(encode(model, Batch(batch.streams, None, batch.valid)))
        progress(at + len(found[-1]), len(episodes))
    return torch.cat(found)


def fit_reader(
    model: JEPA,
    latents: Float[Tensor, "E T N D"],
    truth: Experience,
    seed: int,
    action_scale: float = 1.0,
    penalties: tuple[float, ...] = PENALTIES,
) -> Reader:
    """Return a reader that is fitted on recorded states.

    A fifth of the episodes chooses the penalty.

    Args:
        model: that made the latents.
        latents: of training episodes.
        truth: their recorded states.
        seed: chooses episodes, where there are more than are needed.
        action_scale: what an action of the language is times this, for the world model.
        penalties: of the ridge, to choose from.
    """
    some = np.sort(generator("words.reader", seed).permutation(len(latents))[:_FIT_EPISODES])
    flat = latents[torch.from_numpy(some)].flatten(2).numpy()
    last_fifth = np.arange(len(some)) >= len(some) - max(1, len(some) // 5)
    held = np.repeat(last_fifth, flat.shape[1])
    ridge = fit_ridge(
        flat.reshape(-1, flat.shape[-1]), truth.states[some].reshape(-1, 4), held, penalties
    )
    return Reader(model, ridge, action_scale)


def see_now(model: JEPA, observations: Sequence[Observation]) -> Float[Tensor, "B N D"]:
    """Return the latents of single observations, each as it looks alone."""
    batch = batch_from_observations(list(observations), size=model.config.encoder.image_size)
    return encode(model, batch)[0]
