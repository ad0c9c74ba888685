"""Statistics: seeds and episodes are both drawn again, and variants are compared on the same draws.

The two-level bootstrap draws seeds with replacement, and within each of them episodes. Variants
share every draw, so differences are paired. With three seeds the draw of seeds is coarse: there are
ten different ones.

Axes: M seeds of training, W episodes, R draws.
Source: Efron & Tibshirani 1993; Agarwal et al. 2021 for seeds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from armillary.core.rng import generator

DRAWS = 4000


def drawn_means(
    values: Float[np.ndarray, "M W"], seed: int = 0, draws: int = DRAWS
) -> Float[np.ndarray, " R"]:
    """Return the mean of each two-level draw; NaN is left out of it."""
    M, W = values.shape
    rng = generator("words.bootstrap", seed, M, W)
    found = np.empty(draws)
    for at in range(draws):
        seeds = rng.integers(M, size=M)
        episodes = rng.integers(W, size=(M, W))
        some = values[seeds[:, None], episodes]
        found[at] = np.nanmean(some) if np.isfinite(some).any() else np.nan
    return found


def interval(draws: Float[np.ndarray, " R"]) -> list[float]:
    """Return the central 95 %."""
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return [float(low), float(high)]


def mean_row(values: Float[np.ndarray, "M W"], seed: int = 0) -> dict[str, Any]:
    """Return the mean, its interval, and the mean of each seed."""
    return {
        "mean": float(np.nanmean(values)),
        "interval": interval(drawn_means(values, seed)),
        "seeds": [float(mean) for mean in np.nanmean(values, axis=1)],
    }


def difference_row(
    a: Float[np.ndarray, "M W"], b: Float[np.ndarray, "M W"], seed: int = 0
) -> dict[str, Any]:
    """Return mean(a - b), its interval, and a two-sided bootstrap p-value that it is not 0."""
    drawn = drawn_means(a - b, seed)
    below, above = (drawn <= 0).mean(), (drawn >= 0).mean()
    p = min(1.0, 2 * max(min(below, above), 1 / (len(drawn) + 1)))
    return {"difference": float(np.nanmean(a - b)), "interval": interval(drawn), "p": float(p)}


def verdict(difference: dict[str, Any], margin: float, first: str, second: str) -> str:
    """Return what a difference of errors says, by a margin that was fixed beforehand.

    Args:
        difference: of the first's errors minus the second's.
        margin: that a difference has to exceed with its whole interval.
        first: name.
        second: name.
    """
    low, high = difference["interval"]
    if high < -margin:
        return f"{first} is better by more than the margin"
    if low > margin:
        return f"{second} is better by more than the margin"
    if -margin < low and high < margin:
        return "equal within the margin"
    return "undecided"
