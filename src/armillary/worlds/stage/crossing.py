"""Plays in which things pass, wait or bounce, mostly behind a screen.

A play is a value with everything that decides a scene, so that two scenes that differ in one
property alone are two plays with one field replaced.

Axes: T steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from armillary.worlds.stage.appearance import HUES, SHAPES, Appearance, draw
from armillary.worlds.stage.scene import REACH, STAGE, Box, Colour, Scene, Shape, Thing

STEPS = 32
MIDDLE = STAGE / 2
LANES = (18.0, 46.0)
FLOOR = 3.0  # thickness of floor and ceiling
NARROW, WIDE = 21.0, 28.0  # screens: a thing is hidden for about 4 and 7 steps


@dataclass(frozen=True)
class Look:
    """What a scene looks like: its length and the colours of wall, screens and boxes."""

    steps: int
    background: Colour
    screen: Colour
    box: Colour


@dataclass(frozen=True)
class Actor:
    """A thing that goes straight, from left to right.

    Attributes:
        shape: of it.
        radius: units.
        colour: of it.
        lane: height y at which it passes the middle of the stage.
        speed: units per step.
        passes: step at which it passes the middle; a fraction may be.
        slope: units down per unit to the right.
    """

    shape: Shape
    radius: float
    colour: Colour
    lane: float
    speed: float
    passes: float
    slope: float = 0.0

    @property
    def height(self) -> float:
        """From its centre to its lowest point, and a little more: where it rests on something."""
        return REACH[self.shape] * self.radius + 0.3

    def thing(self, steps: int) -> Thing:
        """Return it with its path."""
        x = MIDDLE + self.speed * (np.arange(steps) - self.passes)
        y = self.lane + self.slope * (x - MIDDLE)
        return Thing(self.shape, self.radius, self.colour, np.stack([x, y], axis=1))


@dataclass(frozen=True)
class Crossing:
    """Things go behind a screen and come out on the other side.

    Attributes:
        look: of the scene.
        actors: who crosses; nobody is possible, too.
        width: of the screen in the middle; 0 for none.
    """

    look: Look
    actors: tuple[Actor, ...]
    width: float

    def scene(self) -> Scene:
        """Return the scene."""
        things = tuple(actor.thing(self.look.steps) for actor in self.actors)
        return Scene(
            self.look.steps, self.look.background, things, screens=middle_screen(self, self.look)
        )


@dataclass(frozen=True)
class Hiding:
    """A screen rises in front of a place, and sinks again.

    Attributes:
        look: of the scene.
        thing: shape, radius, colour of what lies there; None for nothing.
        place: x and y.
        rises: step at which the screen begins to rise.
        covers: steps for which it is up.
    """

    look: Look
    thing: tuple[Shape, float, Colour] | None
    place: tuple[float, float]
    rises: int
    covers: int

    def scene(self) -> Scene:
        """Return the scene."""
        steps, (x, y) = np.arange(self.look.steps), self.place
        height, speed = 26.0, 6.0
        up = np.clip((steps - self.rises) * speed, 0, height)
        down = np.clip((steps - self.rises - self.covers - height / speed) * speed, 0, height)
        top = STAGE - height
        screen = Box(x - 12, top, x + 12, STAGE, self.look.screen, height - up + down)
        rest = np.tile([x, y], (len(steps), 1))
        things = () if self.thing is None else (Thing(*self.thing, rest),)
        return Scene(self.look.steps, self.look.background, things, screens=(screen,))


@dataclass(frozen=True)
class Bouncing:
    """A thing flies to and fro between floor and ceiling, behind a wide screen for a while.

    Attributes:
        look: of the scene.
        actor: who flies; its slope is that of the first stretch.
        left, right: edges of the screen; equal for none.
    """

    look: Look
    actor: Actor
    left: float
    right: float

    def scene(self) -> Scene:
        """Return the scene."""
        actor, look = self.actor, self.look
        path = actor.thing(look.steps).path
        low, high = FLOOR + actor.radius, STAGE - FLOOR - actor.radius
        path = np.stack([path[:, 0], folded(path[:, 1], low, high)], axis=1)
        thing = Thing(actor.shape, actor.radius, actor.colour, path)
        floors = (
            Box(0.0, 0.0, STAGE, FLOOR, look.box),
            Box(0.0, STAGE - FLOOR, STAGE, STAGE, look.box),
        )
        screens = (Box(self.left, 0.0, self.right, STAGE, look.screen),)
        hides = self.right > self.left
        return Scene(look.steps, look.background, (thing,), floors, screens if hides else ())


def folded(values: Float[np.ndarray, " T"], low: float, high: float) -> Float[np.ndarray, " T"]:
    """Return positions of something that is thrown back at both ends, without loss."""
    span = high - low
    return low + span - np.abs((values - low) % (2 * span) - span)


def middle_screen(play: Crossing, look: Look) -> tuple[Box, ...]:
    """Return the screen of a crossing, from top to bottom of the stage."""
    if not play.width:
        return ()
    half = play.width / 2
    return (Box(MIDDLE - half, 0.0, MIDDLE + half, STAGE, look.screen),)


def draw_look(kind: Appearance, rng: np.random.Generator, steps: int = STEPS) -> Look:
    """Draw what a scene looks like."""
    background, screen, box = (
        kind.grey(bands, rng) for bands in (kind.background, kind.screen, kind.box)
    )
    return Look(steps, background, screen, box)


def draw_actor(kind: Appearance, rng: np.random.Generator, lane: float | None = None) -> Actor:
    """Draw somebody who crosses; a lane is one of ``LANES`` or the middle unless given."""
    hue = tuple(HUES)[int(rng.integers(len(HUES)))]
    shape = SHAPES[int(rng.integers(len(SHAPES)))]
    where = (*LANES, MIDDLE)[int(rng.integers(3))] if lane is None else lane
    return Actor(
        shape=shape,
        radius=draw(kind.radius, rng),
        colour=kind.colour(hue, rng),
        lane=where + float(rng.uniform(-2, 2)),
        speed=draw(kind.speed, rng),
        passes=float(rng.uniform(14.0, 17.0)),
    )
