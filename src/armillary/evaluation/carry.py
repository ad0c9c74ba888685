"""Carry: what a planner brought into a decision, as text that fits into a record, to the bit."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from armillary.core.errors import FormatError
from armillary.planning import PlannerState

_MAX_BYTES = 1 << 24


@dataclass(frozen=True)
class Decision:
    """One decision of a planning policy, as the harness reads it from the policy's state.

    Attributes:
        step: world step at which it was made.
        model_steps: predictor steps that it took.
        cost: of the chosen plan; None where it is not finite.
        carry: the planner's state before it, packed (empty for a planner of another kind).
    """

    step: int
    model_steps: int
    cost: float | None
    carry: Mapping[str, Any]

    @classmethod
    def of(cls, step: int, model_steps: int, cost: float, state: Any) -> Decision:
        """Return the decision made from a planner's state."""
        return cls(step, model_steps, cost if math.isfinite(cost) else None, pack(state))


def pack(state: Any) -> dict[str, Any]:
    """Return the parts of a planner's state that change, as JSON values."""
    if not isinstance(state, PlannerState):
        return {}
    return {"mean": _pack_tensor(state.mean), "kept": _pack_tensor(state.kept)}


def unpack(carry: Mapping[str, Any], fresh: PlannerState) -> PlannerState:
    """Return the planner's state that was packed.

    Args:
        carry: from ``pack``.
        fresh: the planner's state at the start, for the bounds.

    Raises:
        FormatError: not a packed state.
    """
    try:
        return replace(
            fresh, mean=_unpack_tensor(carry["mean"]), kept=_unpack_tensor(carry["kept"])
        )
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise FormatError(f"A decision's planner state cannot be read back ({error}).") from error


def _pack_tensor(values: Tensor) -> dict[str, Any]:
    raw = values.detach().contiguous().numpy().astype("<f4").tobytes()
    return {"shape": list(values.shape), "float32": base64.b64encode(raw).decode()}


def _unpack_tensor(packed: Mapping[str, Any]) -> Tensor:
    if len(packed["float32"]) > _MAX_BYTES:
        raise ValueError("too large")
    raw = base64.b64decode(packed["float32"], validate=True)
    values = np.frombuffer(raw, "<f4").astype(np.float32)
    return torch.from_numpy(values).reshape([int(size) for size in packed["shape"]])
