"""Plays in which something is held, stopped, dropped or struck, out of sight.

A barrier or a shelf is seen before a screen rises in front of it; whoever is to know the outcome
has to remember it. The end of a ledge stays in view, and nothing that moves ever overlaps it: so a
picture that shows one ledge with the outcome of the other can be painted without a seam.

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
    """Somebody rolls along a ledge behind a screen, where the ledge goes on or ends.

    Attributes:
        look: of the scene.
        actor: who rolls.
        goes_on: whether the ledge does; its far end shows right of the screen.
    """

    look: Look
    actor: Actor
    goes_on: bool

    def scene(self) -> Scene:
        """Return the scene."""
        look, actor = self.look, self.actor
        level, left, right, edge = 24.0, 20.0, 44.0, 25.0
        path = actor.thing(look.steps).path.copy()
        path[:, 1] = level - actor.height
        if not self.goes_on:
            falling = np.maximum((path[:, 0] - edge) / actor.speed, 0)
            drop = 0.5 * GRAVITY * falling**2
            path[:, 1] = np.minimum(path[:, 1] + drop, _FLOOR - actor.height)
            # what has fallen into the trough at the bottom stays where it came down
            down = np.sqrt(2 * (_FLOOR - level) / GRAVITY)
            path[:, 0] = np.minimum(path[:, 0], edge + actor.speed * down)
        ledge = Box(0.0, level, STAGE if self.goes_on else edge, level + 3, look.box)
        floor = Box(0.0, _FLOOR, STAGE, STAGE, look.box)
        screen = Box(left, 8.0, right, 46.0, look.screen)
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
