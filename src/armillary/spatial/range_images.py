"""Range images: a spinning LiDAR's sweep as a picture, rows by beam and columns by azimuth.

Numpy: data preparation.

Axes: H rows, W columns, P points.
Convention: the LiDAR's frame, x ahead, y left, z up. Row 0 looks highest. Columns run as a viewer
sees them, left to right: azimuth falls from behind over left, ahead (the middle) and right to
behind. Range is the distance in metres, not depth; NaN where nothing was hit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64

from armillary.core.errors import ShapeError


@dataclass(frozen=True)
class RangeView:
    """Where the pixels of a range image look.

    Attributes:
        elevation_rad: of each row above the x y plane, falling.
        columns: of a full turn.

    Raises:
        ShapeError: fewer than two rows or one column, or elevations that do not fall.
    """

    elevation_rad: tuple[float, ...]
    columns: int

    def __post_init__(self) -> None:
        falling = (np.diff(self.elevation_rad) < 0).all()
        if len(self.elevation_rad) < 2 or self.columns < 1 or not falling:
            raise ShapeError(
                f"A range image has two rows or more whose elevations fall, and a column or more; "
                f"got {len(self.elevation_rad)} rows and {self.columns} columns. Row 0 is the top."
            )

    def directions(self) -> Float[np.ndarray, "H W 3"]:
        """Return the unit direction of each pixel's middle."""
        elevation = np.array(self.elevation_rad)[:, None]
        azimuth = math.pi - (np.arange(self.columns) + 0.5) * (2 * math.pi / self.columns)
        flat = np.cos(elevation)
        x, y = flat * np.cos(azimuth), flat * np.sin(azimuth)
        return np.stack([x, y, np.broadcast_to(np.sin(elevation), x.shape)], axis=-1)

    def row_of(self, elevation_rad: Float[np.ndarray, " P"]) -> Int64[np.ndarray, " P"]:
        """Return the row with the nearest elevation; -1 beyond half a step outside."""
        rising = np.array(self.elevation_rad)[::-1]
        steps = np.diff(rising)
        middle = (rising[1:] + rising[:-1]) / 2
        edges = np.r_[rising[0] - steps[0] / 2, middle, rising[-1] + steps[-1] / 2]
        place = np.searchsorted(edges, elevation_rad, side="right") - 1
        inside = (place >= 0) & (place < len(rising))
        return np.where(inside, len(rising) - 1 - place, -1)


@dataclass(frozen=True)
class RangeImage:
    """A picture of ranges, and which points made it.

    Attributes:
        range_m: NaN where nothing was hit.
        index: row of the cloud in each pixel (for its intensity, colour, ...); -1 where empty.
    """

    range_m: Float[np.ndarray, "H W"]
    index: Int64[np.ndarray, "H W"]


def even_view(highest_rad: float, lowest_rad: float, rows: int, columns: int) -> RangeView:
    """Return a view with evenly spread rows, from the highest elevation to the lowest."""
    return RangeView(tuple(np.linspace(highest_rad, lowest_rad, rows).tolist()), columns)


def range_image(
    points_m: Float[np.ndarray, "P 3"],
    view: RangeView,
    ring: Int64[np.ndarray, " P"] | None = None,
) -> RangeImage:
    """Return the picture of a sweep; where points share a pixel the nearest wins.

    Args:
        points_m: in the LiDAR's frame; what is not finite, or at the origin, is left out.
        view: its rows and columns.
        ring: each point's row, where the sensor tells it; else the elevation decides.

    Raises:
        ShapeError: a ring outside of the view's rows.
    """
    distance_m = np.linalg.norm(points_m, axis=-1)
    row, column, seen = _pixels(points_m, distance_m, view, ring)
    kept = np.flatnonzero(seen)
    # Written from far to near, so that the nearest is what stays; ties keep the first point.
    order = kept[np.lexsort((kept, distance_m[kept]))][::-1]
    shape = len(view.elevation_rad), view.columns
    index = np.full(shape, -1, np.int64)
    index[row[order], column[order]] = order
    range_m = np.full(shape, np.nan, points_m.dtype)
    range_m[index >= 0] = distance_m[index[index >= 0]]
    return RangeImage(range_m, index)


def points_from_range_image(
    range_m: Float[np.ndarray, "H W"], view: RangeView
) -> Float[np.ndarray, "H W 3"]:
    """Return the point of each pixel in the LiDAR's frame, metres; NaN where nothing was hit.

    Points lie in the middle of their pixel: half a pixel off, at most, from where they were.

    Raises:
        ShapeError: a picture of another size than the view's.
    """
    shape = len(view.elevation_rad), view.columns
    if range_m.shape != shape:
        raise ShapeError(f"A range image of {shape} pixels was expected, got {range_m.shape}.")
    hit = np.isfinite(range_m) & (range_m > 0)
    return np.where(hit, range_m, np.nan)[..., None] * view.directions().astype(range_m.dtype)


def _pixels(
    points_m: np.ndarray, distance_m: np.ndarray, view: RangeView, ring: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, Bool[np.ndarray, " P"]]:
    """Return row, column, and whether a point is in the picture at all."""
    seen = np.isfinite(distance_m) & (distance_m > 0)
    x, y, z = np.where(seen[:, None], points_m, 1.0).astype(np.float64).T
    turned = (math.pi - np.arctan2(y, x)) * (view.columns / (2 * math.pi))
    # An azimuth of exactly -pi is the seam: it is column 0 again.
    column = np.floor(turned).astype(np.int64) % view.columns
    if ring is None:
        row = view.row_of(np.arctan2(z, np.hypot(x, y)))
    else:
        _check_ring(ring[seen], view)
        row = ring
    return row, column, seen & (row >= 0)


def _check_ring(ring: np.ndarray, view: RangeView) -> None:
    rows = len(view.elevation_rad)
    if len(ring) and not (ring.min() >= 0 and ring.max() < rows):
        raise ShapeError(
            f"Rings 0 to {rows - 1} were expected, got {ring.min()} to {ring.max()}; give the view "
            "of this LiDAR, and count rings from the top."
        )
