"""Compare: several policies on the same episodes, pair by pair.

McNemar's exact test says whether they solve the same episodes; a permutation test of the final
distances says whether one ends nearer to the goal; Holm's method pays for asking often.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from armillary.core.errors import ConfigError
from armillary.core.rng import generator
from armillary.core.statistics import Interval, holm
from armillary.evaluation import Record, compare, read_records

_EXACT_UP_TO = 16  # pairs: all 2^16 signs are tried; beyond, signs are drawn
_BLOCK = 1000


@dataclass(frozen=True)
class Pair:
    """Two policies on the same episodes.

    Attributes:
        first: its name.
        second: its name.
        n: episodes.
        difference: success of the first minus that of the second, -1 to 1.
        bootstrap95: its paired 95 % interval.
        only_first: episodes that only the first solved.
        only_second: episodes that only the second solved.
        p_success: McNemar's, two-sided, exact.
        p_success_holm: adjusted for all pairs.
        nearer: mean final distance of the second minus that of the first; above 0 the first ends
            nearer. None where fewer than two episodes have a distance on both sides.
        p_distance: of the permutation test, two-sided.
        p_distance_holm: adjusted for all pairs.
    """

    first: str
    second: str
    n: int
    difference: float
    bootstrap95: Interval
    only_first: int
    only_second: int
    p_success: float
    p_success_holm: float
    nearer: float | None
    p_distance: float | None
    p_distance_holm: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**asdict(self), "bootstrap95": list(self.bootstrap95)}


def compare_files(paths: Sequence[Path], seed: int = 0) -> tuple[Pair, ...]:
    """Compare record files of one manifest, every pair of them.

    Args:
        paths: at least two; each is called by its name without the ending, or by its folder's name
            where several are called alike.
        seed: of the bootstrap and the permutations.

    Raises:
        FormatError: a file is damaged.
        ConfigError: fewer than two files, or they do not hold the same episodes of one manifest.
    """
    names = [path.stem for path in paths]
    if len(set(names)) < len(names):
        names = [str(path.with_suffix("")) for path in paths]
    if len(set(names)) < 2 or len(set(names)) < len(names):
        raise ConfigError(
            f"A comparison needs at least two different record files; got {len(paths)}."
        )
    return compare_all(dict(zip(names, map(read_records, paths), strict=True)), seed)


def compare_all(records: Mapping[str, Sequence[Record]], seed: int = 0) -> tuple[Pair, ...]:
    """Compare every pair of policies.

    Args:
        records: by name, each of the same episodes of one manifest.
        seed: of the bootstrap and the permutations.

    Raises:
        ConfigError: they did not run the same episodes of the same manifest.
    """
    pairs = [_pair(a, b, records, seed) for a, b in combinations(records, 2)]
    success = holm([pair.p_success for pair in pairs])
    told = [pair.p_distance for pair in pairs if pair.p_distance is not None]
    distance = iter(holm(told))
    return tuple(
        replace(
            pair,
            p_success_holm=p,
            p_distance_holm=None if pair.p_distance is None else next(distance),
        )
        for pair, p in zip(pairs, success, strict=True)
    )


def permutation_test(differences: np.ndarray, rng: np.random.Generator, draws: int = 9999) -> float:
    """Return the two-sided p-value of a mean paired difference under exchange of the sides.

    Exact, over all signs, up to 16 differences that are not zero; else over drawn signs.

    Args:
        differences: [n], finite.
        rng: draws the signs.
        draws: how many.

    Source: Fisher 1935; the drawn version counts the observed signs as one of them (Phipson and
    Smyth 2010), so it is never 0.
    """
    told = differences[differences != 0]
    if not len(told):
        return 1.0
    # a sum that is as large but for rounding counts as as large
    observed = abs(told.sum()) * (1 - 1e-12)
    if len(told) <= _EXACT_UP_TO:
        signs = 1 - 2 * (np.arange(1 << len(told))[:, None] >> np.arange(len(told)) & 1)
        return float(np.mean(np.abs(signs @ told) >= observed))
    as_large = 1
    for start in range(0, draws, _BLOCK):
        shape = (min(_BLOCK, draws - start), len(told))
        signs = 1 - 2 * rng.integers(0, 2, shape)
        as_large += int(np.count_nonzero(np.abs(signs @ told) >= observed))
    return as_large / (draws + 1)


def table(pairs: Sequence[Pair]) -> list[dict[str, str]]:
    """Return the pairs as rows of a table, in words."""
    return [
        {
            "pair": f"{pair.first} against {pair.second}",
            "n": str(pair.n),
            "difference": f"{100 * pair.difference:+.1f} points",
            "95 % interval": "{:+.1f} to {:+.1f}".format(*(100 * e for e in pair.bootstrap95)),
            "only one": f"{pair.only_first} : {pair.only_second}",
            "p (Holm)": f"{pair.p_success_holm:.2g}",
            "nearer by": "" if pair.nearer is None else f"{pair.nearer:+.3g}",
            "p (Holm) of it": "" if pair.p_distance_holm is None else f"{pair.p_distance_holm:.2g}",
        }
        for pair in pairs
    ]


def _pair(a: str, b: str, records: Mapping[str, Sequence[Record]], seed: int) -> Pair:
    found = compare(records[a], records[b], generator("compare.bootstrap", seed))
    ends = [{one.id: one.distances[-1] for one in records[n] if _whole(one)} for n in (a, b)]
    common = sorted(ends[0].keys() & ends[1].keys())
    nearer = np.array([ends[1][one] - ends[0][one] for one in common])
    told = len(common) > 1
    rng = generator("compare.permutation", seed)
    return Pair(
        first=a,
        second=b,
        n=found.n,
        difference=found.difference,
        bootstrap95=found.bootstrap95,
        only_first=found.mcnemar.only_a,
        only_second=found.mcnemar.only_b,
        p_success=found.mcnemar.p_value,
        p_success_holm=found.mcnemar.p_value,
        nearer=float(nearer.mean()) if told else None,
        p_distance=permutation_test(nearer, rng) if told else None,
        p_distance_holm=None,
    )


def _whole(record: Record) -> bool:
    return record.outcome in ("success", "failure") and bool(record.distances)
