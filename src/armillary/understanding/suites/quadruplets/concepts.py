"""Concepts: what two scenes of a quadruplet differ in.

Each concept draws two possible scenes that are equal but for one property of the context and what
follows from it. Side, length of the occlusion, and which of the two comes first are
counterbalanced by the number of the quadruplet, looks and times are drawn.

Source: the concepts of IntPhys (1803.07616), Piloto et al. 2022 and InfLevel; comprehension.md,
section 5, says which shortcut each of them has to withstand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from armillary.core.errors import WorldError
from armillary.core.rng import generator
from armillary.understanding.suites.quadruplets.quadruplet import (
    Kind,
    Quadruplet,
    exchanged,
    spliced,
)
from armillary.worlds.stage import Scene
from armillary.worlds.stage.appearance import HELD_OUT, SHAPES, draw
from armillary.worlds.stage.crossing import (
    LANES,
    MIDDLE,
    NARROW,
    WIDE,
    Actor,
    Crossing,
    Hiding,
    draw_actor,
    draw_look,
)
from armillary.worlds.stage.mechanics import Barrier, Ledge, Shelf, Strike
from armillary.worlds.stage.plays import LEAST_HEADING, MOST_HEADING, ROLLS, draw_panning

Rng = np.random.Generator
Factors = dict[str, str]
_REDRAWS = 20
_PAIRS = ((0, 1), (0, 2), (1, 2))
_HUES = (("red", "green"), ("blue", "yellow"), ("red", "blue"))


@dataclass(frozen=True)
class Concept:
    """One concept.

    Attributes:
        draw: the two scenes, from what is counterbalanced and chance.
        kind: how impossible clips are made of them.
        factors: what of ``factors_of`` makes a difference here.
        copy: what copying the last picture should score: 50 (a tie), or 100 where the answer
            stays in view or in memory of a still picture; such a concept is not in the headline.
    """

    draw: Callable[[Factors, Rng], tuple[Scene, Scene]]
    kind: Kind
    factors: tuple[str, ...] = ("side", "order", "occlusion")
    copy: Literal[50, 100] = 50


def make_quadruplet(concept: str, index: int, seed: int, visible: bool = False) -> Quadruplet:
    """Return a quadruplet, from its names alone.

    Args:
        concept: a key of ``CONCEPTS``.
        index: its number.
        seed: of the set.
        visible: the twin in which no screen hides anything.

    Raises:
        WorldError: no two scenes that fit were found.
    """
    chosen, factors = CONCEPTS[concept], factors_of(index)
    rng = generator(f"quadruplet.{concept}", seed, index)
    for _ in range(_REDRAWS):
        first, second = chosen.draw(factors, rng)
        if factors["order"] == "second first":
            first, second = second, first
        if factors["side"] == "right":
            first, second = first.mirrored(), second.mirrored()
        acting = {name: factors[name] for name in chosen.factors}
        try:
            if chosen.kind == "spliced":
                return spliced(first, second, acting, visible)
            return exchanged(first, second, acting)
        except WorldError:
            continue
    raise WorldError(f"{concept} {index}: found no two scenes that look alike; seed {seed}.")


def factors_of(index: int) -> Factors:
    """Return what a quadruplet of this number has, each level as often as the others."""
    levels: Mapping[str, tuple[str, ...]] = {
        "side": ("left", "right"),
        "occlusion": ("short", "long"),
        "order": ("first first", "second first"),
        "pair": ("0", "1", "2"),
        "lane": ("upper", "lower"),
    }
    factors = {}
    for name, values in levels.items():
        index, level = divmod(index, len(values))
        factors[name] = values[level]
    return factors


def _crossings(factors: Factors, rng: Rng, *casts: tuple[Actor, ...]) -> tuple[Scene, Scene]:
    look = draw_look(HELD_OUT, rng)
    first, second = (Crossing(look, cast, _width(factors, rng)).scene() for cast in casts)
    return first, replace(second, screens=first.screens)


def _width(factors: Factors, rng: Rng) -> float:
    near = WIDE if factors["occlusion"] == "long" else NARROW
    return near + float(rng.uniform(-0.5, 0.5))


def _lane(factors: Factors) -> float:
    return LANES[factors["lane"] == "lower"]


def _actor(factors: Factors, rng: Rng) -> Actor:
    return draw_actor(HELD_OUT, rng, _lane(factors))


def _permanence_moving(factors: Factors, rng: Rng) -> tuple[Scene, Scene]:
    return _crossings(factors, rng, (_actor(factors, rng),), ())


def _shape(factors: Factors, rng: Rng) -> tuple[Scene, Scene]:
    actor = _actor(factors, rng)
    one, other = (SHAPES[i] for i in _PAIRS[int(factors["pair"])])
    return _crossings(factors, rng, (replace(actor, shape=one),), (replace(actor, shape=other),))


def _colour(factors: Factors, rng: Rng) -> tuple[Scene, Scene]:
    actor = _actor(factors, rng)
    one, other = (HELD_OUT.colour(hue, rng) for hue in _HUES[int(factors["pair"])])
    return _crossings(factors, rng, (replace(actor, colour=one),), (replace(actor, colour=other),))


def _size(factors: Factors, rng: Rng) -> tuple[Scene, Scene]:
    actor = _actor(factors, rng)
    casts = [
        (replace(actor, radius=draw(bands, rng)),) for bands in (HELD_OUT.small, HELD_OUT.large)
    ]
    return _crossings(factors, rng, *casts)


def _number(factors: Factors, rng: Rng) -> tuple[Scene, Scene]:
    actor = _actor(factors, rng)
    other = draw_actor(HELD_OUT, rng, LANES[factors["lane"] == "upper"])
    other = replace(other, speed=actor.speed, passes=actor.passes)
    return _crossings(factors, rng, (actor,), (actor, other))


def _continuity_lane(factors: Factors, rng: Rng) -> tuple[Scene, Scene]:
    actor, off = draw_actor(HELD_OUT, rng, MIDDLE), float(rng.uniform(-2, 2))
    return _crossings(factors, rng, *((replace(actor, lane=lane + off),) for lane in LANES))


def _continuity_timing(factors: Factors, rng: Rng) -> tuple[Scene, Scene]:
    """Two enter together, one slow and one fast."""
    actor = _actor(factors, rng)
    slow, fast = float(rng.uniform(1.5, 1.7)), float(rng.uniform(2.92, 3.1))
    enters = float(rng.uniform(9.0, 11.0))
    half = WIDE / 2 if factors["occlusion"] == "long" else 12.5
    casts = [(replace(actor, speed=speed, passes=enters + half / speed),) for speed in (slow, fast)]
    look = draw_look(HELD_OUT, rng)
    first, second = (Crossing(look, cast, 2 * half).scene() for cast in casts)
    return first, second


def _inertia(factors: Factors, rng: Rng) -> tuple[Scene, Scene]:
    """Two cross each other's way: one comes from above and leaves below, one the other way."""
    actor = replace(draw_actor(HELD_OUT, rng, MIDDLE), lane=MIDDLE + float(rng.uniform(-2, 2)))
    slope = float(rng.uniform(LEAST_HEADING, MOST_HEADING))
    casts = [(replace(actor, slope=way * slope),) for way in (1, -1)]
    return _crossings(factors, rng, *casts)


