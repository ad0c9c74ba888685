"""KITTI raw: drives with colour pictures, velodyne sweeps, and poses of a GPS/IMU (OXTS).

A drive's folder has ``image_02/``, ``image_03/`` (colour, rectified), ``velodyne_points/`` and
``oxts/``, each with ``data/`` and ``timestamps.txt``. The calibration of its day lies in the folder
above. In a synchronised drive the same number means the same frame of every sensor, and line n of
``timestamps.txt`` is the time of frame n. The times of the steps are those of the left colour
camera, or of the sweeps where there are no pictures.

Convention: the LiDAR's frame is x forward, y left, z up; world and cameras as in ``kitti_car.py``.

Axes: T steps.

Source: Geiger et al. 2013, development kit of raw data, ``readme.txt``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from armillary.core.errors import FormatError
from armillary.core.progress import Progress
from armillary.core.values import Stream
from armillary.data.sources.cloud import Cloud, assembled
from armillary.data.sources.counted_steps import with_notes
from armillary.data.sources.kitti_car import COLOUR, Geometry, oxts_poses, read_geometry
from armillary.data.sources.kitti_files import COLUMNS, read_kitti_bin
from armillary.data.sources.lens import Lens
from armillary.data.sources.picture_files import colour_camera, measured_on
from armillary.data.sources.recording import Camera, Recording, Sweeps, write_recordings
from armillary.data.sources.source import IngestOptions, IngestSummary
from armillary.data.sources.text_files import read_text

OPTIONS = ("fps", "max_side", "intrinsics", "ego_motion", "pictures")
LOOKS_FOR = (
    "image_02/data/ or image_03/data/ or velodyne_points/data/",
    "calib_cam_to_cam.txt",
)
_GREY = ("image_00", "image_01")
_SWEEPS, _OXTS = "velodyne_points", "oxts"
_MAX_TEXT_SWEEP = 64 << 20  # bytes; a sweep has about 4 MiB
_DAY = re.compile(r"\d{4}_\d\d_\d\d")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.(\d{1,9}))?")
_FIRST_YEAR, _LAST_YEAR = 1970, 2200


def detect(path: Path) -> bool:
    """Say whether a folder is a drive, or holds drives directly or one folder below."""
    try:
        return bool(_drives(path))
    except OSError:
        return False


def ingest(source: Path, out: Path, progress: Progress, options: IngestOptions) -> IngestSummary:
    """Write each drive as an episode: pictures, sweeps, and the poses of both.

    Raises:
        FormatError: no drive there, or none that is usable.
        StorageError: ``out`` cannot be written; nothing is left there.
    """
    drives = _drives(source)
    if not drives:
        raise FormatError(
            f"{source}: holds no drive of KITTI raw; image_02/data/ or velodyne_points/data/ was "
            "looked for."
        )
    dropped: dict[Path, int] = {}
    found = [(drive, partial(read, drive, options, dropped)) for drive in drives]
    summary = write_recordings(found, out, progress, options, {"ingested": "kitti_raw"})
    lost = sum(dropped.values())
    said = [f"{lost:,} points without a place (NaN or infinite) were left out."] if lost else []
    return with_notes(summary, said)


def read(drive: Path, options: IngestOptions, dropped: dict[Path, int] | None = None) -> Recording:
    """Return the recording of one drive.

    Args:
        drive: its folder.
        options: what was chosen.
        dropped: where the number of points that are left out is kept, by file.

    Raises:
        FormatError: neither pictures nor sweeps, no times, a damaged table, or not synchronised.
    """
    name = drive.resolve().name
    if name.endswith("_extract"):
        raise FormatError(
            f"{drive}: is not synchronised: its sensors count their frames apart. Take the drive "
            f"{name.removesuffix('_extract')}_sync (synced and rectified) of KITTI raw."
        )
    parts = {part: _frames(drive / part / "data") for part in (*COLOUR, _SWEEPS, _OXTS)}
    parts = {part: files for part, files in parts.items() if files}
    seen = [part for part in (*COLOUR, _SWEEPS) if part in parts]
    if not seen:
        raise FormatError(
            f"{drive}: has neither pictures (image_02/data/*.png) nor sweeps "
            "(velodyne_points/data/*.bin); copy one of them beside the rest of the drive."
        )
    time_ns = _times(drive / seen[0] / "timestamps.txt")
    steps, said = len(time_ns), list[str]()
    usable = np.ones(steps, bool)
    for part, files in parts.items():
        there = _there(drive / part, files, steps)
        usable &= there
        said += _missing(part, there)
    said += _not_there(drive, parts)
    geometry = read_geometry(drive, options, said)
    listed = {part: [files.get(n) for n in range(steps)] for part, files in parts.items()}
    others = {}
    if _OXTS in parts:
        world_from_imu = oxts_poses(parts[_OXTS], steps)
        others = _poses(world_from_imu, geometry, seen)
    clouds = {}
    if _SWEEPS in parts:
        sweeps = partial(_sweeps, listed[_SWEEPS], {} if dropped is None else dropped)
        clouds["points"] = Sweeps(sweeps, COLUMNS, "lidar")
    cameras = {
        _stream(part, seen): _camera(listed[part], geometry.lenses.get(part))
        for part in seen
        if part in COLOUR
    }
    return Recording(
        name, time_ns, usable, cameras, others, left_out=tuple(said), clouds=clouds
    )  # fmt: skip


def _drives(path: Path) -> list[Path]:
    """Return the folder itself, or the drives directly below it or below the folder of a day."""
    if not path.is_dir() or _is_drive(path):
        return [path] if path.is_dir() else []
    below = sorted(folder for folder in path.iterdir() if folder.is_dir())
    days = [folder for folder in below if _DAY.fullmatch(folder.name)]
    return [
        f for f in [*below, *(f for day in days for f in sorted(day.iterdir()))] if _is_drive(f)
    ]


def _is_drive(folder: Path) -> bool:
    parts = (*_GREY, *COLOUR, _SWEEPS, _OXTS)
    return any((folder / part / "data").is_dir() for part in parts)


def _stream(part: str, seen: Sequence[str]) -> str:
    """Return the stream of a camera: the first one is ``rgb``, which a model sees."""
    return "rgb" if part == seen[0] else "rgb_1"


def _frames(folder: Path) -> dict[int, Path]:
    """Return the files of a sensor by the numbers of their frames."""
    suffixes = {
        _SWEEPS: (".bin", ".txt"),
        _OXTS: (".txt",),
    }.get(folder.parent.name, (".png", ".jpg"))
    found: dict[int, Path] = {}
    for file in sorted(folder.glob("*")):
        if file.suffix.lower() not in suffixes or not re.fullmatch(r"[0-9]{1,10}", file.stem):
            continue
        number = int(file.stem)
        if number in found:
            raise FormatError(
                f"{folder}: has two files of frame {number}: {found[number].name} and {file.name}; "
                "keep one of them."
            )
        found[number] = file
    return found


def _times(path: Path) -> Int64[np.ndarray, " T"]:
    """Return the times of a sensor in nanoseconds; the zone is not given, and differences count."""
    if not path.is_file():
        raise FormatError(
            f"{path}: is missing, and nothing else tells when the frames were taken. Copy it from "
            "KITTI's archive of the drive."
        )
    seconds_ns = []
    for number, line in enumerate(read_text(path).splitlines()):
        match = _TIME.fullmatch(line.strip())
        try:
            if match is None:
                raise ValueError(line)
            second = datetime.fromisoformat(match[1]).replace(tzinfo=UTC)
            if not _FIRST_YEAR <= second.year < _LAST_YEAR:
                raise ValueError(line)
        except ValueError as error:
            raise FormatError(
                f"{path}, line {number + 1}: a time such as 2011-09-26 13:02:25.964389445 was "
                f"expected, got {line[:40]!r}."
            ) from error
        seconds_ns.append(int(second.timestamp()) * 10**9 + int((match[2] or "").ljust(9, "0")))
    time_ns = np.array(seconds_ns, np.int64)
    if np.any(np.diff(time_ns) <= 0) or len(time_ns) < 2:
        raise FormatError(f"{path}: two times or more that ascend were expected in it.")
    return time_ns


def _there(folder: Path, files: Mapping[int, Path], steps: int) -> np.ndarray:
    """Return at which steps a sensor has a file [T]."""
    most = max(files)
    if most >= steps:
        raise FormatError(
            f"{folder}: has a frame {most}, but the times are those of {steps} frames (0 to "
            f"{steps - 1}). The drive is not complete; copy it anew."
        )
    there = np.zeros(steps, bool)
    there[list(files)] = True
    return there


def _missing(part: str, there: np.ndarray) -> list[str]:
    if there.all():
        return []
    return [
        f"{part}/data: has no file for {int((~there).sum())} of {len(there)} frames (first: "
        f"{int(np.argmin(there)):010d}); these steps are left out."
    ]


def _not_there(drive: Path, parts: Mapping[str, object]) -> list[str]:
    """Say which sensors a drive lacks, and which are not read."""
    lost = {
        COLOUR[0]: "there are no pictures of the left colour camera",
        _SWEEPS: "there are no clouds",
        _OXTS: "there are no poses",
    }
    said = [f"{part}/data: has no file, so {what}." for part, what in lost.items()
            if part not in parts]  # fmt: skip
    grey = [part for part in _GREY if (drive / part / "data").is_dir()]
    return [*said, f"{' and '.join(grey)}: grey cameras are not read."] if grey else said


def _camera(paths: Sequence[Path | None], lens: Lens | None) -> Camera:
    """Return a camera of colour files; without a lens it has no intrinsics."""
    known = lens or Lens((1.0, 1.0, 0.0, 0.0))  # only to see that all pictures are of one size
    camera = colour_camera(paths, [measured_on(known, paths)] * len(paths))
    return camera if lens is not None else replace(camera, intrinsics=None)


def _poses(
    world_from_imu: Float64[np.ndarray, "T 4 4"], geometry: Geometry, seen: Sequence[str]
) -> dict[str, Stream]:
    """Return the poses of the sensors that are there and whose place on the car is known."""
    if geometry.lidar_from_imu is None:
        return {}
    world_from_lidar = world_from_imu @ np.linalg.inv(geometry.lidar_from_imu)
    found = {"world_from_lidar": world_from_lidar} if _SWEEPS in seen else {}
    for part, camera_from_lidar in geometry.cameras_from_lidar.items():
        if part in seen:
            name = "camera" if part == seen[0] else "camera_1"
            found[f"world_from_{name}"] = world_from_lidar @ np.linalg.inv(camera_from_lidar)
    return {name: Stream("pose", poses, "m", "world") for name, poses in found.items()}


def _sweeps(
    files: Sequence[Path | None], dropped: dict[Path, int], steps: Sequence[int]
) -> Iterator[np.ndarray]:
    for step in steps:
        file = files[step]
        if file is None:
            raise FormatError(f"Step {step} has no sweep, and was asked for.")
        cloud = read_kitti_bin(file) if file.suffix.lower() == ".bin" else _read_text_sweep(file)
        dropped[file] = cloud.dropped
        yield cloud.values


def _read_text_sweep(path: Path) -> Cloud:
    """Return a sweep of lines ``x y z reflectance``, as the first archives have it."""
    size = path.stat().st_size
    if not 0 < size <= _MAX_TEXT_SWEEP:
        raise FormatError(f"{path}: a file of {size} bytes is refused as a sweep in text.")
    lines = [line for line in path.read_bytes().splitlines() if line.strip()]
    try:
        if not lines:
            raise ValueError("no line")
        rows = np.loadtxt(lines, np.float64, comments=None, ndmin=2, encoding="latin-1")
        if rows.shape[1] != len(COLUMNS):
            raise ValueError(f"{rows.shape[1]} numbers a line")
    except ValueError as error:
        raise FormatError(
            f"{path}: lines of 4 numbers (x y z reflectance) were expected ({str(error)[:100]})."
        ) from error
    columns = {name: rows[:, at] for at, name in enumerate(COLUMNS)}
    return assembled(path, columns, 1.0, np.zeros(3))
