"""State: what a planner carries from one decision to the next (its warm start).

All shipped planners share one state, so that a record can hold it and a decision can be
recomputed from it. Axes: B batch, K plans kept, L plan length, A action width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.errors import ConfigError
from armillary.core.values import ActionBounds


@dataclass(frozen=True)
class PlannerState:
    """Where the next search starts.

    Attributes:
        low: [A], lower bounds in float32, never below the world's own.
        high: [A], upper bounds in float32, never above the world's own.
        mean: [B L A], centre of the search.
        kept: [B K L A], plans that are tried first: what the last decision left behind; K = 0 at
            the start.
    """

    low: Float[Tensor, " A"]
    high: Float[Tensor, " A"]
    mean: Float[Tensor, "B L A"]
    kept: Float[Tensor, "B K L A"]

    @property
    def half_range(self) -> Float[Tensor, " A"]:
        """Half the width of the box: the unit in which planners count spread."""
        return (self.high - self.low) / 2

    @property
    def rest(self) -> Float[Tensor, " A"]:
        """The action nearest to zero: for most worlds, holding still."""
        return self.clip(torch.zeros_like(self.low))

    def clip(self, plans: Float[Tensor, "*shape A"]) -> Float[Tensor, "*shape A"]:
        """Return plans inside the box."""
        return plans.clamp(self.low, self.high)

    def carry(self, mean: Float[Tensor, "B L A"], kept: Float[Tensor, "B K L A"]) -> PlannerState:
        """Return the state with what this decision leaves behind."""
        return replace(self, mean=mean.detach(), kept=kept.detach())


def fresh_state(bounds: ActionBounds, batch_size: int, length: int) -> PlannerState:
    """Return the state before the first decision: the centre of the box, nothing kept.

    Raises:
        ConfigError: bounds that are not finite, or whose low is above its high.
    """
    low, high = box_of(bounds)
    middle = ((low + high) / 2).clamp(low, high)
    mean = middle.expand(batch_size, length, -1).clone()
    return PlannerState(low, high, mean, mean.new_empty(batch_size, 0, length, len(low)))


def shifted(state: PlannerState, steps: int) -> PlannerState:
    """Return the state after ``steps`` actions were executed.

    What is past falls off the front; at the end the last action goes on (as in iCEM, 2008.06389).

    Args:
        state: after a decision.
        steps: executed actions.

    Raises:
        ConfigError: a negative number of steps.
    """
    if steps < 0:
        raise ConfigError(f"A planner advances by 0 or more steps; got {steps}.")
    length = state.mean.shape[1]
    index = (torch.arange(length) + steps).clamp(max=length - 1)
    return state.carry(state.mean[:, index], state.kept[:, :, index])


def box_of(bounds: ActionBounds, parts: int = 1) -> tuple[Float[Tensor, " A"], Float[Tensor, " A"]]:
    """Return lowest and highest action in float32, inside the bounds.

    Args:
        bounds: of one action.
        parts: actions that stand side by side.

    Raises:
        ConfigError: bounds that are not finite, or whose low is above its high.
    """
    # float32(0.1) is above 0.1: rounding towards the inside keeps every plan within the world's
    # own float64 bounds to the last bit.
    low, high = np.float32(bounds.low), np.float32(bounds.high)
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low <= high).all()):
        raise ConfigError(
            f"Action bounds must be finite with low <= high; got low {bounds.low.tolist()}, "
            f"high {bounds.high.tolist()}. Give the world a finite box of actions."
        )
    low = np.where(low < bounds.low, np.nextafter(low, np.float32(np.inf)), low)
    high = np.where(high > bounds.high, np.nextafter(high, np.float32(-np.inf)), high)
    low, high = (np.tile(np.atleast_1d(side), parts) for side in (low, high))
    return torch.from_numpy(low), torch.from_numpy(high)
