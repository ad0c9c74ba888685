"""Single clips: possible or not, without a partner to compare with, at a threshold fixed on DEV.

A clip is as surprising as its most surprising step. The threshold is the one that is right most
often on DEV, over all concepts together; TEST never sees another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from armillary.comprehension.quadruplets.concepts import CONCEPTS
from armillary.comprehension.quadruplets.scoring import Scores, wilson
from armillary.comprehension.statistics import auroc

Clips = tuple[Float[np.ndarray, " C"], Bool[np.ndarray, " C"]]


def single_clips(dev: Mapping[str, Scores], test: Mapping[str, Scores]) -> dict[str, Any]:
    """Return AUROC and share right over occluded clips of TEST, as JSON values.

    Args:
        dev: scores of a judge on DEV, by concept.
        test: the same on TEST.
    """
    threshold = best_threshold(*_pooled(dev))
    surprise, impossible = _pooled(test)
    right = int(((surprise > threshold) == impossible).sum())
    return {
        "threshold": threshold,
        "n": len(surprise),
        "auroc": auroc(surprise, impossible),
        "right": 100 * right / len(surprise),
        "wilson95": [100 * bound for bound in wilson(float(right), len(surprise))],
    }


def best_threshold(surprise: Float[np.ndarray, " C"], impossible: Bool[np.ndarray, " C"]) -> float:
    """Return the value above which calling a clip impossible is right most often."""
    order = np.argsort(surprise, kind="stable")
    # right with the threshold after the first k: possible ones among them, impossible ones above
    below = np.concatenate([[0], np.cumsum(~impossible[order])])
    above = impossible.sum() - np.concatenate([[0], np.cumsum(impossible[order])])
    best = int((below + above).argmax())
    values = surprise[order]
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
