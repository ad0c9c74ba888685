"""Statistics: how sure a rate, a mean, a difference or a ranking is.

Intervals are two-sided at 95 % unless told. Everything random takes its generator or its seed.
Steps of one episode are not independent, so where values are steps, intervals draw episodes (or
blocks of consecutive steps) with replacement, never single steps.

Axes: F steps, R replicates, K trainings, E episodes.

Source: Hanley & McNeil 1982 (AUROC = P(positive > negative) + P(tie) / 2); Kuensch 1989 (blocks).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Bool, Float, Int

from armillary.core.errors import ConfigError, ShapeError
from armillary.core.rng import generator

Interval = tuple[float, float]

# Resamples are drawn in blocks of about this many numbers, to bound memory.
_BLOCK = 4_000_000


def wilson_interval(successes: float | int, n: int, confidence: float = 0.95) -> Interval:
    """Return Wilson's score interval of a success rate; (0, 1) when nothing was measured.

    Args:
        successes: how many of ``n`` succeeded; halves (ties) may be among them.
        n: trials.
        confidence: coverage, between 0 and 1.

    Raises:
        ConfigError: successes outside 0..n, or a confidence outside (0, 1).

    Source: Wilson 1927; without continuity correction.
    """
    check_confidence(confidence)
    if not 0 <= successes <= n:
        raise ConfigError(f"Successes must be within 0..n; got {successes:g} of {n}.")
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate, shrink = successes / n, 1 + z * z / n
    centre = (rate + z * z / (2 * n)) / shrink
    half = z / shrink * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else centre - half
    return low, 1.0 if successes == n else centre + half


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p-values adjusted for the number of comparisons, in the order given.

    Source: Holm 1979.
    """
    adjusted = [0.0] * len(p_values)
    running = 0.0
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return tuple(adjusted)


def check_confidence(confidence: float) -> None:
    """Check that a coverage lies between 0 and 1.

    Raises:
        ConfigError: it does not.
    """
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence must be between 0 and 1; got {confidence}.")


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


@dataclass(frozen=True)
class OverTrainings:
    """What a test over several trainings says.

    Attributes:
        only_first: pairs (training, episode) that only the first side solved.
        only_second: that only the second did.
        p: two-sided, with the episode as what is drawn.
    """

    only_first: int
    only_second: int
    p: float


def over_trainings(
    first: Sequence[Float[np.ndarray, " E"]], second: Sequence[Float[np.ndarray, " E"]]
) -> OverTrainings:
    """Test K trainings of one side against K of another on the same episodes.

    An episode that three trainings tried is one observation, not three: they find the same ones
    hard. So each episode counts as how many more trainings of one side solved it, and if the sides
    were alike, either sign of that would have been as likely.

    Args:
        first: for each training whether each episode was solved, 0 or 1.
        second: likewise.

    Source: Fisher 1935, the exact test of a mean paired difference under exchange of the sides.
    """
    apart = np.array(first, int) - np.array(second, int)
    return OverTrainings(
        only_first=int(np.count_nonzero(apart > 0)),
        only_second=int(np.count_nonzero(apart < 0)),
        p=sign_flip_p(apart.sum(axis=0)),
    )


def sign_flip_p(differences: Int[np.ndarray, " E"]) -> float:
    """Return how likely a sum as far from 0 is if every sign is as likely as its opposite.

    Exact: the distribution of the sum is built up difference by difference.

    Args:
        differences: whole numbers.
    """
    sizes = np.abs(differences[differences != 0])
    middle = int(sizes.sum())
    share = np.zeros(2 * middle + 1)
    share[middle] = 1.0
    for size in sizes:
        share = (np.roll(share, size) + np.roll(share, -size)) / 2
    least = abs(int(differences.sum()))
    return min(1.0, float(share[np.abs(np.arange(-middle, middle + 1)) >= least].sum()))


def auroc(scores: Float[np.ndarray, " F"], labels: Bool[np.ndarray, " F"]) -> float:
    """Return the probability that a positive scores above a negative; a tie counts one half.

    A score that is not a number counts as wrong: lowest for a positive, highest for a negative.

    Raises:
        ShapeError: positives or negatives are missing.
    """
    scores = _worst_for_nan(scores, labels)
    from scipy.stats import rankdata  # a third of a second, and few who import this file need it

    positives, negatives = _counts(labels)
    wins = rankdata(scores)[labels].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * negatives))


