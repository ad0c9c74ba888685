"""Metres: how far predicted depth or range is from what was measured, beside plain baselines.

What a sensor measures is judged as a small map (``distance_sensors.py``).

    copy_last   the present map
    mean        the mean of the training maps
    rigid_warp  the present points, moved by the recorded poses. It knows the later pose, which
                others must predict. Only where poses (and the lens) are known.
    no_latent   the last maps, moved to the predicted pose of the sensor, merged, and corrected by a
                network with the same weights for each cell
                (``sensor_motion.py``, ``map_prediction.py``)
    full_latent the same, plus what a ridge reads of the residual from the present and the
                predicted latent
    model       the same with a cross-fitted weight of that residual

Read-outs are fitted on training steps, the ridge with true latents. The weight of what the ridge
reads is cross-fitted over halves of the judged groups (``cross_fitting.py``), because a model may
know training episodes by heart.

A cell in which nothing was measured is not judged. Where a contestant has nothing in a cell, it
takes the present map's value there, else the training mean. The error of a step is the mean
absolute error over its cells. The same maps also say which cells of a grid around the sensor are
occupied (``occupancy.py``).

Axes: F frames, C cells, W windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from armillary.core.protocols import WorldModel
from armillary.core.rng import generator
from armillary.core.statistics import group_draws, group_sums, quantile_interval
from armillary.data import Cache
from armillary.understanding.cross_fitting import cross_fitted
from armillary.understanding.distance_sensors import Cells, DistanceSensor, distance_sensors
from armillary.understanding.evidence import Evidence, Limits
from armillary.understanding.map_prediction import AHEAD as LEARNED
from armillary.understanding.map_prediction import MapPredictor, MapWindows
from armillary.understanding.occupancy import Shells
from armillary.understanding.prediction_error import WITHOUT_LATENT, roll_out, validation_groups
from armillary.understanding.ridge import fit_ridge
from armillary.understanding.sensor_motion import SensorMotion
from armillary.understanding.stretches import Steps

AHEAD = (1, 3)  # model steps
FULL_LATENT = "full_latent"
_SEEN = 4  # model steps that are moved to the later place
_AT_ONCE = 256  # frames
_MOST_WINDOWS = 1000  # of a horizon, that are learned from


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
    found = distance_sensors(cache, azimuths_rad, elevations_rad)
    return [row for sensor in found for row in errors_in_metres(model, evidence, sensor, limits)]


def errors_in_metres(
    model: WorldModel, evidence: Evidence, sensor: DistanceSensor, limits: Limits
) -> list[dict[str, Any]]:
    """Return a row for each horizon: errors in metres and of occupancy, with intervals over groups.

    Args:
        model: that ``evidence`` is about.
        evidence: both sides, encoded.
        sensor: what is to be read.
        limits: how much is looked at.
    """
    sides = evidence.training.steps, evidence.held_out.steps
    maps = [_in_pieces(sensor.maps, side.frames) for side in sides]
    most = min(_MOST_WINDOWS, limits.windows)
    starts = {
        ahead: [
            _measured(own, steps.windows(1, ahead, count, limits.seed), ahead)
            for steps, own, count in zip(sides, maps, (most, limits.windows), strict=True)
        ]
        for ahead in LEARNED
    }
    reached = [
        ahead
        for ahead, both in starts.items()
        if min(len(np.unique(s.groups[now])) for s, now in zip(sides, both, strict=True)) > 1
    ]
    if not reached:
        return []
    usual = np.nan_to_num(_mean(maps[0]))
    shells = Shells.fit(maps[0])
    motion = None if sensor.pose is None else SensorMotion.fit(sensor, sides[0])
    learned, judged = (
        {ahead: _windows(sensor, motion, steps, own, usual, starts[ahead][at], ahead)
         for ahead in reached if at == 0 or ahead in AHEAD}
        for at, (steps, own) in enumerate(zip(sides, maps, strict=True))
    )  # fmt: skip
    predictor = MapPredictor.fit(list(learned.values()), limits.seed)
    rows = []
    for ahead, windows in judged.items():
        fit_now, now = starts[ahead]
        guesses = {
            "copy_last": windows.present,
            "mean": np.broadcast_to(usual, windows.present.shape),
            WITHOUT_LATENT: predictor.predict(windows),
        }
        rest = learned[ahead].later - predictor.unseen[ahead]
        more = _read_rest(model, evidence, rest, fit_now, now, ahead, limits)
        without = guesses[WITHOUT_LATENT]
        guesses[FULL_LATENT] = without + more
        guesses["model"], weights = cross_fitted(
            without, guesses[FULL_LATENT], partial(_absolute, target=windows.later), windows.groups
        )
        if sensor.pose is not None:
            moved = _in_pieces(
                _recorded(sensor), sides[1].frames[now], sides[1].frames[now + ahead]
            )
            guesses["rigid_warp"] = np.where(np.isfinite(moved), moved, windows.present)
        errors = {name: _absolute(guess, windows.later) for name, guess in guesses.items()}
        about = {
            "sensor": sensor.name,
            "steps": ahead,
            "n": len(now),
            "latent_weight": list(weights),
        }
        wrong = {name: shells.error(guess, windows.later) for name, guess in guesses.items()}
        occupancy = {"shell_m": shells.width_m, **_drawn(wrong, windows.groups, limits)}
        rows.append(about | _drawn(errors, windows.groups, limits) | {"occupancy": occupancy})
    return rows


def _windows(
    sensor: DistanceSensor,
    motion: SensorMotion | None,
    steps: Steps,
    own: np.ndarray,
    usual: np.ndarray,
    now: np.ndarray,
    ahead: int,
) -> MapWindows:
    """Return windows with all that is seen from the place that is expected."""
    later_from_now = None if motion is None else motion.later_from_now(steps, now, ahead)
    seen = []
    for back in range(_SEEN):
        then = now - np.minimum(back, steps.before[now])
        if later_from_now is None:
            known = np.isfinite(own[then])
            seen.append(Cells(own[then], own[then], known.astype(np.int64)))
        else:
            frames = steps.frames[now], steps.frames[then]
            seen.append(_seen_from(sensor, *frames, later_from_now))
    return MapWindows(
        ahead=ahead,
        shape=sensor.shape,
        wraps=sensor.kind != "depth",
        present=np.where(np.isfinite(own[now]), own[now], usual),
        seen=tuple(cells.mean for cells in seen),
        counts=tuple(cells.count for cells in seen),
        nearest=seen[0].nearest,
        later=own[now + ahead],
        groups=steps.groups[now],
    )


def _seen_from(
    sensor: DistanceSensor, now: np.ndarray, then: np.ndarray, later_from_now: np.ndarray
) -> Cells:
    """Return maps of what was seen then, from the place that is expected later."""
    later_from_then = later_from_now @ sensor.relative(now, then)
    parts = [
        sensor.moved(then[at : at + _AT_ONCE], later_from_then[at : at + _AT_ONCE])
        for at in range(0, len(then), _AT_ONCE)
    ]
    return Cells(*(np.concatenate([getattr(part, field) for part in parts])
                   for field in ("mean", "nearest", "count")))  # fmt: skip


def _measured(own: np.ndarray, now: np.ndarray, ahead: int) -> Int[np.ndarray, " W"]:
    """Return the windows in whose later map anything was measured."""
    return now[np.isfinite(own[now + ahead]).any(axis=1)]


def _recorded(sensor: DistanceSensor) -> Any:
    """Return what moves maps by the recorded poses."""

    def moved(now: np.ndarray, later: np.ndarray) -> np.ndarray:
        return sensor.moved(now, sensor.relative(later, now)).mean

    return moved


def _read_rest(
    model: WorldModel,
    evidence: Evidence,
    rest: Float[np.ndarray, "W C"],
    fit_now: Int[np.ndarray, " W"],
    now: Int[np.ndarray, " W2"],
    ahead: int,
    limits: Limits,
) -> Float[np.ndarray, "W2 C"]:
    """Return what latents say of the rest that was not predicted without them, metres.

    Fitted with the true later latents of training windows, applied to predicted ones.
    """
    fit, judge = evidence.training.steps, evidence.held_out.steps
    predicted = roll_out(model, judge, now, (ahead,), limits.history, evidence.projection)[:, 0]
    known = np.concatenate([fit.latents[fit_now + ahead], fit.latents[fit_now]], axis=1)
    held = validation_groups(fit.groups[fit_now])
    reader = fit_ridge(known, np.nan_to_num(rest), held)
    return reader.predict(np.concatenate([predicted, judge.latents[now]], axis=1))


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


def _absolute(guess: np.ndarray, target: np.ndarray) -> Float[np.ndarray, " W"]:
    """Return mean absolute errors over the cells that were measured; NaN where none was."""
    there = np.isfinite(target)
    away = np.where(there, np.abs(guess - np.nan_to_num(target)), 0).sum(axis=1)
    count = there.sum(axis=1)
    return np.where(count > 0, away / np.maximum(count, 1), np.nan)


def _in_pieces(function: Any, *frames: np.ndarray) -> np.ndarray:
    parts = range(0, len(frames[0]), _AT_ONCE)
    return np.concatenate([function(*(some[at : at + _AT_ONCE] for some in frames))
                           for at in parts])  # fmt: skip


def _mean(maps: Float[np.ndarray, "F C"]) -> Float[np.ndarray, " C"]:
    there = np.isfinite(maps)
    return np.where(there, maps, 0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)


def _filled(maps: np.ndarray, mean: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(maps), maps, mean)
