"""Pictures: files that sources name, and depth whose unit is looked at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt16

from armillary.core.errors import FormatError
from armillary.data import layout
from armillary.data.depth import FARTHEST_MM, to_millimetres
from armillary.data.encoded import in_millimetres

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
