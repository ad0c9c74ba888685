"""Scorer checks: what the rule of scoring promises, tried on made-up surprise.

Each takes a rule, so that a wrong one can be shown to fail (``flaws.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from armillary.core.rng import generator
from armillary.understanding.suites.quadruplets.quadruplet import CELLS
from armillary.understanding.suites.quadruplets.scoring import double_difference

Cells = Mapping[tuple[int, int], np.ndarray]
Rule = Callable[[Cells], float]
Found = tuple[bool, str]
_STEPS, _TRIALS = 31, 50


def check_context_cancels(rule: Rule) -> Found:
    """A step before the event that surprises, in each context by another much, decides nothing."""
    for trial in range(_TRIALS):
        cells = _oracle(trial)
        for context, outcome in CELLS:
            cells[context, outcome][3] += 100.0 * (1 + context)
        if rule(cells) != 1.0:
            return False, "a surprising context hides what comes after it"
    return True, "what a context is worth cancels"


def check_outcome_cancels(rule: Rule) -> Found:
    """An outcome that surprises by itself, however much, decides nothing."""
    for trial in range(_TRIALS):
        cells = _oracle(trial)
        for context in (0, 1):
            cells[context, 0][25] += 100.0
        if rule(cells) != 1.0:
            return False, "a surprising outcome hides whether it could be"
    return True, "what an outcome is worth cancels"


def check_ties_count_half(rule: Rule) -> Found:
    """A judge that is never surprised scores 50 %."""
    cells = {cell: np.ones(_STEPS, np.float32) for cell in CELLS}
    return rule(cells) == 0.5, f"a tie counts {rule(cells):g}"


def check_nan_is_wrong(rule: Rule) -> Found:
    """What is not a number counts as wrong, wherever it is."""
    for cell in CELLS:
        cells = _oracle(0)
        cells[cell][7] = np.nan
        if rule(cells) != 0.0:
            return False, f"a NaN in {cell} counts {rule(cells):g}"
    return True, "a NaN counts as wrong"


def check_inverted_is_wrong(rule: Rule) -> Found:
    """A judge that is surprised by what can be is always wrong."""
    for trial in range(_TRIALS):
        cells = {(c, 1 - o): values for (c, o), values in _oracle(trial).items()}
        if rule(cells) != 0.0:
            return False, "an inverted oracle is right"
    return True, "an inverted oracle is wrong"


def check_last_bits(rule: Rule) -> Found:
    """The last bits of a judge that cannot tell, which depend on its batch, decide nothing."""
    rng = generator("last bits")
    for _ in range(_TRIALS):
        same = rng.random(_STEPS).astype(np.float32)
        cells = {cell: same * np.float32(1 + 1e-7 * rng.integers(-1, 2)) for cell in CELLS}
        if rule(cells) != 0.5:
            return False, "rounding decides"
    return True, "rounding decides nothing"


SCORER_CHECKS: dict[str, Callable[[Rule], Found]] = {
    "context_cancels": check_context_cancels,
    "outcome_cancels": check_outcome_cancels,
    "ties_count_half": check_ties_count_half,
    "nan_is_wrong": check_nan_is_wrong,
    "inverted_is_wrong": check_inverted_is_wrong,
    "last_bits": check_last_bits,
}


def our_rule(cells: Cells) -> float:
    """Return what the scorer counts for a quadruplet: 1, 1/2 or 0."""
    return double_difference(cells)


def _oracle(trial: int) -> dict[tuple[int, int], np.ndarray]:
    rng = generator("scorer check", trial)
    context, outcome = rng.random((2, 15)), rng.random((2, _STEPS - 15))
    cells = {(c, o): np.concatenate([context[c], outcome[o]]).astype(np.float32) for c, o in CELLS}
    for cell in ((0, 1), (1, 0)):
        cells[cell][20] += 1.0
    return cells
