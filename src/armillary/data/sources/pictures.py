"""Pictures: encoded colour and depth, decoded with their size known before memory is taken.

Convention: depth on disk is uint16 millimetres, 0 where it is invalid; camera z.
Axes: H W image.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8, UInt16
from PIL import Image

from armillary.core.errors import FormatError
from armillary.data import layout
from armillary.data.depth import FARTHEST_MM, to_millimetres
from armillary.data.stills import in_millimetres
from armillary.data.video import MAX_PIXELS

MAX_FILE_BYTES = 512 << 20
_NEAREST_M = 0.01  # closer than any depth camera sees
_MEDIAN_STRIDE = 7


def below(folder: Path, relative: object, where: str) -> Path:
    """Return a path that a file names, which must stay below the folder.

    Raises:
        FormatError: it is not text, is absolute, or climbs out with "..".
    """
    if not isinstance(relative, str) or not layout.is_inside(relative):
        raise FormatError(
            f"{where}: the path {relative!r} is refused; paths are relative to {folder} and stay "
            "below it. Move the files there and write the paths anew."
        )
    return folder / relative


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        FormatError: it is missing, empty, or larger than 512 MiB.
    """
    if not path.is_file():
        raise FormatError(f"{path}: there is no such file; a picture was expected there.")
    size = path.stat().st_size
    if not 0 < size <= MAX_FILE_BYTES:
        raise FormatError(f"{path}: a file of {size} bytes is refused as a picture.")
    return path.read_bytes()


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


def depth_mm(raw: np.ndarray, metres_per_unit: float, where: str) -> UInt16[np.ndarray, "H W"]:
    """Return depth in millimetres, after a look at whether the unit can be right.

    Args:
        raw: depth in the source's unit [H W]; 0, NaN and inf are invalid.
        metres_per_unit: of the source.
        where: file or topic, for the sentence.

    Raises:
        FormatError: most of the picture would be farther than 65 m or nearer than 1 cm.
    """
    # every seventh number tells the median well enough
    some_m = np.asarray(raw.reshape(-1)[::_MEDIAN_STRIDE], np.float64) * metres_per_unit
    valid = np.isfinite(some_m) & (some_m > 0)
    median_m = float(np.median(some_m[valid])) if valid.any() else 1.0
    if not _NEAREST_M <= median_m <= FARTHEST_MM / 1000.0:
        raise FormatError(
            f"{where}: a depth of {median_m:,.4g} metres (median) cannot be; the unit was taken as "
            f"{metres_per_unit:g} m. Pass --depth-scale, e.g. 0.001 where depth is in millimetres."
        )
    if raw.dtype == np.uint16:
        return in_millimetres(raw, metres_per_unit)
    return to_millimetres(np.asarray(raw, np.float64) * metres_per_unit)


def _decoded(data: bytes, how: int, where: str) -> np.ndarray:
    _check_size(data, where)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    except cv2.error as error:
        raise FormatError(f"{where}: cannot be decoded as a picture ({error.err}).") from error
    if image is None:
        raise FormatError(f"{where}: cannot be decoded as a picture; it is damaged or cut off.")
    return image


def _check_size(data: bytes, where: str) -> None:
    """Read the header alone: a small file may claim a picture larger than memory."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as header:
                columns, rows = header.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise FormatError(f"{where}: is no picture that can be read ({error}).") from error
    if not 0 < rows * columns <= MAX_PIXELS:
        raise FormatError(
            f"{where}: a picture of {columns}x{rows} is refused; at most {MAX_PIXELS} pixels."
        )
