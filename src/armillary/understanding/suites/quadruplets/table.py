"""Table: all judges side by side, what each concept is worth, and what the model adds.

A concept is in the headline unless its design leaves it out, or a shortcut (a judge that knows
nothing of physics) differs from 50 % in it. What the model adds is measured against its own
copy-last, quadruplet by quadruplet.

Source: McNemar 1947, exact; Holm 1979 over concepts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import binomtest

from armillary.core.rng import generator
from armillary.core.statistics import group_draws, holm, quantile_interval
from armillary.understanding.suites.quadruplets.concepts import CONCEPTS
from armillary.understanding.suites.quadruplets.scoring import Scores, chance_p

SHORTCUTS = (
    "copy_last_pixels", "motion_energy", "largest_difference", "constant_velocity", "copy_last",
)  # fmt: skip
_ALPHA = 0.05
_FEWEST = 10
_DRAWS = 10_000
ByConcept = Mapping[str, Scores]


def concept_rows(model: ByConcept, copy: ByConcept, headline: Mapping[str, bool]) -> dict[str, Any]:
    """Return the rows of a model, as JSON values.

    Args:
        model: its scores.
        copy: those of its own copy-last on the same quadruplets.
        headline: whether each concept counts.
    """
    gains = {name: _gain(model[name], copy[name], name) for name in model}
    adjusted = _holm({name: gain["p"] for name, gain in gains.items()})
    return {
        name: {
            **model[name].row(),
            "gain_over_copy": gains[name]["gain"],
            "gain95": gains[name]["interval"],
            "p_holm": adjusted[name],
            "headline": headline[name],
        }
        for name in model
    }


def headline_concepts(judges: Mapping[str, ByConcept]) -> dict[str, bool]:
    """Return which concepts count, from what the shortcuts among these judges score."""
    solved = shortcut_solvable(judges)
    return {name: CONCEPTS[name].copy == 50 and not by for name, by in solved.items()}


def shortcut_solvable(judges: Mapping[str, ByConcept]) -> dict[str, list[str]]:
    """Return by concept which shortcuts among these judges differ from 50 % in it."""
    found = {
        (judge, concept): chance_p(scores.double)
        for judge in SHORTCUTS
        if judge in judges
        for concept, scores in judges[judge].items()
    }
    adjusted = _holm(found)
    concepts = dict.fromkeys(concept for scores in judges.values() for concept in scores)
    return {
        name: [judge for (judge, concept), p in adjusted.items() if concept == name and p < _ALPHA]
        for name in concepts
    }


def mean_headline(rows: Mapping[str, Mapping[str, Any]]) -> float | None:
    """Return the mean D-accuracy over headline concepts, per cent; None where there are none."""
    kept = [row["d_accuracy"] for row in rows.values() if row["headline"]]
    return float(np.mean(kept)) if kept else None


def gap(fresh: ByConcept, test: ByConcept) -> dict[str, Any]:
    """Return FRESH minus TEST, mean over concepts of D-accuracy in per cent, and its error.

    ``suspicious`` where it lies more than three standard errors below zero: then the model knows
    TEST better than what it has never seen. Fewer than 10 quadruplets a concept say nothing.
    """
    means = [fresh[name].d_accuracy - test[name].d_accuracy for name in test]
    variance = [
        float(np.var(scores[name].double, ddof=1)) / len(scores[name].double)
        for name in test
        for scores in (fresh, test)
        if len(scores[name].double) > 1
    ]
    enough = all(len(scores[name].double) >= _FEWEST for name in test for scores in (fresh, test))
    mean, se = float(np.mean(means)), 100 * float(np.sqrt(np.sum(variance))) / len(means)
    return {"mean": mean, "se": se, "suspicious": bool(enough and mean < -3 * se)}


def _holm(p_values: Mapping[Any, float]) -> dict[Any, float]:
    return dict(zip(p_values, holm(list(p_values.values())), strict=True))


def _gain(model: Scores, copy: Scores, concept: str) -> dict[str, Any]:
    difference = model.double - copy.double
    better, worse = int((difference > 0).sum()), int((difference < 0).sum())
    weights = group_draws(len(difference), _DRAWS, generator(f"gain.{concept}"))
    low, high = quantile_interval(100 * weights @ difference / len(difference))
    p = float(binomtest(better, better + worse, 0.5).pvalue) if better + worse else 1.0
    return {"gain": 100 * float(difference.mean()), "interval": [low, high], "p": p}
