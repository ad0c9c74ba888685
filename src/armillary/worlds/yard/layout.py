"""The layout of a yard: its walls, boxes and posts, where they are solid, and who walks through.

Convention: x right, y up, metres, origin in the yard's middle; angles from x towards y.

Axes: *B any batch axes, M segments, C circles.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float64

Xy = tuple[float, float]

VEHICLE_RADIUS_M = 0.25
MOVER_RADIUS_M = 0.2
MOVER_SPEED_M_S = 0.35
_SIDE_M = (7.0, 10.0)
_HALF_M = (0.2, 0.8)  # half sides of boxes
_POST_M = (0.15, 0.45)  # radii of posts
# Between two things there is room to pass, or none at all for the eye to take for a way.
_PASSAGE_M = 2 * VEHICLE_RADIUS_M + 0.35
_WALL_HALF_M = 0.1
_GAP_M = (1.2, 1.8)
_TRIES = 60


@dataclass(frozen=True)
class Box:
    """A box: middle, half sides, turn."""

    xy: Xy
    half_m: Xy
    yaw_rad: float


@dataclass(frozen=True)
class Path:
    """The way of somebody who walks to and fro between two places at constant speed."""

    start: Xy
    end: Xy

    @property
    def length_m(self) -> float:
        """Length of one way."""
        return float(np.hypot(self.end[0] - self.start[0], self.end[1] - self.start[1]))

    def at(self, walked_m: float) -> Float64[np.ndarray, " 2"]:
        """Return the place after so many metres from the start, to and fro."""
        back = walked_m % (2 * self.length_m)
        share = min(back, 2 * self.length_m - back) / self.length_m
        return np.array(self.start) + share * np.subtract(self.end, self.start)


@dataclass(frozen=True)
class Layout:
    """A yard.

    Attributes:
        half_m: half sides of the walled yard along x and y.
        boxes: what stands in it, inner walls included.
        posts: (x, y, radius) of each.
        path: of the mover; None where nobody walks.
    """

    half_m: Xy
    boxes: tuple[Box, ...]
    posts: tuple[tuple[float, float, float], ...]
    path: Path | None = None

    @cached_property
    def segments_m(self) -> Float64[np.ndarray, "M 4"]:
        """Both ends of every side of walls and boxes."""
        outer = Box((0.0, 0.0), self.half_m, 0.0)
        return np.concatenate([_sides(box) for box in (outer, *self.boxes)])

    @cached_property
    def circles_m(self) -> Float64[np.ndarray, "C 3"]:
        """Middle and radius of every post."""
        return np.array(self.posts, np.float64).reshape(-1, 3)

    @cached_property
    def _frames(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Middles [K 2], rotations into the boxes' own axes [K 2 2], half sides [K 2]."""
        middle = np.array([box.xy for box in self.boxes]).reshape(-1, 2)
        half = np.array([box.half_m for box in self.boxes]).reshape(-1, 2)
        yaw = np.array([box.yaw_rad for box in self.boxes])
        turn = np.stack([np.cos(yaw), np.sin(yaw), -np.sin(yaw), np.cos(yaw)], -1)
        return middle, turn.reshape(-1, 2, 2), half

    def clearance(
        self, xy: Float[np.ndarray, "*B 2"], mover: Float[np.ndarray, " 2"] | None = None
    ) -> Float64[np.ndarray, "*B"]:
        """Return metres to the nearest thing; below zero inside it.

        Args:
            xy: places.
            mover: where somebody stands, to be counted as a thing.
        """
        room = (np.array(self.half_m) - np.abs(xy)).min(axis=-1)
        middle, turn, half = self._frames
        if len(half):
            own = np.einsum("kij,...kj->...ki", turn, xy[..., None, :] - middle)
            beyond = np.abs(own) - half
            far = np.linalg.norm(np.maximum(beyond, 0.0), axis=-1)
            room = np.minimum(room, (far + np.minimum(beyond.max(axis=-1), 0.0)).min(axis=-1))
        circles = self.circles_m
        if mover is not None:
            circles = np.concatenate([circles, [[mover[0], mover[1], MOVER_RADIUS_M]]])
        if len(circles):
            gap = np.linalg.norm(xy[..., None, :] - circles[:, :2], axis=-1) - circles[:, 2]
            room = np.minimum(room, gap.min(axis=-1))
        return np.asarray(room)

    def draw_free(
        self, rng: np.random.Generator, room_m: float, mover: Float[np.ndarray, " 2"] | None = None
    ) -> Float64[np.ndarray, " 2"]:
        """Draw a place with so much room around it."""
        while True:
            places = rng.uniform(-1.0, 1.0, (16, 2)) * self.half_m
            free = np.flatnonzero(self.clearance(places, mover) >= room_m)
            if len(free):
                return places[free[0]]


