"""KITTI odometry: velodyne sweeps (float32 x, y, z, reflectance), their times and poses.

Poses are of camera 0, not of the LiDAR: P_t takes camera 0 at t to camera 0 at the start, and
``Tr`` of calib.txt takes the LiDAR to camera 0. The world here is the LiDAR's frame at the start
(x forward, y left, z up), so ``world_from_lidar`` = Tr^-1 P_t Tr. Pictures are read where there are
no sweeps (``kitti_pictures.py``).

Source: Geiger et al. 2012, development kit of the odometry benchmark.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from armillary.core.errors import FormatError
from armillary.core.progress import Progress
from armillary.data.sources import recording
from armillary.data.sources.cloud_folder import Recording, Sensor, recordings, write_recordings
from armillary.data.sources.kitti_files import calibration, pose_of_rows, read_kitti_bin
from armillary.data.sources.kitti_pictures import TIMES, pictures_of, read_pictures
from armillary.data.sources.source import IngestOptions, IngestSummary, refuse_others
from armillary.data.sources.text_files import numbers

_OF_SWEEPS = ("fps", "ego_motion")
OPTIONS = (*_OF_SWEEPS, "max_side", "intrinsics", "pictures")  # the last ones without sweeps
LOOKS_FOR = (
    "velodyne/*.bin or image_2/*.png or image_3/*.png or image_0/*.png",
    "calib.txt or times.txt or poses.txt",
)
SUFFIXES = (".bin",)
_SWEEPS = "velodyne"
_OBJECTS = ("label_2", "calib")  # folders of the object benchmark; a sequence has calib.txt
_SAYS = "KITTI's 12 numbers of a 3x4 pose by row, rotation and metres, of camera 0 (poses) or Tr"


def detect(path: Path) -> bool:
    """Say whether a folder is a sequence (sweeps, or pictures with times), or holds some."""
    return bool(_sequences(path) or _of_pictures(path))


def ingest(source: Path, out: Path, progress: Progress, options: IngestOptions) -> IngestSummary:
    """Write each sequence as an episode: clouds, times, and the LiDAR's poses if they are there.

    Pictures with times become episodes where no sequence has sweeps.

    Raises:
        FormatError: nothing there, no sweep is usable, or poses and times do not fit the sweeps.
        StorageError: ``out`` cannot be written; nothing is left there.
    """
    folders, shown = _sequences(source), _of_pictures(source)
    if shown and not folders:
        loads = [(folder, partial(_read_pictures, folder, options)) for folder in shown]
        return recording.write_recordings(loads, out, progress, options, {"ingested": "kitti"})
    refuse_others(options, "kitti", _OF_SWEEPS)
    found = [read_sequence(folder) for folder in folders] or recordings(source, SUFFIXES)
    posed = [one.world_from_lidar is not None for one in found]
    if any(posed) and not all(posed):
        odd = found[posed.index(False)].name
        raise FormatError(
            f"{source}: the sequence {odd} has no poses and others have; ingest sequences with and "
            "without poses as two datasets."
        )
    sensor = Sensor("kitti", lambda path, _: read_kitti_bin(path), "lidar", False)
    notes = [said for folder in folders for said in _left_out(folder)]
    return write_recordings(source, out, found, sensor, progress, options, notes)


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
    [sweeps] = recordings(folder / _SWEEPS, SUFFIXES)[:1]
    steps = len(sweeps.files)
    times, poses = folder / TIMES, _poses_file(folder)
    return replace(
        sweeps,
        name=folder.resolve().name,
        time_ns=_times(times, steps) if times.is_file() else None,
        world_from_lidar=None if poses is None else _world_from_lidar(poses, folder, steps),
    )


def _sequences(path: Path) -> list[Path]:
    return [f for f in _candidates(path) if any((f / _SWEEPS).glob("*.bin"))]


def _of_pictures(path: Path) -> list[Path]:
    """Return the sequences without sweeps that have pictures and their times."""
    return [
        folder
        for folder in _candidates(path)
        if (folder / TIMES).is_file()
        and not any((folder / _SWEEPS).glob("*.bin"))
        and pictures_of(folder)
    ]


def _candidates(path: Path) -> list[Path]:
    return [path, *sorted(path.glob("sequences/*")), *sorted(path.glob("*"))]


def _read_pictures(folder: Path, options: IngestOptions) -> recording.Recording:
    times, poses = folder / TIMES, _poses_file(folder)
    count = len(numbers(times))
    if not count:
        raise FormatError(f"{times}: is empty; a line with the seconds of each picture is needed.")
    time_ns = _times(times, count)
    start_from_camera = None if poses is None else _start_from_camera(poses, len(time_ns))
    return read_pictures(folder, options, time_ns, start_from_camera)


def _left_out(folder: Path) -> list[str]:
    """Say what a sequence with sweeps has that is not read, and what it lacks."""
    said = []
    name = folder.resolve().name
    if shown := pictures_of(folder):
        said.append(
            f"{name}: the pictures of {', '.join(sorted(shown))} are left out; the format kitti "
            "reads them where there are no sweeps"
        )
    if _poses_file(folder) is None:
        said.append(
            f"{name}: there are no poses; poses.txt, or poses/{name}.txt beside sequences/, was "
            "looked for"
        )
    return said


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
    start_from_camera = _start_from_camera(path, steps)
    camera_from_lidar = _calibration(folder / "calib.txt")
    return np.linalg.inv(camera_from_lidar) @ start_from_camera @ camera_from_lidar


def _start_from_camera(path: Path, steps: int) -> Float64[np.ndarray, "T 4 4"]:
    rows = _numbers(path, steps, 12)
    return np.stack(
        [pose_of_rows(row, f"{path}, line {n + 1}", _SAYS) for n, row in enumerate(rows)]
    )


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
            f"{path}: must have {rows} lines of {width} numbers, one a step; it has {len(lines)} "
            "lines, or other numbers in one."
        )
    values = np.array(lines, np.float64)
    if not np.isfinite(values).all():
        raise FormatError(f"{path}: holds NaN or infinity.")
    return values
