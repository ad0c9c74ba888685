"""Depth at the border: float32 metres with NaN in memory, uint16 millimetres with 0 on disk."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, UInt16

FARTHEST_MM = 65535


def to_millimetres(depth_m: np.ndarray) -> UInt16[np.ndarray, ...]:
    """Return depth in whole millimetres; 0 where it is invalid, not positive or too far.

    Args:
        depth_m: camera z in metres, any shape; NaN, inf and 0 are invalid.
    """
    millimetres = np.rint(np.asarray(depth_m, np.float64) * 1000.0)
    with np.errstate(invalid="ignore"):
        valid = (millimetres > 0) & (millimetres <= FARTHEST_MM)
    return np.where(valid, millimetres, 0).astype(np.uint16)


def to_metres(depth_mm: np.ndarray) -> Float32[np.ndarray, ...]:
    """Return depth in metres; NaN where the millimetres are 0."""
    metres = depth_mm.astype(np.float32) / np.float32(1000.0)
    metres[depth_mm == 0] = np.nan
    return metres
