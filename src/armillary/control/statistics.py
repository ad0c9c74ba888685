"""Statistics: how sure a mean or a difference is (a rate: ``core.rates``).

Intervals are two-sided at 95 % unless told. Everything random takes its generator.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from armillary.core.errors import ConfigError
from armillary.core.rates import Interval, check_confidence

# Resamples are drawn in blocks of about this many numbers, to bound memory.
_BLOCK = 4_000_000


def bootstrap_interval(
    values: Sequence[float] | np.ndarray,
    rng: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = 2000,
) -> Interval:
    """Return the percentile bootstrap interval of the mean; each value is one episode.

    Args:
        values: [n] numbers, finite.
        rng: draws the resamples.
        confidence: coverage, between 0 and 1.
        resamples: how many means are drawn.

    Raises:
        ConfigError: no values, a value that is not finite, or a confidence outside (0, 1).

    Source: Efron 1979.
    """
    check_confidence(confidence)
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or len(numbers) == 0 or not np.isfinite(numbers).all():
        raise ConfigError(
            f"A bootstrap needs a list of finite numbers; got shape {numbers.shape} with "
            f"{np.count_nonzero(~np.isfinite(numbers))} that are not finite."
        )
    means = _resampled_means(numbers, rng, resamples)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def paired_bootstrap(
    a: Sequence[float] | np.ndarray,
    b: Sequence[float] | np.ndarray,
    rng: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = 2000,
) -> Interval:
    """Return the bootstrap interval of mean(a - b) over the same episodes.

    Raises:
        ConfigError: the lists differ in length, or as in ``bootstrap_interval``.
    """
    first, second = _paired(a, b)
    return bootstrap_interval(first - second, rng, confidence, resamples)


@dataclass(frozen=True)
class McNemar:
    """Result of a paired test of two success lists.

    Attributes:
        only_a: episodes that only the first solved.
        only_b: episodes that only the second solved.
        p_value: two-sided, exact.
    """

    only_a: int
    only_b: int
    p_value: float


def mcnemar(a: Sequence[bool] | np.ndarray, b: Sequence[bool] | np.ndarray) -> McNemar:
    """Test whether two policies solve the same share of the same episodes.

    Raises:
        ConfigError: the lists differ in length.

    Source: McNemar 1947, with the exact binomial distribution of the discordant pairs.
    """
    first, second = _paired(a, b)
    only_a = int(np.count_nonzero((first > 0) & (second <= 0)))
    only_b = int(np.count_nonzero((first <= 0) & (second > 0)))
    n = only_a + only_b
    tail = sum(math.comb(n, k) for k in range(min(only_a, only_b) + 1))
    # Whole numbers to the end: 2**n overflows a float from n = 1024 on, a ratio of ints does not.
    return McNemar(only_a, only_b, min(1.0, 2 * tail / 2**n))


def _resampled_means(numbers: np.ndarray, rng: np.random.Generator, resamples: int) -> np.ndarray:
    block = max(1, _BLOCK // len(numbers))
    means = []
    for start in range(0, resamples, block):
        shape = (min(block, resamples - start), len(numbers))
        means.append(numbers[rng.integers(len(numbers), size=shape)].mean(axis=1))
    return np.concatenate(means)


def _paired(
    a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape:
        raise ConfigError(
            f"A paired comparison needs the same episodes on both sides; got {len(first)} "
            f"and {len(second)}."
        )
    return first, second
