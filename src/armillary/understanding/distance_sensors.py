"""Distance sensors: small maps of what depth cameras, lasers and scanners of clouds measure.

A depth picture, a laser scan or a point cloud becomes a map: the mean depth or range in each cell
of the picture, or in each sector of directions around the sensor. Where poses are recorded, the
points can be moved to where the sensor is at another time.

How sure: a cell averages near and far things at an edge, so errors are smaller than those of single
beams, for all contestants alike.

Axes: F frames, P points, C cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int

from armillary.data import Cache
from armillary.data.layout import first_of_kind
from armillary.spatial import relative

SIDE = 8  # cells along each side of a depth picture
SECTORS = 32  # of azimuth
_ROWS = 4  # of elevation, where points come from several
_METRES_PER_MM = 0.001


@dataclass(frozen=True)
class Cells:
    """Maps of points.

    Attributes:
        mean: distance in each cell, metres; NaN where there is no point.
        nearest: likewise, of the nearest point.
        count: points.
    """

    mean: Float[np.ndarray, "F C"]
    nearest: Float[np.ndarray, "F C"]
    count: Int[np.ndarray, "F C"]


@dataclass(frozen=True)
class DistanceSensor:
    """One sensor that measures distance.

    Attributes:
        cache: prepared episodes.
        name: of the stream in the cache.
        kind: depth, lidar or points.
        beams: unit vectors of the beams of a laser [P 3]; None for another sensor, or if unknown.
        edges: elevations in radians between the rows of a cloud's map.
    """

    cache: Cache
    name: str
    kind: str
    beams: Float[np.ndarray, "P 3"] | None = None
    edges: tuple[float, ...] = ()

    @property
    def cells(self) -> int:
        """Number of cells of the map."""
        rows, columns = self.shape
        return rows * columns

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the map."""
        return (SIDE, SIDE) if self.kind == "depth" else (len(self.edges) + 1, SECTORS)

    @cached_property
    def pose(self) -> str | None:
        """Name of the stream with the sensor's pose; None where nothing can be moved by it."""
        name = "world_from_camera" if self.kind == "depth" else "world_from_lidar"
        lens = self.kind != "depth" or self.cache.intrinsics is not None
        beams = self.kind != "lidar" or self.beams is not None
        if not (lens and beams and name in self.cache.arrays):
            return None
        return name if np.isfinite(self.cache.arrays[name]).all() else None

    def maps(self, frames: Int[np.ndarray, " F"]) -> Float[np.ndarray, "F C"]:
        """Return the maps of frames, metres; NaN where nothing was measured."""
        if self.kind == "depth":
            depth_m = self._depth(frames)
            rows, columns = np.indices(depth_m.shape[1:]).reshape(2, -1)
            where = self._cell_of_pixel(rows, columns)
            flat = depth_m.reshape(len(frames), -1)
            return _cells(np.broadcast_to(where, flat.shape), flat, self.cells).mean
        if self.kind == "lidar" and self.beams is None:
            ranges = np.take(self.cache.arrays[self.name], frames, axis=0)
            where = np.arange(ranges.shape[1]) * SECTORS // ranges.shape[1]
            return _cells(np.broadcast_to(where, ranges.shape), ranges, self.cells).mean
        return self._seen(self.points(frames), frames).mean

    def moved(
        self, frames: Int[np.ndarray, " F"], later_from_then: Float[np.ndarray, "F 4 4"]
    ) -> Cells:
        """Return the maps that the points of frames give from another place.

        Args:
            frames: when they were measured.
            later_from_then: takes points from the sensor's frame there to that of the other place.
        """
        assert self.pose is not None
        turned = self.points(frames) @ later_from_then[:, :3, :3].swapaxes(1, 2)
        return self._seen(turned + later_from_then[:, None, :3, 3], frames)

    def relative(
        self, ones: Int[np.ndarray, " F"], others: Int[np.ndarray, " F"]
    ) -> Float[np.ndarray, "F 4 4"]:
        """Return what takes points from the sensor's frame at ``others`` to that at ``ones``."""
        assert self.pose is not None
        poses = self.cache.arrays[self.pose]
        pair = (torch.from_numpy(poses[some].astype(np.float64)) for some in (ones, others))
        return relative(*pair).numpy()

    def points(self, frames: Int[np.ndarray, " F"]) -> Float[np.ndarray, "F P 3"]:
        """Return what was measured as points in the sensor's own frame, NaN where nothing was."""
        values = np.take(self.cache.arrays[self.name], frames, axis=0)
        if self.kind == "points":
            return values[..., :3].astype(np.float64)
        if self.kind == "lidar":
            assert self.beams is not None
            return values[..., None] * self.beams
        depth_m = self._depth(frames)
        rows, columns = np.indices(depth_m.shape[1:])
        pixels = np.stack([columns, rows, np.ones_like(rows)], -1).reshape(-1, 3)
        rays = pixels @ np.linalg.inv(self._lens(frames)).swapaxes(1, 2)
        return rays * depth_m.reshape(len(frames), -1, 1)

    def _seen(self, points: np.ndarray, frames: np.ndarray) -> Cells:
        """Return the maps of points in the sensor's frame."""
        if self.kind == "depth":
            front = np.where(points[..., 2:] > 1e-3, points, np.nan)
            pixels = front @ self._lens(frames).swapaxes(1, 2) / front[..., 2:]
            columns, rows = pixels[..., 0], pixels[..., 1]
            return _cells(self._cell_of_pixel(rows, columns), front[..., 2], self.cells)
        range_m = np.linalg.norm(points, axis=-1)
        azimuth = np.arctan2(points[..., 1], points[..., 0])
        sector = np.floor((azimuth / (2 * np.pi) + 0.5) * SECTORS).clip(0, SECTORS - 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            elevation = np.arcsin(points[..., 2] / range_m)
        row = np.searchsorted(self.edges, elevation) if self.edges else 0
        return _cells(sector + SECTORS * row, range_m, self.cells)

    def _cell_of_pixel(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the cell of pixels; -1 outside of the picture."""
        high, wide = self.cache.size
        row = np.floor((rows + 0.5) * SIDE / high)
        column = np.floor((columns + 0.5) * SIDE / wide)
        with np.errstate(invalid="ignore"):
            inside = (row >= 0) & (row < SIDE) & (column >= 0) & (column < SIDE)
        return np.where(inside, row * SIDE + column, -1)

    def _depth(self, frames: np.ndarray) -> Float[np.ndarray, "F H W"]:
        values = np.take(self.cache.arrays[self.name], frames, axis=0)
        return np.where(values > 0, values * _METRES_PER_MM, np.nan)

    def _lens(self, frames: np.ndarray) -> Float[np.ndarray, "F 3 3"]:
        assert self.cache.intrinsics is not None
        episode = np.searchsorted(self.cache.starts, frames, side="right") - 1
        return self.cache.intrinsics[episode].astype(np.float64)


def distance_sensors(
    cache: Cache,
    azimuths_rad: Sequence[float] = (),
    elevations_rad: Sequence[float] = (),
) -> tuple[DistanceSensor, ...]:
    """Return the sensors of a recording that measure distance.

    Args:
        cache: prepared episodes.
        azimuths_rad: of the beams of its laser; empty where they are unknown.
        elevations_rad: likewise; empty for a level fan.
    """
    found = []
    for kind in ("depth", "lidar", "points"):
        name = first_of_kind(cache.kinds, kind)
        if name is None or name not in cache.arrays:
            continue
        if kind == "depth":
            found.append(DistanceSensor(cache, name, kind))
        elif kind == "points":
            found.append(DistanceSensor(cache, name, kind, edges=_edges(cache.arrays[name])))
        elif len(azimuths_rad) == cache.arrays[name].shape[1]:
            azimuth = np.asarray(azimuths_rad, np.float64)
            elevation = np.asarray(elevations_rad or np.zeros(len(azimuth)), np.float64)
            flat = np.cos(elevation)
            beams = [flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)]
            edges = _between(elevation) if np.ptp(elevation) > 0 else ()
            found.append(DistanceSensor(cache, name, kind, np.stack(beams, 1), edges))
        else:
            found.append(DistanceSensor(cache, name, kind))
    return tuple(found)


def _cells(cell: np.ndarray, value: np.ndarray, cells: int) -> Cells:
    """Return the maps of values [F P] that lie in cells [F P]."""
    frame = np.broadcast_to(np.arange(len(value))[:, None], value.shape)
    # a measured distance is above zero, also where a sensor writes zero for no return
    there = np.isfinite(value) & (value > 0) & np.isfinite(cell) & (cell >= 0)
    index = frame[there] * cells + cell[there].astype(np.int64)
    size = len(value) * cells
    total = np.bincount(index, weights=value[there], minlength=size)
    count = np.bincount(index, minlength=size)
    mean, nearest = np.full(size, np.nan), np.full(size, np.inf)
    np.divide(total, count, out=mean, where=count > 0)
    np.minimum.at(nearest, index, value[there])
    nearest[count == 0] = np.nan
    return Cells(*(flat.reshape(len(value), cells) for flat in (mean, nearest, count)))


def _edges(clouds: np.ndarray) -> tuple[float, ...]:
    some = clouds[:: max(1, len(clouds) // 64), :, :3].reshape(-1, 3).astype(np.float64)
    some = some[np.isfinite(some).all(axis=1) & (np.abs(some).sum(axis=1) > 0)]
    if not len(some):
        return ()
    return _between(np.arcsin(some[:, 2] / np.linalg.norm(some, axis=1)))


def _between(elevation: np.ndarray) -> tuple[float, ...]:
    """Return the elevations that cut points into rows of equally many."""
    return tuple(np.quantile(elevation, np.arange(1, _ROWS) / _ROWS).tolist())
