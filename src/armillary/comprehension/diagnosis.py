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
the chosen one 0.15; copy-last has 0.26 and ridge 0.20. A latent that says nothing gets what ridge
from the present features gets, which the baseline may use as well, so collapse is not rewarded.
How sure: one recording and one model; the order was the same 2, 4 and 8 steps ahead. One step
ahead ridge is level with the read-out of a good model, so short horizons say little here.

A space of metres (depth, range) belongs into ``_spaces``, beside these two.

Axes: F model steps, W windows, Z numbers of a latent, X numbers in a space, Y coordinates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from armillary.comprehension.action_rank import CANDIDATES, ActionRank, action_rank
from armillary.comprehension.action_rank import STEPS as RANKED_STEPS
from armillary.comprehension.chosen_ridge import Form, choose_ridge
from armillary.comprehension.goal_progress import GoalProgress, goal_progress
from armillary.comprehension.latents import encode
from armillary.comprehension.motion_skill import (
    AHEAD,
    LEAST_WINDOWS,
    MOVED_SHARE,
    RESTED_SHARE,
    Displacements,
    displacements,
    false_motion,
    skills,
    stream_range,
)
from armillary.comprehension.prediction_error import (
    HORIZONS,
    Baselines,
    Errors,
    relative_errors,
    roll_out,
    validation_groups,
)
from armillary.comprehension.probe import probe
from armillary.comprehension.ridge import Ridge, fit_ridge
from armillary.comprehension.stretches import (
    WIDEST,
    Projection,
    Steps,
    Stretch,
    check_enough,
    chosen,
    project,
    room_for,
    see,
)
from armillary.core.errors import DatasetError
from armillary.core.progress import Progress, silent
from armillary.core.protocols import WorldModel
from armillary.core.values import Batch
from armillary.data import Cache, Windows
from armillary.objectives.collapse import CollapseDiagnosis, diagnose_collapse

_FEATURE_WIDTH = 128  # 95 % of the features' variance on the demo's recording
_READ: Mapping[str, tuple[Form, ...]] = {
    "latent": ("direct",),
    "latent and features": ("direct",),
    "both latents and features": ("change",),
}
_CLIP = 8  # steps over which motion is told from differences between clips


@dataclass(frozen=True)
class Limits:
    """How much is looked at; what is beyond is left out by a draw of fixed seed.

    Attributes:
        training_steps: model steps of training episodes, for read-outs and baselines.
        held_out_steps: model steps of held-out episodes.
        windows: held-out windows that are predicted from, and as many of training.
        ranked: windows in which actions are ranked.
        draws: bootstrap replicates.
        history: most steps that the model sees before it predicts.
        seed: of every draw.
    """

    training_steps: int = 6000
    held_out_steps: int = 3000
    windows: int = 2000
    ranked: int = 300
    draws: int = 1000
    history: int = 4
    seed: int = 0


LIGHT = Limits(training_steps=2400, held_out_steps=1200, windows=800, ranked=100, draws=500)


