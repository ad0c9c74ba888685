"""Encoded: picture files in memory, decoded with their size known before memory is taken.

Convention: depth is uint16 millimetres, 0 where it is invalid; camera z.
Axes: H W image.
"""

from __future__ import annotations

import io
import warnings
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import UInt8, UInt16
from PIL import Image, UnidentifiedImageError

from armillary.core.errors import FormatError
from armillary.data.depth import to_millimetres
from armillary.data.video import MAX_PIXELS

MAX_SIDE = 65535  # what a video's header holds
MILLIMETRE = 0.001


def decode_rgb(data: bytes, where: str) -> UInt8[np.ndarray, "H W 3"]:
    """Return an encoded colour or grey picture, its pixels where the camera had them.

    Raises:
        FormatError: it cannot be decoded, or is too large.
    """
    # Intrinsics count pixels as they are stored, so a rotation in the metadata is left alone.
    return _decoded(data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION, where)


def decode_depth(data: bytes, where: str) -> np.ndarray:
    """Return an encoded depth picture in its own unit, uint16 or floating point [H W].

    Raises:
        FormatError: it cannot be decoded, has 8 bits a pixel, or more than one channel.
    """
    image = _decoded(data, cv2.IMREAD_UNCHANGED, where)
    if image.ndim != 2 or image.dtype == np.uint8:
        bits, channels = 8 * image.itemsize, 1 if image.ndim == 2 else image.shape[2]
        raise FormatError(
            f"{where}: has {channels} channel(s) of {bits} bits; depth was expected as one channel "
            "of 16 bits. Export the raw depth, not a picture of it."
        )
    return image


def in_millimetres(
    units: UInt16[np.ndarray, "H W"], metres_per_unit: float
) -> UInt16[np.ndarray, "H W"]:
    """Return stored depth in millimetres; 0 where it is invalid or beyond what 16 bits hold."""
    return units if metres_per_unit == MILLIMETRE else _millimetres_of(metres_per_unit)[units]


@lru_cache(maxsize=4)
def _millimetres_of(metres_per_unit: float) -> UInt16[np.ndarray, " 65536"]:
    """Return the millimetres of every number that 16 bits hold: five times faster for a picture."""
    return to_millimetres(np.arange(1 << 16, dtype=np.float64) * metres_per_unit)


def _decoded(data: bytes, how: int, where: str) -> np.ndarray:
    check_size(data, where)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    except cv2.error as error:
        raise FormatError(f"{where}: cannot be decoded as a picture ({error.err}).") from error
    if image is None:
        raise damaged(where)
    return image


def damaged(where: str) -> FormatError:
    """Return the error that a picture is damaged."""
    return FormatError(f"{where}: cannot be decoded as a picture; it is damaged or cut off.")


def check_size(data: bytes, where: str) -> None:
    """Read the header alone: a small file may claim a picture larger than memory.

    Raises:
        FormatError: it is no picture, its header is damaged, or it is too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as header:
                columns, rows = header.size
    except UnidentifiedImageError as error:
        raise FormatError(f"{where}: is no picture of a format that is known here.") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise FormatError(f"{where}: is no picture that can be read ({error}).") from error
    if not is_possible(rows, columns):
        raise FormatError(
            f"{where}: a picture of {columns}x{rows} is refused; at most {MAX_PIXELS} pixels, and "
            f"{MAX_SIDE} a side."
        )


def is_possible(rows: int, columns: int) -> bool:
    """Say whether a picture of this size is taken."""
    return 0 < rows <= MAX_SIDE and 0 < columns <= MAX_SIDE and rows * columns <= MAX_PIXELS
