"""Actions at the border of every world: right width, finite, inside the bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float64

from armillary.core.errors import ShapeError
from armillary.core.values import WorldSpec

# A planner clamps in float32, so it may overshoot a float64 bound by its rounding.
_ROUNDING = 1e-5


def validate_action(spec: WorldSpec, action: Any) -> Float64[np.ndarray, " A"]:
    """Return the action as float64, clipped by no more than float32 rounding.

    Args:
        spec: of the world that is about to be stepped.
        action: what the caller sent, in the world's units.

    Raises:
        ShapeError: wrong width, NaN or infinite, or outside the bounds.
    """
    values = np.asarray(action, dtype=np.float64)
    low, high = spec.bounds.low, spec.bounds.high
    if values.shape != (spec.bounds.width,):
        raise ShapeError(
            f"{spec.name}: an action has shape ({spec.bounds.width},), got {values.shape}; "
            "send one number per action dimension."
        )
    if not np.isfinite(values).all():
        raise ShapeError(f"{spec.name}: the action {values.tolist()} is not finite.")
    slack = _ROUNDING * np.maximum(1.0, np.abs(high - low))
    if (values < low - slack).any() or (values > high + slack).any():
        raise ShapeError(
            f"{spec.name}: the action {values.tolist()} is outside the bounds "
            f"{low.tolist()} .. {high.tolist()}; clip it before it is sent."
        )
    return np.clip(values, low, high)
