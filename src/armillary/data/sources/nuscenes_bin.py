"""nuScenes sweeps: ``.pcd.bin``, which are not PCD but float32 x, y, z, intensity, ring.

A folder of sweeps (``LIDAR_TOP``) mixes scenes: it is cut wherever the log changes or two seconds
pass without a sweep. Poses are those of nuScenes' JSON tables (``nuscenes_tables.py``), where these
lie above the folder.

Source: nuScenes devkit, ``LidarPointCloud.from_file``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from armillary.core.progress import Progress
from armillary.data.sources.bare_floats import read_floats
from armillary.data.sources.cloud import Cloud
from armillary.data.sources.cloud_folder import Recording, Sensor, recordings, write_recordings
from armillary.data.sources.nuscenes_tables import LOOKS_FOR as LOOKS_FOR_POSES
from armillary.data.sources.nuscenes_tables import find_tables
from armillary.data.sources.source import (
    IngestOptions,
    IngestSummary,
    has_file_with,
)

OPTIONS = ("fps", "ego_motion")
LOOKS_FOR = ("*.pcd.bin",)
SUFFIXES = (".pcd.bin",)
COLUMNS = ("x", "y", "z", "intensity", "ring")
LONGEST_GAP_NS = 2_000_000_000  # keyframes are half a second apart, scenes twenty
_SENSOR = re.compile(r"(CAM|RADAR)_[A-Z_]+")
_NAME = re.compile(r"(?P<log>.+)__LIDAR_TOP__(?P<micros>[1-8][0-9]{15})\.pcd\.bin")


def detect(path: Path) -> bool:
    """Say whether there is a nuScenes sweep."""
    return has_file_with(path, SUFFIXES)


def ingest(source: Path, out: Path, progress: Progress, options: IngestOptions) -> IngestSummary:
    """Write nuScenes sweeps as episodes of clouds, with the times that their names tell.

    Raises:
        FormatError: nothing there, no sweep is usable, or a table is damaged.
        StorageError: ``out`` cannot be written; nothing is left there.
    """
    found = [part for whole in recordings(source, SUFFIXES) for part in _scenes(whole)]
    found, notes = _posed(source, found)
    notes += _other_sensors(source)
    sensor = Sensor("nuscenes", lambda path, _: read_nuscenes_bin(path), "lidar", False)
    return write_recordings(source, out, found, sensor, progress, options, notes)


def read_nuscenes_bin(path: Path) -> Cloud:
    """Return one sweep in the LiDAR's frame.

    Raises:
        FormatError: no whole number of points of 20 bytes, or none that is a number.
    """
    return read_floats(path, COLUMNS, "a nuScenes sweep")


def _posed(source: Path, found: list[Recording]) -> tuple[list[Recording], list[str]]:
    """Return recordings with poses, where tables have all of them, and what is to be reported."""
    tables = find_tables(source, [file.name for one in found for file in one.files])
    if tables is None:
        return found, [f"there are no poses; {LOOKS_FOR_POSES} was looked for above the sweeps"]
    if isinstance(tables, str):
        return found, [tables]
    posed = []
    for one in found:
        poses = tables.world_from_lidar(one.files)
        if poses is None:
            said = f"{tables.folder} does not name all sweeps of {one.name}, so poses are left out"
            return found, [said]
        posed.append(replace(one, world_from_lidar=poses))
    return posed, []


def _other_sensors(source: Path) -> list[str]:
    """Say which cameras and radars lie beside the sweeps, which are not read."""
    folders = source.glob("**/") if source.is_dir() else ()
    names = sorted({f.name for f in folders if _SENSOR.fullmatch(f.name) and any(f.iterdir())})
    if not names:
        return []
    return [f"the format nuscenes reads the LiDAR alone; left out: {', '.join(names)}"]


def _scenes(whole: Recording) -> Iterable[Recording]:
    """Yield the continuous stretches of a folder of sweeps; all of it if names tell no times."""
    matches = [_NAME.fullmatch(file.name) for file in whole.files]
    names = [match for match in matches if match is not None]
    if len(names) < len(matches):
        return [whole]
    time_ns = np.array([int(match["micros"]) * 1000 for match in names], np.int64)
    logs = [match["log"] for match in names]
    order = sorted(range(len(logs)), key=lambda at: (logs[at], time_ns[at]))
    stretches: list[list[int]] = []
    for at in order:
        last = stretches[-1][-1] if stretches else at
        apart = logs[last] != logs[at] or time_ns[at] - time_ns[last] > LONGEST_GAP_NS
        if not stretches or apart:
            stretches.append([])
        stretches[-1].append(at)
    return [
        Recording(
            f"{whole.name}/{logs[part[0]]}/{time_ns[part[0]] // 1000}",
            tuple(whole.files[at] for at in part),
            time_ns[part] - time_ns[part[0]],
        )
        for part in stretches
    ]
