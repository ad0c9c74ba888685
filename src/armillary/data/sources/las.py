"""LAS and LAZ: airborne and terrestrial scans in map coordinates, read through laspy.

An origin (the corner of the first cloud) is taken off in float64, and kept as the pose
``world_from_points``, before anything becomes float32.

Source: ASPRS LAS 1.4 R15.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from armillary.core.errors import FormatError
from armillary.core.optional import require
from armillary.data.sources import las_points
from armillary.data.sources.cloud import METRES, Cloud, assembled, check_count, metres_per
from armillary.data.sources.decoder_process import DECODER_BYTES, decoded_apart
from armillary.data.sources.las_header import LasHeader, read_header

_DECODER_S = 120.0
_SLOWEST_POINTS_PER_S = 20_000


def read_las(path: Path, unit: str | None = None, origin_m: np.ndarray | None = None) -> Cloud:
    """Return the points of a LAS or LAZ file, with intensity, and colours where there are any.

    Args:
        path: the file.
        unit: of its coordinates, instead of what its header says.
        origin_m: taken off the coordinates; None takes the cloud's corner, in whole metres.

    Raises:
        FormatError: damaged, cut off, too large, without a point that is not withheld, in degrees,
            geocentric, or in a unit that nobody gave or of which its header has two.
        ConfigError: there is no such unit.
        MissingExtraError: laspy (or lazrs, for LAZ) is not installed.
    """
    given = metres_per(unit)
    header = read_header(path)
    metres = header.metres if given is None else (given, given, given)
    if metres is None:
        why = (
            header.unclear or "does not tell the unit of its coordinates, and LAS is often in feet"
        )
        raise FormatError(f"{path}: {why}; say it with --unit {', '.join(METRES)}.")
    _check_points(path, header)
    _need_laspy(header.compressed)
    return assembled(path, _columns(path, header), np.array(metres), origin_m, local=True)


def _need_laspy(compressed: bool) -> None:
    require("laspy", "lidar", "read LAS files")
    if compressed:
        require("lazrs", "lidar", "read LAZ files")


def _check_points(path: Path, header: LasHeader) -> None:
    # A compressed point can take less than a bit: then only its decoder knows what is missing.
    needs = 0 if header.compressed else header.point_bytes
    check_count(path, header.points, needs, path.stat().st_size - header.first_point)


def _columns(path: Path, header: LasHeader) -> dict[str, np.ndarray]:
    try:
        columns = _apart(path, header) if header.compressed else las_points.read_columns(path)
    except FormatError:
        raise
    except Exception as error:  # laspy raises what it likes at damaged files
        said = str(error).splitlines() or [type(error).__name__]
        raise FormatError(f"{path}: is damaged or cut off ({said[0].rstrip('.')}).") from error
    found = len(columns.get("x", ()))
    if found != header.points:
        raise FormatError(
            f"{path}: is cut off: its header promises {header.points:,} points, it holds {found:,}."
        )
    # "synonymous with deleted" (LAS 1.4, point data record format 0)
    kept = ~columns.pop("withheld").astype(bool)
    if found and not kept.any():
        raise FormatError(f"{path}: all of its points are marked as withheld (deleted).")
    return {name: values[kept] for name, values in columns.items()}


def _apart(path: Path, header: LasHeader) -> dict[str, np.ndarray]:
    """Decode LAZ in a process of its own, whose end is not ours."""
    memory = DECODER_BYTES + header.points * (4 * header.point_bytes + 100)
    seconds = _DECODER_S + header.points / _SLOWEST_POINTS_PER_S
    return decoded_apart(path, las_points.__file__, memory, seconds)
