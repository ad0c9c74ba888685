"""Scoring: one rule for all judges, from raw surprise per step and labels.

    S(clip) = mean of its surprise over all steps
    D = S(c0, o1) + S(c1, o0) - S(c0, o0) - S(c1, o1);   right where D > 0, a tie counts one half

What a context or an outcome alone is worth cancels, and so does every step before a cut. Sums are
exact (``math.fsum``), and a D of less than a millionth of what was added up is a tie: so the last
bits of a product, which depend on the size of a batch, decide nothing. What is not a number counts
as wrong.

Source: comprehension.md, section 5; exact binomial test, Holm 1979.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.stats import binomtest

from armillary.core.errors import FormatError
from armillary.core.hashing import json_sha256
from armillary.core.statistics import auroc, wilson_interval
from armillary.understanding.suites.quadruplets.suite import Label

TIE = 2.0**-20
# Steps. On DEV (one model): AUROC 0.72 at 6, 0.74 at 9, 0.75 at 12 and 16, 0.73 at 20, 0.74 at 31.
WINDOW = 12
RULE = {
    "context": "growing: all steps before",
    "window": "one step",
    "aggregate": f"mean over steps; for single clips the largest mean of {WINDOW} in a row",
    "right": "D > 0",
    "tie": f"1/2 where |D| <= {TIE} of the summed surprise",
    "not a number": "wrong",
    "precision": "float32 surprise, exact sums",
}
RULE_SHA256 = json_sha256(RULE)
_CELLS = ((0, 1), (1, 0), (0, 0), (1, 1))
_NEAR = (0, 1, 2)  # steps after an event that count as its place


@dataclass(frozen=True)
class Scores:
    """What a judge got right in one concept, quadruplet by quadruplet.

    Attributes:
        double: 1, 1/2 or 0 by the sign of D.
        pairs: the same for both pairs of a context.
        largest: of every clip, the largest mean over ``WINDOW`` steps, in the order of
            ``possible``.
        possible: whether the clip is.
        peaks: step of the largest difference between an impossible clip and its possible partner.
        events: first step at which that partner differs, for each of ``peaks``.
        hidden: steps for which the outcome was open.
    """

    double: Float[np.ndarray, " Q"]
    pairs: Float[np.ndarray, "Q 2"]
    largest: Float[np.ndarray, " C"]
    possible: np.ndarray
    peaks: np.ndarray
    events: np.ndarray
    hidden: np.ndarray

    @property
    def d_accuracy(self) -> float:
        """Share of quadruplets with D > 0, per cent."""
        return 100 * float(self.double.mean())

    @property
    def localised_by_chance(self) -> float:
        """What ``localised`` is on average where events are exchanged between quadruplets."""
        others = len(self.events) // 2 - 1  # both contexts of a quadruplet have one event
        if others < 1:
            return 0.0
        times = np.bincount(self.events[::2], minlength=int(self.peaks.max()) + 1)
        near = sum(np.where(self.peaks >= off, times[self.peaks - off], 0) for off in _NEAR)
        own = _near(self.peaks - self.events)
        return 100 * float(((near - own) / others).mean())

    def row(self) -> dict[str, Any]:
        """Return the numbers that need no other judge, as JSON values."""
        n, right = len(self.double), float(self.double.sum())
        return {
            "n": n,
            "d_accuracy": self.d_accuracy,
            "wilson95": [100 * bound for bound in wilson_interval(right, n)],
            "p": chance_p(self.double),
            "both_right": 100 * float((self.pairs == 1).all(axis=1).mean()),
            "pair": 100 * float(self.pairs.mean()),
            "auroc": auroc(self.largest, ~self.possible),
            "localised": 100 * float(_near(self.peaks - self.events).mean()),
            "localised_by_chance": self.localised_by_chance,
        }


def score(surprise: Mapping[str, np.ndarray], labels: Mapping[str, Label]) -> dict[str, Scores]:
    """Return the scores of a judge by concept.

    Args:
        surprise: of steps 1 to T-1 of each clip, by id.
        labels: of the same clips.

    Raises:
        FormatError: a clip was not judged, or judged with another number of steps.
    """
    missing = labels.keys() - surprise.keys()
    if missing:
        raise FormatError(f"{len(missing)} of {len(labels)} clips have no surprise on record.")
    cells: dict[tuple[str, int], dict[tuple[int, int], tuple[np.ndarray, Label]]] = {}
    for name, label in labels.items():
        quadruplet = cells.setdefault((label.concept, label.index), {})
        quadruplet[label.context, label.outcome] = surprise[name], label
    concepts = dict.fromkeys(concept for concept, _ in sorted(cells))
    return {
        concept: _scores([cells[key] for key in sorted(cells) if key[0] == concept])
        for concept in concepts
    }


def double_difference(surprise: Mapping[tuple[int, int], np.ndarray]) -> float:
    """Return 1 where D > 0, 1/2 for a tie, 0 else.

    Args:
        surprise: of every step, by context and outcome.
    """
    return _right([surprise[cell] for cell in _CELLS])


def largest_window(surprise: Float[np.ndarray, " steps"]) -> float:
    """Return the largest mean over ``WINDOW`` steps in a row, or over all where there are fewer."""
    width = min(WINDOW, len(surprise))
    return float(np.convolve(surprise.astype(np.float64), np.ones(width) / width, "valid").max())


def chance_p(double: Float[np.ndarray, " Q"]) -> float:
    """Return the two-sided sign test's p of what was right: 1, 0 or, for a tie, 1/2.

    Ties say nothing: a judge that ties nearly always and wins the rest has found something.
    """
    wins, losses = int((double > 0.5).sum()), int((double < 0.5).sum())
    return float(binomtest(wins, wins + losses, 0.5).pvalue) if wins + losses else 1.0


def _scores(
    quadruplets: Sequence[Mapping[tuple[int, int], tuple[np.ndarray, Label]]],
) -> Scores:
    double, pairs, largest, possible, peaks, events, hidden = [], [], [], [], [], [], []
    for cells in quadruplets:
        steps = {len(values) for values, _ in cells.values()}
        if set(cells) != set(_CELLS) or len(steps) != 1:
            raise FormatError("A quadruplet has other than four clips of equal length on record.")
        surprise = {cell: values for cell, (values, _) in cells.items()}
        double.append(double_difference(surprise))
        pairs.append(
            [
                _right([surprise[0, 1], surprise[0, 0]]),
                _right([surprise[1, 0], surprise[1, 1]]),
            ]
        )
        event = cells[0, 0][1].event
        for context in (0, 1):
            odd, even = surprise[context, 1 - context], surprise[context, context]
            peaks.append(int(np.argmax(np.nan_to_num(odd - even))) + 1)
            events.append(event)
        for cell in _CELLS:
            largest.append(largest_window(surprise[cell]))
            possible.append(cell[0] == cell[1])
        hidden.append(cells[0, 0][1].hidden)
    return Scores(
        np.array(double), np.array(pairs), np.array(largest), np.array(possible),
        np.array(peaks), np.array(events), np.array(hidden),
    )  # fmt: skip


def _near(steps: np.ndarray) -> np.ndarray:
    """Tell which of these steps after an event are within two of it."""
    return np.isin(steps, _NEAR)


def _right(values: Sequence[np.ndarray]) -> float:
    """Return 1 where the first half sums up to more than the second, 0 where to less."""
    half = len(values) // 2
    terms = [float(v) for one in values[:half] for v in one]
    terms += [-float(v) for one in values[half:] for v in one]
    if not np.isfinite(terms).all():
        return 0.0
    difference, size = math.fsum(terms), math.fsum(map(abs, terms))
    return 0.5 if abs(difference) <= TIE * size else float(difference > 0)
