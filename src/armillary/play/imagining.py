"""Imagining: a state that goes on by itself, and one that looks at every step.

The imagined state saw one picture, or the last few, and then actions alone. It is the model's own
rollout, one step at a time. The looking state predicts each next step from what was seen up to it;
its errors are the surprise.

Axes: Z flattened latent, M memory of the predictor, A action of a model step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.values import Latent
from armillary.models import JEPA
from armillary.understanding import Calibration
from armillary.understanding.surprise import HISTORY


@dataclass(frozen=True)
class Imagined:
    """Where the model believes it is.

    Attributes:
        state: latent.
        memory: of the predictor.
    """

    state: Float[Tensor, "1 Z"]
    memory: Float[Tensor, "1 M"]

    @torch.no_grad()
    def after(self, model: JEPA, action: Float[np.ndarray, " A"]) -> Imagined:
        """Return the state one model step later."""
        return Imagined(*model.step(self.state, self.memory, _row(action)))


@dataclass(frozen=True)
class Looking:
    """The last steps as they were seen.

    Attributes:
        states: latents, oldest first, at most ``HISTORY``.
        actions: between them.
    """

    states: tuple[Float[Tensor, "1 Z"], ...]
    actions: tuple[Float[np.ndarray, " A"], ...] = ()

    @property
    def now(self) -> Float[Tensor, "1 Z"]:
        """The last latent that was seen."""
        return self.states[-1]

    def after(self, action: Float[np.ndarray, " A"], state: Float[Tensor, "1 Z"]) -> Looking:
        """Return what is known after an action, and a look at what followed."""
        actions = (*self.actions, action)[-(HISTORY - 1) :]
        return Looking((*self.states, state)[-HISTORY:], actions)

    @torch.no_grad()
    def begin(self, model: JEPA) -> Imagined:
        """Return an imagined state that begins here."""
        states = torch.cat(self.states)[None]
        tokens = states.unflatten(-1, (model.config.encoder.tokens, -1))
        actions = (
            torch.cat([_row(action) for action in self.actions])[None] if self.actions else None
        )
        return Imagined(*model.start(Latent(tokens, actions), 1))


@dataclass(frozen=True)
class Apart:
    """How far latents are apart; 1 is the usual error of one step in this scene.

    Attributes:
        gap: imagined from seen.
        surprise: predicted from the step before, from seen, for as much change as was predicted.
    """

    gap: float
    surprise: float


def apart(
    calibration: Calibration,
    before: Float[Tensor, "1 Z"],
    predicted: Float[Tensor, "1 Z"],
    imagined: Float[Tensor, "1 Z"],
    seen: Float[Tensor, "1 Z"],
) -> Apart:
    """Return how far what was seen is from what was imagined, and from what was predicted.

    Args:
        calibration: of this scene.
        before: what was seen one step before.
        predicted: from there.
        imagined: without looking.
        seen: now.
    """
    gap = calibration.model.score((seen - imagined).numpy())
    error = calibration.model.score((seen - predicted).numpy())
    expected = calibration.expected.at((predicted - before).numpy())
    return Apart(float(gap[0]), float(error[0] / expected[0]))


def _row(action: Float[np.ndarray, " A"]) -> Float[Tensor, "1 A"]:
    return torch.from_numpy(np.asarray(action, np.float32))[None]
