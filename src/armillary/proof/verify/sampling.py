"""Sampling: how many to check, how many of these may differ, and which ones.

Source: hypergeometric and binomial tails, computed; Fisher 1934 for the challenge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TypeVar

T = TypeVar("T")
CATCH, FALSE_ALARM = 0.99, 0.001
# A claim that is this share of its episodes too high is to be refuted with this probability.
TOO_HIGH, POWER = 0.05, 0.9


def sample_size(population: int, falsified: int, catch: float = CATCH) -> int:
    """Return how many to draw, without replacement, to meet a falsified one.

    Args:
        population: episodes in all.
        falsified: of these, at least 1.
        catch: probability of meeting at least one.
    """
    honest, missed = population - falsified, Fraction(1)
    for drawn in range(population):
        missed *= Fraction(max(honest - drawn, 0), population - drawn)
        if missed <= 1 - Fraction(catch).limit_denominator(10**6):
            return drawn + 1
    return population


def falsified_of(total: int) -> int:
    """Return how many falsified episodes make a claim on ``total`` five points too high."""
    return max(1, math.ceil(TOO_HIGH * total))


def caught(population: int, falsified: int, drawn: int, allowed: int = 0) -> float:
    """Return the probability of drawing more falsified ones than are allowed.

    Args:
        population: among which they are.
        falsified: of these; all of them where there are fewer.
        drawn: without replacement; all where there are fewer.
        allowed: that honest ones may differ.
    """
    falsified, drawn = min(falsified, population), min(drawn, population)
    ways = math.comb(population, drawn)
    missed = sum(
        math.comb(falsified, k) * math.comb(population - falsified, drawn - k)
        for k in range(min(allowed, falsified, drawn) + 1)
    )
    return float(1 - Fraction(missed, ways))


def most_flips(n: int, flips: float, alarm: float = FALSE_ALARM) -> int:
    """Return how many of ``n`` may differ before a false alarm is less probable than ``alarm``."""
    most = 0
    while tail_above(n, most, flips) > alarm:
        most += 1
    return most


def tail_above(n: int, most: int, p: float) -> float:
    """Return the probability of more than ``most`` of ``n`` at a rate ``p``."""
    below = math.fsum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(most + 1))
    return max(0.0, 1.0 - below)


def fisher_less(claimed: tuple[int, int], fresh: tuple[int, int]) -> float:
    """Return how probable so few fresh successes are if both share one rate, one-sided.

    Args:
        claimed: successes and episodes of the claim.
        fresh: of the challenge.
    """
    solved, total = claimed[0] + fresh[0], claimed[1] + fresh[1]
    ways = math.comb(total, solved)
    low = max(0, solved - claimed[1])
    found = sum(
        math.comb(fresh[1], k) * math.comb(claimed[1], solved - k)
        for k in range(low, fresh[0] + 1)
        if 0 <= solved - k <= claimed[1]
    )
    return float(Fraction(found, ways))


def picked(items: Sequence[T], n: int, rank: Callable[[T], bytes]) -> list[T]:
    """Return ``n`` items in the order of their ranks; all of them where there are no more."""
    return sorted(items, key=rank)[: max(n, 0)]


def stratified(
    likely: Sequence[T], others: Sequence[T], n: int, rank: Callable[[T], bytes]
) -> list[T]:
    """Return ``n`` items, three quarters of them where lies would be, the rest elsewhere.

    Args:
        likely: where a lie would pay: claimed successes.
        others: the rest.
        n: how many in all.
        rank: what they are sorted by.
    """
    rest = min(len(others), n // 4)
    first = picked(likely, n - rest, rank)
    return first + picked(others, n - len(first), rank)
