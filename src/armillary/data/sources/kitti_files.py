"""KITTI's files: what the odometry benchmark and the raw drives have in common.

Source: Geiger et al. 2012 and 2013, development kits of the odometry benchmark and of raw data.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from armillary.data.sources.bare_floats import read_floats
from armillary.data.sources.cloud import Cloud
from armillary.data.sources.recording import rigid
from armillary.data.sources.text_files import read_text

COLUMNS = ("x", "y", "z", "intensity")


def read_kitti_bin(path: Path) -> Cloud:
    """Return one sweep in the LiDAR's frame (x forward, y left, z up).

    Raises:
        FormatError: no whole number of points of 16 bytes, or none that is a number.
    """
    return read_floats(path, COLUMNS, "a KITTI sweep")


def calibration(path: Path) -> Mapping[str, tuple[float, ...]]:
    """Return the numbers of each line ``NAME: numbers``; lines of words (dates) are left out.

    Raises:
        FormatError: the file is missing or too large.
    """
    found: dict[str, tuple[float, ...]] = {}
    for line in read_text(path).splitlines():
        name, colon, rest = line.partition(":")
        try:
            values = tuple(float(word) for word in rest.split())
        except ValueError:
            continue
        if colon and values:
            found.setdefault(name.strip(), values)
    return found


def pose_of_rows(
    row: Float64[np.ndarray, " 12"], where: str, expected: str
) -> Float64[np.ndarray, "4 4"]:
    """Return the pose of twelve numbers, a 3x4 matrix by row.

    Args:
        row: the numbers.
        where: file and line, for the sentence.
        expected: what they are, for the sentence.

    Raises:
        FormatError: NaN, or a rotation that is none.
    """
    return rigid(np.vstack([row.reshape(3, 4), [0.0, 0.0, 0.0, 1.0]]), where, expected)
