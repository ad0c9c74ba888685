"""Base: what every planner here shares: its settings, its warm start, and how that moves on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable

import torch

from armillary.core.protocols import Cost
from armillary.core.values import ActionBounds, Plan
from armillary.planning.state import PlannerState, fresh_state, shifted


@runtime_checkable
class Settings(Protocol):
    """What is known of any planner's settings."""

    @property
    def length(self) -> int:
        """Actions per plan, L."""
        ...

    @property
    def model_steps(self) -> int:
        """Predictor steps per decision."""
        ...


S = TypeVar("S", bound=Settings)


class WarmStarted(ABC, Generic[S]):
    """A planner whose next search starts from what it decided last.

    Args:
        config: its settings; None takes the defaults of ``Config``.
    """

    Config: ClassVar[Any]

    def __init__(self, config: S | None = None) -> None:
        self.config: S = config or self.Config()

    def init(self, bounds: ActionBounds, batch_size: int) -> PlannerState:
        """Return the state before the first decision."""
        return fresh_state(bounds, batch_size, self.config.length)

    @abstractmethod
    def plan(
        self, cost: Cost, state: PlannerState, rngs: Sequence[torch.Generator]
    ) -> tuple[Plan, PlannerState]:
        """Return the plan and the state for the next decision.

        Raises:
            ShapeError: another number of generators than of batch elements, or a broken cost.
        """

    def advance(self, state: PlannerState, steps: int) -> PlannerState:
        """Return the state after ``steps`` actions of the plan were executed."""
        return shifted(state, steps)