def draw_layout(rng: np.random.Generator, num_things: tuple[int, int], moving: bool) -> Layout:
    """Draw a yard.

    Args:
        rng: chance.
        num_things: fewest and most boxes and posts that are tried; those without room are left
            out.
        moving: whether somebody walks in it.
    """
    layout = Layout(tuple((rng.uniform(*_SIDE_M, 2) / 2).tolist()), (), ())
    if rng.uniform() < 0.5:
        layout = _with_inner_wall(layout, rng)
    for _ in range(int(rng.integers(num_things[0], num_things[1] + 1))):
        layout = _with_thing(layout, rng)
    return _with_path(layout, rng) if moving else layout


def _with_inner_wall(layout: Layout, rng: np.random.Generator) -> Layout:
    """Add a wall from side to side with a gap to drive through."""
    across = int(rng.integers(2))
    width, depth = layout.half_m[1 - across], layout.half_m[across]
    place, gap = rng.uniform(-0.35, 0.35) * depth, rng.uniform(*_GAP_M)
    middle = rng.uniform(-width + gap, width - gap)
    boxes = []
    for low, high in ((-width, middle - gap / 2), (middle + gap / 2, width)):
        along, thick = ((low + high) / 2, place), ((high - low) / 2, _WALL_HALF_M)
        xy, half = (along, thick) if across else (along[::-1], thick[::-1])
        boxes.append(Box((float(xy[0]), float(xy[1])), (float(half[0]), float(half[1])), 0.0))
    return Layout(layout.half_m, (*layout.boxes, *boxes), layout.posts)


def _with_thing(layout: Layout, rng: np.random.Generator) -> Layout:
    """Add a box or a post with a passage all around it; nothing where there is no room."""
    for _ in range(_TRIES):
        x, y = (rng.uniform(-1.0, 1.0, 2) * layout.half_m).tolist()
        if rng.uniform() < 0.6:
            half, yaw = rng.uniform(*_HALF_M, 2).tolist(), rng.uniform(-np.pi, np.pi)
            box = Box((x, y), (half[0], half[1]), float(yaw))
            if _room(layout, _around(box)) >= _PASSAGE_M:
                return Layout(layout.half_m, (*layout.boxes, box), layout.posts)
        else:
            radius = float(rng.uniform(*_POST_M))
            if _room(layout, np.array([[x, y]])) >= _PASSAGE_M + radius:
                return Layout(layout.half_m, layout.boxes, (*layout.posts, (x, y, radius)))
    return layout


def _with_path(layout: Layout, rng: np.random.Generator) -> Layout:
    """Add the longest of some straight ways that are free; none where there is none of a metre."""
    best: Path | None = None
    for _ in range(_TRIES):
        ends = [layout.draw_free(rng, MOVER_RADIUS_M + 0.1) for _ in range(2)]
        path = Path(*[(float(x), float(y)) for x, y in ends])
        way = ends[0] + np.linspace(0, 1, 60)[:, None] * (ends[1] - ends[0])
        longer = path.length_m > (1.0 if best is None else best.length_m)
        if longer and layout.clearance(way).min() >= MOVER_RADIUS_M + 0.05:
            best = path
    return Layout(layout.half_m, layout.boxes, layout.posts, best)


def _room(layout: Layout, places: np.ndarray) -> float:
    return float(layout.clearance(places).min())


def _around(box: Box) -> Float64[np.ndarray, "_ 2"]:
    """Return points all along a box's sides, close enough that nothing passes between them."""
    sides = _sides(box)
    share = np.linspace(0.0, 1.0, 9)[:, None]
    return np.concatenate([side[:2] + share * (side[2:] - side[:2]) for side in sides])


def _sides(box: Box) -> Float64[np.ndarray, "4 4"]:
    c, s = np.cos(box.yaw_rad), np.sin(box.yaw_rad)
    corners = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)]) * box.half_m
    corners = corners @ np.array([[c, s], [-s, c]]) + box.xy
    return np.concatenate([corners, np.roll(corners, -1, axis=0)], axis=1)
