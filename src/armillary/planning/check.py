"""Check: the contract that every planner keeps, as a function that users can call on their own.

    check_planner(lambda: MyPlanner())

Truths: it finds the optimum of a quadratic, goes round a disc and round a wall across the straight
way, stays inside the bounds, repeats bit for bit, decides the same alone as in a batch, and gains
from its warm start a step later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.errors import CheckFailedError
from armillary.core.protocols import Cost, Planner
from armillary.core.rng import torch_generator
from armillary.core.values import Plan
from armillary.planning.check_costs import BOUNDS, CENTRE, HALF, Point, Quadratic, disc, wall

_DECISIONS = 10
# What costs no more than this has nothing left to gain.
_SOLVED = 1e-4
# With fewer actions there is no way round the wall that ends at the goal.
_SHORTEST_ROUND_WALL = 4


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
    _check_obstacle(planner, "disc", Point(8.0 / length, disc), allowed=0.2)
    if length >= _SHORTEST_ROUND_WALL:
        # Before the wall, every short change of the straight way costs more: a local optimum.
        behind = Point(8.0 / length, wall, weight=1000.0, between=8)
        _check_obstacle(planner, "wall", behind, allowed=0.1)
    _check_advance(planner, length)


def _quadratic(batch: int, beyond: float = 0.5) -> Quadratic:
    signs = torch.tensor([[1.0, -1.0], [-1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])[:batch]
    return Quadratic(CENTRE + beyond * signs * HALF)


def _generators(batch: Sequence[int], decision: int) -> list[torch.Generator]:
    return [torch_generator("check-planner", element, decision) for element in batch]


def _decide(
    planner: Planner, cost: Cost, decisions: int = 1, batch: Sequence[int] = (0,)
) -> tuple[Plan, Any]:
    state = planner.init(BOUNDS, len(batch))
    plan, state = planner.plan(cost, state, _generators(batch, 0))
    for decision in range(1, decisions):
        plan, state = planner.plan(cost, state, _generators(batch, decision))
    if plan.model_steps <= 0:
        raise CheckFailedError(f"budget: model_steps must be counted; got {plan.model_steps}.")
    return plan, state


@dataclass(frozen=True)
class _Watched(Quadratic):
    """A quadratic that notes every plan it is asked about."""

    seen: list[Tensor] = field(default_factory=list)

    def __call__(self, plans: Float[Tensor, "B S L A"]) -> Float[Tensor, "B S"]:
        self.seen.append(plans.detach())
        return super().__call__(plans)


def _check_bounds(planner: Planner) -> None:
    # Far outside, so that everything pulls a plan out of the box.
    cost = _Watched(_quadratic(1, beyond=3.0).targets)
    plan, _ = _decide(planner, cost)
    for plans in [*cost.seen, plan.actions]:
        values = plans.double().numpy()
        if not ((values >= BOUNDS.low).all() and (values <= BOUNDS.high).all()):
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
        own = Quadratic(cost.targets[element : element + 1])
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


def _check_obstacle(planner: Planner, name: str, cost: Point, allowed: float) -> None:
    plan, _ = _decide(planner, cost, decisions=_DECISIONS)
    plans = plan.actions[:, None]
    left, depth = cost.left(plans), cost.deepest(plans)
    # Grazing the obstacle is cheap, so a little of it is allowed.
    if left > 1.0 or depth > allowed:
        raise CheckFailedError(
            f"{name}: after {_DECISIONS} decisions the path ends {left:.2f} from the goal (1.0 "
            f"allowed) and lies up to {depth:.2f} inside the {name} ({allowed:g} allowed)."
        )


def _check_advance(planner: Planner, length: int) -> None:
    """Plan along targets that differ from step to step; a step later they have moved up by one."""
    signs = torch.randint(2, (1, length, 2), generator=torch_generator("check-advance")) * 2 - 1
    targets = CENTRE + 0.5 * signs * HALF
    later = torch.cat([targets[:, 1:], targets[:, -1:]], 1)  # as if the last went on
    _, state = _decide(planner, Quadratic(targets), decisions=_DECISIONS)
    warm = _mean_cost(planner, Quadratic(later), planner.advance(state, 1))
    cold = _mean_cost(planner, Quadratic(later), planner.init(BOUNDS, 1))
    if not (warm < cold or warm < _SOLVED):
        raise CheckFailedError(
            f"advance: a step later, decisions after advance cost {warm:.3g}, first decisions "
            f"{cold:.3g}; a warm start must cost less, so the plan must move up by one step."
        )


def _mean_cost(planner: Planner, cost: Cost, state: Any) -> float:
    plans = [planner.plan(cost, state, _generators([seed], 99))[0] for seed in range(8)]
    return float(torch.stack([plan.costs[0] for plan in plans]).mean())