@dataclass(frozen=True)
class Evidence:
    """What the numbers were made from, for those who draw it.

    Attributes:
        training: steps of training episodes.
        held_out: steps of held-out episodes.
        now: the present of each held-out window [W].
        predicted: latents at each horizon; NaN beyond the stretch [W L Z].
        horizons: model steps ahead [L].
    """

    training: Steps
    held_out: Steps
    now: Int[np.ndarray, " W"]
    predicted: Float[np.ndarray, "W L Z"]
    horizons: tuple[int, ...]


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Attributes:
        prediction: a row by space and horizon, as in ``armillary diagnose --json``.
        by_heart: a row by horizon: error on training and on held-out windows.
        ranks: None where the model takes no actions, or episodes are too short.
        scale: spread and effective rank of held-out latents.
        progress: None where every held-out episode is too short.
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
    work = _Work(model, limits, progress)
    fit, judge, projection = work.see(cache, training, held_out, skip, streams, acts)
    reached = _horizons(fit, judge, limits)
    now, predicted = work.roll(judge, reached, projection)
    own_now, own_predicted = work.roll(fit, reached, projection)
    rows, latent_ridges = _prediction(fit, judge, now, predicted, reached, limits)
    progress(85, 100, "actions")
    ranks = action_rank(model, judge, limits.history, limits.ranked, limits.draws, limits.seed)
    progress(95, 100, "truth")
    read_out, moved = _truth(cache, fit, judge, now, predicted, reached, latent_ridges, limits)
    progress(100, 100)
    return Diagnosis(
        prediction=rows,
        by_heart=_by_heart(fit, own_now, own_predicted, judge, now, predicted, reached, limits),
        ranks=ranks,
        scale=diagnose_collapse(_clips(judge)),
        progress=goal_progress(judge, limits.draws, limits.seed),
        read_out=read_out,
        moved=moved,
        counts={
            "training_groups": len(np.unique(fit.groups)),
            "held_out_groups": len(np.unique(judge.groups)),
            "training_steps": len(fit.frames),
            "held_out_steps": len(judge.frames),
            "windows": len(now),
            "ranked": 0 if ranks is None else ranks.n,
            "candidates": CANDIDATES,
            "ranked_steps": RANKED_STEPS,
            "latent_width": int(np.prod(judge.tokens.shape[1:])),
            "latent_width_judged": judge.latents.shape[1],
        },
        evidence=Evidence(fit, judge, now, predicted, reached),
    )


