"""Voxels: space in cubes, to thin a cloud out evenly or to say where something is.

Numpy: data preparation. The order of the result depends on the places alone, never on the order of
the points: cells ascend by x, then y, then z.

Axes: P points, C features, N cells that hold something. Grids are [x y z] cells.
Convention: metres; a cell holds its lower faces, not its upper ones; points that are not finite
are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64

from armillary.core.errors import ConfigError, ShapeError

# A grid takes one byte a cell or more; 2^28 is 256 MB of booleans.
MOST_CELLS = 2**28


@dataclass(frozen=True)
class Grid:
    """A box of equal cells.

    Attributes:
        low_m: the corner with the smallest x, y, z.
        cell_m: the sides of a cell.
        cells: how many along x, y, z. One along z makes it a map from above.

    Raises:
        ConfigError: a side that is not positive and finite, no cells, or more than ``MOST_CELLS``.
    """

    low_m: tuple[float, float, float]
    cell_m: tuple[float, float, float]
    cells: tuple[int, int, int]

    def __post_init__(self) -> None:
        if not (np.isfinite([*self.low_m, *self.cell_m]).all() and min(self.cell_m) > 0):
            raise ConfigError(
                f"A grid's corner is finite and its cells have positive sides in metres, got "
                f"{self.low_m} and {self.cell_m}."
            )
        if min(self.cells) < 1 or int(np.prod(self.cells, dtype=object)) > MOST_CELLS:
            raise ConfigError(
                f"A grid has 1 to {MOST_CELLS} cells in all, got {self.cells}; make the cells "
                "larger or the box smaller."
            )

    def cell_of(
        self, points_m: Float[np.ndarray, "P 3"]
    ) -> tuple[Int64[np.ndarray, "P 3"], Bool[np.ndarray, " P"]]:
        """Return the cell of each point and whether it is inside the box (else its cell is 0)."""
        with np.errstate(invalid="ignore", over="ignore"):
            place = np.floor((points_m.astype(np.float64) - self.low_m) / self.cell_m)
            inside = np.logical_and.reduce((place >= 0) & (place < self.cells), axis=-1)
        return np.where(inside[:, None], place, 0).astype(np.int64), inside

    def centres(self) -> Float[np.ndarray, "*grid 3"]:
        """Return the middle of each cell, metres [x y z 3]."""
        index = np.moveaxis(np.indices(self.cells), 0, -1)
        return np.asarray(self.low_m) + (index + 0.5) * np.asarray(self.cell_m)


@dataclass(frozen=True)
class Voxels:
    """A thinned cloud: one point for each voxel that holds any.

    Attributes:
        points_m: mean of the points in the voxel.
        features: mean of their features, or None.
        counts: how many they were.
        cells: the voxel, counted from the world's origin; it begins at ``cells * size_m``.
        index: for each point that went in, its row here; -1 where the point was not finite.
    """

    points_m: Float[np.ndarray, "N 3"]
    features: Float[np.ndarray, "N C"] | None
    counts: Int64[np.ndarray, " N"]
    cells: Int64[np.ndarray, "N 3"]
    index: Int64[np.ndarray, " P"]


def voxel_downsample(
    points_m: Float[np.ndarray, "P 3"],
    size_m: float,
    features: Float[np.ndarray, "P C"] | None = None,
) -> Voxels:
    """Return the mean of the points (and features) in each cube of space.

    Args:
        points_m: a cloud; sums are taken in float64.
        size_m: side of a cube.
        features: colour, intensity, ... of each point.

    Raises:
        ConfigError: a size that is not positive and finite.
        ShapeError: a cloud too wide for cubes that small (places no longer fit 63 bits).
    """
    if not (np.isfinite(size_m) and size_m > 0):
        raise ConfigError(f"A voxel's side is a positive number of metres, got {size_m}.")
    finite = np.isfinite(points_m).all(axis=-1)
    kept = points_m[finite]
    cells, row, counts = _group(kept, size_m)
    index = np.full(len(points_m), -1, np.int64)
    index[finite] = row
    mean = None if features is None else _mean(features[finite], row, counts)
    return Voxels(_mean(kept, row, counts), mean, counts, cells, index)


def occupancy(points_m: Float[np.ndarray, "P 3"], grid: Grid) -> Bool[np.ndarray, "*grid"]:
    """Return which cells [x y z] hold a point; points outside are left out."""
    cells, inside = grid.cell_of(points_m)
    held = np.zeros(grid.cells, bool)
    held[tuple(cells[inside].T)] = True
    return held


def point_counts(points_m: Float[np.ndarray, "P 3"], grid: Grid) -> Int64[np.ndarray, "*grid"]:
    """Return how many points each cell [x y z] holds; points outside are left out."""
    cells, inside = grid.cell_of(points_m)
    flat = np.ravel_multi_index(tuple(cells[inside].T), grid.cells)
    return np.bincount(flat, minlength=int(np.prod(grid.cells))).reshape(grid.cells)


def _group(points_m: np.ndarray, size_m: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the filled voxels [N 3] in ascending order, each point's row, and the counts."""
    if not len(points_m):
        return np.empty((0, 3), np.int64), np.empty(0, np.int64), np.empty(0, np.int64)
    place = np.floor(points_m.astype(np.float64) / size_m)
    low, high = place.min(axis=0), place.max(axis=0)
    # 2^53: up to there a float64 still tells neighbours apart.
    if np.abs([low, high]).max() >= 2.0**53 or np.prod(high - low + 1) >= 2.0**62:
        raise ShapeError(
            f"A cloud from {points_m.min():.3g} to {points_m.max():.3g} m has too many voxels of "
            f"{size_m:g} m to count; is it in metres, and without outliers?"
        )
    sides = (high - low + 1).astype(np.int64)
    step = np.array([sides[1] * sides[2], sides[2], 1])
    keys, row, counts = np.unique(
        (place - low).astype(np.int64) @ step, return_inverse=True, return_counts=True
    )
    cells = np.stack(np.unravel_index(keys, tuple(sides)), axis=-1) + low.astype(np.int64)
    return cells, row, counts


def _mean(values: np.ndarray, row: np.ndarray, counts: np.ndarray) -> np.ndarray:
    columns = [np.bincount(row, weights=column, minlength=len(counts)) for column in values.T]
    sums = np.stack(columns, axis=-1) if columns else np.empty((len(counts), 0))
    return (sums / counts[:, None]).astype(values.dtype)
