"""Timing: competitors take turns, and medians are compared.

Turns (A B C A B C ...) spread a busy or a warm machine evenly over the competitors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median

from armillary.core.progress import Progress, silent


def take_turns(
    measures: Mapping[str, Callable[[], float]], repetitions: int, progress: Progress = silent
) -> dict[str, list[float]]:
    """Return every competitor's speeds, measured in turns after one uncounted round.

    Args:
        measures: by name, a function that works for a while and returns its speed.
        repetitions: counted rounds.
        progress: called after every measurement.
    """
    speeds: dict[str, list[float]] = {name: [] for name in measures}
    total = len(measures) * (repetitions + 1)
    for turn in range(repetitions + 1):
        for place, (name, measure) in enumerate(measures.items()):
            speed = measure()
            if turn:
                speeds[name].append(speed)
            progress(turn * len(measures) + place + 1, total, f"{name} {_short(speed)}/s")
    return speeds


def medians(speeds: Mapping[str, list[float]]) -> dict[str, float]:
    """Return the median speed of each competitor."""
    return {name: float(median(values)) for name, values in speeds.items()}


def ratios(speeds: Mapping[str, float], of: str) -> dict[str, float]:
    """Return how many times as fast ``of`` is as each of the others."""
    return {name: speeds[of] / speed for name, speed in speeds.items() if name != of}


def rounded(values: Mapping[str, float], digits: int = 2) -> dict[str, float]:
    """Return the values rounded for print."""
    return {name: round(value, digits) for name, value in values.items()}


def _short(speed: float) -> str:
    return f"{speed:,.0f}" if speed >= 100 else f"{speed:.3g}"