@dataclass(frozen=True)
class _Work:
    """The parts that run the model, which say how far they are."""

    model: WorldModel
    limits: Limits
    progress: Progress

    def see(
        self,
        cache: Cache,
        training: Sequence[Stretch],
        held_out: Sequence[Stretch],
        skip: int,
        streams: tuple[str, ...] | None,
        acts: bool,
    ) -> tuple[Steps, Steps, Projection]:
        """Encode both sides, and bring latents and features to a width that ridge can take."""
        limits = self.limits
        width = _latent_width(self.model, cache, streams)
        wanted = (limits.training_steps, limits.held_out_steps)
        sides, done = [], 0
        for which, parts, most in zip(
            ("training", "held-out"), (training, held_out), wanted, strict=True
        ):
            if not parts:
                raise DatasetError(
                    f"A diagnosis needs at least two {which} episodes of three model steps or "
                    "more; there are none. Record more episodes."
                )
            some = chosen(parts, room_for(width, most), limits.seed)
            share = 60 * most // sum(wanted)
            report = _within(self.progress, done, share)
            steps = see(self.model, cache, some, skip, streams, acts, report)
            check_enough(steps, which)
            sides.append(steps)
            done += share
        fit, judge = sides
        latents = Projection.fit(fit.latents, WIDEST)
        features = None
        if fit.features is not None:
            features = Projection.fit(fit.features, _FEATURE_WIDTH)
        return project(fit, latents, features), project(judge, latents, features), latents

    def roll(
        self, steps: Steps, horizons: tuple[int, ...], projection: Projection
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return windows of these steps, and what the model predicts from there."""
        now = steps.windows(1, 1, self.limits.windows, self.limits.seed)
        history = self.limits.history
        self.progress(65, 100, "predicting")
        return now, roll_out(self.model, steps, now, horizons, history, projection)


def _within(progress: Progress, start: int, share: int) -> Progress:
    """Return a progress that fills a share of another's hundred, from ``start`` on."""

    def report(done: int, total: int, note: str = "") -> None:
        progress(start + share * done // total, 100, "encoding")

    return report


def _latent_width(model: WorldModel, cache: Cache, streams: tuple[str, ...] | None) -> int:
    one = Windows(cache, None, 1, 1, streams).gather(np.zeros(1, np.int64))
    return encode(model, Batch(one.streams, None, one.valid)).numel()


def _horizons(fit: Steps, judge: Steps, limits: Limits) -> tuple[int, ...]:
    """Return the horizons that at least two groups on either side reach."""

    def groups(steps: Steps, horizon: int) -> int:
        return len(np.unique(steps.groups[steps.windows(1, horizon, limits.windows, limits.seed)]))

    return tuple(h for h in HORIZONS if min(groups(fit, h), groups(judge, h)) >= 2)


def _spaces(steps: Steps) -> dict[str, Float[np.ndarray, "F X"]]:
    """Return the spaces in which predictions are judged, by name."""
    spaces = {"latent": steps.latents}
    if steps.features is not None:
        spaces["features"] = steps.features
    return spaces


def _prediction(
    fit: Steps,
    judge: Steps,
    now: np.ndarray,
    predicted: np.ndarray,
    horizons: tuple[int, ...],
    limits: Limits,
) -> tuple[tuple[dict[str, Any], ...], dict[int, np.ndarray]]:
    """Return the rows of all spaces, and what ridge predicts of latents by horizon."""
    rows, ridges = [], {}
    own, spaces = _spaces(fit), _spaces(judge)
    for space, values in spaces.items():
        for place, horizon in enumerate(horizons):
            there = judge.after[now] >= horizon
            some, target = now[there], values[now[there] + horizon]
            baselines = Baselines.fit(own[space], fit, horizon, limits.training_steps, limits.seed)
            guesses: dict[str, np.ndarray] = baselines.predict(values, judge, some)
            latent = predicted[there, place]
            if space == "latent":
                ridges[horizon] = guesses["ridge"]
                guesses["model"] = latent
            else:
                present = judge.latents[some]
                guesses["model"] = _read(
                    own[space], fit, values, some, present, latent, horizon, limits
                )
            errors = relative_errors(guesses, target, judge.groups[some], limits.draws, limits.seed)
            rows.append(_row(horizon, space, len(some), errors))
    return tuple(rows), ridges


def _read(
    own: np.ndarray,
    fit: Steps,
    values: np.ndarray,
    now: np.ndarray,
    present: np.ndarray,
    predicted: np.ndarray,
    horizon: int,
    limits: Limits,
) -> np.ndarray:
    """Read a space from predicted latents, with what is seen now beside them where that helps."""
    start = fit.windows(1, horizon, limits.training_steps, limits.seed)
    held = validation_groups(fit.groups[start], limits.seed)
    inputs = _read_from(fit.latents[start + horizon], fit.latents[start], own[start])
    reader = choose_ridge(_READ, inputs, own[start], own[start + horizon], held)
    return reader.predict(_read_from(predicted, present, values[now]), values[now])


def _read_from(later: np.ndarray, latent: np.ndarray, seen: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "latent": later,
        "latent and features": np.concatenate([later, seen], axis=1),
        "both latents and features": np.concatenate([later, latent, seen], axis=1),
    }


def _row(horizon: int, space: str, n: int, errors: Errors) -> dict[str, Any]:
    intervals: dict[str, Any] = {name: list(pair) for name, pair in errors.intervals.items()}
    intervals["margin"] = None if errors.margin is None else list(errors.margin)
    return {"steps": horizon, "space": space, "n": n, **errors.values, "intervals": intervals}


def _by_heart(
    fit: Steps,
    own_now: np.ndarray,
    own_predicted: np.ndarray,
    judge: Steps,
    now: np.ndarray,
    predicted: np.ndarray,
    horizons: tuple[int, ...],
    limits: Limits,
) -> tuple[dict[str, Any], ...]:
    """Return the model's error in its latent on training and on held-out windows."""
    rows = []
    for place, horizon in enumerate(horizons):
        row: dict[str, Any] = {"steps": horizon, "intervals": {}}
        sides = {"training": (fit, own_now, own_predicted), "held_out": (judge, now, predicted)}
        for name, (steps, starts, guesses) in sides.items():
            there = steps.after[starts] >= horizon
            some = starts[there]
            errors = relative_errors(
                {"model": guesses[there, place]},
                steps.latents[some + horizon],
                steps.groups[some],
                limits.draws,
                limits.seed,
            )
            row[name] = errors.values["model"]
            row["intervals"][name] = list(errors.intervals["model"])
        row["ratio"] = row["held_out"] / row["training"] if row["training"] > 0 else float("nan")
        rows.append(row)
    return tuple(rows)


def _clips(steps: Steps) -> torch.Tensor:
    """Return the latents as clips of equal length, at most eight steps: [B T Z]."""
    length = min(_CLIP, int(steps.before.max()) + 1)
    starts = np.flatnonzero((steps.before % length == 0) & (steps.after >= length - 1))
    return torch.from_numpy(steps.latents[starts[:, None] + np.arange(length)])


def _truth(
    cache: Cache,
    fit: Steps,
    judge: Steps,
    now: np.ndarray,
    predicted: np.ndarray,
    horizons: tuple[int, ...],
    ridges: Mapping[int, np.ndarray],
    limits: Limits,
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Return read-outs and motion skill of every recorded place."""
    read_out, moved = {}, {}
    for name in place_streams(cache):
        truth = [np.asarray(cache.arrays[name][steps.frames], np.float64) for steps in (fit, judge)]
        known = [np.asarray(np.isfinite(values).all(axis=1)) for values in truth]
        groups = [steps.groups[keep] for steps, keep in zip((fit, judge), known, strict=True)]
        if any(len(np.unique(group)) < 2 for group in groups):
            continue  # a thing that is hardly ever there
        seen = [steps.latents[keep] for steps, keep in zip((fit, judge), known, strict=True)]
        labels = [values[keep] for values, keep in zip(truth, known, strict=True)]
        read = probe(seen[0], labels[0], groups[0], seen[1], labels[1], groups[1], seed=limits.seed)
        read_out[name] = {
            "r2": read.r2,
            "error": read.error,
            "n": len(labels[1]),
            "intervals": {"r2": list(read.r2_interval), "error": list(read.error_interval)},
        }
        reader = fit_ridge(seen[0], labels[0], validation_groups(groups[0], limits.seed))
        moved[name] = _motion(
            reader,
            stream_range(labels[0]),
            truth[1],
            judge,
            now,
            predicted,
            horizons,
            ridges,
            limits,
        )
    return read_out, moved


def place_streams(cache: Cache) -> list[str]:
    """Return the names of the truth streams that hold places: pairs of x and y."""
    return [
        name
        for name, kind in cache.kinds.items()
        if kind == "truth" and name.endswith("_xy") and cache.arrays[name].shape[1] % 2 == 0
    ]


def _motion(
    reader: Ridge,
    extent: float,
    truth: np.ndarray,
    judge: Steps,
    now: np.ndarray,
    predicted: np.ndarray,
    horizons: tuple[int, ...],
    ridges: Mapping[int, np.ndarray],
    limits: Limits,
) -> dict[str, Any]:
    """Return skill and false motion; windows are told apart by their first four model steps."""
    found: dict[str, Any] = {"skill": {}, "bound": {}, "ridge": {}, "intervals": {}}
    found |= {"range": extent, "n": {}, "false_motion": None, "moved_share": None}
    first = AHEAD[0]
    for horizon in (h for h in AHEAD if h in horizons):
        there = judge.after[now] >= horizon
        some = now[there]
        later = {
            "model": predicted[there, horizons.index(horizon)],
            "bound": judge.latents[some + horizon],
            "ridge": ridges[horizon],
        }
        known = np.isfinite(truth[[some, some + first, some + horizon]]).all(axis=(0, 2))
        points = truth.shape[1] // 2
        went = np.nan_to_num(truth[some + first] - truth[some]).reshape(-1, 2)
        far = np.linalg.norm(went, axis=1) / max(extent, 1e-12)
        moves = displacements(
            reader, judge.latents[some], later, truth[some], truth[some + horizon],
            judge.groups[some],
        )  # fmt: skip
        seen = np.repeat(known, points)
        far_enough = moves.where(seen & (far > MOVED_SHARE))
        still = moves.where(seen & (far < RESTED_SHARE))
        _add_skill(found, str(horizon), far_enough, limits)
        if horizon == first:
            found["moved_share"] = float((far[seen] > MOVED_SHARE).mean()) if seen.any() else None
            _add_rest(found, still, limits)
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
