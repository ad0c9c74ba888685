"""Goal: plans towards a place that is read from predicted latents, and what was tried.

Axes: S candidate plans, L model steps, N tokens, D width, A action of a model step, Y = 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.rng import torch_generator
from armillary.core.values import ActionBounds
from armillary.models import JEPA
from armillary.planning.icem import ICEM, ICEMConfig
from armillary.planning.state import PlannerState
from armillary.play.imagining import Imagined
from armillary.services.value_goals import ValueGoal, value_cost
from armillary.understanding.read_out import ReadOut

SEARCH = ICEMConfig(length=8, samples=32, iterations=2, elites=6)
SHOWN = 14  # candidates


@dataclass(frozen=True)
class GoalPlan:
    """What a search found, and some of what it tried.

    Attributes:
        actions: of the best plan.
        places: that it leads to by the read-out, the present first [L+1 2].
        others: the same of other candidates of the last round [S L+1 2], the best first.
        planner: where the next search begins.
    """

    actions: Float[np.ndarray, "L A"]
    places: Float[np.ndarray, "_ 2"]
    others: Float[np.ndarray, "S _ 2"]
    planner: PlannerState


def search(
    model: JEPA,
    imagined: Imagined,
    read_out: ReadOut,
    place: tuple[float, float],
    bounds: ActionBounds,
    before: GoalPlan | None,
    moved: int,
    seed: tuple[int, int],
) -> GoalPlan:
    """Return a plan that brings what is read as near to a place as it can.

    Args:
        model: predicts.
        imagined: the present.
        read_out: of a place.
        place: to reach, in its unit.
        bounds: of a model step's action.
        before: the last plan for the same goal; None for none.
        moved: model steps since then.
        seed: names the chance of this search.
    """
    planner = ICEM(SEARCH)
    state = planner.init(bounds, 1) if before is None else planner.advance(before.planner, moved)
    cost = _Reaching(model, imagined, read_out, place)
    plan, later = planner.plan(cost, state, [torch_generator("play.plan", *seed)])
    now = read_out(_tokens(model, imagined.state)).numpy()
    (tried, costs), (last, last_costs) = cost.asked[-2:]
    order = costs.argsort(stable=True)[:: max(1, len(costs) // SHOWN)][:SHOWN]
    others = np.stack([np.concatenate([now, way]) for way in tried[order].numpy()])
    chosen = np.concatenate([now, last[int(last_costs.argmin())].numpy()])
    return GoalPlan(plan.actions[0].numpy(), chosen, others, later)


class _Reaching:
    """The cost of plans, which keeps what each call was asked: places [S L 2] and costs [S]."""

    def __init__(
        self, model: JEPA, imagined: Imagined, read_out: ReadOut, place: tuple[float, float]
    ) -> None:
        self._model, self._imagined, self._read_out = model, imagined, read_out
        self._cost = value_cost([(read_out, ValueGoal(read_out.target, place, place))])
        self.asked: list[tuple[Tensor, Tensor]] = []

    def __call__(self, plans: Float[Tensor, "1 S L A"]) -> Float[Tensor, "1 S"]:
        predicted = self._rolled_out(plans[0])
        costs = self._cost(predicted).sum(-1)
        self.asked.append((self._read_out(predicted), costs))
        return costs[None]

    def _rolled_out(self, plans: Float[Tensor, "S L A"]) -> Float[Tensor, "S L N D"]:
        count = len(plans)
        state = self._imagined.state.expand(count, -1)
        memory, found = self._imagined.memory.expand(count, -1), []
        for actions in plans.unbind(1):
            state, memory = self._model.step(state, memory, actions)
            found.append(state)
        return _tokens(self._model, torch.stack(found, 1))


def _tokens(model: JEPA, states: Float[Tensor, "*B Z"]) -> Float[Tensor, "*B N D"]:
    return states.unflatten(-1, (model.config.encoder.tokens, -1))
