"""Unusual events: when something happens in a clip that normal pictures do not show, and what.

Three measures look at the change of pictures from step to step. None of them learns anything but
what is usual, and none knows what a thing is:

    whole_picture   mean absolute change: a cut, a mirrored or a knocked camera
    appearance      change of a place where nothing moved nearby shortly before: things move on
                    continuously, so this is something that appeared, vanished or jumped
    standstill      inverse of the median change over half a second: a picture that is frozen,
                    where a camera's noise or the world would have changed it

Each is divided by its threshold, which comes from normal pictures alone. An event is a stretch of
steps at which any measure is above 1. The measure that is above 1 the longest names it.

Axes: T pictures, H W their sides, S = T - 1 steps between them, G side of a grid of places.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from armillary.core.errors import DatasetError

MEANING: Mapping[str, str] = {
    "whole_picture": "the whole picture changed at once",
    "appearance": "something appeared, vanished or jumped",
    "standstill": "the picture stood still",
}
LEAST_STEPS = 100  # of normal pictures; the largest value of fewer says little
_PLACES = 16  # side of the grid
_NEAR = 5  # side of the neighbourhood of a place
_BEFORE_S = 0.4  # how long before a change motion nearby explains it
_STILL_S = 0.5
_TOGETHER_S = 1.0  # events that are no farther apart are one
_USUAL = 0.9  # of the changes of a place are below its usual one
_NOISE = 0.004  # of 0..1: one grey level, the noise of a camera
# A threshold is so much above the largest normal value. Chosen among 1.1, 1.25 and 1.5 on planted
# events in the recordings of results/unusual.json, with other seeds.
_MARGIN = 1.25
# Pictures that stand still change less than a third of the least that is normal. In frozen parts
# of encoded video, where pictures still differ a little, it was 0.15 of that at most.
_STILL_MARGIN = 3.0
_NO_CHANGE = 1e-6  # of 0..1: pictures that are the same have this
# Where the clip itself has to say what is usual, it is so much above what 99 % of it are below.
_WITHIN, _WITHIN_MARGIN = 0.99, 2.0


@dataclass(frozen=True)
class UnusualEvent:
    """A stretch of a clip that is unlike normal pictures.

    Attributes:
        begin_s: time of its first step, from the first picture.
        end_s: time of its last step.
        measure: the measure that is above its threshold the longest.
        score: that measure over its threshold, above 1.
    """

    begin_s: float
    end_s: float
    measure: str
    score: float

    @property
    def times(self) -> str:
        """Begin and end in words, without a unit; the begin alone where it lasts one step."""
        lasts = self.end_s > self.begin_s
        return f"{self.begin_s:.1f} to {self.end_s:.1f}" if lasts else f"{self.begin_s:.1f}"

    def __str__(self) -> str:
        return f"{self.times} s: {MEANING[self.measure]} ({self.score:.1f} times the threshold)"


@dataclass(frozen=True)
class Watch:
    """What is usual in normal pictures.

    Attributes:
        usual: change that 90 % of the changes of a place are below [G G].
        thresholds: by measure.
        step_s: seconds between pictures.
    """

    usual: Float[Tensor, "G G"]
    thresholds: Mapping[str, float]
    step_s: float

    @classmethod
    def fit(cls, normal: Sequence[UInt8[np.ndarray, "_ H W 3"]], step_s: float) -> Watch:
        """Learn what is usual, and set the thresholds above all that is normal.

        Args:
            normal: pictures of clips in which nothing unusual happens.
            step_s: seconds between pictures.

        Raises:
            DatasetError: fewer than 100 steps.
        """
        changes = [place_changes(clip) for clip in normal if len(clip) > 1]
        _check_enough(sum(map(len, changes)), step_s)
        return cls._of(changes, step_s, 1.0, _MARGIN)

    @classmethod
    def within(cls, clip: UInt8[np.ndarray, "T H W 3"], step_s: float) -> Watch:
        """Learn what is usual from the clip that is to be judged, most of which must be normal.

        Args:
            clip: its pictures.
            step_s: seconds between them.

        Raises:
            DatasetError: fewer than 100 steps.
        """
        changes = place_changes(clip)
        _check_enough(len(changes), step_s)
        return cls._of([changes], step_s, _WITHIN, _WITHIN_MARGIN)

    @classmethod
    def _of(cls, changes: Sequence[Tensor], step_s: float, share: float, margin: float) -> Watch:
        together = torch.cat([*changes]).flatten(1).numpy()
        usual = torch.from_numpy(np.quantile(together, _USUAL, axis=0).astype(np.float32))
        watch = cls(usual.unflatten(0, (_PLACES, _PLACES)) + _NOISE, {}, step_s)
        measured = [watch._measures(change) for change in changes]
        thresholds = {}
        for name in MEANING:
            high = float(np.quantile(np.concatenate([one[name] for one in measured]), share))
            thresholds[name] = high * (_STILL_MARGIN if name == "standstill" else margin)
        return cls(watch.usual, thresholds, step_s)

    def scores(self, pictures: UInt8[np.ndarray, "T H W 3"]) -> dict[str, Float[np.ndarray, " S"]]:
        """Return each measure over its threshold, by name, at the later picture of each step."""
        measured = self._measures(place_changes(pictures))
        return {
            name: values / max(self.thresholds[name], 1e-9) for name, values in measured.items()
        }

    def events(self, pictures: UInt8[np.ndarray, "T H W 3"]) -> list[UnusualEvent]:
        """Return what is unusual in a clip, in the order of time."""
        scores = self.scores(pictures)
        names = tuple(scores)
        table = np.stack([scores[name] for name in names])
        found: list[UnusualEvent] = []
        for first, last in _stretches(table.max(0) > 1, _TOGETHER_S / self.step_s):
            part = table[:, first : last + 1]
            # the one that lasts: when a frozen picture goes on, things jump for a single step
            most = max(range(len(names)), key=lambda row: ((part[row] > 1).sum(), part[row].max()))
            times = (first + 1) * self.step_s, (last + 1) * self.step_s
            found.append(UnusualEvent(*times, names[most], float(part[most].max())))
        return found

    def _measures(self, change: Float[Tensor, "S G G"]) -> dict[str, Float[np.ndarray, " S"]]:
        before = max(1, round(_BEFORE_S / self.step_s))
        recent = torch.zeros_like(change)
        for steps in range(1, before + 1):
            recent[steps:] = recent[steps:].maximum(change[: max(0, len(change) - steps)])
        recent[:before] = recent[:before].maximum(change[:before])  # what was before is not known
        near = functional.max_pool2d(recent[:, None], _NEAR, 1, _NEAR // 2)[:, 0]
        whole = change.mean((1, 2)).double().numpy()
        still = max(1, round(_STILL_S / self.step_s))
        # the median, since encoded video renews a frozen picture now and then
        longer = np.concatenate([np.ones(still - 1), whole])
        least = np.median(np.lib.stride_tricks.sliding_window_view(longer, still), axis=1)
        return {
            "whole_picture": whole,
            "appearance": (change / (near + self.usual)).amax((1, 2)).double().numpy(),
            "standstill": 1 / (least + _NO_CHANGE),
        }


def _check_enough(steps: int, step_s: float) -> None:
    if steps < LEAST_STEPS:
        raise DatasetError(
            f"Normal recordings of {steps} steps say too little about what is unusual; "
            f"{LEAST_STEPS} steps ({LEAST_STEPS * step_s:.0f} s) are needed."
        )


def place_changes(pictures: UInt8[np.ndarray, "T H W 3"]) -> Float[Tensor, "S G G"]:
    """Return the mean absolute change of each place of a grid from picture to picture, 0 to 1."""
    parts = []
    for before, after in itertools.pairwise(pictures):
        apart = np.abs(after.astype(np.int16) - before).mean(2, dtype=np.float32) / 255
        parts.append(functional.adaptive_avg_pool2d(torch.from_numpy(apart)[None], _PLACES)[0])
    return torch.stack(parts) if parts else torch.zeros(0, _PLACES, _PLACES)


def false_alarms_per_minute(
    normal: Sequence[UInt8[np.ndarray, "_ H W 3"]], step_s: float
) -> float | None:
    """Return how often normal pictures are called unusual by thresholds of other normal pictures.

    Each half of the normal recordings is judged by a watch that was fitted on the other half. Half
    as much is normal there, so the whole has fewer false alarms.

    Args:
        normal: as for ``Watch.fit``.
        step_s: seconds between pictures.

    Returns:
        None where a half is too short for a watch.
    """
    halves = _halves(normal)
    if min(map(_steps, halves)) < LEAST_STEPS:
        return None
    alarms = 0
    for fitted, judged in (halves, halves[::-1]):
        watch = Watch.fit(fitted, step_s)
        alarms += sum(len(watch.events(clip)) for clip in judged)
    return alarms / (sum(map(_steps, halves)) * step_s / 60)


def _steps(clips: Sequence[np.ndarray]) -> int:
    return sum(max(len(clip) - 1, 0) for clip in clips)


def _halves(normal: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the first and the second half of all pictures, in their order."""
    middle = sum(map(len, normal)) // 2
    first, second, at = [], [], 0
    for clip in normal:
        cut = min(max(middle - at, 0), len(clip))
        first.append(clip[:cut])
        second.append(clip[cut:])
        at += len(clip)
    return ([clip for clip in first if len(clip)], [clip for clip in second if len(clip)])


def _stretches(above: np.ndarray, apart: float) -> list[tuple[int, int]]:
    """Return first and last step of stretches above; those no farther apart are one."""
    found: list[tuple[int, int]] = []
    for step in np.flatnonzero(above).tolist():
        if found and step - found[-1][1] <= apart:
            found[-1] = found[-1][0], step
        else:
            found.append((step, step))
    return found
