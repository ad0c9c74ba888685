"""Resize: pictures to a model's resolution, and the lens with them.

Colour is averaged over the area that a pixel covers; depth and labels take the nearest pixel, since
an average over an edge is a distance where nothing is.

Convention: pixel (0, 0) has its centre at (0, 0), so u' = (u + 1/2) s - 1/2.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

from armillary.core.errors import ConfigError

MAX_SIDE = 4096
LETTERBOX, CROP = FITS = ("letterbox", "crop")
Size = tuple[int, int]


def as_size(size: int | Size) -> Size:
    """Return (rows, columns) of a side length or a pair.

    Raises:
        ConfigError: a side is not between 1 and 4096.
    """
    rows, columns = (size, size) if isinstance(size, int) else size
    if not (1 <= rows <= MAX_SIDE and 1 <= columns <= MAX_SIDE):
        raise ConfigError(f"An image size must be between 1 and {MAX_SIDE} pixels, got {size}.")
    return rows, columns


def resized(image: np.ndarray, size: Size, average: bool) -> np.ndarray:
    """Return one picture [H W ...] at ``size``; ``average`` for colour, nearest pixel otherwise."""
    rows, columns = size
    if image.shape[:2] == size:
        return image
    if average:
        return cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
    return image[np.ix_(_nearest(image.shape[0], rows), _nearest(image.shape[1], columns))]


def resized_lens(
    intrinsics: Float[np.ndarray, "3 3"], before: Size, after: Size
) -> Float[np.ndarray, "3 3"]:
    """Return K in the pixels of a picture that was resized from ``before`` to ``after``."""
    down, right = after[0] / before[0], after[1] / before[1]
    scale = np.array([[right, 0, (right - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1.0]])
    return scale @ intrinsics


def within_side(shape: tuple[int, int], max_side: int | None) -> Size:
    """Return the size of a picture whose longer side is at most ``max_side``, in proportion."""
    longest = max(shape)
    if max_side is None or longest <= max_side:
        return shape[0], shape[1]
    rows, columns = (max(1, round(side * max_side / longest)) for side in shape)
    return rows, columns


def scaled_to_fit(before: Size, size: Size, fit: str) -> Size:
    """Return the size to which a picture is scaled, in proportion, before ``placed``.

    Args:
        before: rows and columns of the picture.
        size: rows and columns of the frame that it goes into.
        fit: ``letterbox`` scales it to lie within the frame, ``crop`` to cover it.
    """
    ratios = size[0] / before[0], size[1] / before[1]
    scale = min(ratios) if fit == LETTERBOX else max(ratios)
    limit = min if fit == LETTERBOX else max
    rows, columns = (
        limit(target, max(1, round(side * scale)))
        for side, target in zip(before, size, strict=True)
    )
    return rows, columns


def placed(image: np.ndarray, size: Size) -> np.ndarray:
    """Return a colour picture in the middle of ``size``: black bars added, or what is over cut."""
    for axis, want in enumerate(size):
        over = image.shape[axis] - want
        if over > 0:
            image = np.take(image, range(over // 2, over // 2 + want), axis=axis)
        elif over < 0:
            bars = [(0, 0)] * image.ndim
            bars[axis] = (-over // 2, -over - -over // 2)
            image = np.pad(image, bars)
    return np.ascontiguousarray(image)


def _nearest(before: int, after: int) -> np.ndarray:
    return np.minimum(((np.arange(after) + 0.5) * before / after).astype(np.int64), before - 1)
