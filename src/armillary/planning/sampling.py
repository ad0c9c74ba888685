"""Sampling: draw plans around a mean, cost them, refit mean and spread, repeat.

CEM, iCEM and MPPI are this one search. They differ in the noise they draw, in how they refit, and
in how many candidates a round has and how many good ones are tried again.
Axes: B batch, S candidate plans, K elites, L plan length, A action width.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.protocols import Cost
from armillary.core.values import Plan
from armillary.planning.base import WarmStarted
from armillary.planning.candidates import (
    check_generators,
    costs_of,
    decided,
    lowest,
    mean_and_std,
    normal,
    seeded_with,
    warm_seeds,
)
from armillary.planning.checks import Returns, at_least, known_returns, positive
from armillary.planning.state import PlannerState


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """Settings that every sampling planner has.

    Attributes:
        length: actions per plan, L.
        samples: candidate plans in the first iteration, S.
        iterations: rounds per decision.
        std: spread at the start of a decision, in half-ranges of the action box.
        min_std: floor of the spread, in half-ranges.
        returns: "best": the cheaper of the best plan seen and the final mean; "mean": the mean,
            which a model's errors can exploit less.
    """

    length: int = 8
    samples: int = 64
    iterations: int = 4
    std: float = 0.7
    min_std: float = 0.02
    returns: Returns = "best"

    @property
    def sizes(self) -> tuple[int, ...]:
        """Candidates per iteration: equally many, unless a planner says otherwise."""
        return (self.samples,) * self.iterations

    @property
    def carried(self) -> int:
        """Good plans of the last round that the next decision tries beside what was decided."""
        return 0

    @property
    def model_steps(self) -> int:
        """Predictor steps per decision, the last call that compares mean and best included."""
        return self.length * (sum(self.sizes) + 2)

    def check(self, planner: str) -> None:
        """Check the settings that all sampling planners share.

        Args:
            planner: its name, for the sentence.

        Raises:
            ConfigError: one of them is out of range.
        """
        at_least(planner, 1, length=self.length, iterations=self.iterations)
        at_least(planner, 4, samples=self.samples)
        at_least(planner, 0, min_std=self.min_std)
        positive(planner, std=self.std)
        known_returns(planner, self.returns)


C = TypeVar("C", bound=SamplingConfig)


class Sampling(WarmStarted[C], Generic[C]):
    """The search. A planner of this family gives ``refit``, and other ``noise`` than white."""

    def noise(
        self, rngs: Sequence[torch.Generator], samples: int, length: int, width: int
    ) -> Float[Tensor, "B S L A"]:
        """Return noise of mean 0 and variance 1; element b draws from ``rngs[b]`` alone."""
        return normal(rngs, samples, length, width)

    @abstractmethod
    def refit(
        self,
        plans: Float[Tensor, "B S L A"],
        costs: Float[Tensor, "B S"],
        mean: Float[Tensor, "B L A"],
        std: Float[Tensor, "B L A"],
    ) -> tuple[Float[Tensor, "B L A"], Float[Tensor, "B L A"]]:
        """Return the next mean and spread from a round's plans, their costs and the old ones."""

    @torch.no_grad()
    def plan(
        self, cost: Cost, state: PlannerState, rngs: Sequence[torch.Generator]
    ) -> tuple[Plan, PlannerState]:
        """Return the plan (see ``SamplingConfig.returns``) and the state for the next decision.

        Raises:
            ShapeError: another number of generators than of batch elements, or a broken cost.
        """
        check_generators(state, rngs)
        c, (L, A) = self.config, state.mean.shape[1:]
        mean, std = state.mean, (c.std * state.half_range).expand_as(state.mean)
        good, seeds = state.mean[:, None], warm_seeds(state)
        for samples in c.sizes:
            drawn = mean[:, None] + std[:, None] * self.noise(rngs, samples, L, A)
            plans = state.clip(seeded_with(drawn, seeds))
            costs = costs_of(cost, plans)
            mean, std = self.refit(plans, costs, mean, std)
            mean, std = state.clip(mean), std.clamp(min=c.min_std * state.half_range)
            good, _ = lowest(plans, costs, max(c.carried, 1))
            seeds = torch.cat([mean[:, None], good], dim=1)
        actions, chosen = decided(cost, mean, good[:, 0], c.returns)
        kept = torch.cat([actions[:, None], good[:, : c.carried]], dim=1)
        return Plan(actions, chosen, c.model_steps), state.carry(mean, kept)


def refit_to_elites(
    plans: Float[Tensor, "B S L A"],
    costs: Float[Tensor, "B S"],
    mean: Float[Tensor, "B L A"],
    std: Float[Tensor, "B L A"],
    elites: int,
    momentum: float,
) -> tuple[Float[Tensor, "B L A"], Float[Tensor, "B L A"]]:
    """Return the mean and spread of the cheapest plans, mixed with the old ones.

    Args:
        plans: candidates of this round.
        costs: theirs.
        mean: old.
        std: old.
        elites: how many plans count, K.
        momentum: share of the old mean and spread that stays.
    """
    new_mean, new_std = mean_and_std(lowest(plans, costs, elites)[0])
    return momentum * mean + (1 - momentum) * new_mean, momentum * std + (1 - momentum) * new_std
