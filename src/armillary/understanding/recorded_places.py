"""Recorded places: read-outs and motion skill of every truth stream that holds places.

Axes: F model steps, W windows, Y coordinates, P points.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from armillary.data import Cache
from armillary.understanding.evidence import Evidence, Limits
from armillary.understanding.goal_progress import PlaceProgress, place_progress
from armillary.understanding.motion_skill import (
    AHEAD,
    LEAST_WINDOWS,
    MOVED_SHARE,
    RESTED_SHARE,
    Displacements,
    PredictedWindows,
    displacements,
    false_motion,
    fit_motion_reader,
    skills,
    stream_range,
)
from armillary.understanding.prediction_error import validation_groups
from armillary.understanding.probe import probe
from armillary.understanding.ridge import Ridge, fit_ridge
from armillary.understanding.stretches import Steps


def place_streams(cache: Cache) -> list[str]:
    """Return the names of the truth streams that hold places.

    ``NAME_xy`` holds pairs of x and y, ``NAME_xyz`` one place in space.
    """
    truths = [name for name, kind in cache.kinds.items() if kind == "truth"]
    return [name for name in truths if _holds_places(name, cache.arrays[name].shape[1])]


def _holds_places(name: str, width: int) -> bool:
    return (name.endswith("_xy") and width % 2 == 0) or (name.endswith("_xyz") and width == 3)


def judge_places(
    cache: Cache, evidence: Evidence, ridges: Mapping[int, np.ndarray], limits: Limits
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Return, by stream, how well it is read from the latent, and how its motion is predicted.

    Args:
        cache: where truth is recorded.
        evidence: latents and predictions.
        ridges: by horizon, latents that the ridge baseline predicts in the held-out windows.
        limits: draws and seed.
    """
    read_out, moved = {}, {}
    sides = (evidence.training.steps, evidence.held_out.steps)
    for name in place_streams(cache):
        truth = [np.asarray(cache.arrays[name][steps.frames], np.float64) for steps in sides]
        known = [np.asarray(np.isfinite(values).all(axis=1)) for values in truth]
        groups = [steps.groups[keep] for steps, keep in zip(sides, known, strict=True)]
        if any(len(np.unique(group)) < 2 for group in groups):
            continue  # a thing that is hardly ever there
        seen = [steps.latents[keep] for steps, keep in zip(sides, known, strict=True)]
        labels = [values[keep] for values, keep in zip(truth, known, strict=True)]
        read = probe(seen[0], labels[0], groups[0], seen[1], labels[1], groups[1], seed=limits.seed)
        read_out[name] = {
            "r2": read.r2,
            "error": read.error,
            "n": len(labels[1]),
            "intervals": {"r2": list(read.r2_interval), "error": list(read.error_interval)},
        }
        reader = fit_ridge(seen[0], labels[0], validation_groups(groups[0]))
        readers = dict.fromkeys(("bound", "ridge"), reader)
        readers["model"] = _model_reader(evidence, truth[0]) or reader
        coordinates = 3 if name.endswith("_xyz") else 2
        extent = stream_range(labels[0], coordinates)
        moved[name] = _motion(readers, extent, truth[1], coordinates, evidence, ridges, limits)
    return read_out, moved


def judge_progress(cache: Cache, steps: Steps, limits: Limits) -> dict[str, PlaceProgress]:
    """Return, by stream, how well latent distance follows the distance of what it holds.

    Args:
        cache: where truth is recorded.
        steps: encoded held-out stretches.
        limits: draws and seed.
    """
    found = {}
    for name in place_streams(cache):
        truth = np.asarray(cache.arrays[name][steps.frames], np.float64)
        followed = place_progress(steps, truth, limits.draws, limits.seed)
        if followed is not None:
            found[name] = followed
    return found


def _model_reader(evidence: Evidence, truth: np.ndarray) -> Ridge | None:
    """Return the read-out of what the model predicts; its penalty is chosen in training windows."""
    steps, windows = evidence.training.steps, []
    for horizon in (h for h in AHEAD if h in evidence.horizons):
        now, predicted = evidence.training.at(horizon)
        windows.append(PredictedWindows(now, now + horizon, predicted))
    return fit_motion_reader(steps.latents, truth, validation_groups(steps.groups), windows)


def _motion(
    readers: Mapping[str, Ridge],
    extent: float,
    truth: np.ndarray,
    coordinates: int,
    evidence: Evidence,
    ridges: Mapping[int, np.ndarray],
    limits: Limits,
) -> dict[str, Any]:
    """Return skill and false motion; windows are identified by their first four model steps."""
    found: dict[str, Any] = {"skill": {}, "bound": {}, "ridge": {}, "intervals": {}}
    found |= {"range": extent, "n": {}, "false_motion": None, "bound_false_motion": None}
    found |= {"moved_share": None}
    judge, first = evidence.held_out.steps, AHEAD[0]
    for horizon in (h for h in AHEAD if h in evidence.horizons):
        now, predicted = evidence.held_out.at(horizon)
        bound = judge.latents[now + horizon]
        later = {"model": predicted, "bound": bound, "ridge": ridges[horizon]}
        there, groups = truth[now + horizon], judge.groups[now]
        moves = displacements(
            readers, judge.latents[now], later, truth[now], there, groups, coordinates
        )
        went = (truth[now + first] - truth[now]).reshape(-1, coordinates)
        far = np.linalg.norm(went, axis=1) / max(extent, 1e-12)
        # NaN where a thing is not there is neither far nor near
        known = np.isfinite(moves.true).all(axis=1) & np.isfinite(far)
        _add_skill(found, str(horizon), moves.where(known & (far > MOVED_SHARE)), limits)
        if horizon == first and known.any():
            found["moved_share"] = float((far[known] > MOVED_SHARE).mean())
            _add_rest(found, moves.where(known & (far < RESTED_SHARE)), limits)
    return found


def _add_skill(found: dict[str, Any], horizon: str, moves: Displacements, limits: Limits) -> None:
    found["n"][horizon] = len(moves.true)
    if len(moves.true) < LEAST_WINDOWS:
        return
    values, intervals = skills(moves, limits.draws, limits.seed)
    found["skill"][horizon] = values["model"]
    for name in ("bound", "ridge"):
        found[name][horizon] = values[name]
    found["intervals"][horizon] = {name: list(pair) for name, pair in intervals.items()}


def _add_rest(found: dict[str, Any], rest: Displacements, limits: Limits) -> None:
    found["n"]["resting"] = len(rest.true)
    if len(rest.true) < LEAST_WINDOWS:
        return
    values, intervals = false_motion(rest, limits.draws, limits.seed)
    found["false_motion"] = values["model"]
    found["bound_false_motion"] = values["bound"]
    found["intervals"]["false_motion"] = list(intervals["model"])
