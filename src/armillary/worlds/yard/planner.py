"""The planner of the yard: shortest ways on a grid over the true map, and how to steer along them.

Ways keep away from things where there is room. The one who walks is not on the map: the vehicle
waits for them.

Axes: I J cells of the grid, along x and y.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float64, Int32
from scipy import sparse
from scipy.sparse import csgraph

from armillary.worlds.yard.drive import Pose
from armillary.worlds.yard.layout import MOVER_RADIUS_M, VEHICLE_RADIUS_M, Layout

_CELL_M = 0.1
_ROOM_M = VEHICLE_RADIUS_M + 0.05
# Cells closer to things than this cost up to three times their length.
_SHY_M, _SHY = 0.3, 2.0
_LOOKAHEAD_CELLS = 12
_STRAIGHT_ROOM_M = VEHICLE_RADIUS_M + 0.02
_TURN_FIRST_RAD = 0.5
_WAIT_M = 0.06
_KEPT_YARDS, _KEPT_WAYS = 4, 16


@dataclass(frozen=True)
class Ways:
    """The shortest ways from everywhere to one cell.

    Attributes:
        cost_m: of each cell, metres, more where it is narrow; infinity where there is no way.
        following: number of the next cell on the way, below zero at its end and off the ways.
        corner_m: middle of cell 0, 0.
    """

    cost_m: Float64[np.ndarray, "I J"]
    following: Int32[np.ndarray, "I J"]
    corner_m: Float64[np.ndarray, " 2"]

    def cost_from(self, xy: Float64[np.ndarray, " 2"]) -> float:
        """Return the cost of the way from the open cell that is nearest to a place."""
        return float(self.cost_m.flat[self._nearest(xy)])

    def way(self, xy: Float64[np.ndarray, " 2"], num_cells: int) -> Float64[np.ndarray, "_ 2"]:
        """Return the middles of the next cells on the way from a place."""
        cells = [self._nearest(xy)]
        while len(cells) < num_cells and self.following.flat[cells[-1]] >= 0:
            cells.append(int(self.following.flat[cells[-1]]))
        index = np.stack(np.unravel_index(cells, self.cost_m.shape), axis=-1)
        return self.corner_m + _CELL_M * index

    def _nearest(self, xy: Float64[np.ndarray, " 2"]) -> int:
        """Return the number of the nearest cell that has a way."""
        open_cells = np.argwhere(np.isfinite(self.cost_m))
        gap = self.corner_m + _CELL_M * open_cells - xy
        best = open_cells[int(np.square(gap).sum(axis=1).argmin())]
        return int(np.ravel_multi_index(tuple(best), self.cost_m.shape))


def ways_to(layout: Layout, xy: Float64[np.ndarray, " 2"]) -> Ways:
    """Return the ways to the open cell that is nearest to a place."""
    _, corner, shape, open_cells = _graph(layout)
    gap = corner + _CELL_M * open_cells - xy
    best = open_cells[int(np.square(gap).sum(axis=1).argmin())]
    return _ways(layout, int(np.ravel_multi_index(tuple(best), shape)))


def steer(
    layout: Layout,
    pose: Pose,
    goal: Float64[np.ndarray, " 2"],
    mover: Float64[np.ndarray, " 2"] | None,
    limits: tuple[float, float],
    step_s: float,
) -> Float64[np.ndarray, " 2"]:
    """Return the command (m/s, rad/s) along the way to a goal.

    Heads for the farthest place on the way that can be reached in a straight line; turns on the
    spot first where that is far aside.

    Args:
        layout: the true map.
        pose: of the vehicle.
        goal: where to get.
        mover: where somebody walks; the vehicle waits rather than come close.
        limits: highest speed and turn rate.
        step_s: how long the command lasts.
    """
    target = _ahead(layout, pose.xy, goal)
    gap = target - pose.xy
    far = float(np.hypot(*gap))
    aside = (float(np.arctan2(gap[1], gap[0])) - pose.yaw_rad + np.pi) % (2 * np.pi) - np.pi
    turn = float(np.clip(aside / step_s, -limits[1], limits[1]))
    speed = 0.0 if abs(aside) > _TURN_FIRST_RAD else min(limits[0], far / step_s)
    if mover is not None and speed > 0:
        there = pose.xy + gap / max(far, 1e-9) * min(far, speed * step_s + _WAIT_M)
        if np.hypot(*(there - mover)) < VEHICLE_RADIUS_M + MOVER_RADIUS_M + _WAIT_M:
            closer = np.hypot(*(there - mover)) < np.hypot(*(pose.xy - mover))
            speed = 0.0 if closer else speed
    return np.array([speed, turn])


def _ahead(
    layout: Layout, xy: Float64[np.ndarray, " 2"], goal: Float64[np.ndarray, " 2"]
) -> Float64[np.ndarray, " 2"]:
    """Return the farthest place on the way that a straight line leads to."""
    cells = ways_to(layout, goal).way(xy, _LOOKAHEAD_CELLS)
    places = [*cells, goal] if len(cells) < _LOOKAHEAD_CELLS else [*cells]
    for place in reversed(places):
        line = xy + np.linspace(0.0, 1.0, 24)[1:, None] * (place - xy)
        if layout.clearance(line).min() >= _STRAIGHT_ROOM_M:
            return place
    return places[0]


@lru_cache(maxsize=_KEPT_WAYS)
def _ways(layout: Layout, cell: int) -> Ways:
    graph, corner, shape, _ = _graph(layout)
    cost, following = csgraph.dijkstra(graph, indices=cell, return_predecessors=True)
    return Ways(cost.reshape(shape), following.reshape(shape).astype(np.int32), corner)


@lru_cache(maxsize=_KEPT_YARDS)
def _graph(
    layout: Layout,
) -> tuple[sparse.csr_matrix, np.ndarray, tuple[int, int], np.ndarray]:
    """Return edges between neighbouring open cells, the first cell's middle, shape, open cells."""
    shape = (int(2 * layout.half_m[0] / _CELL_M), int(2 * layout.half_m[1] / _CELL_M))
    corner = -_CELL_M * (np.array(shape) - 1) / 2
    cells = np.moveaxis(np.mgrid[: shape[0], : shape[1]], 0, -1)
    room = layout.clearance(corner + _CELL_M * cells) - _ROOM_M
    numbers = np.arange(room.size).reshape(shape)
    price = 1.0 + _SHY * np.clip(1.0 - room / _SHY_M, 0.0, 1.0)
    rows, columns, lengths = [], [], []
    for di, dj in ((1, 0), (0, 1), (1, 1), (1, -1)):
        here = (slice(0, shape[0] - di), slice(max(-dj, 0), shape[1] - max(dj, 0)))
        there = (slice(di, shape[0]), slice(max(dj, 0), shape[1] - max(-dj, 0)))
        both = (room[here] >= 0) & (room[there] >= 0)
        rows.append(numbers[here][both])
        columns.append(numbers[there][both])
        mean = (price[here][both] + price[there][both]) / 2
        lengths.append(mean * _CELL_M * float(np.hypot(di, dj)))
    entries = np.concatenate(lengths), (np.concatenate(rows), np.concatenate(columns))
    graph = sparse.coo_matrix(entries, shape=(room.size, room.size)).tocsr()
    return graph + graph.T, corner, shape, np.argwhere(room >= 0)
