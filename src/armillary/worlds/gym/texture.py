"""Texture: what an environment draws in one flat colour gets a strong pattern that stays.

The colour that fills most of a picture is taken for the ground, wherever it is. A model that tells
things apart by a plain ground is tried here; nothing else of the environment changes.

Axes: H W image.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Integer, UInt8

from armillary.core.errors import WorldError
from armillary.core.rng import generator

_LEAST_SHARE = 0.2  # of the picture, below which it has no ground of one colour
_PATCHES = (5, 13)  # across the picture, coarse to fine
_RANGE = (40.0, 215.0)


def with_texture(frame: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """Return a picture whose commonest colour is replaced by a pattern, the same in all pictures.

    Raises:
        WorldError: no colour fills a fifth of the picture.
    """
    codes: Integer[np.ndarray, "H W"] = frame.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1])
    found, counts = np.unique(codes, return_counts=True)
    ground = codes == found[counts.argmax()]
    if ground.mean() < _LEAST_SHARE:
        raise WorldError(
            "A picture of this environment has no ground of one colour that a texture could "
            f"replace: its commonest fills {ground.mean():.0%}. Leave textured out."
        )
    return np.where(ground[..., None], _pattern(*frame.shape[:2]), frame)


@lru_cache(maxsize=4)
def _pattern(rows: int, columns: int) -> UInt8[np.ndarray, "H W 3"]:
    """Return smooth noise of several scales, each colour channel by itself."""
    rng, total = generator("gym.texture", 0), np.zeros((rows, columns, 3), np.float32)
    for patches in _PATCHES:
        noise = rng.standard_normal((patches, patches, 3)).astype(np.float32)
        total += cv2.resize(noise, (columns, rows), interpolation=cv2.INTER_CUBIC)
    low, high = np.quantile(total, (0.02, 0.98))
    level = np.clip((total - low) / (high - low), 0, 1)
    return (_RANGE[0] + level * (_RANGE[1] - _RANGE[0])).astype(np.uint8)
