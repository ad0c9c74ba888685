"""Action rank: does a model know what was done? The true actions among others, by where they lead.

From the present, the model predicts where each of 32 action sequences leads: the one that was
taken and 31 that were taken at other times or in other episodes. They are ranked by the distance
of the predicted latent to the latent that was seen at the end. A model that ignores actions is at
chance: first in 1 of 32, mean rank 16.5.

Axes: W windows, S candidates, L steps, A action.
Source: the state of the art's diagnostic for models that are blind to actions (Le WM reaches 0.71
to 0.74 for single blocks).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from armillary.core.protocols import WorldModel
from armillary.core.rng import generator
from armillary.core.statistics import Interval, group_draws, quantile_interval
from armillary.understanding.prediction_error import predict
from armillary.understanding.stretches import Steps

STEPS = 4
CANDIDATES = 32
_AT_ONCE = 64
_TRIES = 20


@dataclass(frozen=True)
class ActionRank:
    """How often the true actions come first.

    Attributes:
        top1: share of windows in which they are nearest; ties count in part.
        top1_interval: 95 %, bootstrap over groups.
        mean_rank: 1 is best; chance is 16.5.
        mean_rank_interval: likewise.
        n: windows.
    """

    top1: float
    top1_interval: Interval
    mean_rank: float
    mean_rank_interval: Interval
    n: int


@torch.no_grad()
def action_rank(
    model: WorldModel, steps: Steps, history: int, most: int, draws: int, seed: int
) -> ActionRank | None:
    """Rank the true actions in at most ``most`` windows; None where there are too few.

    Args:
        model: one that takes actions.
        steps: held-out steps.
        history: most steps that the model sees.
        most: windows.
        draws: bootstrap replicates.
        seed: of windows, candidates and bootstrap.
    """
    pool = np.flatnonzero(steps.after >= STEPS)
    now = steps.windows(0, STEPS, most, seed)
    # a stretch's own neighbours are left out, so others must be there
    if not steps.actions.shape[1] or len(pool) < CANDIDATES + 2 * STEPS:
        return None
    plans = steps.plans(_candidates(now, pool, seed).reshape(-1), STEPS)
    plans = plans.reshape(len(now), CANDIDATES, STEPS, -1)
    plans[:, 0] = steps.plans(now, STEPS)
    top1, rank = np.zeros(len(now)), np.zeros(len(now))
    seen = np.minimum(steps.before[now] + 1, history)
    for length in np.unique(seen):
        rows = np.flatnonzero(seen == length)
        for at in range(0, len(rows), _AT_ONCE):
            some = rows[at : at + _AT_ONCE]
            ends = predict(model, steps, now[some], plans[some], int(length))[:, :, -1]
            target = steps.tokens[torch.from_numpy(now[some] + STEPS)][:, None]
            distance = (ends - target).flatten(2).square().sum(-1).numpy()
            top1[some], rank[some] = _places(distance)
    return _scored(top1, rank, steps.groups[now], draws, seed)


def _candidates(now: np.ndarray, pool: np.ndarray, seed: int) -> Int[np.ndarray, "W S"]:
    """Return starts of other sequences, none of which shares a step with the true one."""
    rng = generator("other actions", seed)
    drawn = rng.choice(pool, (len(now), CANDIDATES))
    for _ in range(_TRIES):
        near = np.abs(drawn - now[:, None]) < STEPS
        if not near.any():
            break
        drawn[near] = rng.choice(pool, int(near.sum()))
    return drawn


def _places(distance: Float[np.ndarray, "W S"]) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of the first place and the rank of candidate 0; ties share both."""
    own, others = distance[:, :1], distance[:, 1:]
    closer, equal = (others < own).sum(axis=1), (others == own).sum(axis=1)
    return np.where(closer == 0, 1 / (1 + equal), 0.0), 1 + closer + equal / 2


def _scored(
    top1: np.ndarray, rank: np.ndarray, groups: np.ndarray, draws: int, seed: int
) -> ActionRank:
    names, group_of = np.unique(groups, return_inverse=True)
    columns = np.zeros((len(names), 3))
    np.add.at(columns, group_of, np.column_stack([top1, rank, np.ones(len(top1))]))
    sums = group_draws(len(names), draws, generator("rank bootstrap", seed)) @ columns
    return ActionRank(
        float(top1.mean()),
        quantile_interval(sums[:, 0] / sums[:, 2]),
        float(rank.mean()),
        quantile_interval(sums[:, 1] / sums[:, 2]),
        len(top1),
    )
