"""Candidates: drawing, costing and ranking plans, one batch element at a time where it matters.

Sums are taken per batch element, since the shape of a batch changes the last bits of a sum: so a
decision is the same alone as among others. Axes: B batch, S plans, K elites, L length, A action.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.errors import ShapeError
from armillary.core.protocols import Cost
from armillary.planning.state import PlannerState


def normal(rngs: Sequence[torch.Generator], *shape: int) -> Float[Tensor, "B ..."]:
    """Return standard normal numbers; element b draws from ``rngs[b]`` and from nothing else."""
    return torch.stack([torch.randn(shape, generator=rng) for rng in rngs])


def check_generators(state: PlannerState, rngs: Sequence[torch.Generator]) -> None:
    """Check that there is one generator per batch element.

    Raises:
        ShapeError: another number of generators.
    """
    if len(rngs) != len(state.mean):
        raise ShapeError(
            f"A planner needs one generator per batch element: {len(state.mean)} elements, "
            f"{len(rngs)} generators came."
        )


def seeded_with(
    plans: Float[Tensor, "B S L A"], seeds: Float[Tensor, "B K L A"]
) -> Float[Tensor, "B S L A"]:
    """Return the plans with the first of them replaced by plans worth trying; S stays the same."""
    seeds = seeds[:, : plans.shape[1]]
    return torch.cat([seeds, plans[:, seeds.shape[1] :]], dim=1)


def warm_seeds(state: PlannerState) -> Float[Tensor, "B K L A"]:
    """Return what every decision tries first: the mean, holding still, and what was kept."""
    rest = state.rest.expand_as(state.mean)
    return torch.cat([state.mean[:, None], rest[:, None], state.kept], dim=1)


def costs_of(
    cost: Cost, plans: Float[Tensor, "B S L A"], some: bool = True
) -> Float[Tensor, "B S"]:
    """Return the cost of every plan; NaN becomes +inf, so that such a plan is never chosen.

    Args:
        cost: what to ask.
        plans: all candidates.
        some: insist that every batch element has a plan whose cost is a number.

    Raises:
        ShapeError: costs of another shape than [B S], or NaN for all plans of an element.
    """
    costs = cost(plans)
    if costs.shape != plans.shape[:2]:
        raise ShapeError(
            f"A cost must return one number per plan, shape {tuple(plans.shape[:2])}; "
            f"got shape {tuple(costs.shape)}."
        )
    missing = costs.isnan()
    if some and missing.all(dim=1).any():
        raise ShapeError(
            f"The cost is NaN for all {plans.shape[1]} candidate plans, so none can be chosen; "
            "check the model's weights and the observation it was given."
        )
    return torch.where(missing, torch.inf, costs)


def lowest(
    plans: Float[Tensor, "B S L A"], costs: Float[Tensor, "B S"], count: int
) -> tuple[Float[Tensor, "B K L A"], Float[Tensor, "B K"]]:
    """Return the ``count`` cheapest plans in order of cost; of equals, the earlier comes first."""
    ordered, index = costs.sort(dim=1, stable=True)
    return plans.take_along_dim(index[:, :count, None, None], dim=1), ordered[:, :count]


def mean_and_std(
    plans: Float[Tensor, "B K L A"],
) -> tuple[Float[Tensor, "B L A"], Float[Tensor, "B L A"]]:
    """Return mean and (biased) standard deviation over K."""
    means = [element.mean(dim=0) for element in plans]
    stds = [
        (element - mean).square().mean(dim=0).sqrt()
        for element, mean in zip(plans, means, strict=True)
    ]
    return torch.stack(means), torch.stack(stds)


def decided(
    cost: Cost, mean: Float[Tensor, "B L A"], best: Float[Tensor, "B L A"], returns: str
) -> tuple[Float[Tensor, "B L A"], Float[Tensor, " B"]]:
    """Return what a search decides: its final mean, or the better of its best plan and that mean.

    Both are costed in one last call of two candidates.
    """
    pair = torch.stack([mean, best], dim=1)
    costs = costs_of(cost, pair)
    if returns == "mean":
        return mean, costs[:, 0]
    plans, lowest_costs = lowest(pair, costs, 1)
    return plans[:, 0], lowest_costs[:, 0]