def auroc_interval(
    scores: Float[np.ndarray, " F"],
    labels: Bool[np.ndarray, " F"],
    groups: Int[np.ndarray, " F"],
    seed: int = 0,
    draws: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Return the bootstrap interval of ``auroc`` over episodes.

    Groups that hold positives and groups that do not are drawn separately, so that every draw has
    both.

    Args:
        scores: one per step.
        labels: True where something impossible happened.
        groups: the episode of each step.
        seed: of the draws.
        draws: bootstrap replicates.
        level: coverage.
    """
    scores = _worst_for_nan(scores, labels)
    _counts(labels)
    level_of = np.unique(scores, return_inverse=True)[1]
    episode_of = np.unique(groups, return_inverse=True)[1]
    weights = _episode_weights(episode_of, labels, draws, generator("auroc", seed))
    values = [_weighted_auroc(level_of, labels, weight[episode_of]) for weight in weights]
    return quantile_interval(np.array(values), level)


def quantile_interval(values: Float[np.ndarray, " R"], level: float = 0.95) -> Interval:
    """Return the central interval of bootstrap replicates; NaN where none has a value."""
    if np.isnan(values).all():
        return float("nan"), float("nan")
    tail = (1 - level) / 2
    low, high = np.nanquantile(values, [tail, 1 - tail])
    return float(low), float(high)


def group_draws(
    groups: int, draws: int, rng: np.random.Generator
) -> Float[np.ndarray, "draws groups"]:
    """Return how often each of ``groups`` episodes is drawn, in each replicate."""
    return rng.multinomial(groups, np.full(groups, 1 / groups), size=draws).astype(float)


def group_sums(
    values: Float[np.ndarray, " F"], group_of: Int[np.ndarray, " F"], groups: int
) -> Float[np.ndarray, " groups"]:
    """Return the sum of the values of each of ``groups`` groups, which are numbered from 0."""
    return np.bincount(group_of, weights=values, minlength=groups)


def block_bootstrap_interval(
    values: Float[np.ndarray, " F"],
    block: int,
    seed: int = 0,
    draws: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Return the interval of the mean of a time series, from circular moving blocks.

    Args:
        values: consecutive steps.
        block: steps in a block; longer than the correlation of the series.
        seed: of the draws.
        draws: bootstrap replicates.
        level: coverage.
    """
    count = len(values)
    block = min(block, count)
    starts = generator("block bootstrap", seed).integers(count, size=(draws, -(-count // block)))
    index = (starts[:, :, None] + np.arange(block)).reshape(draws, -1)[:, :count] % count
    return quantile_interval(values[index].mean(axis=1), level)


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


def _counts(labels: np.ndarray) -> tuple[int, int]:
    positives = int(labels.sum())
    if positives in (0, len(labels)):
        raise ShapeError(
            f"AUROC needs positives and negatives; got {positives} positives of {len(labels)}."
        )
    return positives, len(labels) - positives


def _worst_for_nan(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    worst = np.where(labels, -np.inf, np.inf)
    return np.where(np.isnan(scores), worst, scores)


def _episode_weights(
    episode_of: np.ndarray, labels: np.ndarray, draws: int, rng: np.random.Generator
) -> np.ndarray:
    positive = np.bincount(episode_of, weights=labels) > 0
    weights = np.zeros((draws, len(positive)))
    for kind in (positive, ~positive):
        if kind.any():
            weights[:, kind] = group_draws(int(kind.sum()), draws, rng)
    return weights


def _weighted_auroc(level_of: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> float:
    levels = int(level_of.max()) + 1
    positive = np.bincount(level_of, weights=weight * labels, minlength=levels)
    negative = np.bincount(level_of, weights=weight * ~labels, minlength=levels)
    total = positive.sum() * negative.sum()
    wins = positive @ (np.cumsum(negative) - negative / 2)
    return float(wins / total) if total > 0 else float("nan")
