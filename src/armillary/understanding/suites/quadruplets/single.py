"""Single clips: possible or not, without a partner to compare with, at a threshold fixed on DEV.

A clip is as surprising as the ``WINDOW`` steps in a row that are most so. The threshold is the one
that is right most often on DEV, over all concepts together; TEST never sees another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from armillary.core.rng import generator
from armillary.core.statistics import auroc, group_draws, quantile_interval
from armillary.understanding.suites.quadruplets.concepts import CONCEPTS
from armillary.understanding.suites.quadruplets.scoring import Scores

_CLIPS, _DRAWS = 4, 2000  # of a quadruplet, which is what is drawn
Clips = tuple[Float[np.ndarray, " C"], Bool[np.ndarray, " C"]]


def single_clips(dev: Mapping[str, Scores], test: Mapping[str, Scores]) -> dict[str, Any]:
    """Return AUROC and share right over occluded clips of TEST, as JSON values.

    Args:
        dev: scores of a judge on DEV, by concept.
        test: the same on TEST.
    """
    threshold = best_threshold(*_pooled(dev))
    surprise, impossible = _pooled(test)
    called = np.where(np.isnan(surprise), ~impossible, surprise > threshold)  # a NaN is wrong
    right = (called == impossible).reshape(-1, _CLIPS).mean(axis=1)
    draws = group_draws(len(right), _DRAWS, generator("single clips"))
    low, high = quantile_interval(100 * draws @ right / len(right))
    return {
        "threshold": threshold,
        "n": len(surprise),
        "auroc": auroc(surprise, impossible),
        "right": 100 * float(right.mean()),
        "interval95": [low, high],
    }


def best_threshold(surprise: Float[np.ndarray, " C"], impossible: Bool[np.ndarray, " C"]) -> float:
    """Return the value above which calling a clip impossible is right most often."""
    order = np.argsort(surprise, kind="stable")
    values = surprise[order]
    # right with the threshold after the first k: possible ones among them, impossible ones above
    below = np.concatenate([[0], np.cumsum(~impossible[order])])
    above = impossible.sum() - np.concatenate([[0], np.cumsum(impossible[order])])
    scores = below + above
    tied = np.flatnonzero(values[1:] == values[:-1]) + 1  # no threshold lies between equal ones
    scores[tied] = -1
    best = int(scores.argmax())
    if best == 0:
        return float(values[0]) - 1e-9
    following = values[best] if best < len(values) else values[-1]
    return float((values[best - 1] + following) / 2)


def _pooled(scores: Mapping[str, Scores]) -> Clips:
    """Return surprise and labels of all clips in which something is hidden."""
    kept = [found for name, found in scores.items() if CONCEPTS[name].kind != "exchanged"]
    kept = kept or list(scores.values())
    surprise = np.concatenate([found.largest for found in kept])
    return surprise, ~np.concatenate([found.possible for found in kept])
