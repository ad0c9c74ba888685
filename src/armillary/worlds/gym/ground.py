"""Ground: what a Gymnasium environment must tell for its goals to be drawn and judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Ground(Protocol):
    """What one environment means: its state, its collection policy, and when a goal is reached.

    ``env`` is the Gymnasium environment, ``truth`` the state by name; chance and the policy's
    state are arguments.

    Attributes:
        settings: the environment's keyword arguments that its own data collection uses.
        collection: the collection policy in words, for records.
        success_distance: reached when ``gap`` is at most this.
        distance_unit: unit of ``gap``.
        units: unit and frame of the truth by name.
        step_s: seconds that an action lasts; None for what the environment's metadata say.
        any_is_reachable: whether ``towards`` reaches the goals of the task ``any``; else nobody
            knows whether they can be reached.
        most_steps: that an episode may have, lead-in included; None for no end.
    """

    settings: Mapping[str, Any]
    collection: str
    success_distance: float
    distance_unit: str
    units: Mapping[str, tuple[str, str]]
    step_s: float | None
    any_is_reachable: bool
    most_steps: int | None

    def begin(self, env: Any, rng: np.random.Generator) -> dict[str, Any]:
        """Return the options of ``env.reset``: what the environment does not draw from its seed."""
        ...

    def truth(self, env: Any) -> dict[str, np.ndarray]:
        """Return the simulator's state by name."""
        ...

    def explore(self, env: Any, rng: np.random.Generator, state: Any) -> tuple[np.ndarray, Any]:
        """Return an action [A] of the collection policy and the policy's next state."""
        ...

    def quicken(self, env: Any) -> None:
        """Make pictures cheaper before the first is taken, where that hardly changes them."""
        ...

    def gap(self, now: Mapping[str, np.ndarray], goal: Mapping[str, np.ndarray]) -> float:
        """Return the distance between two states, by the environment's own rule of success."""
        ...

    def towards(
        self, env: Any, goal: Mapping[str, np.ndarray], rng: np.random.Generator
    ) -> np.ndarray:
        """Return the best known action [A] to a goal that no recording leads to; it also stays."""
        ...
