"""The layouts of two rooms: where the wall stands, where its door is, and what blocks the way.

Convention: x right, y up, metres, origin in the lower left corner of the 0.64 m square.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from armillary.core.rng import generator

Split = Literal["train", "held_out"]
Box = tuple[float, float, float, float]  # x low, x high, y low, y high

ARENA_M = 0.64
BORDER_M = 0.05
WALL_HALF_M = 0.015
DOOR_HALF_M = 0.045
AGENT_RADIUS_M = 0.02
HELD_OUT_SHARE = 0.2
_WALL_X_CM = range(20, 45)
_DOOR_Y_CM = range(11, 54)
# Keeps the agent off a wall it was stopped by, so that it is never found inside.
_SKIN = 1e-6


@dataclass(frozen=True)
class Layout:
    """One layout: the wall's middle ``wall_x_m`` and its door's middle ``door_y_m``."""

    wall_x_m: float
    door_y_m: float

    def solid_boxes(self, grow_m: float = 0.0) -> tuple[Box, Box]:
        """Return the wall below and above the door, grown on all sides."""
        left, right = self.wall_x_m - WALL_HALF_M - grow_m, self.wall_x_m + WALL_HALF_M + grow_m
        low, high = self.door_y_m - DOOR_HALF_M + grow_m, self.door_y_m + DOOR_HALF_M - grow_m
        return (left, right, -1.0, low), (left, right, high, 2.0)

    def is_right(self, x_m: float) -> bool:
        """Say whether a place is in the right room."""
        return x_m > self.wall_x_m

    def in_doorway(self, x_m: float) -> bool:
        """Say whether a place is between the rooms, within the wall's thickness."""
        return abs(x_m - self.wall_x_m) <= WALL_HALF_M + AGENT_RADIUS_M

    def move(self, x: float, y: float, dx: float, dy: float) -> tuple[float, float]:
        """Return where the agent ends: at the end of the step, or at the wall that stops it."""
        low, high = BORDER_M + AGENT_RADIUS_M, ARENA_M - BORDER_M - AGENT_RADIUS_M
        share = min(_until(x, dx, low, high), _until(y, dy, low, high))
        for box in self.solid_boxes(AGENT_RADIUS_M):
            share = min(share, _entry(x, y, dx, dy, box))
        share = share if share >= 1.0 else max(share - _SKIN, 0.0)
        return x + share * dx, y + share * dy


@cache
def layouts(split: Split) -> tuple[Layout, ...]:
    """Return all layouts of a split; the two splits share none."""
    every = [Layout(x / 100, y / 100) for x in _WALL_X_CM for y in _DOOR_Y_CM]
    order = generator("two_rooms.split").permutation(len(every))
    cut = round(HELD_OUT_SHARE * len(every))
    chosen = order[:cut] if split == "held_out" else order[cut:]
    return tuple(every[i] for i in sorted(chosen))


def draw_free(rng: np.random.Generator, layout: Layout, right: bool | None) -> tuple[float, float]:
    """Draw a place clear of the wall, in the right or left room, or in any (None)."""
    low, high = BORDER_M + AGENT_RADIUS_M, ARENA_M - BORDER_M - AGENT_RADIUS_M
    while True:
        x, y = rng.uniform(low, high, 2).tolist()
        if not layout.in_doorway(x) and right in (None, layout.is_right(x)):
            return x, y


def _until(at: float, by: float, low: float, high: float) -> float:
    """Return the share of a step along one axis that stays between two limits."""
    if by > 0:
        return max((high - at) / by, 0.0)
    return max((low - at) / by, 0.0) if by < 0 else 1.0


def _entry(x: float, y: float, dx: float, dy: float, box: Box) -> float:
    """Return the share of a step at which it enters a box, 1 if it does not.

    Source: Kay & Kajiya 1986, the slab method.
    """
    enter, leave = 0.0, 1.0
    for at, by, low, high in ((x, dx, box[0], box[1]), (y, dy, box[2], box[3])):
        if by == 0.0:
            if not low < at < high:
                return 1.0
            continue
        first, last = (low - at) / by, (high - at) / by
        enter, leave = max(enter, min(first, last)), min(leave, max(first, last))
    return enter if enter < leave else 1.0
