"""Rates: how sure a share of successes is, and what many tests at once are worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from armillary.core.errors import ConfigError

Interval = tuple[float, float]


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
