"""Gradient: descend the cost through the model with Adam, from several starts, inside the box.

Bounds are kept by projection (clipping after each step). The best plan seen is returned.
Axes: B batch, R starts (as S), L plan length, A action width.
Source: Kingma & Ba 2015 (1412.6980) for Adam. LeWM reports CEM above Adam on PushT (96 against 84).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.errors import ConfigError
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
from armillary.planning.checks import at_least, positive
from armillary.planning.state import PlannerState

# A backward pass costs about two forward passes, so a budget counts it as two.
_PASSES = 3


@dataclass(frozen=True)
class GradientConfig:
    """Settings of ``Gradient``.

    Attributes:
        length: actions per plan, L.
        starts: plans that descend side by side.
        iterations: Adam steps per decision.
        rate: learning rate, in half-ranges of the action box.
        std: spread of the random starts, in half-ranges.
        kept: plans carried to the next decision.
    """

    length: int = 8
    starts: int = 8
    iterations: int = 20
    rate: float = 0.1
    std: float = 0.7
    kept: int = 2

    def __post_init__(self) -> None:
        at_least("gradient", 1, length=self.length, iterations=self.iterations, kept=self.kept)
        at_least("gradient", self.kept + 2, starts=self.starts)
        positive("gradient", rate=self.rate, std=self.std)

    @property
    def model_steps(self) -> int:
        """Predictor steps per decision; a backward pass counts as two forward passes."""
        return self.length * self.starts * (_PASSES * self.iterations + 1)


class Gradient(WarmStarted[GradientConfig]):
    """Adam through the cost, projected into the bounds."""

    Config = GradientConfig

    def plan(
        self, cost: Cost, state: PlannerState, rngs: Sequence[torch.Generator]
    ) -> tuple[Plan, PlannerState]:
        """Return the best plan seen and the state for the next decision.

        Raises:
            ShapeError: another number of generators than of batch elements, or a broken cost.
            ConfigError: a cost that torch cannot differentiate.
        """
        check_generators(state, rngs)
        c, (L, A) = self.config, state.mean.shape[1:]
        half = state.half_range
        drawn = state.mean[:, None] + c.std * half * normal(rngs, c.starts, L, A)
        plans = state.clip(seeded_with(drawn, warm_seeds(state)))
        # Adam works in half-ranges of the box, so that one rate suits all actions.
        scaled = (plans / half).requires_grad_(True)
        adam = torch.optim.Adam([scaled], lr=c.rate)
        best, best_costs = plans, torch.full(plans.shape[:2], torch.inf)
        for iteration in range(c.iterations):
            costs, scaled.grad = _costs_and_gradient(cost, plans, half, some=iteration == 0)
            best, best_costs = _better(best, best_costs, plans, costs)
            adam.step()
            with torch.no_grad():
                plans = state.clip(scaled * half)
                scaled.copy_(plans / half)
        with torch.no_grad():
            best, best_costs = _better(best, best_costs, plans, costs_of(cost, plans, some=False))
        kept, costs = lowest(best, best_costs, c.kept)
        return Plan(kept[:, 0], costs[:, 0], c.model_steps), state.carry(kept[:, 0], kept)


def _costs_and_gradient(
    cost: Cost, plans: Float[Tensor, "B S L A"], half: Float[Tensor, "... A"], some: bool
) -> tuple[Float[Tensor, "B S"], Float[Tensor, "B S L A"]]:
    """Return the costs of plans and their gradient per half-range; zero where it is no number."""
    with torch.enable_grad():
        leaf = plans.detach().requires_grad_(True)
        costs = costs_of(cost, leaf, some)
        if not costs.requires_grad:
            raise ConfigError(
                "The gradient planner needs a cost that torch can differentiate, and this one has "
                "no gradient; use cem, icem or mppi, or compute the cost without no_grad."
            )
        # Only the plans get a gradient: the model's own weights are left alone.
        (gradient,) = torch.autograd.grad(costs.sum(), leaf)
    return costs.detach(), gradient.nan_to_num(0.0, 0.0, 0.0) * half


def _better(
    best: Float[Tensor, "B S L A"],
    best_costs: Float[Tensor, "B S"],
    plans: Float[Tensor, "B S L A"],
    costs: Float[Tensor, "B S"],
) -> tuple[Float[Tensor, "B S L A"], Float[Tensor, "B S"]]:
    """Return, place by place, the cheaper of two plans and its cost; of equals, the first."""
    won = costs < best_costs
    return torch.where(won[..., None, None], plans, best), torch.where(won, costs, best_costs)
