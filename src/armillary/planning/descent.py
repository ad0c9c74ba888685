"""Descent: what planners share that follow a slope: the slope of a cost, Adam, the best plan seen.

Axes: B batch, S plans that descend side by side, L plan length, A action width.
Source: Kingma & Ba 2015 (1412.6980) for Adam.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.errors import ConfigError
from armillary.core.protocols import Cost
from armillary.planning.candidates import costs_of

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8
# A backward pass costs about two forward passes, so a budget counts it as two.
PASSES = 3


@dataclass(frozen=True)
class Adam:
    """Adam's memory.

    Attributes:
        first: running mean of slopes.
        second: running mean of their squares.
        step: how many slopes it has seen.
    """

    first: Float[Tensor, "B S L A"]
    second: Float[Tensor, "B S L A"]
    step: int = 0

    @classmethod
    def fresh(cls, plans: Float[Tensor, "B S L A"]) -> Adam:
        """Return the memory before the first slope."""
        return cls(torch.zeros_like(plans), torch.zeros_like(plans))

    def move(self, slope: Float[Tensor, "B S L A"]) -> tuple[Float[Tensor, "B S L A"], Adam]:
        """Return the direction to go against, about one in size, and the later memory."""
        step = self.step + 1
        first = _BETA1 * self.first + (1 - _BETA1) * slope
        second = _BETA2 * self.second + (1 - _BETA2) * slope.square()
        size = (second / (1 - _BETA2**step)).sqrt() + _EPSILON
        return first / (1 - _BETA1**step) / size, Adam(first, second, step)


def slope_of(
    planner: str, cost: Cost, plans: Float[Tensor, "B S L A"], some: bool
) -> tuple[Float[Tensor, "B S"], Float[Tensor, "B S L A"]]:
    """Return the costs of plans and their slope; where a slope is no number, it is zero.

    Args:
        planner: who asks, for the sentence.
        cost: what to descend.
        plans: where.
        some: as in ``costs_of``.

    Raises:
        ConfigError: a cost that torch cannot differentiate.
        ShapeError: a broken cost.
    """
    with torch.enable_grad():
        leaf = plans.detach().requires_grad_(True)
        costs = costs_of(cost, leaf, some)
        if not costs.requires_grad:
            raise no_gradient(planner)
        # Only the plans get a gradient: the model's own weights are left alone.
        (slope,) = torch.autograd.grad(costs.sum(), leaf)
    return costs.detach(), slope.nan_to_num(0.0, 0.0, 0.0)


def no_gradient(planner: str) -> ConfigError:
    """Return the error for a cost that torch cannot differentiate."""
    return ConfigError(
        f"The {planner} planner needs a cost that torch can differentiate, and this one has "
        "no gradient; use cem, icem or mppi, or compute the cost without no_grad."
    )


def better(
    best: Float[Tensor, "B S L A"],
    best_costs: Float[Tensor, "B S"],
    plans: Float[Tensor, "B S L A"],
    costs: Float[Tensor, "B S"],
) -> tuple[Float[Tensor, "B S L A"], Float[Tensor, "B S"]]:
    """Return, place by place, the cheaper of two plans and its cost; of equals, the first."""
    won = costs < best_costs
    return torch.where(won[..., None, None], plans, best), torch.where(won, costs, best_costs)
