"""KITTI odometry: velodyne sweeps (float32 x, y, z, reflectance), their times and poses.

Poses are of camera 0, not of the LiDAR: P_t takes camera 0 at t to camera 0 at the start, and
``Tr`` of calib.txt takes the LiDAR to camera 0. The world here is the LiDAR's frame at the start
(x forward, y left, z up), so ``world_from_lidar`` = Tr^-1 P_t Tr.

Source: Geiger et al. 2012, development kit of the odometry benchmark.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from armillary.core.errors import FormatError
from armillary.core.progress import Progress
from armillary.data.sources.cloud_folder import Recording, Sensor, recordings, write_recordings
from armillary.data.sources.kitti_files import calibration, pose_of_rows, read_kitti_bin
from armillary.data.sources.source import IngestOptions, IngestSummary
from armillary.data.sources.text_files import numbers

OPTIONS = ("fps", "ego_motion")
LOOKS_FOR = ("velodyne/*.bin", "calib.txt or times.txt or poses.txt")
SUFFIXES = (".bin",)
_SWEEPS = "velodyne"
_OBJECTS = ("label_2", "calib")  # folders of the object benchmark; a sequence has calib.txt
_SAYS = "KITTI's 12 numbers of a 3x4 pose by row, rotation and metres, of camera 0 (poses) or Tr"


def detect(path: Path) -> bool:
    """Say whether a folder is a sequence (holds ``velodyne``), or holds such sequences."""
    return bool(_sequences(path))


def ingest(source: Path, out: Path, progress: Progress, options: IngestOptions) -> IngestSummary:
    """Write each sequence as an episode: clouds, times, and the LiDAR's poses if they are there.

    Raises:
        FormatError: nothing there, no sweep is usable, or poses and times do not fit the sweeps.
        StorageError: ``out`` cannot be written; nothing is left there.
    """
    folders = _sequences(source)
    found = [read_sequence(folder) for folder in folders] or recordings(source, SUFFIXES)
    posed = [recording.world_from_lidar is not None for recording in found]
    if any(posed) and not all(posed):
        odd = found[posed.index(False)].name
        raise FormatError(
            f"{source}: the sequence {odd} has no poses and others have; ingest sequences with and "
            "without poses as two datasets."
        )
    sensor = Sensor("kitti", lambda path, _: read_kitti_bin(path), "lidar", False)
    return write_recordings(source, out, found, sensor, progress, options)


def read_sequence(folder: Path) -> Recording:
    """Return the sweeps of a sequence with their times and poses, where these are there.

    Poses are looked for in ``poses.txt`` beside the sweeps, and where the benchmark keeps them:
    ``poses/NN.txt`` beside the folder ``sequences``.

    Raises:
        FormatError: times or poses are damaged or not as many as sweeps; poses without ``Tr``; or
            it is the object benchmark, which is no sequence.
    """
    if any((folder / name).is_dir() for name in _OBJECTS):
        raise FormatError(
            f"{folder}: is of KITTI's object benchmark ({_OBJECTS[0]}/ or {_OBJECTS[1]}/ beside "
            f"{_SWEEPS}/): its sweeps come from many drives, so they are no sequence; take KITTI's "
            "odometry benchmark or its raw drives."
        )
    [recording] = recordings(folder / _SWEEPS, SUFFIXES)[:1]
    steps = len(recording.files)
    times, poses = folder / "times.txt", _poses_file(folder)
    return replace(
        recording,
        name=folder.resolve().name,
        time_ns=_times(times, steps) if times.is_file() else None,
        world_from_lidar=None if poses is None else _world_from_lidar(poses, folder, steps),
    )


def _sequences(path: Path) -> list[Path]:
    candidates = [path, *sorted(path.glob("sequences/*")), *sorted(path.glob("*"))]
    return [f for f in candidates if any((f / _SWEEPS).glob("*.bin"))]


def _poses_file(folder: Path) -> Path | None:
    folder = folder.resolve()
    places = [folder / "poses.txt"]
    if folder.parent.name == "sequences":
        places.append(folder.parent.parent / "poses" / f"{folder.name}.txt")
    return next((place for place in places if place.is_file()), None)


def _times(path: Path, steps: int) -> Int64[np.ndarray, " T"]:
    times_s = _numbers(path, steps, 1)[:, 0]
    if np.any(np.diff(times_s) <= 0) or np.abs(times_s).max() > 1e9:
        raise FormatError(f"{path}: its times must be seconds that ascend.")
    return np.rint((times_s - times_s[0]) * 1e9).astype(np.int64)


def _world_from_lidar(path: Path, folder: Path, steps: int) -> Float64[np.ndarray, "T 4 4"]:
    rows = _numbers(path, steps, 12)
    start_from_camera = np.stack(
        [pose_of_rows(row, f"{path}, line {n + 1}", _SAYS) for n, row in enumerate(rows)]
    )
    camera_from_lidar = _calibration(folder / "calib.txt")
    return np.linalg.inv(camera_from_lidar) @ start_from_camera @ camera_from_lidar


def _calibration(path: Path) -> Float64[np.ndarray, "4 4"]:
    matrices = calibration(path) if path.is_file() else {}
    row = matrices.get("Tr", matrices.get("Tr_velo_to_cam", ()))
    if len(row) != 12:
        raise FormatError(
            f"{path}: has no line 'Tr:' with 12 numbers; KITTI's poses are of camera 0, so they "
            "mean nothing for the LiDAR without it. Add calib.txt, or take the poses away."
        )
    return pose_of_rows(np.array(row), str(path), _SAYS)


def _numbers(path: Path, rows: int, width: int) -> Float64[np.ndarray, "rows width"]:
    lines = numbers(path)
    if len(lines) != rows or any(len(line) != width for line in lines):
        raise FormatError(
            f"{path}: must have {rows} lines of {width} numbers, one a sweep; it has {len(lines)} "
            "lines, or other numbers in one."
        )
    values = np.array(lines, np.float64)
    if not np.isfinite(values).all():
        raise FormatError(f"{path}: holds NaN or infinity.")
    return values
