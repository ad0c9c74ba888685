"""Statistics for judges: AUROC with ties, and intervals that resample whole episodes.

Steps of one episode are not independent, so every interval here draws episodes (or blocks of
consecutive steps) with replacement, never single steps.

Source: Hanley & McNeil 1982 (AUROC = P(positive > negative) + P(tie) / 2); Kuensch 1989 (blocks).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata

from armillary.core.errors import ShapeError
from armillary.core.rng import generator

Interval = tuple[float, float]


def auroc(scores: Float[np.ndarray, " F"], labels: Bool[np.ndarray, " F"]) -> float:
    """Return the probability that a positive scores above a negative; a tie counts one half.

    A score that is not a number counts as wrong: lowest for a positive, highest for a negative.

    Raises:
        ShapeError: positives or negatives are missing.
    """
    scores = _worst_for_nan(scores, labels)
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
