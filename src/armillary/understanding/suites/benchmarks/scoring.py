"""Scoring of published benchmarks: theirs and ours, side by side where they differ.

    pair        Clips that share the longest beginning are partners; share of partners of which the
                impossible one surprises more, on the mean. Theirs: a tie is lost. Ours: it counts
                one half.
    double      Ours, where a group has two pairs: both impossible clips surprise more, together,
                than both possible ones (D > 0); what an outcome is worth by itself cancels.
    relative    of IntPhys: share of groups whose possible clips surprise more, summed
    single      AUROC over all clips, by their largest surprise (of IntPhys: absolute error)

No context, window or threshold is chosen on labels: every step is predicted from all before it.

Source: IntPhys (1803.07616); V-JEPA's intuitive-physics evaluation (its partners and ties; it
also takes the best of several contexts per property on test labels, which is not done here).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np
from scipy.stats import rankdata

from armillary.core.statistics import auroc, wilson_interval
from armillary.understanding.suites.benchmarks.movies import Movie
from armillary.understanding.suites.quadruplets.scoring import TIE

Prefixes = Mapping[str, Sequence[bytes]]


def benchmark_rows(
    movies: Sequence[Movie], surprise: Mapping[str, np.ndarray], frames: Prefixes
) -> dict[str, dict[str, Any]]:
    """Return rows by concept, of all labelled movies whose group has both kinds.

    Args:
        movies: what was asked.
        surprise: of steps 1 to T-1, by movie id.
        frames: hash of every picture, by movie id; tells which clips begin alike.
    """
    rows = {}
    for concept in dict.fromkeys(movie.concept for movie in movies):
        groups: dict[str, list[Movie]] = defaultdict(list)
        for movie in movies:
            if movie.concept == concept and movie.possible is not None:
                groups[movie.group].append(movie)
        both = [own for own in groups.values() if {m.possible for m in own} == {True, False}]
        if both:
            rows[concept] = _row(both, surprise, frames)
    return rows


def partners(group: Sequence[Movie], frames: Prefixes) -> list[tuple[Movie, Movie]]:
    """Return pairs of a possible and an impossible clip that share the longest beginnings.

    Args:
        group: movies of one scene.
        frames: hash of every picture, by movie id.
    """
    can, cannot = ([m for m in group if m.possible is kind] for kind in (True, False))
    fewer, more = (can, cannot) if len(can) <= len(cannot) else (cannot, can)
    best = max(
        permutations(more, len(fewer)),
        key=lambda chosen: sum(
            _shared(frames[a.id], frames[b.id]) for a, b in zip(fewer, chosen, strict=True)
        ),
    )
    pairs = zip(fewer, best, strict=True)
    return [(a, b) if a.possible else (b, a) for a, b in pairs]


def submission(movies: Sequence[Movie], surprise: Mapping[str, np.ndarray]) -> str:
    """Return IntPhys's ``answer.txt``: a line per clip, plausibility in 0..1, more is more.

    It is one minus the rank of the mean surprise among all clips, so that it never leaves 0..1.
    """
    means = np.array([_mean(surprise[movie.id]) for movie in movies])
    means = np.nan_to_num(means, nan=np.inf)  # what is not a number is as surprising as can be
    shares = 1 - (rankdata(means) - 1) / max(1, len(movies) - 1)
    return "".join(f"{m.id} {share:.6f}\n" for m, share in zip(movies, shares, strict=True))


def _row(
    groups: Sequence[Sequence[Movie]], surprise: Mapping[str, np.ndarray], frames: Prefixes
) -> dict[str, Any]:
    ours, theirs, double, sums = [], [], [], []
    for group in groups:
        pairs = [(_mean(surprise[a.id]), _mean(surprise[b.id])) for a, b in partners(group, frames)]
        ours.append(np.mean([_right([pair]) for pair in pairs]))
        theirs.append(np.mean([a < b for a, b in pairs]))
        sums.append(not sum(b - a for a, b in pairs) >= 0)
        if len(pairs) == 2:
            double.append(_right(pairs))
    clips = [movie for group in groups for movie in group]
    labels = np.array([not movie.possible for movie in clips])
    largest = np.array([float(np.max(surprise[movie.id])) for movie in clips])
    single = auroc(largest, labels)
    return {
        "groups": len(groups),
        "pair": 100 * float(np.mean(ours)),
        "wilson95": [100 * bound for bound in wilson_interval(float(np.sum(ours)), len(ours))],
        "double": 100 * float(np.mean(double)) if double else None,
        "pair_published": 100 * float(np.mean(theirs)),
        "relative_error_published": float(np.mean(sums)),
        "single_auroc": single,
        "absolute_error_published": 1 - single,
    }


def _right(pairs: Sequence[tuple[float, float]]) -> float:
    """Return 1 where possible clips (the first of each pair) surprise less, 1/2 for a tie.

    The last bits of a mean depend on the order of its steps, so they decide nothing. What is not
    finite is wrong.
    """
    if not np.isfinite(pairs).all():
        return 0.0
    apart = math.fsum(b - a for a, b in pairs)
    size = math.fsum(abs(value) for pair in pairs for value in pair)
    return 0.5 if abs(apart) <= TIE * size else float(apart > 0)


def _shared(one: Sequence[bytes], other: Sequence[bytes]) -> int:
    """Return how many pictures two clips have in common at their beginning."""
    differ = (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differ, min(len(one), len(other)))


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values, dtype=np.float64))
