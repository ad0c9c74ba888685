"""MPPI: model-predictive path integral. Every candidate counts, the cheap ones exponentially more.

weight = softmax(-(cost - lowest) / (temperature * (mean - lowest))), so the temperature has no
unit and does not depend on the scale of a model's latent space.
Axes: B batch, S candidate plans, L plan length, A action width.
Source: Williams et al. 2017 (1509.01149), with the spread refitted as in TD-MPC2 (2310.16828).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.protocols import Cost
from armillary.core.values import ActionBounds, Plan
from armillary.planning.candidates import (
    check_generators,
    costs_of,
    decided,
    lowest,
    normal,
    seeded_with,
    warm_seeds,
)
from armillary.planning.checks import Returns, at_least, known_returns, positive
from armillary.planning.state import PlannerState, fresh_state, shifted

_WORST = 1e30  # stands for +inf inside a softmax, where inf - inf would be NaN


@dataclass(frozen=True)
class MPPIConfig:
    """Settings of ``MPPI``.

    Attributes:
        length: actions per plan, L.
        samples: candidate plans per iteration, S.
        iterations: rounds per decision.
        temperature: softness of the weights, in units of (mean cost - lowest cost).
        std: spread at the start of a decision, in half-ranges of the action box.
        min_std: floor of the spread, in half-ranges.
        returns: as in ``CEMConfig``.
    """

    length: int = 8
    samples: int = 64
    iterations: int = 4
    temperature: float = 0.1
    std: float = 0.7
    min_std: float = 0.02
    returns: Returns = "best"

    def __post_init__(self) -> None:
        at_least("mppi", 1, length=self.length, iterations=self.iterations)
        at_least("mppi", 4, samples=self.samples)
        at_least("mppi", 0, min_std=self.min_std)
        positive("mppi", std=self.std, temperature=self.temperature)
        known_returns("mppi", self.returns)

    @property
    def model_steps(self) -> int:
        """Predictor steps per decision."""
        return self.length * (self.samples * self.iterations + 2)


class MPPI:
    """Path integral control with warm start and bounds."""

    Config = MPPIConfig

    def __init__(self, config: MPPIConfig | None = None) -> None:
        self.config = config or MPPIConfig()

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
        best, seeds = state.mean[:, None], warm_seeds(state)
        for _ in range(c.iterations):
            drawn = mean[:, None] + std[:, None] * normal(rngs, c.samples, L, A)
            plans = state.clip(seeded_with(drawn, seeds))
            costs = costs_of(cost, plans)
            mean, std = _weighted(plans, costs, c.temperature)
            mean, std = state.clip(mean), std.clamp(min=c.min_std * state.half_range)
            best, _ = lowest(plans, costs, 1)
            seeds = torch.cat([mean[:, None], best], dim=1)
        actions, costs = decided(cost, mean, best[:, 0], c.returns)
        return Plan(actions, costs, c.model_steps), state.carry(mean, actions[:, None])

    def advance(self, state: PlannerState, steps: int) -> PlannerState:
        """Return the state after ``steps`` actions of the plan were executed."""
        return shifted(state, steps)


def _weighted(
    plans: Float[Tensor, "B S L A"], costs: Float[Tensor, "B S"], temperature: float
) -> tuple[Float[Tensor, "B L A"], Float[Tensor, "B L A"]]:
    pairs = [_weighted_one(*pair, temperature) for pair in zip(plans, costs, strict=True)]
    return torch.stack([mean for mean, _ in pairs]), torch.stack([std for _, std in pairs])


def _weighted_one(
    plans: Float[Tensor, "S L A"], costs: Float[Tensor, " S"], temperature: float
) -> tuple[Float[Tensor, "L A"], Float[Tensor, "L A"]]:
    above = costs.clamp(max=_WORST) - costs.clamp(max=_WORST).min()
    finite = costs.isfinite()
    # Costs that are all equal have no spread; then every plan weighs the same.
    spread = (above * finite).sum() / finite.sum().clamp(min=1)
    weights = torch.softmax(-above / (temperature * spread).clamp(min=1e-20), dim=0)[:, None, None]
    mean = (weights * plans).sum(dim=0)
    return mean, (weights * (plans - mean).square()).sum(dim=0).sqrt()
