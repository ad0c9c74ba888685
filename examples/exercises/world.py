"""Exercise 1, a world: a puck that slides on ice and bounces off the walls. An action pushes it.

Its line in ``WORLDS`` (``worlds/registry.py``):

    "puck": Puck,
"""

from __future__ import annotations

from typing import Any

import numpy as np

from armillary.core.rng import generator
from armillary.core.values import ActionBounds, Goal, Observation, WorldSpec
from armillary.worlds.actions import validate_action

STEP_S = 0.1
PUSH_MPS = 0.3  # most that an action adds to the velocity
KEPT = 0.8  # share of the velocity that is left after a step


class Puck:
    """A bright puck of 5 pixels, seen from above, in a square of one metre."""

    def __init__(self, image_size: int = 64, sensors: tuple[str, ...] = ("rgb",)) -> None:
        self._size = image_size
        self.spec = WorldSpec(
            name="puck",
            bounds=ActionBounds(np.full(2, -PUSH_MPS), np.full(2, PUSH_MPS)),
            step_s=STEP_S,
            tasks=("reach",),
            budget=40,
            success_distance=0.08,
            distance_unit="m",
            sensors={"rgb": "rgb"},
            units={"puck_xy": ("m", "world")},
        )

    def reset(self, seed: int) -> Observation:
        """Put the puck somewhere, at rest."""
        self._xy = generator("puck.start", seed).uniform(0.1, 0.9, 2)
        self._mps = np.zeros(2)
        return self._observe(self._xy)

    def step(self, action: np.ndarray) -> Observation:
        """Push, then slide for a step."""
        self._mps = KEPT * self._mps + validate_action(self.spec, action)
        xy = self._xy + STEP_S * self._mps
        self._mps = np.where((xy < 0) | (xy > 1), -self._mps, self._mps)
        self._xy = 1 - np.abs(1 - np.abs(xy))  # mirrored at both walls
        return self._observe(self._xy)

    def truth(self) -> dict[str, np.ndarray]:
        """Return what judges may know. ``probe`` reads names that end in ``_xy``."""
        return {"puck_xy": self._xy.astype(np.float32)}

    def draw_goal(self, task: str, rng: np.random.Generator) -> Goal:
        """Draw a place 30 to 60 cm away along both axes, around the edges."""
        place = (self._xy + rng.uniform(0.3, 0.6, 2)) % 1
        return Goal(task, self._observe(place), {"puck_xy": place.astype(np.float32)})

    def distance(self, goal: Goal) -> float:
        """Return the metres to the goal."""
        return float(np.linalg.norm(self._xy - goal.truth["puck_xy"]))

    def expert(self, goal: Goal | None, rng: np.random.Generator) -> np.ndarray:
        """Brake where the puck would slide too far, else push; without a goal, push anywhere."""
        if goal is None:
            return rng.uniform(-PUSH_MPS, PUSH_MPS, 2)
        wanted_mps = 2.0 * (goal.truth["puck_xy"] - self._xy)
        return np.clip(wanted_mps - KEPT * self._mps, -PUSH_MPS, PUSH_MPS)

    def close(self) -> None:
        """Nothing is open."""

    def _observe(self, xy: np.ndarray) -> Observation:
        picture = np.full((self._size, self._size, 3), 30, np.uint8)
        column, row = (xy * (self._size - 1)).round().astype(int)
        picture[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3] = (230, 120, 40)
        return Observation(self._streams(picture))

    def _streams(self, picture: np.ndarray) -> dict[str, Any]:
        return {"rgb": picture}
