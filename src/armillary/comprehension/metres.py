"""Metres: how far predicted depth or range is from what was measured, beside plain baselines.

A depth picture, a laser scan or a point cloud becomes a small map: the mean depth or range in each
cell of the picture, or in each sector of directions around the sensor. The map is read from the
latent by ridge, fitted on training steps with true latents and applied to predicted ones
(``space_read_out.py``). The read-out may have the present map beside the latent, which is known to
every contestant; ``no_latent`` is the same read-out from latents that are zero.

    copy_last   the present map
    mean        the mean of the training maps
    rigid_warp  the present points, moved by the recorded poses; it knows the later pose, which a
                model without odometry must predict. Only where poses (and the lens) are known.

A cell in which nothing was measured is not judged. Where a contestant has nothing in a cell, it
takes the present map's value there, else the training mean. The error of a step is the mean
absolute error over its cells.

How sure: a cell averages near and far things at an edge, so errors are smaller than those of single
beams, for all contestants alike.

Axes: F frames, P points, C cells, W windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from armillary.comprehension.evidence import Evidence, Limits
from armillary.comprehension.prediction_error import roll_out, validation_groups
from armillary.comprehension.space_read_out import SpaceWindows, read_predicted
from armillary.comprehension.statistics import group_draws, group_sums, quantile_interval
from armillary.core.protocols import WorldModel
from armillary.core.rng import generator
from armillary.data import Cache
from armillary.data.layout import first_of_kind

AHEAD = (1, 3)  # model steps
_SIDE = 8  # cells along each side of a depth picture
_SECTORS = 32  # of azimuth
_ROWS = 4  # of elevation, where points come from several
_METRES_PER_MM = 0.001
_AT_ONCE = 256  # frames


@dataclass(frozen=True)
class Gauge:
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
        if self.kind == "depth":
            return _SIDE * _SIDE
        return _SECTORS * (len(self.edges) + 1)

    @property
    def pose(self) -> str | None:
        """Name of the stream with the sensor's pose; None where nothing can be moved by it."""
        name = "world_from_camera" if self.kind == "depth" else "world_from_lidar"
        lens = self.kind != "depth" or self.cache.intrinsics is not None
        beams = self.kind != "lidar" or self.beams is not None
        return name if lens and beams and name in self.cache.arrays else None

    def maps(self, frames: Int[np.ndarray, " F"]) -> Float[np.ndarray, "F C"]:
        """Return the maps of frames, metres; NaN where nothing was measured."""
        if self.kind == "depth":
            depth_m = self._depth(frames)
            rows, columns = np.indices(depth_m.shape[1:]).reshape(2, -1)
            where = self._cell_of_pixel(rows, columns)
            flat = depth_m.reshape(len(frames), -1)
            return _means(np.broadcast_to(where, flat.shape), flat, self.cells)
        if self.kind == "lidar" and self.beams is None:
            ranges = np.take(self.cache.arrays[self.name], frames, axis=0)
            where = np.arange(ranges.shape[1]) * _SECTORS // ranges.shape[1]
            return _means(np.broadcast_to(where, ranges.shape), ranges, self.cells)
        return self._seen(self.points(frames), frames)

    def warped(
        self, now: Int[np.ndarray, " W"], later: Int[np.ndarray, " W"]
    ) -> Float[np.ndarray, "W C"]:
        """Return the maps that the points of ``now`` give from where the sensor is ``later``."""
        assert self.pose is not None
        poses = self.cache.arrays[self.pose]
        moved = np.linalg.inv(poses[later].astype(np.float64)) @ poses[now].astype(np.float64)
        points = self.points(now) @ moved[:, :3, :3].swapaxes(1, 2) + moved[:, None, :3, 3]
        return self._seen(points, later)

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

    def _seen(self, points: np.ndarray, frames: np.ndarray) -> Float[np.ndarray, "F C"]:
        """Return the maps of points in the sensor's frame."""
        if self.kind == "depth":
            front = np.where(points[..., 2:] > 1e-3, points, np.nan)
            pixels = front @ self._lens(frames).swapaxes(1, 2) / front[..., 2:]
            columns, rows = pixels[..., 0], pixels[..., 1]
            return _means(self._cell_of_pixel(rows, columns), front[..., 2], self.cells)
        range_m = np.linalg.norm(points, axis=-1)
        azimuth = np.arctan2(points[..., 1], points[..., 0])
        sector = np.floor((azimuth / (2 * np.pi) + 0.5) * _SECTORS).clip(0, _SECTORS - 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            elevation = np.arcsin(points[..., 2] / range_m)
        row = np.searchsorted(self.edges, elevation) if self.edges else 0
        return _means(sector + _SECTORS * row, range_m, self.cells)

    def _cell_of_pixel(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the cell of pixels; -1 outside of the picture."""
        high, wide = self.cache.size
        row = np.floor((rows + 0.5) * _SIDE / high)
        column = np.floor((columns + 0.5) * _SIDE / wide)
        with np.errstate(invalid="ignore"):
            inside = (row >= 0) & (row < _SIDE) & (column >= 0) & (column < _SIDE)
        return np.where(inside, row * _SIDE + column, -1)

    def _depth(self, frames: np.ndarray) -> Float[np.ndarray, "F H W"]:
        values = np.take(self.cache.arrays[self.name], frames, axis=0)
        return np.where(values > 0, values * _METRES_PER_MM, np.nan)

    def _lens(self, frames: np.ndarray) -> Float[np.ndarray, "F 3 3"]:
        assert self.cache.intrinsics is not None
        episode = np.searchsorted(self.cache.starts, frames, side="right") - 1
        return self.cache.intrinsics[episode].astype(np.float64)


def gauges(
    cache: Cache,
    azimuths_rad: Sequence[float] = (),
    elevations_rad: Sequence[float] = (),
) -> tuple[Gauge, ...]:
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
            found.append(Gauge(cache, name, kind))
        elif kind == "points":
            found.append(Gauge(cache, name, kind, edges=_edges(cache.arrays[name])))
        elif len(azimuths_rad) == cache.arrays[name].shape[1]:
            azimuth = np.asarray(azimuths_rad, np.float64)
            elevation = np.asarray(elevations_rad or np.zeros(len(azimuth)), np.float64)
            flat = np.cos(elevation)
            beams = [flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)]
            edges = _between(elevation) if np.ptp(elevation) > 0 else ()
            found.append(Gauge(cache, name, kind, np.stack(beams, 1), edges))
        else:
            found.append(Gauge(cache, name, kind))
    return tuple(found)


def metres(
    model: WorldModel,
    evidence: Evidence,
    cache: Cache,
    limits: Limits,
    azimuths_rad: Sequence[float] = (),
    elevations_rad: Sequence[float] = (),
) -> list[dict[str, Any]]:
    """Return a row for each sensor that measures distance and each horizon.

    Args:
        model: that ``evidence`` is about.
        evidence: both sides, encoded.
        cache: the recording.
        limits: how much is looked at.
        azimuths_rad: of the beams of a laser; empty where they are unknown.
        elevations_rad: likewise; empty for a level fan.
    """
    found = gauges(cache, azimuths_rad, elevations_rad)
    return [row for gauge in found for row in errors_in_metres(model, evidence, gauge, limits)]


def errors_in_metres(
    model: WorldModel, evidence: Evidence, gauge: Gauge, limits: Limits
) -> list[dict[str, Any]]:
    """Return a row for each horizon: errors in metres, and their intervals over groups.

    Args:
        model: that ``evidence`` is about.
        evidence: both sides, encoded.
        gauge: what is to be read.
        limits: how much is looked at.
    """
    rows = []
    maps = [_maps_of(gauge, side.steps.frames) for side in (evidence.training, evidence.held_out)]
    for ahead in AHEAD:
        row = _at(model, evidence, gauge, limits, ahead, *maps)
        if row is not None:
            rows.append(row)
    return rows


def _at(
    model: WorldModel,
    evidence: Evidence,
    gauge: Gauge,
    limits: Limits,
    ahead: int,
    own: np.ndarray,
    values: np.ndarray,
) -> dict[str, Any] | None:
    fit, judge = evidence.training.steps, evidence.held_out.steps
    start = fit.windows(1, ahead, limits.training_steps, limits.seed)
    now = judge.windows(1, ahead, limits.windows, limits.seed)
    if min(len(np.unique(steps.groups[some])) for steps, some in ((fit, start), (judge, now))) < 2:
        return None
    predicted = roll_out(model, judge, now, (ahead,), limits.history, evidence.projection)[:, 0]
    mean = np.nan_to_num(_mean(own))
    whole, seen = _filled(own, mean), _filled(values, mean)
    held = validation_groups(fit.groups[start])
    guesses = {"copy_last": seen[now], "mean": np.broadcast_to(mean, seen[now].shape)}
    guesses |= read_predicted(
        SpaceWindows(fit.latents[start], whole[start]),
        fit.latents[start + ahead],
        whole[start + ahead],
        held,
        SpaceWindows(judge.latents[now], seen[now]),
        {"model": predicted},
    )
    if gauge.pose is not None:
        moved = _in_pieces(gauge.warped, judge.frames[now], judge.frames[now + ahead])
        guesses["rigid_warp"] = np.where(np.isfinite(moved), moved, seen[now])
    errors = {name: _absolute(guess, values[now + ahead]) for name, guess in guesses.items()}
    return {
        "sensor": gauge.name,
        "steps": ahead,
        "n": len(now),
        **_drawn(errors, judge.groups[now], limits),
    }


def _drawn(
    errors: Mapping[str, Float[np.ndarray, " W"]], groups: np.ndarray, limits: Limits
) -> dict[str, Any]:
    """Return mean errors, their intervals, and those of each baseline minus the model."""
    judged = np.isfinite(errors["model"])
    names, group_of = np.unique(groups[judged], return_inverse=True)
    weights = group_draws(len(names), limits.draws, generator("metres bootstrap", limits.seed))
    counts = weights @ np.bincount(group_of, minlength=len(names))
    drawn = {
        name: weights @ group_sums(series[judged], group_of, len(names)) / counts
        for name, series in errors.items()
    }
    intervals = {name: list(quantile_interval(values)) for name, values in drawn.items()}
    gains = {
        name: list(quantile_interval(values - drawn["model"]))
        for name, values in drawn.items()
        if name != "model"
    }
    means = {name: float(series[judged].mean()) for name, series in errors.items()}
    return {**means, "intervals": intervals, "gain_intervals": gains}


def _absolute(guess: np.ndarray, came: np.ndarray) -> Float[np.ndarray, " W"]:
    """Return mean absolute errors over the cells that were measured; NaN where none was."""
    there = np.isfinite(came)
    away = np.where(there, np.abs(guess - np.nan_to_num(came)), 0).sum(axis=1)
    count = there.sum(axis=1)
    return np.where(count > 0, away / np.maximum(count, 1), np.nan)


def _maps_of(gauge: Gauge, frames: np.ndarray) -> np.ndarray:
    return _in_pieces(gauge.maps, frames)


def _in_pieces(function: Any, *frames: np.ndarray) -> np.ndarray:
    parts = range(0, len(frames[0]), _AT_ONCE)
    return np.concatenate([function(*(some[at : at + _AT_ONCE] for some in frames))
                           for at in parts])  # fmt: skip


def _mean(maps: Float[np.ndarray, "F C"]) -> Float[np.ndarray, " C"]:
    there = np.isfinite(maps)
    return np.where(there, maps, 0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)


def _filled(maps: np.ndarray, mean: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(maps), maps, mean)


def _means(cell: np.ndarray, value: np.ndarray, cells: int) -> Float[np.ndarray, "F C"]:
    """Return the mean value of each cell [F C] of values [F P]; NaN where there is none."""
    frame = np.broadcast_to(np.arange(len(value))[:, None], value.shape)
    # a measured distance is above zero, also where a sensor writes zero for no return
    there = np.isfinite(value) & (value > 0) & np.isfinite(cell) & (cell >= 0)
    index = frame[there] * cells + cell[there].astype(np.int64)
    size = len(value) * cells
    total = np.bincount(index, weights=value[there], minlength=size)
    count = np.bincount(index, minlength=size)
    mean = np.full(size, np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return mean.reshape(len(value), cells)


def _edges(clouds: np.ndarray) -> tuple[float, ...]:
    some = clouds[:: max(1, len(clouds) // 64), :, :3].reshape(-1, 3).astype(np.float64)
    some = some[np.isfinite(some).all(axis=1) & (np.abs(some).sum(axis=1) > 0)]
    if not len(some):
        return ()
    return _between(np.arcsin(some[:, 2] / np.linalg.norm(some, axis=1)))


def _between(elevation: np.ndarray) -> tuple[float, ...]:
    """Return the elevations that cut points into rows of equally many."""
    return tuple(np.quantile(elevation, np.arange(1, _ROWS) / _ROWS).tolist())
