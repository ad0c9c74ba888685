"""Guided search: iCEM around a proposed plan, which stands unless another is clearly better.

The first plan that a state keeps is taken as what would be done without a search. The search draws
around it, with a small spread: far from what was recorded, a learned model is wrong, and a search
finds where. It tries the other proposals and what the last decision left behind, too. In the end
the proposed plan stands unless the gain exceeds ``margin``. Before the first decision, without a
proposal, it is iCEM; later, what the last decision left behind is the proposed plan.

Axes: B batch, S candidate plans, K plans kept, L plan length, A action width.
Source: Pinneri et al. 2020 (2008.06389) for iCEM; INTACT (2607.26056) for the small spread around
the direct plan; LeWAM (2610.12818) for the harm of a search that is free.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch

from armillary.core.protocols import Cost
from armillary.core.values import Plan
from armillary.planning.candidates import costs_of
from armillary.planning.checks import at_least
from armillary.planning.icem import ICEM, ICEMConfig
from armillary.planning.state import PlannerState


@dataclass(frozen=True, kw_only=True)
class GuidedConfig(ICEMConfig):
    """Settings of ``Guided``, beside those of ``ICEMConfig``.

    Attributes:
        std: spread around the proposed plan, in half-ranges of the action box.
        margin: gain of cost from which another plan is taken.
    """

    length: int = 5
    samples: int = 16
    iterations: int = 1
    elites: int = 4
    std: float = 0.25
    margin: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("guided", 0, margin=self.margin)

    @property
    def model_steps(self) -> int:
        """Predictor steps per decision, the comparison with the proposed plan included."""
        return super().model_steps + 2 * self.length


class Guided(ICEM):
    """iCEM around a proposed plan."""

    Config = GuidedConfig

    @torch.no_grad()
    def plan(
        self, cost: Cost, state: PlannerState, rngs: Sequence[torch.Generator]
    ) -> tuple[Plan, PlannerState]:
        """Return the plan and the state for the next decision.

        Raises:
            ShapeError: another number of generators than of batch elements, or a broken cost.
        """
        if not state.kept.shape[1]:
            found, later = super().plan(cost, state, rngs)
            compared = 2 * self.config.length  # which there was no need for
            return replace(found, model_steps=found.model_steps - compared), later
        direct = state.kept[:, 0]
        carried = torch.cat([state.kept[:, 1:], state.mean[:, None]], dim=1)
        found, later = super().plan(cost, replace(state, mean=direct, kept=carried), rngs)
        costs = costs_of(cost, torch.stack([direct, found.actions], dim=1))
        margin = cast("GuidedConfig", self.config).margin
        better = costs[:, 1] < costs[:, 0] - margin
        actions = torch.where(better[:, None, None], found.actions, direct)
        chosen = torch.where(better, costs[:, 1], costs[:, 0])
        kept = torch.cat([actions[:, None], later.kept[:, 1:]], dim=1)
        return Plan(actions, chosen, self.config.model_steps), later.carry(actions, kept)
