"""Bare floats: sweeps that are float32 numbers without any header."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from armillary.core.errors import FormatError
from armillary.data.sources.cloud import (
    FARTHEST_WITHOUT_UNIT,
    Cloud,
    assembled,
    check_count,
    opened,
)


def read_floats(path: Path, names: tuple[str, ...], fmt: str) -> Cloud:
    """Return a cloud from little-endian float32 rows, in metres, without moving its origin.

    Args:
        path: the file.
        names: of the numbers of a point.
        fmt: what the sentence calls the format.

    Raises:
        FormatError: no whole number of points, or none that is a number.
    """
    needs = 4 * len(names)
    with opened(path) as (file, size):
        if size % needs:
            raise FormatError(
                f"{path}: is cut off or not {fmt}: {size:,} bytes are no whole number of points of "
                f"{needs} bytes ({', '.join(names)})."
            )
        check_count(path, size // needs, needs, size)
        rows = np.frombuffer(file.read(size), "<f4").reshape(-1, len(names))
    reach = float(np.abs(rows[:, :3][np.isfinite(rows[:, :3])]).max(initial=0))
    if reach > FARTHEST_WITHOUT_UNIT:
        raise FormatError(
            f"{path}: its coordinates reach {reach:,.0f} m, farther than any LiDAR sees; it is "
            f"damaged or not {fmt}."
        )
    columns = {name: rows[:, at] for at, name in enumerate(names)}
    return assembled(path, columns, 1.0, np.zeros(3))
