"""Variants: who predicts, and from which input.

    W         sees pictures and predicts latents; a ridge reads states of them
    T-probe   reads what the same ridge reads of the pictures
    T-true    reads the simulator's states: privileged
    T-noise   reads these states with the ridge's errors of other episodes added: privileged

Axes: E episodes, T steps, N tokens, D width, W windows, H steps of history, L steps ahead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from armillary.core.rng import generator
from armillary.words.experience import Experience

SOURCE_OF = {"T-true": "truth", "T-probe": "probe", "T-noise": "noise"}
PRIVILEGED = ("truth", "noise")


@dataclass(frozen=True)
class Sources:
    """Episodes by the source of their states.

    Attributes:
        truth: the simulator's states.
        probe: what the ridge reads of the pictures.
        noise: the simulator's states with errors of the ridge in other episodes.
        latents: of the world model.
    """

    truth: Experience
    probe: Experience
    noise: Experience
    latents: Float[Tensor, "E T N D"]

    def source(self, name: str) -> Experience:
        """Return the episodes of a source: truth, probe or noise."""
        return {"truth": self.truth, "probe": self.probe, "noise": self.noise}[name]


def sources_of(
    truth: Experience,
    read: Float[np.ndarray, "E T 4"],
    latents: Float[Tensor, "E T N D"],
    errors: Float[np.ndarray, "F T 4"],
    purpose: str,
    seed: int,
) -> Sources:
    """Return episodes by the source of their states.

    Args:
        truth: recorded.
        read: states that the ridge reads of the pictures.
        latents: of the same episodes.
        errors: of the ridge, whole episodes; each episode gets those of one that is drawn.
        purpose: of the draw.
        seed: of the draw.
    """
    drawn = generator(f"words.noise.{purpose}", seed).integers(len(errors), size=len(read))
    noisy = truth.states + errors[drawn]
    return Sources(truth, truth.with_states(read), truth.with_states(noisy), latents)


@dataclass(frozen=True)
class Moments:
    """One moment of each of some episodes, from which the steps that follow are predicted.

    Attributes:
        episode: [W].
        now: the present step [W].
        ahead: steps to come, L.
        history: steps that are seen, H.
    """

    episode: Int[np.ndarray, " W"]
    now: Int[np.ndarray, " W"]
    ahead: int
    history: int

    def of(self, rows: np.ndarray) -> Moments:
        """Return some moments."""
        return Moments(self.episode[rows], self.now[rows], self.ahead, self.history)

    @property
    def past(self) -> Int[np.ndarray, "W H"]:
        """Steps that are seen."""
        return self.now[:, None] + np.arange(1 - self.history, 1)

    def states(self, experience: Experience) -> Float[np.ndarray, "W H 4"]:
        """Return the states of the steps that are seen."""
        return experience.states[self.episode[:, None], self.past]

    def taken(self, experience: Experience) -> Float[np.ndarray, "W H-1 2"]:
        """Return the actions between the steps that are seen."""
        return experience.actions[self.episode[:, None], self.past[:, :-1]]

    def plans(self, experience: Experience) -> Float[np.ndarray, "W L 2"]:
        """Return the actions from the present on."""
        steps = self.now[:, None] + np.arange(self.ahead)
        return experience.actions[self.episode[:, None], steps]

    def later(self, experience: Experience) -> Float[np.ndarray, "W L 4"]:
        """Return the states of the steps to come."""
        steps = self.now[:, None] + np.arange(1, self.ahead + 1)
        return experience.states[self.episode[:, None], steps]
