"""Check: the contract that every planner keeps, as a function that users can call on their own.

    check_planner(lambda: MyPlanner())

Truths: it finds the optimum of a quadratic and goes round an obstacle, stays inside the bounds,
repeats bit for bit, decides the same alone as in a batch, and gains from its warm start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.errors import CheckFailedError
from armillary.core.protocols import Cost, Planner
from armillary.core.rng import torch_generator
from armillary.core.values import ActionBounds, Plan

_BOUNDS = ActionBounds(low=np.array([-0.1, -1.0]), high=np.array([0.3, 0.7]))
_HALF = torch.tensor([0.2, 0.85])
_CENTRE = torch.tensor([0.1, -0.15])
_DECISIONS = 10


def check_planner(factory: Callable[[], Planner]) -> None:
    """Check a planner against its contract.

    Args:
        factory: makes a planner with the settings to be checked.

    Raises:
        CheckFailedError: a part of the contract does not hold; the sentence says which.
    """
    planner = factory()
    length = _decide(planner, _quadratic(1))[0].actions.shape[1]
    _check_bounds(planner)
    _check_repeats(factory)
    _check_batch_independence(planner)
    _check_quadratic(planner)
    _check_obstacle(planner, length)
    _check_advance(planner)


@dataclass(frozen=True)
class _Quadratic:
    """Squared distance to a target action in half-ranges, target per batch element."""

    targets: Float[Tensor, "B A"]

    def __call__(self, plans: Float[Tensor, "B S L A"]) -> Float[Tensor, "B S"]:
        return ((plans - self.targets[:, None, None]) / _HALF).square().flatten(2).mean(dim=-1)


@dataclass(frozen=True)
class _Obstacle:
    """A point that integrates its actions towards a goal behind a disc of radius 1."""

    scale: float

    def positions(self, plans: Float[Tensor, "B S L A"]) -> Float[Tensor, "B S L A"]:
        moves = (plans - _CENTRE) / _HALF
        return moves.cumsum(dim=2) * self.scale + torch.tensor([-2.0, 0.3])

    def __call__(self, plans: Float[Tensor, "B S L A"]) -> Float[Tensor, "B S"]:
        here = self.positions(plans)
        inside = (1.1 - here.square().sum(dim=-1)).clamp(min=0)
        apart = (here - torch.tensor([2.0, 0.0])).square().sum(dim=-1)
        return (apart + 100 * inside).mean(dim=-1)


def _quadratic(batch: int, beyond: float = 0.5) -> _Quadratic:
    signs = torch.tensor([[1.0, -1.0], [-1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])[:batch]
    return _Quadratic(_CENTRE + beyond * signs * _HALF)


def _generators(batch: Sequence[int], decision: int) -> list[torch.Generator]:
    return [torch_generator("check-planner", element, decision) for element in batch]


def _decide(
    planner: Planner, cost: Cost, decisions: int = 1, batch: Sequence[int] = (0,)
) -> tuple[Plan, Any]:
    state = planner.init(_BOUNDS, len(batch))
    plan, state = planner.plan(cost, state, _generators(batch, 0))
    for decision in range(1, decisions):
        plan, state = planner.plan(cost, state, _generators(batch, decision))
    if plan.model_steps <= 0:
        raise CheckFailedError(f"budget: model_steps must be counted; got {plan.model_steps}.")
    return plan, state


def _check_bounds(planner: Planner) -> None:
    seen: list[Tensor] = []

    def pulling_out(plans: Tensor) -> Tensor:
        seen.append(plans.detach())
        return _quadratic(1, beyond=3.0)(plans)

    plan, _ = _decide(planner, pulling_out)
    for plans in [*seen, plan.actions]:
        values = plans.double().numpy()
        if not ((values >= _BOUNDS.low).all() and (values <= _BOUNDS.high).all()):
            raise CheckFailedError("bounds: a plan left the action bounds; clip before costing.")


def _check_repeats(factory: Callable[[], Planner]) -> None:
    first, _ = _decide(factory(), _quadratic(1), decisions=2)
    again, _ = _decide(factory(), _quadratic(1), decisions=2)
    if not torch.equal(first.actions, again.actions):
        raise CheckFailedError("repeat: the same generators gave another plan.")


def _check_batch_independence(planner: Planner) -> None:
    cost = _quadratic(4)
    together, _ = _decide(planner, cost, decisions=2, batch=range(4))
    for element in range(4):
        own = _Quadratic(cost.targets[element : element + 1])
        alone, _ = _decide(planner, own, decisions=2, batch=[element])
        if not torch.equal(alone.actions[0], together.actions[element]):
            raise CheckFailedError("batch: a decision alone differs from the same in a batch of 4.")


def _check_quadratic(planner: Planner) -> None:
    warm, _ = _decide(planner, _quadratic(1), decisions=_DECISIONS)
    # 0.01: a tenth of a half-range from the optimum, root mean square.
    if not float(warm.costs[0]) <= 0.01:
        raise CheckFailedError(
            f"quadratic: after {_DECISIONS} decisions the cost is {float(warm.costs[0]):.3g}; "
            "the optimum is 0 and 0.01 was wanted."
        )


def _check_obstacle(planner: Planner, length: int) -> None:
    cost = _Obstacle(scale=8.0 / length)
    plan, _ = _decide(planner, cost, decisions=_DECISIONS)
    path = cost.positions(plan.actions[:, None])[0, 0]
    nearest = float(path.square().sum(dim=-1).sqrt().min())
    left = float((path[-1] - torch.tensor([2.0, 0.0])).square().sum().sqrt())
    if nearest < 0.95 or left > 1.0:
        raise CheckFailedError(
            f"obstacle: the path ends {left:.2f} from the goal (1.0 allowed) and comes within "
            f"{nearest:.2f} of the centre of a disc of radius 1."
        )


def _check_advance(planner: Planner) -> None:
    cost = _quadratic(1)
    _, state = _decide(planner, cost, decisions=_DECISIONS)
    moved, fresh = planner.advance(state, 1), planner.init(_BOUNDS, 1)
    warm = _mean_cost(planner, cost, moved)
    cold = _mean_cost(planner, cost, fresh)
    if not warm <= cold + 1e-4:
        raise CheckFailedError(
            f"advance: decisions after advance cost {warm:.3g}, first decisions {cold:.3g}; "
            "a warm start must not cost more."
        )


def _mean_cost(planner: Planner, cost: Cost, state: Any) -> float:
    plans = [planner.plan(cost, state, _generators([seed], 99))[0] for seed in range(8)]
    return float(torch.stack([plan.costs[0] for plan in plans]).mean())
