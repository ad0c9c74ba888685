"""The page of a diagnosis: measures beside their bars, curves of error, and retrieved pictures.

A latent cannot be looked at. What was predicted is shown as the training frame whose latent is
nearest to the prediction: retrieval, not a picture that a network painted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from armillary.benchmark.machine import describe_machine
from armillary.core.cores import core_count
from armillary.data import Cache
from armillary.data.layout import first_of_kind
from armillary.report import (
    Chart,
    Curve,
    Floor,
    ReportContents,
    ResultGroup,
    ResultRow,
    RetrievalView,
)
from armillary.understanding.diagnosis_lines import Line, diagnosis_lines
from armillary.understanding.evidence import Evidence

_SHOWN = 4
_CURVES = {"model": "model", "copy_last": "copy-last", "mean": "mean", "ridge": "ridge"}
_SPACES = {"latent": "In the model's own latent", "features": "In frozen features"}
_SUMMARY = (
    "What the model predicts on held-out episodes, beside baselines that need no model, and what "
    "its latent holds. Each measure stands beside a bar; where one is not reached, a sentence "
    "says what to look at first."
)
_NOTE = (
    "Errors are squared errors over the variance of the target: 0 is perfect, 1 is as good as the "
    "mean. Intervals are drawn over episodes."
)


def diagnosis_contents(
    record: Mapping[str, Any], evidence: Evidence, cache: Cache, step_s: float
) -> ReportContents:
    """Return what the page holds.

    Args:
        record: as ``armillary diagnose --json`` has it.
        evidence: latents and predictions.
        cache: where the pictures are.
        step_s: seconds of a model step; 0 where unknown.
    """
    lines = diagnosis_lines(record)
    held = sum(line.held is True for line in lines)
    judged = sum(line.held is not None for line in lines)
    counts = record["n"]
    return ReportContents(
        title="Diagnosis",
        summary=_SUMMARY,
        results=(ResultGroup("Measures and bars", tuple(map(_row, lines)), _NOTE),),
        machine={name: str(value) for name, value in describe_machine(core_count()).items()},
        date=record["date"],
        command=record["command"],
        warning=record["warning"],
        facts={
            "model": record["model"],
            "dataset": record["dataset"],
            "bars": f"{held} of {judged} reached",
            "judged on": counts["judged_on"],
            "looked at": f"{counts['held_out_steps']:,} held-out and "
            f"{counts['training_steps']:,} training steps, {counts['windows']:,} windows",
        },
        charts=tuple(_charts(record["prediction"])),
        charts_title="Prediction error by horizon",
        retrievals=_retrievals(evidence, cache, step_s),
    )


def _row(line: Line) -> ResultRow:
    return ResultRow(
        line.name,
        float("nan") if line.value is None else line.value,
        "number",
        line.interval,
        tuple(Floor(name, value) for name, value in line.beside.items() if value is not None),
        line.n,
        wanted=line.bar,
        mark=line.mark,
        held=line.held,
        note=line.advice,
    )


def _charts(prediction: list[dict[str, Any]]) -> list[Chart]:
    charts = []
    for space, title in _SPACES.items():
        rows = [row for row in prediction if row["space"] == space and row["model"] is not None]
        if not rows:
            continue
        steps = np.array([row["steps"] for row in rows], np.float64)
        curves = []
        for name, called in _CURVES.items():
            ends = np.array([row["intervals"][name] for row in rows], np.float64)
            values = np.array([row[name] for row in rows], np.float64)
            curves.append(Curve(called, steps, values, ends[:, 0], ends[:, 1]))
        below, beside = "model steps ahead", "squared error over variance"
        charts.append(Chart(title, tuple(curves), below, beside, log_x=True))
    return charts


def _retrievals(evidence: Evidence, cache: Cache, step_s: float) -> tuple[RetrievalView, ...]:
    """Return windows that are evenly spaced, not picked, of those that reach farthest."""
    camera = first_of_kind(cache.kinds)
    if camera is None:
        return ()
    rgb = cache.arrays[camera]
    side, judge = evidence.held_out, evidence.held_out.steps
    reach = np.isfinite(side.predicted[:, :, 0]).sum(axis=1)
    farthest = np.flatnonzero(reach == reach.max())
    picked = np.linspace(0, len(farthest) - 1, min(_SHOWN, len(farthest))).astype(np.int64)
    views = []
    for window in farthest[np.unique(picked)]:
        horizons = evidence.horizons[: reach[window]]
        later = side.now[window] + np.array([0, *horizons])
        # the present was not predicted: there its own latent is looked up
        guesses = np.concatenate(
            [judge.latents[later[:1]], side.predicted[window, : len(horizons)]]
        )
        looked_up = (_nearest(evidence, rows) for rows in (guesses, judge.latents[later]))
        views.append(
            RetrievalView(
                labels=("now", *(_label(steps, step_s) for steps in horizons)),
                true=tuple(rgb[judge.frames[later]]),
                predicted=tuple(rgb[next(looked_up)]),
                best=tuple(rgb[next(looked_up)]),
            )
        )
    return tuple(views)


def _nearest(evidence: Evidence, latents: np.ndarray) -> np.ndarray:
    """Return the cache's number of the training frame that is nearest to each latent."""
    known = evidence.training.steps.latents
    away = (known**2).sum(axis=1) - 2 * latents @ known.T
    return evidence.training.steps.frames[np.argmin(away, axis=1)]


def _label(steps: int, step_s: float) -> str:
    plural = "s" if steps > 1 else ""
    return f"+{steps} step{plural}" + (f", {steps * step_s:.2g} s" if step_s else "")
