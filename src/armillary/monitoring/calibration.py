"""Calibration: what is normal, from normal episodes; and limits that normal episodes seldom pass.

The two need not be the same episodes. What is normal is fitted on any that cover the world well;
limits are only as good as their episodes are like those to come: the same policy in the same world.
Then they hold without further assumptions: of n + 1 episodes of one kind, the new one is among the
k highest with probability at most k / (n + 1).

Source: Vovk et al. 2005, "Algorithmic learning in a random world" (conformal prediction).
Axes: F model steps, X latent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64

from armillary.core.errors import ConfigError
from armillary.monitoring.guard import QUESTIONS, Guard, Normal
from armillary.monitoring.watching import Differences, Seen
from armillary.objectives.expected_error import fit_expected_error
from armillary.objectives.whitening import fit_whitening

DIRECTIONS = 16
_A_HAIR_MORE = 1 + 4 * np.finfo(np.float64).eps


def fit_normal(episodes: Sequence[Seen], directions: int = DIRECTIONS) -> Normal:
    """Measure normal life.

    Args:
        episodes: normal ones; a few thousand steps for a latent of a few hundred numbers.
        directions: of the latent that are listened to, for each question.

    Raises:
        ShapeError: fewer than two steps, or latents that are not finite.
    """
    steps = Differences.join([episode.differences for episode in episodes])
    states = np.concatenate([episode.states for episode in episodes])
    moves = np.concatenate([e.states - e.states.mean(axis=0) for e in episodes])
    all_ways = fit_whitening(steps.residual)
    scene = all_ways.towards(states, directions)
    change = fit_whitening(steps.change).towards(states, directions)
    motion = all_ways.towards(moves, directions)
    return Normal(
        scene,
        fit_expected_error(scene.score(steps.residual), steps.foreseen, motion),
        change,
        motion,
        fit_expected_error(motion.score(steps.residual), steps.foreseen, motion),
    )


def set_limits(
    normal: Normal, episodes: Sequence[Seen], false_alarms: float, history: int, policy: str
) -> Guard:
    """Return the guard whose false alarms are bounded.

    Args:
        normal: fitted on other episodes.
        episodes: whole normal episodes of the policy that will be guarded.
        false_alarms: share of new normal episodes that may alarm, 0 to 1.
        history: of the watcher that watched them.
        policy: identity of that policy.

    Raises:
        ConfigError: too few episodes for so small a share.
    """
    traces = [normal.trace(episode.differences) for episode in episodes]
    highest = np.array([[trace[name].max() for name in QUESTIONS] for trace in traces], np.float64)
    limits = shared_limits(highest, false_alarms).tolist()
    named = dict(zip(QUESTIONS, limits, strict=True))
    return Guard(normal, named, history, policy, len(episodes), false_alarms)


def shared_limits(
    highest: Float64[np.ndarray, "n questions"], share: float
) -> Float64[np.ndarray, " questions"]:
    """Return a limit for each question, one of which a new episode passes at most this often.

    Each question has the limit that it would have alone, times one factor for all: the least with
    which no more than the share of these episodes pass any limit. A rare event that is loud in one
    question (a pusher that is held up) then costs one episode of the share; with a part of the
    share for each question it alone would set that question's limit.

    The factor is chosen on the episodes that gave the limits, so the bound is not exact: simulated
    with heavy tails it is kept within what can be measured (``test_calibration.py``).

    Args:
        highest: of each normal episode, exchangeable with the new one.
        share: 0 to 1.

    Raises:
        ConfigError: too few episodes for so small a share, or a score that is not finite.
    """
    alone = np.array([conformal_limit(column, share) for column in highest.T])
    # what never spoke alone may not speak at all; where a few did, they count against the share
    spoken = np.where(highest > 0, np.inf, 0.0)
    answers = np.divide(highest, alone, out=spoken, where=alone > 0)
    rank = _rank(len(highest), share)
    factor = np.sort(answers.max(axis=1))[-rank]
    # the episode that gave the factor must not pass its own limit by a rounding
    return alone * (factor * _A_HAIR_MORE if np.isfinite(factor) else 1.0)


def check_calibration(episodes: int, share: float) -> None:
    """Check that so many normal episodes can give a limit that this share of new ones may pass.

    Raises:
        ConfigError: they cannot, or a share outside 0 to 1.
    """
    if not 0 < share < 1:
        raise ConfigError(f"A share of episodes must be above 0 and below 1; got {share:g}.")
    needed = math.ceil(1 / share - 1e-9) - 1
    if episodes < needed:
        raise ConfigError(
            f"A limit for {100 * share:g} % false stops needs at least {needed} normal episodes; "
            f"got {episodes}."
        )


def _rank(episodes: int, share: float) -> int:
    """Return which of the highest values a new one passes with at most this probability."""
    return math.floor(share * (episodes + 1) + 1e-9)


def conformal_limit(values: Float[np.ndarray, " n"], share: float) -> float:
    """Return the lowest of these values that a new one passes with at most this probability.

    Args:
        values: one number per episode, exchangeable with the new one's.
        share: 0 to 1.

    Raises:
        ConfigError: too few values for so small a share, or one that is not finite.
    """
    check_calibration(len(values), share)
    if not np.isfinite(values).all():
        raise ConfigError(
            f"A limit needs finite scores; {np.count_nonzero(~np.isfinite(values))} of "
            f"{len(values)} normal episodes have others. Check the model's weights."
        )
    return float(np.sort(values)[-_rank(len(values), share)])
