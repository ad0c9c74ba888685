"""Folds: which sweeps are learned from, and which are judged.

The recording is cut into contiguous blocks. Each block is judged once, by a model that learned
from the others. Around the judged block lies a gap on both sides, which is neither learned from nor
judged; it is as long as the farthest look back of a judged sweep, so that nothing that a judgement
touches was learned from. The recording is treated as a circle, since a loop ends where it began.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Int

from armillary.core.errors import DatasetError


@dataclass(frozen=True)
class Fold:
    """One division.

    Attributes:
        judged: sweeps whose predictions are judged; consecutive.
        learned: [T] True where a sweep may be learned from.
    """

    judged: Int[np.ndarray, " J"]
    learned: Bool[np.ndarray, " T"]


def make_folds(count: int, blocks: int, gap: int) -> tuple[Fold, ...]:
    """Cut ``count`` sweeps into blocks that are judged in turn.

    Args:
        count: sweeps T.
        blocks: how many folds.
        gap: sweeps on either side of a judged block that are not learned from.

    Raises:
        DatasetError: a fold would have nothing left to learn from.
    """
    edges = np.linspace(0, count, blocks + 1).round().astype(np.int64)
    folds = []
    for start, end in pairwise(edges):
        judged = np.arange(start, end)
        apart = np.abs(np.arange(count)[:, None] - judged)
        learned = np.minimum(apart, count - apart).min(axis=1, initial=count) > gap
        if not len(judged) or not learned.any():
            raise DatasetError(
                f"{count} sweeps cannot be cut into {blocks} blocks with gaps of {gap}. Record "
                "more, or use shorter horizons."
            )
        folds.append(Fold(judged, learned))
    return tuple(folds)


def whole_windows(
    allowed: Bool[np.ndarray, " T"], horizon: int, history: int, direction: int = 1
) -> Int[np.ndarray, " W"]:
    """Return the targets whose whole window is allowed: target, between, present and history.

    Args:
        allowed: [T].
        horizon: steps from the present to the target.
        history: steps from the present to the oldest sweep that is looked at.
        direction: 1, or -1 where time runs backwards.
    """
    targets = np.arange(len(allowed))
    window = targets[:, None] - direction * np.arange(horizon + history + 1)
    inside = (window >= 0) & (window < len(allowed))
    return targets[(inside & allowed[window.clip(0, len(allowed) - 1)]).all(axis=1)]
