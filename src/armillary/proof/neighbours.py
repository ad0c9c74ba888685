"""Neighbours: how near is a task (start, goal) to something that was trained on?

The measure is the distance to the nearest pair (s_t, s_t+k) of any recorded episode, any k. What
is near is not said by a fixed threshold but by independent tasks, drawn from the same generator
with seeds of their own and held against the same recording: under honesty the evaluation's tasks
and these are exchangeable, so every probability here is exact.

Axes: M tasks, T steps of a recorded episode, Q width of a state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from armillary.core.errors import ConfigError
from armillary.proof.footage import Footage

_ABSENT = 6.0  # spreads from the centre: where a thing stands that a scene does not have
QUANTILE = 0.01  # a task nearer than this share of the independent ones is flagged
LEAST_INDEPENDENT = round(1 / QUANTILE)


@dataclass(frozen=True)
class Tasks:
    """Starts and goals, each coordinate in units of its own spread.

    Attributes:
        names: of the state streams, in order.
        starts: [M Q].
        goals: [M Q].
        centre: [Q] mean over starts and goals.
        spread: [Q] their standard deviation; 1 where nothing varies.
    """

    names: tuple[str, ...]
    starts: Float64[np.ndarray, "M Q"]
    goals: Float64[np.ndarray, "M Q"]
    centre: Float64[np.ndarray, " Q"]
    spread: Float64[np.ndarray, " Q"]


def tasks(footage: Sequence[Footage], names: Sequence[str]) -> Tasks:
    """Return the tasks of episodes: from the first state to the goal, or else to the last state.

    Args:
        footage: evaluation episodes and independent ones; training data never set the spread, for
            who made them could choose it.
        names: of the state streams to use.

    Raises:
        ConfigError: an episode lacks one of them.
    """
    starts = np.stack([_joined({n: s[0] for n, s in f.states.items()}, names) for f in footage])
    ends = [f.goal or {n: s[-1] for n, s in f.states.items()} for f in footage]
    goals = np.stack([_joined(end, names) for end in ends])
    both = np.ma.masked_invalid(np.concatenate([starts, goals]))
    centre, spread = both.mean(axis=0).filled(0.0), both.std(axis=0).filled(1.0)
    spread = np.where(spread > 1e-12, spread, 1.0)
    starts, goals = (_scaled(one, centre, spread) for one in (starts, goals))
    return Tasks(tuple(names), starts, goals, centre, spread)


class NearestPair:
    """The distance of every task to the nearest recorded pair seen so far.

    Args:
        sought: the tasks.
    """

    def __init__(self, sought: Tasks) -> None:
        self._sought = sought
        self.distances = np.full(len(sought.starts), np.inf)

    def see(self, footage: Footage) -> bool:
        """Hold every pair of an episode against every task; False where it lacks a stream."""
        tasks = self._sought
        widths = [footage.states[n].shape[1] for n in tasks.names if n in footage.states]
        if len(widths) < len(tasks.names) or sum(widths) != tasks.starts.shape[1]:
            return False
        states = np.concatenate([footage.states[n] for n in tasks.names], axis=1)
        states = _scaled(states.astype(np.float64), tasks.centre, tasks.spread)
        from_start = _squared(tasks.starts, states)
        to_goal = _squared(tasks.goals, states)
        # nearest to the goal at any step from here on, so that k is free and the cost is linear
        later = np.minimum.accumulate(to_goal[:, ::-1], axis=1)[:, ::-1]
        nearest = np.sqrt((from_start + later).min(axis=1) / tasks.starts.shape[1])
        self.distances = np.minimum(self.distances, nearest)
        return True


@dataclass(frozen=True)
class Judgement:
    """Distances of an evaluation beside those of independent episodes.

    Attributes:
        flagged: positions of the evaluation's episodes below the limit.
        limit: the 1 % quantile of the independent ones.
        p_value: probability of at least as many flagged ones if nothing is contaminated; exact.
        expected: flagged ones to be expected then.
        smallest: of the evaluation's distances, and of the independent ones.
        median: the same.
    """

    flagged: tuple[int, ...]
    limit: float
    p_value: float
    expected: float
    smallest: tuple[float, float]
    median: tuple[float, float]


def check_enough(independent: int) -> None:
    """Refuse fewer independent episodes than have the quantile.

    Raises:
        ConfigError: fewer than 100.
    """
    if independent < LEAST_INDEPENDENT:
        raise ConfigError(
            f"A quantile of 1 % needs {LEAST_INDEPENDENT} independent episodes; there are "
            f"{independent}."
        )


def judge(found: np.ndarray, independent: np.ndarray) -> Judgement:
    """Judge distances by those of independent episodes.

    Args:
        found: [M] of the evaluation, at least one.
        independent: [n], against the same recording.

    Raises:
        ConfigError: fewer than 100 independent ones, which have no 1 % quantile.
    """
    check_enough(len(independent))
    rank = max(1, int(QUANTILE * (len(independent) + 1)))
    limit = float(np.sort(independent)[rank - 1])
    flagged = np.flatnonzero(found < limit)
    return Judgement(
        flagged=tuple(flagged.tolist()),
        limit=limit,
        p_value=excess_probability(len(flagged), len(found), rank, len(independent)),
        expected=len(found) * rank / (len(independent) + 1),
        smallest=(float(found.min()), float(independent.min())),
        median=(float(np.median(found)), float(np.median(independent))),
    )


def excess_probability(flagged: int, found: int, rank: int, independent: int) -> float:
    """Return how often at least so many of ``found`` fall below the rank-th of ``independent``.

    All being exchangeable, which of the smallest ``flagged + rank - 1`` belong to whom is a draw
    without replacement: the tail of a hypergeometric distribution.

    Args:
        flagged: how many fell below.
        found: how many there are.
        rank: of the independent value that is the limit, 1 being the smallest.
        independent: how many of these there are.
    """
    drawn = flagged + rank - 1
    return hypergeometric_tail(flagged, found, found + independent, drawn)


def hypergeometric_tail(least: int, marked: int, total: int, drawn: int) -> float:
    """Return how likely ``drawn`` of ``total`` hold at least ``least`` of the ``marked`` ones.

    In whole numbers to the end, so it is exact.
    """
    ways = sum(
        math.comb(marked, k) * math.comb(total - marked, drawn - k)
        for k in range(max(least, 0), min(marked, drawn) + 1)
    )
    return ways / math.comb(total, drawn)


def rank_probability(distance: float, independent: np.ndarray) -> float:
    """Return the exact p-value of one distance: how likely an honest one is as small.

    Source: Vovk et al. 2005, conformal p-values.
    """
    return (1 + int(np.count_nonzero(independent <= distance))) / (len(independent) + 1)


def _joined(state: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
    lost = [name for name in names if name not in state]
    if lost:
        raise ConfigError(f"An evaluation episode has no state {lost[0]!r}, which others have.")
    return np.concatenate([np.ravel(state[name]).astype(np.float64) for name in names])


def _scaled(states: np.ndarray, centre: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Return states in units of the spread; what is not there (NaN) is far from all that is."""
    return np.where(np.isfinite(states), (states - centre) / spread, _ABSENT)


def _squared(a: Float64[np.ndarray, "M Q"], b: np.ndarray) -> np.ndarray:
    """Return squared distances [M T], coordinate by coordinate: small ones stay exact."""
    total = np.zeros((len(a), len(b)))
    for column in range(a.shape[1]):
        total += (a[:, column, None] - b[None, :, column]) ** 2
    return total
