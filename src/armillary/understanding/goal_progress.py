"""Progress: does the distance in latent space say how far the end of an episode is?

Within each stretch, the distance of every latent to the last one is set beside the steps that are
left, by Spearman's correlation. A planner that minimises this distance needs it near 1. Behaviour
that wanders without a goal keeps it below 1 for every model. Where places are recorded, two more
correlations tell the model from the behaviour: of latent distance with true distance, and of true
distance with the steps that are left, which is what perfect sight would have.

Axes: F model steps, T steps of a stretch, Y coordinates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import rankdata

from armillary.core.rng import generator
from armillary.core.statistics import Interval, group_draws, quantile_interval
from armillary.understanding.stretches import Steps

_MOST_GAP = 100
_LEAST_STEPS = 4


@dataclass(frozen=True)
class GoalProgress:
    """How well distance orders steps.

    Attributes:
        spearman: mean over stretches; a latent that never changes counts as 0.
        interval: 95 %, bootstrap over groups.
        n: stretches.
    """

    spearman: float
    interval: Interval
    n: int


@dataclass(frozen=True)
class PlaceProgress:
    """How well distance in the latent orders steps by the distance of one thing.

    Attributes:
        latent: latent distance with true distance.
        perfect: true distance with steps to go: what perfect sight of this thing would have.
    """

    latent: GoalProgress
    perfect: GoalProgress


def goal_progress(steps: Steps, draws: int, seed: int) -> GoalProgress | None:
    """Correlate latent distance with steps to go; None without a stretch of four steps."""
    return _correlated(steps, _distance(steps.latents), _steps_to_go, draws, seed)


def place_progress(
    steps: Steps, places: Float[np.ndarray, "F Y"], draws: int, seed: int
) -> PlaceProgress | None:
    """Correlate latent distance with true distance, and true distance with steps to go.

    Args:
        steps: encoded stretches.
        places: of one thing, or of several side by side; not finite where it is not there.
        draws: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        None without a stretch of four steps in which the thing is there and moves.
    """
    away = _distance(places)
    latent = _correlated(steps, _distance(steps.latents), away, draws, seed, away)
    perfect = _correlated(steps, away, _steps_to_go, draws, seed, away)
    return None if latent is None or perfect is None else PlaceProgress(latent, perfect)


# What the steps before the end of a stretch have; ``gaps`` says how many steps before.
_Along = Callable[[int, Int[np.ndarray, " T"]], np.ndarray]


def _steps_to_go(end: int, gaps: Int[np.ndarray, " T"]) -> np.ndarray:
    return gaps


def _distance(values: Float[np.ndarray, "F Z"]) -> _Along:
    def squared(end: int, gaps: Int[np.ndarray, " T"]) -> np.ndarray:
        away = values[end - gaps].astype(np.float64) - values[end]
        return (away**2).sum(axis=1)

    return squared


def _correlated(
    steps: Steps, first: _Along, second: _Along, draws: int, seed: int, moves: _Along | None = None
) -> GoalProgress | None:
    """Return the mean over stretches, of those in which ``moves`` is known and not 0."""
    values, groups = [], []
    ends = np.flatnonzero((steps.after == 0) & (steps.before >= _LEAST_STEPS - 1))
    for end in ends.tolist():
        gaps = np.arange(1, min(int(steps.before[end]), _MOST_GAP) + 1)
        if moves is not None:
            there = moves(end, gaps)
            if not (np.isfinite(there).all() and there.any()):
                continue
        values.append(spearman(first(end, gaps), second(end, gaps)))
        groups.append(steps.groups[end])
    if not values:
        return None
    names, group_of = np.unique(groups, return_inverse=True)
    columns = np.zeros((len(names), 2))
    np.add.at(columns, group_of, np.column_stack([values, np.ones(len(values))]))
    sums = group_draws(len(names), draws, generator("progress bootstrap", seed)) @ columns
    interval = quantile_interval(sums[:, 0] / sums[:, 1])
    return GoalProgress(float(np.mean(values)), interval, len(values))


def spearman(first: Float[np.ndarray, " T"], second: np.ndarray) -> float:
    """Return the rank correlation; 0 where one of the two never changes."""
    ranks = rankdata(first), rankdata(second)
    own, other = (values - values.mean() for values in ranks)
    scale = float(np.sqrt((own**2).sum() * (other**2).sum()))
    return float((own * other).sum()) / scale if scale > 0 else 0.0
