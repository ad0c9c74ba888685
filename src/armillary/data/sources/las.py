"""LAS and LAZ: airborne and terrestrial scans in map coordinates, read through laspy.

An origin (the corner of the first cloud) is taken off in float64, and kept as the pose
``world_from_points``, before anything becomes float32.

Source: ASPRS LAS 1.4 R15.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np

from armillary.core.errors import FormatError
from armillary.core.optional import require
from armillary.core.progress import Progress
from armillary.data.sources.cloud import METRES, Cloud, assembled, check_count, metres_per
from armillary.data.sources.cloud_folder import Sensor, ingest_files
from armillary.data.sources.las_header import LasHeader, read_header
from armillary.data.sources.source import (
    IngestOptions,
    IngestSummary,
    has_file_with,
    refuse_options,
)

SUFFIXES = (".las", ".laz")
_CHUNK_POINTS = 1_000_000
_DIMENSIONS = ("intensity", "red", "green", "blue")


def detect(path: Path) -> bool:
    """Say whether there is a LAS or LAZ file."""
    return has_file_with(path, SUFFIXES)


def ingest(source: Path, out: Path, progress: Progress, options: IngestOptions) -> IngestSummary:
    """Write LAS and LAZ files as episodes of clouds; a folder is one episode.

    Raises:
        FormatError: nothing there, or no cloud is usable.
        MissingExtraError: laspy is not installed.
        StorageError: ``out`` cannot be written; nothing is left there.
    """
    refuse_options(options, "las", ["max_side"])
    metres_per(options.unit)
    _laspy(compressed=False)
    sensor = Sensor("las", lambda p, origin_m: read_las(p, options.unit, origin_m), "points", True)
    return ingest_files(source, out, progress, options, SUFFIXES, sensor)


def read_las(path: Path, unit: str | None = None, origin_m: np.ndarray | None = None) -> Cloud:
    """Return the points of a LAS or LAZ file, with intensity, and colours where there are any.

    Args:
        path: the file.
        unit: of its coordinates, instead of what its header says.
        origin_m: taken off the coordinates; None takes the cloud's corner, in whole metres.

    Raises:
        FormatError: damaged, cut off, too large, or in a unit that nobody told.
        ConfigError: there is no such unit.
        MissingExtraError: laspy (or lazrs, for LAZ) is not installed.
    """
    given = metres_per(unit)
    header = read_header(path)
    metres = header.metres if given is None else (given, given, given)
    if metres is None:
        raise FormatError(
            f"{path}: does not tell the unit of its coordinates, and LAS is often in feet; say it "
            f"with --unit {', '.join(METRES)}."
        )
    _check_points(path, header)
    columns = _columns(path, header, _laspy(header.compressed))
    return assembled(path, columns, np.array(metres), origin_m, local=True)


def _laspy(compressed: bool) -> ModuleType:
    if compressed:
        require("lazrs", "lidar", "read LAZ files")
    return require("laspy", "lidar", "read LAS files")


def _check_points(path: Path, header: LasHeader) -> None:
    # A compressed point can take less than a bit: then only its decoder knows what is missing.
    needs = 0 if header.compressed else header.point_bytes
    check_count(path, header.points, needs, path.stat().st_size - header.first_point)


def _columns(path: Path, header: LasHeader, laspy: ModuleType) -> dict[str, np.ndarray]:
    parts: dict[str, list[np.ndarray]] = {}
    try:
        # records behind the points are read by ``las_header``, which bounds them
        with laspy.open(path, read_evlrs=False) as reader:
            names = [n for n in _DIMENSIONS if n in reader.header.point_format.dimension_names]
            for chunk in reader.chunk_iterator(_CHUNK_POINTS):
                for name in ("x", "y", "z", *names):
                    parts.setdefault(name, []).append(np.array(chunk[name]))
    except Exception as error:  # laspy and lazrs raise what they like at damaged files
        said = str(error).splitlines() or [type(error).__name__]
        raise FormatError(f"{path}: is damaged or cut off ({said[0].rstrip('.')}).") from error
    found = sum(len(part) for part in parts.get("x", ()))
    if found != header.points:
        raise FormatError(
            f"{path}: is cut off: its header promises {header.points:,} points, it holds {found:,}."
        )
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}
