"""Plays in which something is held, stopped, dropped or struck, out of sight.

A barrier, a shelf or the end of a ledge is seen before a screen rises in front of it; whoever is to
know the outcome has to remember it.

Axes: T steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from armillary.worlds.stage.crossing import MIDDLE, Actor, Look
from armillary.worlds.stage.scene import STAGE, Box, Scene, Thing

GRAVITY = 0.9  # units per step per step
_BAR = 4.0
_FLOOR = 62.0


@dataclass(frozen=True)
class Barrier:
    """Somebody goes behind a screen, and comes out again unless a barrier stands there.

    Attributes:
        look: of the scene.
        actor: who goes.
        width: of the screen.
        stands: whether the barrier does; it is seen until the screen rises.
        rises: step at which the screen begins to.
    """

    look: Look
    actor: Actor
    width: float
    stands: bool
    rises: int

    def scene(self) -> Scene:
        """Return the scene."""
        thing, look = self.actor.thing(self.look.steps), self.look
        bar = Box(MIDDLE - _BAR / 2, 8.0, MIDDLE + _BAR / 2, STAGE, look.box)
        left, right = MIDDLE - self.width / 2, MIDDLE + self.width / 2
        lowered = _rising(look.steps, self.rises, 14.0, 3.0)
        screen = Box(left, 4.0, right, STAGE + 14, look.screen, lowered)
        if self.stands:
            stop = MIDDLE - _BAR / 2 - self.actor.radius
            path = np.minimum(thing.path, np.array([stop, np.inf]))
            thing = Thing(thing.shape, thing.radius, thing.colour, path)
        boxes = (bar,) if self.stands else ()
        return Scene(look.steps, look.background, (thing,), boxes, (screen,))


@dataclass(frozen=True)
class Ledge:
    """Somebody rolls off a ledge behind a screen, at its left or at its right.

    Attributes:
        look: of the scene.
        actor: who rolls.
        goes_on: whether the ledge does, to the right of the screen; where it ends is seen until the
            screen rises.
        rises: step at which the screen begins to.
    """

    look: Look
    actor: Actor
    goes_on: bool
    rises: int

    def scene(self) -> Scene:
        """Return the scene."""
        look, actor = self.look, self.actor
        level, edge = 24.0, 42.0 if self.goes_on else 25.0
        x = actor.thing(look.steps).path[:, 0]
        falling = np.maximum((x - edge) / actor.speed, 0)
        lowest = _FLOOR - actor.height
        y = np.minimum(level - actor.height + 0.5 * GRAVITY * falling**2, lowest)
        # what has fallen into the trough at the bottom stays where it came down
        down = np.sqrt(2 * (_FLOOR - level) / GRAVITY)
        path = np.stack([np.minimum(x, edge + actor.speed * down), y], axis=1)
        ledge = Box(0.0, level, edge, level + 3, look.box)
        floor = Box(0.0, _FLOOR, STAGE, STAGE, look.box)
        lowered = _rising(look.steps, self.rises, 40.0, 8.0)
        screen = Box(18.0, 8.0, 46.0, 50.0, look.screen, lowered)
        thing = Thing(actor.shape, actor.radius, actor.colour, path)
        return Scene(look.steps, look.background, (thing,), (ledge, floor), (screen,))


@dataclass(frozen=True)
class Shelf:
    """Something is dropped behind a screen, onto a shelf or to the floor.

    Attributes:
        look: of the scene.
        actor: what is dropped; of it only its looks and ``passes``, the step of the drop, count.
        holds: whether a shelf is there; it is seen until the screen rises.
        rises: step at which the screen begins to.
    """

    look: Look
    actor: Actor
    holds: bool
    rises: int

    def scene(self) -> Scene:
        """Return the scene."""
        look, actor = self.look, self.actor
        shelf = Box(MIDDLE - 10, 41.0, MIDDLE + 10, 44.0, look.box)
        lowered = _rising(look.steps, self.rises, 27.0, 5.0)
        screen = Box(MIDDLE - 12, 18.0, MIDDLE + 12, 50.0, look.screen, lowered)
        floor = Box(0.0, _FLOOR, STAGE, STAGE, look.box)
        since = np.maximum(np.arange(look.steps) - actor.passes, 0)
        lowest = (41.0 if self.holds else _FLOOR) - actor.height
        y = np.minimum(9.0 + 0.5 * GRAVITY * since**2, lowest)
        path = np.stack([np.full(look.steps, MIDDLE), y], axis=1)
        thing = Thing(actor.shape, actor.radius, actor.colour, path)
        boxes = (shelf, floor) if self.holds else (floor,)
        return Scene(look.steps, look.background, (thing,), boxes, (screen,))


@dataclass(frozen=True)
class Strike:
    """Somebody runs into one of two things that rest beside a screen, and gives it its speed.

    Attributes:
        look: of the scene.
        actor: who runs; its lane is that of the one that it strikes.
        targets: looks and lanes of the two.
        width: of the screen.
    """

    look: Look
    actor: Actor
    targets: tuple[Actor, Actor]
    width: float

    def scene(self) -> Scene:
        """Return the scene."""
        look, actor = self.look, self.actor
        edge = MIDDLE + self.width / 2
        things, runner = [], actor.thing(look.steps)
        for target in self.targets:
            rest = edge + target.radius - 1  # a unit of it is behind the screen
            path = np.tile([rest, target.lane], (look.steps, 1))
            if target.lane == actor.lane:
                meet = rest - target.radius - actor.radius
                late = np.maximum(runner.path[:, 0] - meet, 0)  # equal masses: it hands all on
                path[:, 0] += late
                runner = Thing(
                    runner.shape,
                    runner.radius,
                    runner.colour,
                    np.minimum(runner.path, np.array([meet, np.inf])),
                )
            things.append(Thing(target.shape, target.radius, target.colour, path))
        screen = Box(MIDDLE - self.width / 2, 0.0, edge, STAGE, look.screen)
        return Scene(look.steps, look.background, (*things, runner), screens=(screen,))


@dataclass(frozen=True)
class Panning:
    """A camera moves past things that rest.

    Attributes:
        look: of the scene.
        things: what rests, anywhere, also beside the picture.
        boxes: what stands.
        pan: units per step, x and y.
        pan_from: first step at which it moves.
    """

    look: Look
    things: tuple[Thing, ...]
    boxes: tuple[Box, ...]
    pan: tuple[float, float]
    pan_from: int

    def scene(self) -> Scene:
        """Return the scene."""
        look = self.look
        return Scene(
            look.steps,
            look.background,
            self.things,
            self.boxes,
            pan=self.pan,
            pan_from=self.pan_from,
        )


def _rising(steps: int, begins: int, by: float, speed: float) -> Float[np.ndarray, " T"]:
    """Return by how much a screen is still lowered at every step."""
    return np.clip(by - speed * (np.arange(steps) - begins), 0.0, by)
