"""iCEM: CEM with noise that is coloured in time, elites that are kept, and fewer samples later.

Axes: B batch, S candidate plans, K elites, L plan length, A action width.
Source: Pinneri et al. 2020 (2008.06389), algorithm 1. Differences: candidates are clipped to the
bounds in world units before costing, and the mean is a candidate in every round.
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
    seeded_with,
    warm_seeds,
)
from armillary.planning.checks import Returns, at_least, elites_fit, known_returns, positive
from armillary.planning.colored import colored_noise
from armillary.planning.state import PlannerState, fresh_state, shifted


@dataclass(frozen=True)
class ICEMConfig:
    """Settings of ``ICEM``.

    Attributes:
        length: actions per plan, L.
        samples: candidate plans in the first iteration, S.
        elites: plans that the Gaussian is refitted to, K.
        iterations: rounds per decision.
        std: spread at the start of a decision, in half-ranges of the action box.
        min_std: floor of the spread, in half-ranges.
        momentum: share of the old mean and spread that stays at a refit.
        color: exponent of the noise's power over frequency; 0 white, 2 a random walk.
        decay: factor by which samples shrink per iteration, never below twice the elites.
        kept: elites that are tried again in the next iteration and the next decision.
        returns: as in ``CEMConfig``.
    """

    length: int = 12
    samples: int = 64
    elites: int = 8
    iterations: int = 6
    std: float = 0.7
    min_std: float = 0.02
    momentum: float = 0.1
    color: float = 2.0
    decay: float = 1.25
    kept: int = 3
    returns: Returns = "best"

    def __post_init__(self) -> None:
        at_least("icem", 1, length=self.length, elites=self.elites, iterations=self.iterations)
        at_least("icem", 4, samples=self.samples)
        at_least("icem", 1, decay=self.decay)
        at_least("icem", 0, kept=self.kept, color=self.color, min_std=self.min_std)
        at_least("icem", 0, momentum=self.momentum)
        positive("icem", std=self.std)
        elites_fit("icem", self.elites, self.samples)
        elites_fit("icem", self.kept + 2, self.samples)
        known_returns("icem", self.returns)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Candidates per iteration."""
        floor = min(self.samples, 2 * self.elites)
        return tuple(
            max(round(self.samples * self.decay**-i), floor) for i in range(self.iterations)
        )

    @property
    def model_steps(self) -> int:
        """Predictor steps per decision."""
        return self.length * (sum(self.sizes) + 2)


class ICEM:
    """Sample-efficient cross-entropy method."""

    Config = ICEMConfig

    def __init__(self, config: ICEMConfig | None = None) -> None:
        self.config = config or ICEMConfig()

    def init(self, bounds: ActionBounds, batch_size: int) -> PlannerState:
        """Return the state before the first decision."""
        return fresh_state(bounds, batch_size, self.config.length)

    @torch.no_grad()
    def plan(
        self, cost: Cost, state: PlannerState, rngs: Sequence[torch.Generator]
    ) -> tuple[Plan, PlannerState]:
        """Return the plan and the state for the next decision.

        Raises:
            ShapeError: another number of generators than of batch elements, or a broken cost.
        """
        check_generators(state, rngs)
        c, (L, A) = self.config, state.mean.shape[1:]
        mean, std = state.mean, (c.std * state.half_range).expand_as(state.mean)
        elites, seeds = state.mean[:, None], warm_seeds(state)
        for samples in c.sizes:
            drawn = mean[:, None] + std[:, None] * colored_noise(rngs, samples, L, A, c.color)
            plans = state.clip(seeded_with(drawn, seeds))
            elites, _ = lowest(plans, costs_of(cost, plans), c.elites)
            new_mean, new_std = mean_and_std(elites)
            mean = state.clip(c.momentum * mean + (1 - c.momentum) * new_mean)
            std = c.momentum * std + (1 - c.momentum) * new_std
            std = std.clamp(min=c.min_std * state.half_range)
            seeds = torch.cat([mean[:, None], elites[:, : max(c.kept, 1)]], dim=1)
        actions, costs = decided(cost, mean, elites[:, 0], c.returns)
        kept = torch.cat([actions[:, None], elites[:, : c.kept]], dim=1)
        return Plan(actions, costs, c.model_steps), state.carry(mean, kept)

    def advance(self, state: PlannerState, steps: int) -> PlannerState:
        """Return the state after ``steps`` actions of the plan were executed."""
        return shifted(state, steps)
