"""Flaws: what can be wrong with a set of quadruplets or with a scorer, planted on purpose.

Each comes with the name of the check that has to find it. A check that no flaw can trip would be
worth nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from armillary.understanding.suites.quadruplets.quadruplet import Quadruplet
from armillary.understanding.suites.quadruplets.scorer_checks import Rule

_IMPOSSIBLE = ((0, 1), (1, 0))
Plant = Callable[[Sequence[Quadruplet]], list[Quadruplet]]


def brightness_cue(made: Sequence[Quadruplet]) -> list[Quadruplet]:
    """Impossible clips are a little darker."""
    return _each_impossible(made, lambda clip: (clip * 0.85).astype(np.uint8))


def motion_cue(made: Sequence[Quadruplet]) -> list[Quadruplet]:
    """Impossible clips shake by a pixel."""

    def shaken(clip: np.ndarray) -> np.ndarray:
        return np.stack([np.roll(frame, step % 2, axis=1) for step, frame in enumerate(clip)])

    return _each_impossible(made, shaken)


def foreign_frame(made: Sequence[Quadruplet]) -> list[Quadruplet]:
    """One frame of an impossible clip is in no possible one."""

    def touched(clip: np.ndarray) -> np.ndarray:
        clip[-1, 0, 0, 0] ^= 1
        return clip

    return _each_impossible(made, touched)


def unbalanced_side(made: Sequence[Quadruplet]) -> list[Quadruplet]:
    """Nearly everything comes from the left."""
    left = [one for one in made if one.factors["side"] == "left"]
    right = [one for one in made if one.factors["side"] == "right"]
    return left + right[: max(1, len(right) // 8)]


def wrong_side(made: Sequence[Quadruplet]) -> list[Quadruplet]:
    """What is written of the side is not what is shown."""
    other = {"left": "right", "right": "left"}
    return [
        replace(one, factors={**one.factors, "side": other[one.factors["side"]]}) for one in made
    ]


def no_shared_prefix(made: Sequence[Quadruplet]) -> list[Quadruplet]:
    """One clip of each quadruplet is taken from the next one."""
    found = []
    for one, other in zip(made, [*made[1:], made[0]], strict=True):
        frames = one.frames.copy()
        frames[0, 1] = other.frames[0, 1]
        found.append(replace(one, frames=frames))
    return found


def coloured_outcome(made: Sequence[Quadruplet]) -> list[Quadruplet]:
    """An outcome looks different by the context that it follows."""
    found = []
    for one in made:
        frames = one.frames.copy()
        frames[1, :, one.event :, :4] //= 2
        found.append(replace(one, frames=frames))
    return found


def early_cut(made: Sequence[Quadruplet]) -> list[Quadruplet]:
    """Clips are cut while the thing is still in view."""
    found = []
    for one in made:
        frames = one.frames.copy()
        cut = max(1, one.event - one.hidden - 4)
        for context in (0, 1):
            before, after = one.frames[context, context], one.frames[1 - context, 1 - context]
            frames[context, 1 - context] = np.concatenate([before[:cut], after[cut:]])
        found.append(replace(one, frames=frames, event=cut))
    return found


def nothing_hidden(made: Sequence[Quadruplet]) -> list[Quadruplet]:
    """The outcome follows the context at once."""
    return [replace(one, hidden=0) for one in made]


def same_context(made: Sequence[Quadruplet]) -> list[Quadruplet]:
    """Both contexts are one."""
    found = []
    for one in made:
        frames = one.frames.copy()
        frames[1] = frames[0]
        found.append(replace(one, frames=frames, pans=np.stack([one.pans[0]] * 2)))
    return found


def repeated(made: Sequence[Quadruplet]) -> list[Quadruplet]:
    """A few quadruplets come again and again."""
    return [made[place % 4] for place in range(len(made))]


GENERATOR_FLAWS: dict[str, tuple[str, Plant]] = {
    "brightness_cue": ("brightness", brightness_cue),
    "motion_cue": ("motion", motion_cue),
    "foreign_frame": ("hash_multisets", foreign_frame),
    "unbalanced_side": ("balance", unbalanced_side),
    "wrong_side": ("sides", wrong_side),
    "no_shared_prefix": ("shared_prefix", no_shared_prefix),
    "coloured_outcome": ("shared_suffix", coloured_outcome),
    "early_cut": ("seam", early_cut),
    "nothing_hidden": ("occlusion", nothing_hidden),
    "same_context": ("difference", same_context),
    "repeated": ("no_repetition", repeated),
}


def _mean(values: np.ndarray) -> float:
    return math.fsum(values.tolist()) / len(values)


def _by(aggregate: Callable[[np.ndarray], float], tie: float, nan: float) -> Rule:
    def right(cells: Mapping[tuple[int, int], np.ndarray]) -> float:
        s = {cell: aggregate(values) for cell, values in cells.items()}
        d = s[0, 1] + s[1, 0] - s[0, 0] - s[1, 1]
        if math.isnan(d):
            return nan
        return tie if abs(d) < 1e-9 else float(d > 0)

    return right


def _only_first_pair(cells: Mapping[tuple[int, int], np.ndarray]) -> float:
    d = _mean(cells[0, 1]) - _mean(cells[0, 0])
    return 0.5 if d == 0 else float(d > 0)


def _absolute(cells: Mapping[tuple[int, int], np.ndarray]) -> float:
    s = {cell: _mean(values) for cell, values in cells.items()}
    d = s[0, 1] + s[1, 0] - s[0, 0] - s[1, 1]
    return 0.5 if abs(d) < 1e-9 else float(abs(d) > 0)


SCORER_FLAWS: dict[str, tuple[str, Rule]] = {
    "max_instead_of_mean": ("context_cancels", _by(lambda v: float(v.max()), 0.5, 0.0)),
    "ties_lose": ("ties_count_half", _by(_mean, 0.0, 0.0)),
    "nan_wins": ("nan_is_wrong", _by(_mean, 0.5, 1.0)),
    "nan_dropped": ("nan_is_wrong", _by(lambda v: float(np.nanmean(v)), 0.5, 0.0)),
    "one_pair_only": ("outcome_cancels", _only_first_pair),
    "sign_ignored": ("inverted_is_wrong", _absolute),
}


def _each_impossible(
    made: Sequence[Quadruplet], change: Callable[[np.ndarray], np.ndarray]
) -> list[Quadruplet]:
    found = []
    for one in made:
        frames = one.frames.copy()
        for cell in _IMPOSSIBLE:
            frames[cell] = change(frames[cell].copy())
        found.append(replace(one, frames=frames))
    return found
