"""Exercise 4, a planner: plans in pairs, each with its mirror image around the best plan so far.

Its line in ``PLANNERS`` (``planning/registry.py``):

    "mirrored": Mirrored,
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from armillary.core.protocols import Cost
from armillary.core.values import Plan
from armillary.planning.base import WarmStarted
from armillary.planning.candidates import (
    check_generators,
    costs_of,
    lowest,
    normal,
    seeded_with,
    warm_seeds,
)
from armillary.planning.state import PlannerState


@dataclass(frozen=True, kw_only=True)
class MirroredConfig:
    """Settings.

    Attributes:
        length: actions per plan.
        pairs: of plans in a round.
        rounds: each with 0.7 times the noise of the one before.
        std: of the first round's noise, in half ranges of the action.
    """

    length: int = 8
    pairs: int = 128
    rounds: int = 8
    std: float = 0.5

    @property
    def model_steps(self) -> int:
        """Predictor steps per decision."""
        return self.length * 2 * self.pairs * self.rounds


class Mirrored(WarmStarted[MirroredConfig]):
    """Random search whose noise has mean zero in every round."""

    Config = MirroredConfig

    @torch.no_grad()
    def plan(
        self, cost: Cost, state: PlannerState, rngs: Sequence[torch.Generator]
    ) -> tuple[Plan, PlannerState]:
        """Return the best plan found, and where the next decision begins."""
        check_generators(state, rngs)
        c = self.config
        best, seeds = state.mean, warm_seeds(state)
        costs = None
        for turn in range(c.rounds):
            one = c.std * 0.7**turn * state.half_range * normal(rngs, c.pairs, *best.shape[1:])
            plans = seeded_with(best[:, None] + torch.cat([one, -one], 1), seeds)
            plans = state.clip(plans)
            seeds, costs = lowest(plans, costs_of(cost, plans), 1)
            best = seeds[:, 0]
        assert costs is not None
        return Plan(best, costs[:, 0], c.model_steps), state.carry(best, seeds)
