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

from armillary.control.guard import QUESTIONS, Guard, Normal
from armillary.control.watching import Differences, Seen
from armillary.core.errors import ConfigError
from armillary.objectives.expected_error import fit_expected_error
from armillary.objectives.whitening import fit_whitening

DIRECTIONS = 16
_EVERY, _USUAL = 3, 0.98


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

    Every third episode tells how high each question goes in normal life; of the others one limit
    is taken for the highest answer in these units. A rare event that is loud in one question alone
    (a pusher that is held up) then costs one episode of the share; with a part of the share for
    each question it alone would set that question's limit.

    Args:
        highest: of each normal episode, exchangeable with the new one.
        share: 0 to 1.

    Raises:
        ConfigError: too few episodes for so small a share, or a score that is not finite.
    """
    check_calibration(len(highest), share)
    usual = _usual(highest)
    judged = np.delete(highest, np.s_[::_EVERY], axis=0)
    answers = np.divide(judged, usual, out=np.zeros_like(judged), where=usual > 0)
    return conformal_limit(answers.max(axis=1), share) * usual


def _usual(highest: Float64[np.ndarray, "n questions"]) -> Float64[np.ndarray, " questions"]:
    """Return how high each question goes in all but a few normal episodes.

    A quantile, so that one odd episode does not set the unit; the least that was ever heard where
    that is nothing, and 0 where nothing was.
    """
    unit = np.nan_to_num(np.quantile(highest[::_EVERY], _USUAL, axis=0))
    least = np.where(highest > 0, highest, np.inf).min(axis=0)
    return np.where(unit > 0, unit, np.where(np.isfinite(least), least, 0.0))


def least_share(episodes: int) -> float:
    """Return the smallest share that so many calibration episodes can promise."""
    return 1 / (episodes - math.ceil(episodes / _EVERY) + 1)


def check_calibration(episodes: int, share: float) -> None:
    """Check that limits of so many episodes can promise this share.

    Raises:
        ConfigError: they cannot, or a share outside 0 to 1.
    """
    if not 0 < share < 1:
        raise ConfigError(f"A share of episodes must be above 0 and below 1; got {share:g}.")
    if least_share(episodes) > share + 1e-12:
        needed = math.ceil((1 / share - 1 - 1e-9) * _EVERY / (_EVERY - 1))
        raise ConfigError(
            f"A guard of which {100 * share:g} % of normal episodes may raise an alarm needs at "
            f"least {needed} calibration episodes; got {episodes}."
        )


def check_episodes(episodes: int, share: float) -> None:
    """Check that so many normal episodes can give a limit that this share of new ones may pass.

    Raises:
        ConfigError: they cannot, or a share outside 0 to 1.
    """
    if not 0 < share < 1:
        raise ConfigError(f"A share of episodes must be above 0 and below 1; got {share:g}.")
    needed = math.ceil(1 / share - 1e-9) - 1
    if episodes < needed:
        raise ConfigError(
            f"A limit that {100 * share:g} % of normal episodes may pass needs at least {needed} "
            f"of them; got {episodes}."
        )


def conformal_limit(values: Float[np.ndarray, " n"], share: float) -> float:
    """Return the lowest of these values that a new one passes with at most this probability.

    Args:
        values: one number per episode, exchangeable with the new one's.
        share: 0 to 1.

    Raises:
        ConfigError: too few values for so small a share, or one that is not finite.
    """
    check_episodes(len(values), share)
    if not np.isfinite(values).all():
        raise ConfigError(
            f"A limit needs finite scores; {np.count_nonzero(~np.isfinite(values))} of "
            f"{len(values)} normal episodes have others. Check the model's weights."
        )
    rank = math.floor(share * (len(values) + 1) + 1e-9)
    return float(np.sort(values)[-rank])
