"""Tasks of the tabletop: where goals lie, and the experts that get there.

Everything here is plane geometry on a ``Layout``: metres, world frame, no simulator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from armillary.worlds.tabletop.scene import PUSHER_RADIUS_M, PUSHER_REACH_M

Xy = Float[np.ndarray, " 2"]

_REACH_LEAST_M = 0.10
_PUSH_M = (0.08, 0.16)
OBJECT_REACH_M = 0.165  # objects start and are pushed within this square
_BEHIND_GAP_M = 0.012
_PUSH_SPEED_M_S = 0.22
_TRIES = 2000
# Around an object that is put elsewhere: room for the pusher's footprint, and a gap to everything.
_PUSHER_ROOM_M = 0.025
_CLEARANCE_M = 0.005
_ELSEWHERE_TRIES = 500


@dataclass(frozen=True)
class Layout:
    """Where everything is.

    Attributes:
        pusher_xy: [2] metres.
        objects_xyz: [O 3] metres.
        radii_m: radius of the circle around each object's footprint.
    """

    pusher_xy: Float64[np.ndarray, " 2"]
    objects_xyz: Float64[np.ndarray, "O 3"]
    radii_m: tuple[float, ...]


def draw_reach(layout: Layout, rng: np.random.Generator) -> tuple[Xy, Xy]:
    """Draw a place for the pusher at least 10 cm away that touches no object."""
    for _ in range(_TRIES):
        xy = rng.uniform(-0.19, 0.19, 2)
        far = np.linalg.norm(xy - layout.pusher_xy) >= _REACH_LEAST_M
        if far and _is_free(layout, xy, PUSHER_RADIUS_M, skip=None):
            break
    return xy, layout.objects_xyz[0, :2]


def draw_push(layout: Layout, rng: np.random.Generator) -> tuple[Xy, Xy]:
    """Draw a place for object 0, 8-16 cm away along a free lane, with the pusher behind it.

    Where the scene leaves no free lane (rare), the last one drawn is used as it is.
    """
    start, radius = layout.objects_xyz[0, :2], layout.radii_m[0]
    reach_m = radius + PUSHER_RADIUS_M + _BEHIND_GAP_M
    for _ in range(_TRIES):
        angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(*_PUSH_M)
        along = np.array([np.cos(angle), np.sin(angle)])
        target = start + length * along
        behind = start - reach_m * along
        inside = np.abs(target).max() < OBJECT_REACH_M and np.abs(behind).max() < PUSHER_REACH_M
        lane = [start + s * along for s in np.linspace(-reach_m, length, 8)]
        if inside and all(_is_free(layout, xy, radius, skip=0) for xy in lane):
            break
    target = np.clip(target, -OBJECT_REACH_M, OBJECT_REACH_M)
    pusher = target - reach_m * along
    return np.clip(pusher, -PUSHER_REACH_M, PUSHER_REACH_M), target


def draw_elsewhere(layout: Layout, rng: np.random.Generator, least_m: float) -> Xy:
    """Draw a place for object 0 at least ``least_m`` metres away, clear of everything else.

    Where the table is too full (not met in 2,000 scenes at 6 cm) the last place drawn is used.
    """
    place, radius = layout.objects_xyz[0, :2], layout.radii_m[0]
    others = np.vstack([layout.pusher_xy, layout.objects_xyz[1:, :2]])
    reach = np.array([_PUSHER_ROOM_M, *layout.radii_m[1:]]) + radius + _CLEARANCE_M
    for _ in range(_ELSEWHERE_TRIES):
        target = rng.uniform(-OBJECT_REACH_M, OBJECT_REACH_M, 2)
        clear = (np.linalg.norm(others - target, axis=1) > reach).all()
        if clear and np.linalg.norm(target - place) >= least_m:
            break
    return target


TASKS: dict[str, Callable[[Layout, np.random.Generator], tuple[Xy, Xy]]] = {
    "reach": draw_reach,
    "push": draw_push,
}


def reach_action(pusher_xy: Xy, target_xy: Xy, step_s: float, speed_m_s: float = 0.4) -> Xy:
    """Return the velocity straight towards a place, slowing so as to stop there."""
    gap = np.asarray(target_xy, np.float64) - pusher_xy
    far = float(np.linalg.norm(gap))
    return gap / max(far, 1e-9) * min(speed_m_s, far / step_s)


def push_action(layout: Layout, index: int, target_xy: Xy, step_s: float) -> Xy:
    """Return the velocity that gets behind an object, then pushes it towards a place.

    Behind means opposite to the push; the way there goes around the object on the nearer side.
    """
    place, radius = layout.objects_xyz[index, :2], layout.radii_m[index]
    gap = np.asarray(target_xy, np.float64) - place
    left = float(np.linalg.norm(gap))
    if left < 0.006:
        return np.zeros(2)
    along = gap / left
    side = np.array([-along[1], along[0]])
    offset = layout.pusher_xy - place
    deep, wide = float(offset @ along), float(offset @ side)
    if deep < -0.6 * PUSHER_RADIUS_M and abs(wide) < 0.012:
        # Touching or closing in: push, and steer back onto the line.
        touching = -deep < radius + PUSHER_RADIUS_M + 0.004
        speed = min(_PUSH_SPEED_M_S, max(left / step_s, 0.03)) if touching else 0.3
        speed = min(speed, (left + max(-deep - radius - PUSHER_RADIUS_M, 0.0)) / step_s)
        return speed * along - 4.0 * wide * side
    return _go_behind(layout.pusher_xy, place, along, radius + PUSHER_RADIUS_M, step_s)


def _go_behind(pusher: Xy, place: Xy, along: Xy, touch_m: float, step_s: float) -> Xy:
    """Walk around the object on a circle just outside touching distance."""
    ring = touch_m + _BEHIND_GAP_M
    offset = pusher - place
    behind = place - ring * along
    angle = np.arctan2(offset[1], offset[0])
    wanted = np.arctan2(-along[1], -along[0])
    turn = (wanted - angle + np.pi) % (2 * np.pi) - np.pi
    if abs(turn) < 0.5:
        return reach_action(pusher, behind, step_s)
    ahead = angle + np.sign(turn) * min(abs(turn), 0.7)
    # A chord of the ring dips inside it; go further out the wider the turn.
    wide = ring / np.cos(0.35) if np.linalg.norm(offset) < 2 * ring else ring
    waypoint = place + wide * np.array([np.cos(ahead), np.sin(ahead)])
    return reach_action(pusher, waypoint, step_s)


def _is_free(layout: Layout, xy: Xy, radius_m: float, skip: int | None) -> bool:
    for index, (place, radius) in enumerate(
        zip(layout.objects_xyz[:, :2], layout.radii_m, strict=True)
    ):
        if index != skip and np.linalg.norm(xy - place) < radius + radius_m + 0.006:
            return False
    return True