def _permanence_static(factors: Factors, rng: Rng) -> tuple[Scene, Scene]:
    actor, look = draw_actor(HELD_OUT, rng), draw_look(HELD_OUT, rng)
    covers = int(rng.integers(6, 8)) if factors["occlusion"] == "long" else 3
    place = float(rng.uniform(16, 48)), float(rng.uniform(47, 55))
    looks = (actor.shape, actor.radius, actor.colour)
    rises = int(rng.integers(4, 6))
    first, second = (Hiding(look, kept, place, rises, covers).scene() for kept in (looks, None))
    return first, second


def _solidity(factors: Factors, rng: Rng) -> tuple[Scene, Scene]:
    actor = draw_actor(HELD_OUT, rng, float(rng.uniform(30, 50)))
    look, rises = draw_look(HELD_OUT, rng), int(rng.integers(2, 5))
    # wide enough for what stops at the barrier to be hidden, too
    width = WIDE if factors["occlusion"] == "long" else 26.0
    first, second = (Barrier(look, actor, width, stands, rises).scene() for stands in (False, True))
    return first, second


def _gravity(factors: Factors, rng: Rng) -> tuple[Scene, Scene]:
    actor = replace(draw_actor(HELD_OUT, rng), passes=float(rng.uniform(*ROLLS)))
    look, rises = draw_look(HELD_OUT, rng), int(rng.integers(2, 5))
    first, second = (Ledge(look, actor, goes_on, rises).scene() for goes_on in (True, False))
    return first, second


def _support(factors: Factors, rng: Rng) -> tuple[Scene, Scene]:
    actor = replace(draw_actor(HELD_OUT, rng), passes=float(rng.uniform(9, 12)))
    look, rises = draw_look(HELD_OUT, rng), int(rng.integers(2, 5))
    first, second = (Shelf(look, actor, holds, rises).scene() for holds in (True, False))
    return first, second


def _collision(factors: Factors, rng: Rng) -> tuple[Scene, Scene]:
    lanes = [lane + float(rng.uniform(-2, 2)) for lane in LANES]
    targets = tuple(replace(draw_actor(HELD_OUT, rng), lane=lane) for lane in lanes)
    actor, look, width = draw_actor(HELD_OUT, rng), draw_look(HELD_OUT, rng), _width(factors, rng)
    first, second = (
        Strike(look, replace(actor, lane=lane), (targets[0], targets[1]), width).scene()
        for lane in lanes
    )
    return first, second


def _spatial(factors: Factors, rng: Rng) -> tuple[Scene, Scene]:
    play = draw_panning(HELD_OUT, rng)
    back = (-play.pan[0], -play.pan[1])
    return play.scene(), replace(play, pan=back).scene()


_LANED = ("side", "order", "occlusion", "lane")
_PAIRED = (*_LANED, "pair")
CONCEPTS: dict[str, Concept] = {
    "permanence_moving": Concept(_permanence_moving, "spliced", _LANED),
    "permanence_static": Concept(_permanence_static, "spliced", copy=100),
    "shape": Concept(_shape, "spliced", _PAIRED),
    "colour": Concept(_colour, "spliced", _PAIRED),
    "size": Concept(_size, "spliced", _LANED),
    "number": Concept(_number, "spliced", _LANED),
    "continuity_lane": Concept(_continuity_lane, "spliced"),
    "continuity_timing": Concept(_continuity_timing, "spliced", _LANED),
    "solidity": Concept(_solidity, "spliced"),
    "support": Concept(_support, "spliced", ("side", "order")),
    "gravity": Concept(_gravity, "spliced", ("side", "order")),
    "inertia": Concept(_inertia, "spliced"),
    "collision": Concept(_collision, "spliced"),
    "spatial": Concept(_spatial, "exchanged", ("side", "order")),
}
