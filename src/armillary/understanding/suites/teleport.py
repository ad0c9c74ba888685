"""The teleport study: does a model notice, at the right step, that something impossible happened?

Scored per step: positives are the steps at which the object is suddenly elsewhere, negatives the
steps of possible clips. ``plain`` takes all of these. ``matched`` pairs each teleport with a
possible step whose picture changes at least as much (the nearest one), so that the size of the
change says nothing: a judge that measures pixels is at chance or below. Teleports without such a
partner are left out of ``matched``, and counted.

Axes: B clips, T steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64

from armillary.core.protocols import WorldModel
from armillary.core.statistics import auroc, auroc_interval
from armillary.understanding.latents import stack
from armillary.understanding.suites.teleport_clips import Clip, record_clips
from armillary.understanding.surprise import Calibration, SurpriseTrace, surprise

# Results name -> attribute of the trace. The first is the model's headline score.
_JUDGES = {"": "values", "_whitened_error": "whitened", "_plain_error": "plain"}
_JUDGES |= {"_copy_last": "copy_last", "_pixel_difference": "pixel_difference"}


@dataclass(frozen=True)
class Example:
    """One clip to look at: the first teleport clip whose surprise is largest at the event.

    Where there is none, it is the first teleport clip; ``at_event`` tells which.

    Attributes:
        rgb: uint8 [T H W 3].
        surprise: [T-1], of steps 1 to T-1.
        copy_last: [T-1].
        pixel_difference: [T-1].
        event: the step of the teleport.
        at_event: how many teleport clips are most surprising at their event.
        clips: how many teleport clips there are.
    """

    rgb: np.ndarray
    surprise: Float[np.ndarray, " steps"]
    copy_last: Float[np.ndarray, " steps"]
    pixel_difference: Float[np.ndarray, " steps"]
    event: int
    at_event: int
    clips: int


@dataclass(frozen=True)
class TeleportStudy:
    """Scores as plain JSON values, and one clip to look at."""

    scores: dict[str, Any]
    example: Example


def teleport_study(
    model: WorldModel,
    calibration: Calibration,
    episodes: int = 100,
    seed: int = 0,
    steps: int = 20,
    frame_skip: int = 1,
    settings: Mapping[str, Any] | None = None,
) -> TeleportStudy:
    """Record teleport, exploring and sweeping clips of the tabletop and score every step.

    Args:
        model: the model.
        calibration: its normal residuals, from ``calibrate``.
        episodes: clips with a teleport; as many exploring and twice as many sweeping ones.
        seed: of scenes, events and bootstraps.
        steps: T of a clip, in model steps.
        frame_skip: world steps in a model step.
        settings: of the tabletop, e.g. ``image_size``.
    """
    counts = {"teleport": episodes, "explore": episodes, "sweep": 2 * episodes}
    clips: list[Clip] = []
    for kind, count in counts.items():
        clips += record_clips(kind, count, steps, seed, frame_skip, settings)  # type: ignore[arg-type]
    return score_clips(model, calibration, clips, seed)


def score_clips(
    model: WorldModel, calibration: Calibration, clips: list[Clip], seed: int = 0
) -> TeleportStudy:
    """Score clips, of which some hold one impossible step and some none."""
    clips = sorted(clips, key=lambda clip: clip.event is None)
    batch = stack([clip.batch for clip in clips])
    trace = surprise(model, calibration, batch)
    event = np.array([clip.event for clip in clips if clip.event is not None])
    steps = _Steps.of(trace, event)
    matched = steps.only(match_at_least(steps.pixels, steps.impossible))
    plain, fair = _row(steps, seed), _row(matched, seed)
    scores = {
        **{name: value for name, value in fair.items() if name.startswith("auroc")},
        "plain": plain,
        "matched": fair | {"without_partner": len(event) - int(fair["n_impossible"])},
        "localisation": _localisation(trace, event),
        "jump_m": float(np.mean([clip.jump_m for clip in clips if clip.event is not None])),
        "normal_surprise": float(trace.values[len(event) :].mean()),
    }
    return TeleportStudy(scores, _example(batch.streams["rgb"], trace, event))


def match_at_least(
    pixels: Float[np.ndarray, " F"], impossible: np.ndarray
) -> Int64[np.ndarray, " K"]:
    """Return the indices of teleport steps and of their partners, one possible step each.

    Partners change at least as many pixels, the nearest such is taken, and none is taken twice.
    Going from the largest change down pairs as many as can be paired: what is open to a large
    change is open to every smaller one.
    """
    possible = np.flatnonzero(~impossible)
    possible = possible[np.argsort(pixels[possible], kind="stable")]
    events = np.flatnonzero(impossible)
    free, chosen = np.ones(len(possible), bool), []
    for event in events[np.argsort(-pixels[events], kind="stable")]:
        first = int(np.searchsorted(pixels[possible], pixels[event]))
        open_ = np.flatnonzero(free[first:])
        if len(open_):
            free[first + open_[0]] = False
            chosen += [int(event), int(possible[first + open_[0]])]
    return np.array(chosen, np.int64)


@dataclass(frozen=True)
class _Steps:
    """The steps that are judged: scores by judge [F], labels [F] and the clip of each [F]."""

    scores: dict[str, np.ndarray]
    impossible: np.ndarray
    clip: np.ndarray

    @property
    def pixels(self) -> np.ndarray:
        return self.scores["_pixel_difference"]

    @classmethod
    def of(cls, trace: SurpriseTrace, event: np.ndarray) -> _Steps:
        """Take the event of each impossible clip (these come first), every step of the others."""
        clips, steps = trace.values.shape
        judged = np.ones((clips, steps), bool)
        judged[: len(event)] = False
        judged[np.arange(len(event)), event - 1] = True
        clip = np.broadcast_to(np.arange(clips)[:, None], judged.shape)[judged]
        scores = {name: getattr(trace, field)[judged] for name, field in _JUDGES.items()}
        return cls(scores, clip < len(event), clip)

    def only(self, index: np.ndarray) -> _Steps:
        """Return some of the steps."""
        scores = {name: values[index] for name, values in self.scores.items()}
        return replace(
            self, scores=scores, impossible=self.impossible[index], clip=self.clip[index]
        )


def _row(steps: _Steps, seed: int) -> dict[str, Any]:
    label = steps.impossible
    row: dict[str, Any] = {"n_impossible": int(label.sum()), "n_possible": int((~label).sum())}
    if not (label.any() and (~label).any()):
        return row | {"note": "No teleport found a possible step that changes as many pixels."}
    for name, scores in steps.scores.items():
        row[f"auroc{name}"] = auroc(scores, label)
        row[f"auroc{name}_interval"] = list(auroc_interval(scores, label, steps.clip, seed))
    row["pixel_change_impossible"] = float(steps.pixels[label].mean())
    row["pixel_change_possible"] = float(steps.pixels[~label].mean())
    return row


def _localisation(trace: SurpriseTrace, event: np.ndarray) -> dict[str, float]:
    """Return the share of impossible clips whose largest value is at the event, by judge."""
    row = {"chance": 1 / trace.values.shape[1]}
    for name, field in _JUDGES.items():
        peak = getattr(trace, field)[: len(event)].argmax(axis=1) + 1
        row[f"accuracy{name}"] = float((peak == event).mean())
    return row


def _example(rgb: torch.Tensor, trace: SurpriseTrace, event: np.ndarray) -> Example:
    right = trace.values[: len(event)].argmax(axis=1) + 1 == event
    chosen = int(right.argmax())  # the first that is right, or 0
    return Example(
        rgb[chosen].numpy(),
        trace.values[chosen],
        trace.copy_last[chosen],
        trace.pixel_difference[chosen],
        int(event[chosen]),
        int(right.sum()),
        len(event),
    )
