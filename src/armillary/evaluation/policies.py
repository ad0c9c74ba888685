"""Policies that see observations only: a random one, one that does nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from armillary.core.rng import generator
from armillary.core.values import ActionBounds, Observation


@dataclass(frozen=True)
class RandomState:
    """Which step of which episode comes next."""

    seed: int
    step: int


@dataclass(frozen=True)
class RandomPolicy:
    """Draws every action uniformly from the box: the floor that a policy must beat."""

    bounds: ActionBounds

    @property
    def observes(self) -> tuple[str, ...]:
        """It sees nothing."""
        return ()

    def looks(self, state: RandomState) -> bool:
        """Return that it never looks."""
        return False

    def init(self, goal: Observation, seed: int) -> RandomState:
        """Return the state at the start of an episode."""
        return RandomState(seed, 0)

    def act(
        self, observation: Observation, state: RandomState
    ) -> tuple[Float[np.ndarray, " A"], RandomState]:
        """Return a random action."""
        rng = generator("policy.random", state.seed, state.step)
        return rng.uniform(self.bounds.low, self.bounds.high), RandomState(
            state.seed, state.step + 1
        )


@dataclass(frozen=True)
class NoOpPolicy:
    """Always sends the action nearest to zero: what a task gives away for nothing."""

    bounds: ActionBounds

    @property
    def observes(self) -> tuple[str, ...]:
        """It sees nothing."""
        return ()

    def looks(self, state: None) -> bool:
        """Return that it never looks."""
        return False

    def init(self, goal: Observation, seed: int) -> None:
        """Return no state."""

    def act(self, observation: Observation, state: None) -> tuple[Float[np.ndarray, " A"], None]:
        """Return the action nearest to zero."""
        return np.clip(np.zeros(self.bounds.width), self.bounds.low, self.bounds.high), None
