"""Pillars: a cloud seen from above, as columns of points and as a map of what is taken.

Numpy: data preparation.

Axes: P points, C features, N pillars that hold a point. Maps are [x y] cells.
Convention: metres; a grid with one cell along z bounds the height; points outside or not finite
are left out.
Source: Lang et al. 2019, "PointPillars".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int64

from armillary.core.errors import ConfigError, ShapeError
from armillary.spatial.voxels import Grid, occupancy


@dataclass(frozen=True)
class Pillars:
    """The filled columns of a grid, ascending by x, then y.

    Attributes:
        features: of the points in each, zero where there are fewer than fit.
        counts: how many rows of ``features`` are points.
        seen: how many points the column held before any were left out.
        cells: x and y of the column.
    """

    features: Float[np.ndarray, "N most C"]
    counts: Int64[np.ndarray, " N"]
    seen: Int64[np.ndarray, " N"]
    cells: Int64[np.ndarray, "N 2"]


def pillars(
    points: Float[np.ndarray, "P C"],
    grid: Grid,
    most: int,
    rng: np.random.Generator | None = None,
) -> Pillars:
    """Return the points of each column, at most so many.

    Args:
        points: x, y, z in metres, then any features.
        grid: its cells along z count as one.
        most: points kept in a column.
        rng: draws which are kept in a full one; None keeps the first.

    Raises:
        ConfigError: no room for a point.
        ShapeError: fewer than three columns.
    """
    if most < 1:
        raise ConfigError(f"A pillar keeps one point or more, got {most}.")
    if points.shape[1] < 3:
        raise ShapeError(f"Points are x, y, z and features, got {points.shape[1]} columns.")
    cells, inside = grid.cell_of(points[:, :3])
    rows = np.flatnonzero(inside)
    rows = rows if rng is None else rng.permutation(rows)
    flat = cells[rows, 0] * grid.cells[1] + cells[rows, 1]
    filled, pillar, seen = np.unique(flat, return_inverse=True, return_counts=True)
    # Points of one column stand together, in their order; a place is what it has before it.
    order = np.argsort(pillar, kind="stable")
    place = np.arange(len(order)) - np.repeat(seen.cumsum() - seen, seen)
    kept = place < most
    features = np.zeros((len(filled), most, points.shape[1]), points.dtype)
    features[pillar[order][kept], place[kept]] = points[rows[order][kept]]
    where = np.stack([filled // grid.cells[1], filled % grid.cells[1]], axis=-1)
    return Pillars(features, np.minimum(seen, most), seen, where)


def scatter_pillars(
    values: Float[np.ndarray, "N C"], cells: Int64[np.ndarray, "N 2"], grid: Grid
) -> Float[np.ndarray, "x y C"]:
    """Return a map with the pillars' values in their cells, zero elsewhere."""
    made = np.zeros((*grid.cells[:2], values.shape[1]), values.dtype)
    made[cells[:, 0], cells[:, 1]] = values
    return made


def birds_eye(points_m: Float[np.ndarray, "P 3"], grid: Grid) -> Bool[np.ndarray, "x y"]:
    """Return which columns of a grid hold a point."""
    height_m = grid.cell_m[2] * grid.cells[2]
    flat = replace(grid, cell_m=(*grid.cell_m[:2], height_m), cells=(*grid.cells[:2], 1))
    return occupancy(points_m, flat)[..., 0]
