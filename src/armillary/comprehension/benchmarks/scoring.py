"""Scoring of published benchmarks: theirs and ours, side by side where they differ.

    pair        share of possible and impossible clips of one group that are ordered rightly by
                their mean surprise; a tie counts one half (theirs: a tie is lost)
    relative    of IntPhys: share of groups whose possible clips surprise less, summed
    single      AUROC over all clips, by their largest surprise

No context, window or threshold is chosen on labels: every step is foreseen from all before it.

Source: IntPhys (1803.07616); Garrido et al. 2025, "Intuitive physics understanding emerges ..."
(pairs, whose best context is chosen per property on test labels: not done here).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from armillary.comprehension.benchmarks.movies import Movie
from armillary.comprehension.quadruplets.scoring import wilson
from armillary.comprehension.statistics import auroc


def benchmark_rows(
    movies: Sequence[Movie], surprise: Mapping[str, np.ndarray]
) -> dict[str, dict[str, Any]]:
    """Return rows by concept, of all labelled movies.

    Args:
        movies: what was asked.
        surprise: of steps 1 to T-1, by movie id.
    """
    rows = {}
    for concept in dict.fromkeys(movie.concept for movie in movies):
        own = [m for m in movies if m.concept == concept and m.possible is not None]
        if {m.possible for m in own} == {True, False}:
            rows[concept] = _row(own, surprise)
    return rows


def submission(movies: Sequence[Movie], surprise: Mapping[str, np.ndarray]) -> str:
    """Return IntPhys's ``answer.txt``: a line per clip, plausibility in 0..1, more is more.

    It is one minus the rank of the mean surprise among all clips, so that it never leaves 0..1.
    """
    means = np.array([_mean(surprise[movie.id]) for movie in movies])
    ranks = means.argsort(kind="stable").argsort(kind="stable")
    shares = 1 - ranks / max(1, len(movies) - 1)
    return "".join(f"{m.id} {share:.4f}\n" for m, share in zip(movies, shares, strict=True))


def _row(movies: Sequence[Movie], surprise: Mapping[str, np.ndarray]) -> dict[str, Any]:
    groups: dict[str, list[Movie]] = defaultdict(list)
    for movie in movies:
        groups[movie.group].append(movie)
    pairs, strict, sums = [], [], []
    for group in groups.values():
        can, cannot = (
            [_mean(surprise[m.id]) for m in group if m.possible is kind] for kind in (True, False)
        )
        won = [0.5 * (a < b) + 0.5 * (a <= b) for a in can for b in cannot]
        pairs += [float(np.mean(won))] if won else []
        strict += [float(np.mean([a < b for a in can for b in cannot]))] if won else []
        sums += [float(np.mean(can) < np.mean(cannot))] if won else []
    labels = np.array([not movie.possible for movie in movies])
    largest = np.array([float(np.max(surprise[movie.id])) for movie in movies])
    low, high = wilson(float(np.sum(pairs)), len(pairs))
    return {
        "groups": len(pairs),
        "pair": 100 * float(np.mean(pairs)),
        "wilson95": [100 * low, 100 * high],
        "pair_published": 100 * float(np.mean(strict)),
        "relative_error_published": 1 - float(np.mean(sums)),
        "single_auroc": auroc(largest, labels),
        "absolute_error_published": 1 - auroc(largest, labels),
    }


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values, dtype=np.float64))
