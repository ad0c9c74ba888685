"""Plays, drawn: any possible scene of any kind, as a world or a recording needs them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np

from armillary.worlds.stage.appearance import Appearance, draw
from armillary.worlds.stage.crossing import (
    LANES,
    MIDDLE,
    NARROW,
    WIDE,
    Actor,
    Bouncing,
    Crossing,
    Hiding,
    draw_actor,
    draw_look,
)
from armillary.worlds.stage.mechanics import Barrier, Ledge, Panning, Shelf, Strike
from armillary.worlds.stage.scene import STAGE, Box, Scene, Thing

LEAST_HEADING, MOST_HEADING = 0.28, 0.5  # slopes of those who do not go level
ROLLS = (17.0, 19.5)  # steps at which those on a ledge pass the middle: after the screen is up


def draw_scene(kind: Appearance, rng: np.random.Generator, play: str = "") -> Scene:
    """Draw a scene.

    Args:
        kind: what it looks like.
        rng: chance.
        play: a key of ``PLAYS``; empty draws one.
    """
    names, shares = zip(*((name, share) for name, (_, share) in PLAYS.items()), strict=True)
    chosen = play or str(rng.choice(names, p=np.array(shares) / sum(shares)))
    scene = PLAYS[chosen][0](kind, rng)
    return scene.mirrored() if rng.integers(2) else scene


def draw_crossing(kind: Appearance, rng: np.random.Generator) -> Crossing:
    """Draw up to two who cross, behind a screen in three of four scenes."""
    count = int(rng.choice(3, p=(0.1, 0.6, 0.3)))
    actors = [_draw_any(kind, rng) for _ in range(count)]
    if count == 2:
        lanes = LANES if rng.integers(2) else LANES[::-1]
        # two who go level, so that they never meet
        actors = [
            replace(one, lane=lane, slope=0.0) for one, lane in zip(actors, lanes, strict=True)
        ]
    return Crossing(draw_look(kind, rng), tuple(actors), draw_width(rng))


def draw_hiding(kind: Appearance, rng: np.random.Generator) -> Hiding:
    """Draw a screen that rises and sinks, before something in four of five scenes."""
    actor = draw_actor(kind, rng)
    thing = None if rng.uniform() < 0.2 else (actor.shape, actor.radius, actor.colour)
    place = float(rng.uniform(16, STAGE - 16)), float(rng.uniform(47, 55))
    return Hiding(
        draw_look(kind, rng), thing, place, int(rng.integers(3, 7)), int(rng.integers(3, 9))
    )


def draw_bouncing(kind: Appearance, rng: np.random.Generator) -> Bouncing:
    """Draw somebody who flies to and fro, behind a wide screen in three of four scenes."""
    actor = replace(
        draw_actor(kind, rng, MIDDLE),
        slope=float(rng.choice((-1, 1)) * rng.uniform(0.7, 1.2)),
        lane=float(rng.uniform(14, 50)),
    )
    left, right = (14.0, 58.0) if rng.uniform() < 0.75 else (0.0, 0.0)
    return Bouncing(draw_look(kind, rng), actor, left, right)


def draw_barrier(kind: Appearance, rng: np.random.Generator) -> Barrier:
    """Draw somebody who is stopped in half of the scenes."""
    actor = draw_actor(kind, rng, float(rng.uniform(30, 50)))
    stands, width = bool(rng.integers(2)), draw_width(rng) or WIDE
    return Barrier(draw_look(kind, rng), actor, width, stands, int(rng.integers(2, 5)))


def draw_ledge(kind: Appearance, rng: np.random.Generator) -> Ledge:
    """Draw somebody who falls early in half of the scenes."""
    actor = replace(draw_actor(kind, rng), passes=float(rng.uniform(*ROLLS)))
    return Ledge(draw_look(kind, rng), actor, bool(rng.integers(2)), int(rng.integers(2, 5)))


def draw_shelf(kind: Appearance, rng: np.random.Generator) -> Shelf:
    """Draw something that is held in half of the scenes."""
    actor = replace(draw_actor(kind, rng), passes=float(rng.uniform(8, 13)))
    return Shelf(draw_look(kind, rng), actor, bool(rng.integers(2)), int(rng.integers(2, 5)))


def draw_strike(kind: Appearance, rng: np.random.Generator) -> Strike:
    """Draw two who rest and somebody who runs into one of them."""
    lanes = [lane + float(rng.uniform(-2, 2)) for lane in LANES]
    first, second = (replace(draw_actor(kind, rng), lane=lane) for lane in lanes)
    actor = replace(draw_actor(kind, rng), lane=lanes[int(rng.integers(2))])
    return Strike(draw_look(kind, rng), actor, (first, second), draw_width(rng) or NARROW)


def draw_panning(kind: Appearance, rng: np.random.Generator) -> Panning:
    """Draw things that rest, and a camera that moves in one of four directions."""
    look, boxes = draw_look(kind, rng), []
    places = rng.permutation(25)[:7]
    things = []
    for place in places:
        actor = draw_actor(kind, rng)
        x, y = 12 * (place % 5) + 8, 12 * (place // 5) + 8
        at = np.array([x, y]) * 1.6 - 20 + rng.uniform(-3, 3, 2)
        path = np.tile(at, (look.steps, 1))
        things.append(Thing(actor.shape, actor.radius, actor.colour, path))
    for _ in range(2):
        left, top = rng.uniform(-20, 70, 2)
        boxes.append(Box(left, top, left + 14, top + 10, look.box))
    speed = float(rng.uniform(0.8, 2.0))
    way = ((1, 0), (-1, 0), (0, 1), (0, -1))[int(rng.integers(4))]
    pan = (speed * way[0], speed * way[1])
    return Panning(look, tuple(things), tuple(boxes), pan, int(rng.integers(4, 10)))


def draw_width(rng: np.random.Generator) -> float:
    """Draw the width of a screen; in a quarter of all cases there is none (0)."""
    return 0.0 if rng.uniform() < 0.25 else float(rng.uniform(NARROW, WIDE))


def _draw_any(kind: Appearance, rng: np.random.Generator) -> Actor:
    """Draw who crosses alone: in a third of cases not level, in a third small or large."""
    actor = draw_actor(kind, rng)
    if rng.uniform() < 1 / 3:
        sizes = kind.small if rng.integers(2) else kind.large
        actor = replace(actor, radius=draw(sizes, rng))
    if rng.uniform() < 1 / 3:
        slope = float(rng.choice((-1, 1)) * rng.uniform(LEAST_HEADING, MOST_HEADING))
        actor = replace(actor, slope=slope, lane=MIDDLE + float(rng.uniform(-2, 2)))
    return actor


_Drawn = Callable[[Appearance, np.random.Generator], Scene]


class _Play(Protocol):
    def scene(self) -> Scene: ...


def _of(draws: Callable[[Appearance, np.random.Generator], _Play]) -> _Drawn:
    return lambda kind, rng: draws(kind, rng).scene()


# What is seen before a screen rises has to be remembered for longest, and is learned last: such
# plays are shown more often than their variety asks for.
PLAYS: dict[str, tuple[_Drawn, float]] = {
    "crossing": (_of(draw_crossing), 4.0),
    "hiding": (_of(draw_hiding), 1.0),
    "bouncing": (_of(draw_bouncing), 1.5),
    "barrier": (_of(draw_barrier), 2.5),
    "ledge": (_of(draw_ledge), 2.0),
    "shelf": (_of(draw_shelf), 2.0),
    "strike": (_of(draw_strike), 1.5),
    "panning": (_of(draw_panning), 1.5),
}
