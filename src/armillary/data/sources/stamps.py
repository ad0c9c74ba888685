"""Stamps: which measurements belong to one step, and where a recording breaks off.

Axes: T steps, N stamps of another sensor.
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np
from jaxtyping import Int64

from armillary.core.errors import FormatError

# A pause of more than three periods is no lost frame but another stretch of time.
GAP_PERIODS = 3
_MAX_NS = 1 << 62


class ApartError(FormatError):
    """Nothing of a sensor was measured at the time of any step."""


def nanoseconds(text: str, where: str) -> int:
    """Return seconds written as decimal text in whole nanoseconds.

    Raises:
        FormatError: it is not a number, or no time.
    """
    try:
        value = int((Decimal(text) * 1_000_000_000).to_integral_value())
    except (ArithmeticError, ValueError) as error:
        raise FormatError(f"{where}: a time in seconds was expected, got {text[:40]!r}.") from error
    if abs(value) > _MAX_NS:
        raise FormatError(f"{where}: {text[:40]!r} s is no time that can be stored.")
    return value


def nearest(wanted_ns: Int64[np.ndarray, " T"], stamps_ns: Int64[np.ndarray, " N"]) -> np.ndarray:
    """Return the index of the nearest stamp to each wanted time [T]; stamps ascend."""
    after = np.clip(np.searchsorted(stamps_ns, wanted_ns), 1, max(1, len(stamps_ns) - 1))
    before = after - 1
    after = np.minimum(after, len(stamps_ns) - 1)
    closer = wanted_ns - stamps_ns[before] <= stamps_ns[after] - wanted_ns
    return np.where(closer, before, after)


def matched(
    wanted_ns: Int64[np.ndarray, " T"],
    stamps_ns: Int64[np.ndarray, " N"],
    tolerance_s: float,
    what: str,
    where: str,
    step: str = "picture",
) -> np.ndarray:
    """Return the index of the stamp that belongs to each wanted time [T], -1 where none does.

    Args:
        wanted_ns: times of the steps, ascending.
        stamps_ns: times of the other sensor, ascending.
        tolerance_s: how far apart they may be.
        what: the other sensor, in words, for the sentence.
        where: file or topic, for the sentence.
        step: what gives the steps, in a word, for the sentence.

    Raises:
        ApartError: not one of them matches; gives both ranges.
    """
    if not len(stamps_ns):
        raise ApartError(f"{where}: holds no {what}.")
    index = nearest(wanted_ns, stamps_ns)
    close = np.abs(stamps_ns[index] - wanted_ns) <= round(tolerance_s * 1e9)
    if not close.any():
        raise ApartError(
            f"{where}: no {what} within {tolerance_s:g} s of any {step}: {step}s "
            f"{_range(wanted_ns)}, {what} {_range(stamps_ns)}. Both must be of one clock; if they "
            "are, allow more with --tolerance-s."
        )
    return np.where(close, index, -1)


def held(
    wanted_ns: Int64[np.ndarray, " T"], stamps_ns: Int64[np.ndarray, " N"]
) -> Int64[np.ndarray, " T"]:
    """Return the index of the last stamp at or before each wanted time, -1 before the first."""
    return np.searchsorted(stamps_ns, wanted_ns, side="right").astype(np.int64) - 1


def period_ns(times_ns: Int64[np.ndarray, " T"]) -> int:
    """Return the median time between steps, at least a nanosecond."""
    return max(1, round(float(np.median(np.diff(times_ns))))) if len(times_ns) > 1 else 1


def stretches(
    times_ns: Int64[np.ndarray, " T"], usable: np.ndarray
) -> list[Int64[np.ndarray, " _"]]:
    """Return the usable steps, cut where more than three of their periods are missing."""
    steps = np.flatnonzero(usable)
    breaks = np.diff(times_ns[steps]) > GAP_PERIODS * period_ns(times_ns[steps])
    return [part for part in np.split(steps, np.flatnonzero(breaks) + 1) if len(part)]


def thinned(times_ns: Int64[np.ndarray, " T"], fps: float | int | None) -> np.ndarray:
    """Return which steps to keep at ``fps``: the nearest to each time of a grid, none twice."""
    if fps is None:
        return np.arange(len(times_ns))
    passed_ns = times_ns - times_ns[0]
    wanted = int(passed_ns[-1] * fps / 1e9) + 1
    if wanted > len(times_ns) * 100:  # every step is the nearest to some time
        return np.arange(len(times_ns))
    return np.unique(nearest(np.rint(np.arange(wanted) * 1e9 / fps).astype(np.int64), passed_ns))


def _range(times_ns: np.ndarray) -> str:
    return f"from {times_ns[0] / 1e9:.3f} to {times_ns[-1] / 1e9:.3f} s"
