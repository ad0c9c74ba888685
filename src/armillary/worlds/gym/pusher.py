"""A scripted pusher for Push-T: strokes that push the T towards drawn places, with rests between.

The package's own collection policy moves at random around the T, by 8 to 33 px a step, and the
expert's episodes that published numbers are learned from are not in the package. This one draws a
place, goes round the T to the side that faces away from that place, pushes along the line, beside
the T's middle so that it also turns, and rests at times.

It sees the simulator's state, as the package's does, and its places are drawn without any goal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

_PLANE_PX, _WALL_PX = 512.0, 25.0
REACH_PX = 100.0  # that a full action asks for
# From the run-up away the disc meets no part of the T, and round it goes on a circle. At a wall,
# where there is no room for either, it may push the T out of its way.
_RUN_UP_PX, _ROUND_PX = 130.0, 115.0
# Where the T is pushed to, how far beside its middle, how far at most, and how much less than the
# whole way: the disc is in front of the T's middle, not in it.
_PLACES_PX, _BESIDE_PX, _LONGEST_PX, _SHORT_OF_PX = (140.0, 372.0), 45.0, 90.0, 40.0
_AT_BEGIN_PX, _AT_END_PX = 15.0, 12.0
# With actions of this length, and rests, the disc moves by 4 to 17 px a step (10 % and 90 % of the
# steps of 3,000 episodes; the package's own policy: 8 to 33).
_SPEEDS, _NOISE = (0.15, 0.45), 0.08
_RESTING, _LONGEST_REST = 0.7, 10
_PATIENCE = 60
_TURN_RAD = 0.5  # on the circle, at most, between here and what is aimed at
_ROUNDING_PX = 1e-3  # who stands on the circle shall not be taken to stand within it


@dataclass(frozen=True)
class Stroke:
    """What the pusher is doing.

    Attributes:
        begin: of the stroke [2], px.
        end: of the stroke [2], px.
        speed: length of its actions, 1 for the largest.
        pushing: on the way from begin to end; else still on the way to begin.
        rest: steps that it still stays at the end.
        steps_left: after which another stroke is drawn, arrived or not; resting does not count.
    """

    begin: np.ndarray
    end: np.ndarray
    speed: float
    pushing: bool
    rest: int
    steps_left: int


def push(
    disc: np.ndarray, tee: np.ndarray, rng: np.random.Generator, state: Stroke | None
) -> tuple[np.ndarray, Stroke]:
    """Return an action [2] of the pusher, and what it is doing then.

    Args:
        disc: its place [2], px.
        tee: the T's centre of mass [2], px.
        rng: the only source of chance.
        state: what was returned last; None at the start.
    """
    stroke = _carry_on(disc, tee, rng, state)
    if stroke.pushing and _apart(disc, stroke.end) < _AT_END_PX:
        return rng.normal(0, _NOISE / 2, 2), replace(stroke, rest=stroke.rest - 1)
    aim = stroke.end if stroke.pushing else _round(disc, stroke.begin, tee)
    way = aim - disc
    far = max(float(np.linalg.norm(way)), 1e-6)
    action = way / far * min(stroke.speed, far / REACH_PX) + rng.normal(0, _NOISE, 2)
    return action, replace(stroke, steps_left=stroke.steps_left - 1)


def _carry_on(
    disc: np.ndarray, tee: np.ndarray, rng: np.random.Generator, state: Stroke | None
) -> Stroke:
    """Return the stroke that is under way, or the next one."""
    if state is None or state.steps_left <= 0:
        return _draw(tee, rng)
    if state.pushing and state.rest <= 0 and _apart(disc, state.end) < _AT_END_PX:
        return _draw(tee, rng)
    if not state.pushing and _apart(disc, state.begin) < _AT_BEGIN_PX:
        return replace(state, pushing=True)
    return state


def _draw(tee: np.ndarray, rng: np.random.Generator) -> Stroke:
    """Draw a stroke that pushes the T towards a place drawn on the plane."""
    way = rng.uniform(*_PLACES_PX, 2) - tee
    far = max(float(np.linalg.norm(way)), 1e-6)
    way = way / far
    start = tee + np.array([-way[1], way[0]]) * rng.uniform(-_BESIDE_PX, _BESIDE_PX)
    begin = start - _RUN_UP_PX * way
    end = start + way * min(far - _SHORT_OF_PX, _LONGEST_PX)
    rests = rng.random() < _RESTING
    rest = int(rng.integers(_LONGEST_REST + 1)) if rests else 0
    return Stroke(_inside(begin), _inside(end), rng.uniform(*_SPEEDS), False, rest, _PATIENCE)


def _round(disc: np.ndarray, goal: np.ndarray, tee: np.ndarray) -> np.ndarray:
    """Return the goal [2] if the straight way keeps off the T, else a place on a circle."""
    way = goal - disc
    along = np.clip((tee - disc) @ way / max(float(way @ way), 1e-9), 0, 1)
    free = min(_ROUND_PX, _apart(disc, tee), _apart(goal, tee)) - _ROUNDING_PX
    if _apart(disc + along * way, tee) >= free:
        return goal
    here, there = (np.arctan2(*(place - tee)[::-1]) for place in (disc, goal))
    turn = (there - here + np.pi) % (2 * np.pi) - np.pi
    angle = here + np.clip(turn, -_TURN_RAD, _TURN_RAD)
    return _inside(tee + _ROUND_PX * np.array([np.cos(angle), np.sin(angle)]))


def _inside(place: np.ndarray) -> np.ndarray:
    return np.clip(place, _WALL_PX, _PLANE_PX - _WALL_PX)


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(one - other))
