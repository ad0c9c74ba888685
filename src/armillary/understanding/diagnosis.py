"""Diagnosis: what a world model predicts, what it knows, and what it ignores, in one call.

Everything is measured on held-out episodes; read-outs and baselines are fitted on training
episodes. The model is anything with ``encode`` and ``rollout`` (``WorldModel``).

Spaces. A prediction is judged in the model's own latent and in frozen features of the picture
(``frozen_features``). There the model is read by ridge, fitted on training steps with the true
later latent and applied to the predicted one. The read-out may use the latent alone, or the
features that are seen now beside it; which, is chosen on a part of the training episodes
(``chosen_ridge``). Why the present features: copy-last and ridge are given them, and a good latent
leaves out light, colours and the camera's place, which are most of what features say. On the
demo's recording and model, four steps ahead, a read-out of the latent alone has an error of 0.79,
the chosen one 0.15; copy-last has 0.26 and ridge 0.20.

``no_latent`` is the best prediction without the model: the same read-out from latents that are
zero, or a ridge with the same weights at every place (``place_ridge``), which is better on short
recordings. The model's prediction is that, moved towards the read-out of its latent by a weight
that is cross-fitted over held-out groups (``cross_fitting.py``). So a model that knows its
recording by heart is not worse than none, and one that has collapsed cannot win: it must beat
``no_latent``. How sure: one step ahead ridge is level with the read-out of a good model, so short
horizons say little here.

Depth and range are judged in metres by ``metres.py``.

Axes: F model steps, W windows, Z numbers of a latent, X numbers in a space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from armillary.core.progress import Progress, silent
from armillary.core.protocols import WorldModel
from armillary.data import Cache
from armillary.objectives.collapse import CollapseDiagnosis, diagnose_collapse
from armillary.understanding.action_rank import CANDIDATES, ActionRank, action_rank
from armillary.understanding.action_rank import STEPS as RANKED_STEPS
from armillary.understanding.cross_fitting import cross_fitted
from armillary.understanding.evidence import Evidence, Limits, Side, gather_evidence
from armillary.understanding.goal_progress import GoalProgress, PlaceProgress, goal_progress
from armillary.understanding.place_ridge import PlaceRidge
from armillary.understanding.prediction_error import (
    WITHOUT_LATENT,
    Baselines,
    Errors,
    relative_errors,
    validation_groups,
)
from armillary.understanding.recorded_places import judge_places, judge_progress
from armillary.understanding.space_read_out import SpaceWindows, read_predicted
from armillary.understanding.stretches import Steps, Stretch

# Of the place ridge, which is fitted for every horizon.
_FOLDS, _PENALTIES, _MOST_WINDOWS = 3, (1e-4, 1e-3, 1e-2, 1e-1, 1.0), 300
_CLIP = 8  # steps over which motion is distinguished from differences between clips


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Attributes:
        prediction: a row by space and horizon, as in ``armillary diagnose --json``.
        by_heart: a row by horizon: error on training and on held-out windows.
        ranks: None where the model takes no actions, or episodes are too short.
        scale: spread and effective rank of held-out latents.
        progress: None where every held-out episode is too short.
        followed: by truth stream, how well latent distance follows its distance.
        read_out: by truth stream, how well it is read from the latent.
        moved: by truth stream, skill on moved things and false motion of resting ones.
        counts: what was looked at.
        evidence: latents and predictions.
    """

    prediction: tuple[dict[str, Any], ...]
    by_heart: tuple[dict[str, Any], ...]
    ranks: ActionRank | None
    scale: CollapseDiagnosis
    progress: GoalProgress | None
    followed: Mapping[str, PlaceProgress]
    read_out: Mapping[str, dict[str, Any]]
    moved: Mapping[str, dict[str, Any]]
    counts: Mapping[str, int]
    evidence: Evidence


def diagnose(
    model: WorldModel,
    cache: Cache,
    training: Sequence[Stretch],
    held_out: Sequence[Stretch],
    skip: int = 1,
    streams: tuple[str, ...] | None = None,
    acts: bool = True,
    limits: Limits | None = None,
    progress: Progress = silent,
) -> Diagnosis:
    """Diagnose a model on held-out stretches.

    Args:
        model: any that keeps the protocol.
        cache: prepared episodes.
        training: stretches that the model was trained on; ``cut`` makes them.
        held_out: stretches that it was not trained on.
        skip: frames in a model step.
        streams: names in the cache that the model sees; all that models look for if None.
        acts: whether the model takes actions.
        limits: how much is looked at.
        progress: called with units of work done and in all.

    Raises:
        DatasetError: the episodes are too few or too short.
    """
    limits = limits or Limits()
    evidence = gather_evidence(
        model, cache, training, held_out, limits, skip, streams, acts, progress
    )
    judge = evidence.held_out.steps
    prediction, ridges = _prediction(evidence, limits)
    progress(90, 100, "actions")
    ranks = action_rank(model, judge, limits.history, limits.ranked, limits.draws, limits.seed)
    progress(97, 100, "truth")
    read_out, moved = judge_places(cache, evidence, ridges, limits)
    progress(100, 100)
    return Diagnosis(
        prediction=prediction,
        by_heart=tuple(_by_heart(evidence, horizon, limits) for horizon in evidence.horizons),
        ranks=ranks,
        scale=diagnose_collapse(_clips(judge)),
        progress=goal_progress(judge, limits.draws, limits.seed),
        followed=judge_progress(cache, judge, limits),
        read_out=read_out,
        moved=moved,
        counts=_counts(evidence, ranks),
        evidence=evidence,
    )


