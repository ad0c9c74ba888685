"""Progress: does the distance in latent space say how far the end of an episode is?

Within each stretch, the distance of every latent to the last one is set beside the steps that are
left, by Spearman's correlation. A planner that minimises this distance needs it near 1; behaviour
that wanders without a goal keeps it below 1 for every model.

Axes: T steps of a stretch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

from armillary.comprehension.statistics import Interval, group_draws, quantile_interval
from armillary.comprehension.stretches import Steps
from armillary.core.rng import generator

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


def goal_progress(steps: Steps, draws: int, seed: int) -> GoalProgress | None:
    """Correlate latent distance with steps to go; None without a stretch of four steps."""
    values, groups = [], []
    for end in np.flatnonzero((steps.after == 0) & (steps.before >= _LEAST_STEPS - 1)):
        gaps = np.arange(1, min(int(steps.before[end]), _MOST_GAP) + 1)
        away = steps.latents[end - gaps] - steps.latents[end]
        values.append(spearman((away.astype(np.float64) ** 2).sum(axis=1), gaps))
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
