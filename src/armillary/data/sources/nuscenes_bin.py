"""nuScenes sweeps: ``.pcd.bin``, which are not PCD but float32 x, y, z, intensity, ring.

A folder of sweeps (``LIDAR_TOP``) mixes scenes: it is cut wherever the log changes or two seconds
pass without a sweep. Poses are those of nuScenes' JSON tables (``nuscenes_tables.py``), where these
lie above the folder. They also tell lenses and poses of the cameras, whose pictures are then read
beside the sweeps (``nuscenes_cameras.py``).

Source: nuScenes devkit, ``LidarPointCloud.from_file``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from armillary.core.progress import Progress
from armillary.data.sources.bare_floats import read_floats
from armillary.data.sources.cloud import Cloud
from armillary.data.sources.cloud_folder import Recording, Sensor, recordings, write_recordings
from armillary.data.sources.counted_steps import with_notes
from armillary.data.sources.nuscenes_cameras import (
    Pictures,
    find_pictures,
    named_streams,
    seen_beside,
)
from armillary.data.sources.nuscenes_tables import LOOKS_FOR as LOOKS_FOR_POSES
from armillary.data.sources.nuscenes_tables import Tables, find_tables
from armillary.data.sources.recording import Recording as PictureRecording
from armillary.data.sources.recording import Sweeps
from armillary.data.sources.recording import write_recordings as write_pictures
from armillary.data.sources.source import (
    IngestOptions,
    IngestSummary,
    has_file_with,
    refuse_others,
)

_CLOUDS = ("fps", "ego_motion")
OPTIONS = (*_CLOUDS, "max_side", "tolerance_s", "pictures")
LOOKS_FOR = ("*.pcd.bin",)
SUFFIXES = (".pcd.bin",)
COLUMNS = ("x", "y", "z", "intensity", "ring")
LONGEST_GAP_NS = 2_000_000_000  # keyframes are half a second apart, scenes twenty
_SENSOR = re.compile(r"(CAM|RADAR)_[A-Z_]+")
_NAME = re.compile(r"(?P<log>.+)__LIDAR_TOP__(?P<micros>[1-8][0-9]{15})\.pcd\.bin")


def detect(path: Path) -> bool:
    """Say whether there is a nuScenes sweep."""
    return has_file_with(path, SUFFIXES)


def has_layout(path: Path) -> bool:
    """Say whether a folder is laid out as nuScenes: its radars are PCD, and belong to it."""
    parts = ("LIDAR_TOP", "samples/LIDAR_TOP", "sweeps/LIDAR_TOP")
    return any(has_file_with(path / part, SUFFIXES) for part in parts)


def ingest(source: Path, out: Path, progress: Progress, options: IngestOptions) -> IngestSummary:
    """Write nuScenes sweeps as episodes of clouds, with the times that their names tell.

    Where the JSON tables are there, pictures of the cameras become ``rgb``, ``rgb_1``, ....

    Raises:
        FormatError: nothing there, no sweep is usable, or a table is damaged.
        ConfigError: an option about pictures, where none are read.
        StorageError: ``out`` cannot be written; nothing is left there.
    """
    found = [part for whole in recordings(source, SUFFIXES) for part in _scenes(whole)]
    tables = find_tables(source, [file.name for one in found for file in one.files])
    found, notes = _posed(tables, found)
    pictures = find_pictures(tables) if isinstance(tables, Tables) and not notes else {}
    notes += _other_sensors(source, pictures)
    if pictures and isinstance(tables, Tables):
        return _with_pictures(found, tables, pictures, out, progress, options, notes)
    refuse_others(options, "nuscenes (no pictures are read here)", _CLOUDS)
    sensor = Sensor("nuscenes", lambda path, _: read_nuscenes_bin(path), "lidar", False)
    return write_recordings(source, out, found, sensor, progress, options, notes)


def read_nuscenes_bin(path: Path) -> Cloud:
    """Return one sweep in the LiDAR's frame.

    Raises:
        FormatError: no whole number of points of 20 bytes, or none that is a number.
    """
    return read_floats(path, COLUMNS, "a nuScenes sweep")


def _with_pictures(
    found: Sequence[Recording],
    tables: Tables,
    pictures: Pictures,
    out: Path,
    progress: Progress,
    options: IngestOptions,
    notes: Sequence[str],
) -> IngestSummary:
    dropped: dict[Path, int] = {}

    def load(one: Recording) -> PictureRecording:
        read = partial(_sweeps, one.files, dropped)
        clouds = {"points": Sweeps(read, COLUMNS, "lidar")}
        return seen_beside(one.files, one.name, clouds, tables, pictures, options)

    loads = [(one.files[0].parent, partial(load, one)) for one in found]
    summary = write_pictures(loads, out, progress, options, {"ingested": "nuscenes"})
    said = [*notes, *named_streams(pictures)]
    if lost := sum(dropped.values()):
        said.append(f"{lost:,} points without a place (NaN or infinite) were left out")
    return with_notes(summary, said)


def _sweeps(
    files: Sequence[Path], dropped: dict[Path, int], steps: Sequence[int]
) -> Iterator[np.ndarray]:
    for step in steps:
        cloud = read_nuscenes_bin(files[step])
        dropped[files[step]] = cloud.dropped
        yield cloud.values


def _posed(
    tables: Tables | str | None, found: list[Recording]
) -> tuple[list[Recording], list[str]]:
    """Return recordings with poses, where tables have all of them, and what is to be reported."""
    if tables is None:
        return found, [f"there are no poses; {LOOKS_FOR_POSES} was looked for above the sweeps"]
    if isinstance(tables, str):
        return found, [tables]
    posed = []
    for one in found:
        poses = tables.map_from_sensor(one.files)
        if poses is None:
            said = f"{tables.folder} does not name all sweeps of {one.name}, so poses are left out"
            return found, [said]
        posed.append(replace(one, world_from_lidar=np.linalg.inv(poses[0]) @ poses))
    return posed, []


def _other_sensors(source: Path, read: Collection[str]) -> list[str]:
    """Say which cameras and radars lie beside the sweeps and are not read."""
    folders = source.glob("**/") if source.is_dir() else ()
    names = {f.name for f in folders if _SENSOR.fullmatch(f.name) and any(f.iterdir())}
    left = sorted(names - set(read))
    if not left:
        return []
    why = "the LiDAR and its cameras" if read else "the LiDAR alone without tables of pictures"
    return [f"the format nuscenes reads {why}; left out: {', '.join(left)}"]


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
