"""CEM: the cross-entropy method. Draw plans, keep the cheapest, refit a Gaussian to them, repeat.

Axes: B batch, S candidate plans, K elites, L plan length, A action width.
Source: Rubinstein 1999; in latent space as in DINO-WM (2411.04983) and LeWM (2603.19312), but
clipped to the world's bounds before costing, which several public versions leave out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from armillary.core.protocols import Cost
from armillary.core.values import ActionBounds, Plan
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
from armillary.planning.checks import Returns, at_least, elites_fit, known_returns, positive
from armillary.planning.state import PlannerState, fresh_state, shifted


@dataclass(frozen=True)
class CEMConfig:
    """Settings of ``CEM``.

    Attributes:
        length: actions per plan, L.
        samples: candidate plans per iteration, S.
        elites: plans that the Gaussian is refitted to, K.
        iterations: rounds per decision.
        std: spread at the start of a decision, in half-ranges of the action box.
        min_std: floor of the spread, in half-ranges.
        momentum: share of the old mean and spread that stays at a refit.
        returns: "best": the cheaper of the best plan seen and the final mean; "mean": the mean,
            which a model's errors can exploit less.
    """

    length: int = 8
    samples: int = 64
    elites: int = 8
    iterations: int = 4
    std: float = 0.7
    min_std: float = 0.02
    momentum: float = 0.1
    returns: Returns = "best"

    def __post_init__(self) -> None:
        at_least("cem", 1, length=self.length, elites=self.elites, iterations=self.iterations)
        at_least("cem", 4, samples=self.samples)
        at_least("cem", 0, min_std=self.min_std, momentum=self.momentum)
        positive("cem", std=self.std)
        elites_fit("cem", self.elites, self.samples)
        known_returns("cem", self.returns)

    @property
    def model_steps(self) -> int:
        """Predictor steps per decision, the last call that compares mean and best included."""
        return self.length * (self.samples * self.iterations + 2)


class CEM:
    """Cross-entropy method with warm start and bounds."""

    Config = CEMConfig

    def __init__(self, config: CEMConfig | None = None) -> None:
        self.config = config or CEMConfig()

    def init(self, bounds: ActionBounds, batch_size: int) -> PlannerState:
        """Return the state before the first decision."""
        return fresh_state(bounds, batch_size, self.config.length)

    @torch.no_grad()
    def plan(
        self, cost: Cost, state: PlannerState, rngs: Sequence[torch.Generator]
    ) -> tuple[Plan, PlannerState]:
        """Return the plan (see ``CEMConfig.returns``) and the state for the next decision.

        Raises:
            ShapeError: another number of generators than of batch elements, or a broken cost.
        """
        check_generators(state, rngs)
        c, (L, A) = self.config, state.mean.shape[1:]
        mean, std = state.mean, (c.std * state.half_range).expand_as(state.mean)
        best, seeds = state.mean, warm_seeds(state)
        for _ in range(c.iterations):
            drawn = mean[:, None] + std[:, None] * normal(rngs, c.samples, L, A)
            plans = state.clip(seeded_with(drawn, seeds))
            elites, _ = lowest(plans, costs_of(cost, plans), c.elites)
            new_mean, new_std = mean_and_std(elites)
            mean = state.clip(c.momentum * mean + (1 - c.momentum) * new_mean)
            std = c.momentum * std + (1 - c.momentum) * new_std
            std = std.clamp(min=c.min_std * state.half_range)
            best, seeds = elites[:, 0], torch.cat([mean[:, None], elites[:, :1]], dim=1)
        actions, costs = decided(cost, mean, best, c.returns)
        return Plan(actions, costs, c.model_steps), state.carry(mean, actions[:, None])

    def advance(self, state: PlannerState, steps: int) -> PlannerState:
        """Return the state after ``steps`` actions of the plan were executed."""
        return shifted(state, steps)
