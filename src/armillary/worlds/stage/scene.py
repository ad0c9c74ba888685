"""Scene: what is on a stage, and where, at every step. Everything in it is possible.

The stage is a square of 64 x 64 units, x to the right and y down. Boxes stand at the back, things
move in front of them, screens hide what is behind.

Axes: T steps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float

Shape = Literal["disc", "square", "diamond"]
Colour = tuple[float, float, float]  # 0 to 255

STAGE = 64.0


# from the centre to the farthest point above it, per radius; all shapes have equal area
REACH: dict[Shape, float] = {"disc": 1.0, "square": 0.8862, "diamond": 1.2533}


@dataclass(frozen=True)
class Thing:
    """Something that can move.

    Attributes:
        shape: of equal area for equal radius.
        radius: of the disc of its area, units.
        colour: of all of it.
        path: its centre at every step, units.
    """

    shape: Shape
    radius: float
    colour: Colour
    path: Float[np.ndarray, "T 2"]


@dataclass(frozen=True)
class Box:
    """A rectangle that does not move, or a screen that moves up and down.

    Attributes:
        left, top, right, bottom: its edges, units.
        colour: of all of it.
        lowered: by how much it is lowered at every step, units; None for never.
    """

    left: float
    top: float
    right: float
    bottom: float
    colour: Colour
    lowered: Float[np.ndarray, " T"] | None = None

    def hides(self, thing: Thing, step: int) -> bool:
        """Tell whether all of a thing is behind it."""
        x, y = thing.path[step]
        down = 0.0 if self.lowered is None else float(self.lowered[step])
        # a diamond's corners reach farthest, and the paint of an edge covers a unit
        reach = 1.3 * thing.radius + 1
        inside_x = self.left + reach <= x <= self.right - reach
        return bool(inside_x and self.top + down + reach <= y <= self.bottom + down - reach)


@dataclass(frozen=True)
class Scene:
    """A whole episode.

    Attributes:
        steps: T.
        background: colour of the wall at the back.
        things: what moves, in front of the boxes.
        boxes: what stands.
        screens: what hides, in front of everything.
        pan: units by which the camera moves per step, x and y, from step ``pan_from`` on.
        pan_from: first step at which it moves.
        light: brightness of the picture at every step; None for 1.
    """

    steps: int
    background: Colour
    things: tuple[Thing, ...] = ()
    boxes: tuple[Box, ...] = ()
    screens: tuple[Box, ...] = ()
    pan: tuple[float, float] = (0.0, 0.0)
    pan_from: int = 0
    light: Float[np.ndarray, " T"] | None = None

    def pans(self) -> Float[np.ndarray, "moves 2"]:
        """Return the camera's move from every step to the next."""
        moving = np.arange(self.steps - 1) >= self.pan_from
        return moving[:, None] * np.array(self.pan)

    def hidden(self, thing: Thing, step: int) -> bool:
        """Tell whether a screen hides all of a thing."""
        return any(screen.hides(thing, step) for screen in self.screens)

    def mirrored(self) -> Scene:
        """Return the scene with left and right exchanged."""
        flip = np.array([-1.0, 1.0])
        return replace(
            self,
            things=tuple(
                replace(thing, path=np.array([STAGE, 0.0]) + flip * thing.path)
                for thing in self.things
            ),
            boxes=tuple(_mirrored(box) for box in self.boxes),
            screens=tuple(_mirrored(box) for box in self.screens),
            pan=(-self.pan[0], self.pan[1]),
        )


def _mirrored(box: Box) -> Box:
    return replace(box, left=STAGE - box.right, right=STAGE - box.left)
