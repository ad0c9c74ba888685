"""Audit: checks of a set of quadruplets, each of which can fail, and says by name what is wrong.

Shortcuts hide in how clips were made. These checks look for each known kind of them in the clips
and labels alone; ``flaws.py`` plants every kind and the self-test shows that it is found.

Axes: Q quadruplets, T steps, H W picture.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from armillary.core.statistics import auroc
from armillary.understanding.ridge import fit_ridge
from armillary.understanding.suites.quadruplets.concepts import CONCEPTS
from armillary.understanding.suites.quadruplets.judges import CopyLast
from armillary.understanding.suites.quadruplets.quadruplet import CELLS, Kind, Quadruplet
from armillary.understanding.suites.quadruplets.scoring import chance_p

Found = tuple[bool, str]
Sets = Mapping[str, Sequence[Quadruplet]]
_LEAST_P = 0.001


def check_hashes(sets: Sets) -> Found:
    """Frames of the possible clips are those of the impossible ones, in another order."""
    for concept, index, made in _each(sets, ("spliced", "exchanged")):
        possible, impossible = (
            Counter(
                hashlib.sha256(frame.tobytes()).digest()
                for c, o in CELLS
                if (c == o) == wanted
                for frame in made.frames[c, o]
            )
            for wanted in (True, False)
        )
        if possible != impossible:
            return False, f"{concept} {index}: a frame is in the impossible clips alone"
    return True, "equal in every spliced quadruplet"


def check_prefix(sets: Sets) -> Found:
    """Clips of one context are alike until the event."""
    for concept, index, made in _each(sets):
        for context in (0, 1):
            one, other = made.frames[context]
            if made.event < 1 or not np.array_equal(one[: made.event], other[: made.event]):
                return False, f"{concept} {index}: two outcomes differ before the event"
    return True, "both outcomes begin alike"


def check_suffix(sets: Sets) -> Found:
    """Clips of one outcome end alike, but for the cause that stays in view."""
    for concept, index, made in _each(sets, ("spliced", "exchanged")):
        for outcome in (0, 1):
            one, other = made.frames[0, outcome], made.frames[1, outcome]
            if not np.array_equal(one[made.event :], other[made.event :]):
                return False, f"{concept} {index}: an outcome looks different by its context"
    return True, "an outcome looks the same after either context"


def check_seam(sets: Sets) -> Found:
    """No step of a spliced clip changes more than a step of the possible clips does."""
    for concept, index, made in _each(sets, ("spliced",)):
        steps = {cell: CopyLast().surprise(made.frames[cell][None], made.pans[cell][None])[0]
                 for cell in CELLS}  # fmt: skip
        most = max(steps[0, 0].max(), steps[1, 1].max())
        if max(steps[0, 1].max(), steps[1, 0].max()) > most:
            return False, f"{concept} {index}: a cut shows"
    return True, "no cut shows"


def check_brightness(sets: Sets) -> Found:
    """Luminance does not tell possible from impossible clips."""
    return _classified(sets, lambda clip: np.histogram(clip.mean(axis=(1, 2, 3)), 8, (0, 255))[0])


def check_motion(sets: Sets) -> Found:
    """Amounts of motion do not tell possible from impossible clips."""

    def motion(clip: np.ndarray) -> np.ndarray:
        changed = np.abs(np.diff(clip.astype(np.int16), axis=0)).mean(axis=(1, 2, 3))
        return np.histogram(changed, 12, (0, 6))[0]

    return _classified(sets, motion)


def check_balance(sets: Sets) -> Found:
    """Every level of what is counterbalanced comes as often as the others, within one round."""
    for concept, quadruplets in sets.items():
        for name in quadruplets[0].factors:
            counts = Counter(made.factors[name] for made in quadruplets)
            if max(counts.values()) > 1.5 * min(counts.values()) + 2:
                return False, f"{concept}: {name} is unbalanced: {dict(counts)}"
    return True, "sides, orders, lengths and pairs come equally often"


def check_sides(sets: Sets) -> Found:
    """Mirrored pictures come with mirrored sides: what moves comes from where the factor says."""
    for concept in ("shape", "colour", "size", "continuity_lane"):
        wrong = sum(_comes_from(made) != made.factors["side"] for made in sets.get(concept, ()))
        if wrong:
            return False, f"{concept}: {wrong} come from the other side than they say"
    return True, "what moves comes from the side that is written"


def check_occlusion(sets: Sets) -> Found:
    """Outcomes of spliced quadruplets are open for at least two steps before the event."""
    for concept, index, made in _each(sets, ("spliced",)):
        if made.hidden < 2:
            return False, f"{concept} {index}: hidden for {made.hidden} steps"
    return True, "something is hidden in each"


def check_difference(sets: Sets) -> Found:
    """The two contexts of a quadruplet differ, and so do its outcomes."""
    for concept, index, made in _each(sets):
        by_context = not np.array_equal(made.frames[0, 0], made.frames[1, 0])
        by_context |= not np.array_equal(made.pans[0, 0], made.pans[1, 0])
        if not by_context or np.array_equal(made.frames[0, 0], made.frames[0, 1]):
            return False, f"{concept} {index}: two clips of a quadruplet are the same"
    return True, "contexts and outcomes differ in each"


def check_twice(sets: Sets) -> Found:
    """No quadruplet comes twice."""
    for concept, quadruplets in sets.items():
        seen = {
            hashlib.sha256(made.frames.tobytes() + made.pans.tobytes()).digest()
            for made in quadruplets
        }
        if len(seen) < len(quadruplets):
            return False, f"{concept}: {len(quadruplets) - len(seen)} come twice"
    return True, "no quadruplet comes twice"


AUDIT: dict[str, Callable[[Sets], Found]] = {
    "hash_multisets": check_hashes,
    "shared_prefix": check_prefix,
    "shared_suffix": check_suffix,
    "seam": check_seam,
    "brightness": check_brightness,
    "motion": check_motion,
    "balance": check_balance,
    "sides": check_sides,
    "occlusion": check_occlusion,
    "difference": check_difference,
    "no_repetition": check_twice,
}


def _each(
    sets: Sets, kinds: tuple[Kind, ...] = ("spliced", "exchanged")
) -> list[tuple[str, int, Quadruplet]]:
    return [
        (concept, index, made)
        for concept, quadruplets in sets.items()
        for index, made in enumerate(quadruplets)
        if CONCEPTS[concept].kind in kinds
    ]


def _classified(sets: Sets, features: Callable[[np.ndarray], np.ndarray]) -> Found:
    """Train a linear classifier on half of the quadruplets of each concept, test it on the rest."""
    for concept, quadruplets in sets.items():
        values = np.array([[features(made.frames[cell]) for cell in CELLS] for made in quadruplets])
        labels = np.tile([float(c != o) for c, o in CELLS], (len(quadruplets), 1))
        half = len(quadruplets) // 2
        inputs = values.reshape(len(values), len(CELLS), -1).astype(np.float64)
        chosen_on = np.repeat(np.arange(half) % 4 == 0, len(CELLS))
        fit = fit_ridge(_rows(inputs[:half]), labels[:half].reshape(-1, 1), chosen_on)
        guessed = fit.predict(_rows(inputs[half:]))[:, 0].reshape(-1, len(CELLS))
        doubled = np.array([1.0, -1.0, -1.0, 1.0])  # D over the four cells, possible ones first
        right = -(guessed * doubled).sum(axis=1)
        double = np.where(np.abs(right) <= 1e-9, 0.5, right > 0)
        single = auroc(guessed.ravel(), labels[half:].ravel() > 0)
        if chance_p(double) < _LEAST_P or not 0.35 <= single <= 0.65:
            said = f"{100 * double.mean():.0f} % of pairs, AUROC {single:.2f}"
            return False, f"{concept}: a linear classifier tells them apart ({said})"
    return True, f"no linear classifier leaves chance in {len(sets)} concepts (p > {_LEAST_P})"


def _rows(values: np.ndarray) -> np.ndarray:
    return values.reshape(-1, values.shape[-1])


def _comes_from(made: Quadruplet) -> str:
    """Return the side of the picture in which something changes first."""
    changed = (np.diff(made.frames[0, 0].astype(np.int16), axis=0) != 0).any(axis=(2, 3))
    columns = np.abs(np.diff(made.frames[0, 0].astype(np.int16), axis=0)).sum(axis=(1, 3))
    first = int(np.flatnonzero(changed.any(axis=1))[0])
    middle = columns.shape[1] // 2
    return "left" if columns[first, :middle].sum() > columns[first, middle:].sum() else "right"