def spaces(steps: Steps) -> dict[str, Float[np.ndarray, "F _"]]:
    """Return the spaces in which predictions are judged, by name."""
    found = {"latent": steps.latents}
    if steps.features is not None:
        found["features"] = steps.features
    return found


def _prediction(
    evidence: Evidence, limits: Limits
) -> tuple[tuple[dict[str, Any], ...], dict[int, np.ndarray]]:
    """Return the rows of all spaces, and what ridge predicts of latents by horizon."""
    rows, ridges = [], {}
    fit, judge = evidence.training.steps, evidence.held_out.steps
    for space in spaces(judge):
        own, values = spaces(fit)[space], spaces(judge)[space]
        for horizon in evidence.horizons:
            now, predicted = evidence.held_out.at(horizon)
            baselines = Baselines.fit(own, fit, horizon, limits.training_steps, limits.seed)
            guesses: dict[str, np.ndarray] = baselines.predict(values, judge, now)
            if space == "latent":
                ridges[horizon] = guesses["ridge"]
                guesses["model"] = predicted
            else:
                guesses |= _read(space, evidence, horizon, limits)
            errors = relative_errors(
                guesses, values[now + horizon], judge.groups[now], limits.draws, limits.seed
            )
            rows.append(_row(horizon, space, len(now), errors))
    return tuple(rows), ridges


def _read(space: str, evidence: Evidence, horizon: int, limits: Limits) -> dict[str, np.ndarray]:
    """Return the features of later steps: without the latent, and with it as far as it helps."""
    fit, judge = evidence.training.steps, evidence.held_out.steps
    own, values = spaces(fit)[space], spaces(judge)[space]
    start = fit.windows(1, horizon, limits.training_steps, limits.seed)
    held = validation_groups(fit.groups[start])
    now, predicted = evidence.held_out.at(horizon)
    read = read_predicted(
        SpaceWindows(fit.latents[start], own[start]),
        fit.latents[start + horizon],
        own[start + horizon],
        held,
        SpaceWindows(judge.latents[now], values[now]),
        {"model": predicted},
    )
    groups, target = judge.groups[now], values[now + horizon]

    def squared(guess: np.ndarray) -> np.ndarray:
        return ((guess - target) ** 2).sum(axis=1)

    by_place = _by_place(evidence, now, horizon, limits)
    without, _ = cross_fitted(read[WITHOUT_LATENT], by_place, squared, groups, default=1.0)
    model, _ = cross_fitted(without, read["model"], squared, groups)
    return {"model": model, WITHOUT_LATENT: without}


def _by_place(
    evidence: Evidence, now: np.ndarray, horizon: int, limits: Limits
) -> Float[np.ndarray, "W X"]:
    """Return what the place ridge predicts, in the directions that are judged."""
    assert evidence.features is not None
    assert evidence.whole_features is not None
    fit, (own, values) = evidence.training.steps, evidence.whole_features
    start = fit.windows(1, horizon, min(_MOST_WINDOWS, limits.training_steps), limits.seed)
    names, group_of = np.unique(fit.groups[start], return_inverse=True)
    fold_of = group_of * min(_FOLDS, len(names)) // len(names)
    folds = fold_of == np.arange(int(fold_of.max()) + 1)[:, None]
    ridge = PlaceRidge.fit(own, start, horizon, folds, _PENALTIES)
    return evidence.features.apply(ridge.predict(values, now))


def _row(horizon: int, space: str, n: int, errors: Errors) -> dict[str, Any]:
    intervals: dict[str, Any] = {name: list(pair) for name, pair in errors.intervals.items()}
    intervals["margin"] = None if errors.margin is None else list(errors.margin)
    return {"steps": horizon, "space": space, "n": n, **errors.values, "intervals": intervals}


def _by_heart(evidence: Evidence, horizon: int, limits: Limits) -> dict[str, Any]:
    """Return the model's error in its latent on training and on held-out windows."""
    row: dict[str, Any] = {"steps": horizon, "intervals": {}}
    sides: dict[str, Side] = {"training": evidence.training, "held_out": evidence.held_out}
    for name, side in sides.items():
        now, predicted = side.at(horizon)
        target, groups = side.steps.latents[now + horizon], side.steps.groups[now]
        errors = relative_errors({"model": predicted}, target, groups, limits.draws, limits.seed)
        row[name] = errors.values["model"]
        row["intervals"][name] = list(errors.intervals["model"])
    row["ratio"] = row["held_out"] / row["training"] if row["training"] > 0 else float("nan")
    return row


def _clips(steps: Steps) -> torch.Tensor:
    """Return the latents as clips of equal length, at most eight steps: [B T Z]."""
    length = min(_CLIP, int(steps.before.max()) + 1)
    starts = np.flatnonzero((steps.before % length == 0) & (steps.after >= length - 1))
    return torch.from_numpy(steps.latents[starts[:, None] + np.arange(length)])


def _counts(evidence: Evidence, ranks: ActionRank | None) -> dict[str, int]:
    fit, judge = evidence.training.steps, evidence.held_out.steps
    return {
        "training_groups": len(np.unique(fit.groups)),
        "held_out_groups": len(np.unique(judge.groups)),
        "training_steps": len(fit.frames),
        "held_out_steps": len(judge.frames),
        "windows": len(evidence.held_out.now),
        "ranked": 0 if ranks is None else ranks.n,
        "candidates": CANDIDATES,
        "ranked_steps": RANKED_STEPS,
        "latent_width": int(np.prod(judge.tokens.shape[1:])),
        "latent_width_judged": judge.latents.shape[1],
    }
