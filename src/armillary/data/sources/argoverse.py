"""Argoverse 2: sensor logs of a car, with sweeps, the pictures of one camera, and poses of both.

    sensors/lidar/TIME.feather                    x y z in the car's frame, intensity, laser_number
    sensors/cameras/ring_front_center/TIME.jpg    pictures without distortion
    city_SE3_egovehicle.feather                   pose of the car by time
    calibration/egovehicle_SE3_sensor.feather     car_from_camera
    calibration/intrinsics.feather                lenses

TIME is in nanoseconds. The steps are the sweeps. Their points are in the frame of the car, so
``world_from_lidar`` is the car's pose. The camera counts on its own, twice as fast: the picture
nearest to a sweep is taken, with the car's pose at the time of the picture.

The lenses have k1, k2 and k3, which are those before the pictures were undistorted: they are not
taken (issues 219 and 226 of the development kit).

Convention: the car is x forward, y left, z up, with its origin at the rear axle; quaternions w
first; OpenCV cameras. The world has the axes of the city, z up, with its origin at the car's first
pose: the city's own is kilometres away, which float32 would round to centimetres.

Axes: T steps, N rows of a table.

Source: Wilson et al. 2021, and the development kit github.com/argoverse/av2-api.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64

from armillary.core.errors import FormatError
from armillary.core.progress import Progress
from armillary.core.values import Stream
from armillary.data.sources.arrow_file import read_arrow
from armillary.data.sources.cloud import Cloud, assembled
from armillary.data.sources.counted_steps import with_notes
from armillary.data.sources.lens import Lens, checked
from armillary.data.sources.picture_files import colour_camera, measured_on
from armillary.data.sources.recording import Camera, Recording, Sweeps, rigid, write_recordings
from armillary.data.sources.source import IngestOptions, IngestSummary
from armillary.data.sources.stamps import matched
from armillary.spatial import pose_from_quaternion

OPTIONS = ("fps", "max_side", "tolerance_s", "intrinsics", "ego_motion", "pictures")
LOOKS_FOR = ("sensors/lidar/*.feather",)
COLUMNS = ("x", "y", "z", "intensity", "ring")
_STORED = {"laser_number": "ring"}  # names of columns that are called otherwise here
_CAMERA = "ring_front_center"
_SPLITS = ("train", "val", "test")
_POSES = "city_SE3_egovehicle.feather"
_MOUNTS = "calibration/egovehicle_SE3_sensor.feather"
_LENSES = "calibration/intrinsics.feather"
_POSE_COLUMNS = ("qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m")
_LENS_COLUMNS = ("fx_px", "fy_px", "cx_px", "cy_px", "height_px", "width_px")
_HALF_PERIOD_S = 0.025  # of a ring camera: a picture is nearest to a sweep up to here
_MAX_QUATERNION_ERROR = 0.01
_MAX_NS = 1 << 62
_MAX_SIDE = 100_000  # pixels
_SAYS = "Argoverse's qw qx qy qz (of length 1) and tx_m ty_m tz_m (metres)"
_IN_THE_CAR = (
    "points are in the frame of the car, as Argoverse 2 has them, so world_from_lidar is the pose "
    "of the car; the world begins at its first pose."
)


def detect(path: Path) -> bool:
    """Say whether a folder is a log, or holds logs directly or in train, val or test."""
    try:
        return bool(_logs(path))
    except OSError:
        return False


def ingest(source: Path, out: Path, progress: Progress, options: IngestOptions) -> IngestSummary:
    """Write each log as an episode: sweeps, pictures of the front camera, and poses of both.

    Raises:
        FormatError: no log there, or none that is usable.
        StorageError: ``out`` cannot be written; nothing is left there.
    """
    logs = _logs(source)
    if not logs:
        raise FormatError(f"{source}: holds no log of Argoverse 2; {LOOKS_FOR[0]} was looked for.")
    dropped: dict[Path, int] = {}
    found = [(log, partial(read, log, options, dropped)) for log in logs]
    summary = write_recordings(found, out, progress, options, {"ingested": "argoverse"})
    lost = sum(dropped.values())
    said = [f"{lost:,} points without a place (NaN or infinite) were left out."] if lost else []
    return with_notes(summary, [_IN_THE_CAR, *said])


def read(log: Path, options: IngestOptions, dropped: dict[Path, int] | None = None) -> Recording:
    """Return the recording of one log.

    Args:
        log: its folder.
        options: what was chosen.
        dropped: where the number of points that are left out is kept, by file.

    Raises:
        FormatError: no sweep, a damaged table, or nothing that fits together in time.
    """
    said = list[str]()
    sweeps, time_ns = _stamped(log / "sensors/lidar", (".feather",))
    usable = np.ones(len(time_ns), bool)
    car = _car(log / _POSES, said)
    others = {}
    if car is not None:
        poses, posed = car.at(time_ns, options.tolerance_s)
        usable &= posed
        others["world_from_lidar"] = Stream("pose", poses, "m", "world")
    cameras = {}
    shown = _shown(log, time_ns, options, said)
    if shown is not None:
        usable &= shown.there
        cameras["rgb"] = _camera(log, shown.paths, options, said)
        if car is not None and (mount := _mount(log, said)) is not None:
            poses, posed = car.at(shown.time_ns, options.tolerance_s)
            usable &= posed
            others["world_from_camera"] = Stream("pose", poses @ mount, "m", "world")
    read_some = partial(_sweeps, sweeps, {} if dropped is None else dropped)
    clouds = {"points": Sweeps(read_some, COLUMNS, "lidar")}
    name = log.resolve().name
    return Recording(
        name, time_ns, usable, cameras, others, left_out=tuple(said), clouds=clouds
    )  # fmt: skip


def read_sweep(path: Path) -> Cloud:
    """Return one sweep in the frame of the car, in metres.

    Places are stored as float16, so beyond 64 m they are known to 6 cm. ``offset_ns`` of each
    point is left out.

    Raises:
        FormatError: the file is damaged, or a column is missing.
    """
    columns = read_arrow(path, ("x", "y", "z", "intensity", *_STORED))
    named = {_STORED.get(name, name): values for name, values in columns.items()}
    return assembled(path, named, 1.0, np.zeros(3))


# --- files -----------------------------------------------------------------------------------


def _logs(path: Path) -> list[Path]:
    """Return the folder itself, or the logs directly below it or below that of a split."""
    if not path.is_dir() or _is_log(path):
        return [path] if path.is_dir() else []
    below = sorted(folder for folder in path.iterdir() if folder.is_dir())
    splits = [folder for folder in below if folder.name in _SPLITS]
    inner = [f for split in splits for f in sorted(split.iterdir())]
    return [folder for folder in [*below, *inner] if _is_log(folder)]


def _is_log(folder: Path) -> bool:
    return next(folder.glob(LOOKS_FOR[0]), None) is not None


def _stamped(folder: Path, suffixes: tuple[str, ...]) -> tuple[list[Path], Int64[np.ndarray, " N"]]:
    """Return the files that are called by a time, and these times, ascending."""
    found: dict[int, Path] = {}
    for file in folder.iterdir() if folder.is_dir() else ():
        if file.suffix.lower() not in suffixes:
            continue
        if not re.fullmatch(r"[0-9]{1,19}", file.stem) or int(file.stem) > _MAX_NS:
            raise FormatError(
                f"{file}: a name of nanoseconds was expected, such as "
                f"315966265259836000{suffixes[0]}; remove the file, or name it so."
            )
        if found.setdefault(int(file.stem), file) != file:
            raise FormatError(f"{folder}: has two files of the time {file.stem}; keep one of them.")
    ordered = sorted(found.items())
    return [file for _, file in ordered], np.array([stamp for stamp, _ in ordered], np.int64)


@dataclass(frozen=True)
class _Shown:
    """The picture of each step: its file and time, and whether there is one [T]."""

    paths: list[Path | None]
    time_ns: Int64[np.ndarray, " T"]
    there: Bool[np.ndarray, " T"]


def _shown(
    log: Path, time_ns: Int64[np.ndarray, " T"], options: IngestOptions, said: list[str]
) -> _Shown | None:
    """Return the pictures nearest to the sweeps; None, and a sentence, where there are none."""
    cameras = log / "sensors/cameras"
    folders = sorted(f.name for f in cameras.iterdir() if f.is_dir()) if cameras.is_dir() else []
    if more := [name for name in folders if name != _CAMERA]:
        said.append(f"{', '.join(more)}: these cameras are not read; {_CAMERA} is.")
    paths, stamps_ns = _stamped(cameras / _CAMERA, (".jpg", ".png"))
    if not paths:
        said.append(f"sensors/cameras/{_CAMERA} has no file, so there are no pictures.")
        return None
    tolerance_s = max(options.tolerance_s, _HALF_PERIOD_S)
    index = matched(time_ns, stamps_ns, tolerance_s, "pictures", str(cameras / _CAMERA))
    there = index >= 0
    chosen = [paths[at] if at >= 0 else None for at in index]
    return _Shown(chosen, np.where(there, stamps_ns[index], time_ns), there)


def _sweeps(
    files: Sequence[Path], dropped: dict[Path, int], steps: Sequence[int]
) -> Iterator[np.ndarray]:
    for step in steps:
        cloud = read_sweep(files[step])
        dropped[files[step]] = cloud.dropped
        yield cloud.values


# --- poses and lenses ------------------------------------------------------------------------


@dataclass(frozen=True)
class _Car:
    """Where the car was: rows of ``city_SE3_egovehicle.feather``, ascending in time.

    Attributes:
        file: the table, for sentences.
        time_ns: of each row.
        rows: numbers of each row, as ``_POSE_COLUMNS`` names them [N 7].
    """

    file: Path
    time_ns: Int64[np.ndarray, " N"]
    rows: Float64[np.ndarray, "N 7"]

    def at(
        self, time_ns: Int64[np.ndarray, " T"], tolerance_s: float
    ) -> tuple[Float64[np.ndarray, "T 4 4"], Bool[np.ndarray, " T"]]:
        """Return the poses nearest to some times, from the first row's place, and whether any [T].

        The table has a row for the time of each sweep and of each picture.
        """
        index = matched(time_ns, self.time_ns, tolerance_s, "poses", str(self.file))
        poses = np.tile(np.eye(4), (len(time_ns), 1, 1))
        for step in np.flatnonzero(index >= 0):
            poses[step] = _pose(self.rows[index[step]], f"{self.file}, row {index[step] + 1}")
            poses[step, :3, 3] -= self.rows[0, 4:]
        return poses, index >= 0


def _car(file: Path, said: list[str]) -> _Car | None:
    if not file.is_file():
        said.append(f"{_POSES} is missing, so there are no poses.")
        return None
    columns = read_arrow(file, ("timestamp_ns", *_POSE_COLUMNS))
    stamps = columns["timestamp_ns"]
    whole = len(stamps) > 0 and np.issubdtype(stamps.dtype, np.integer)
    if not whole or stamps.min() < 0 or stamps.max() > _MAX_NS:
        raise FormatError(f"{file}: rows with a timestamp_ns in whole nanoseconds were expected.")
    order = np.argsort(stamps, kind="stable")
    rows = np.stack([columns[name].astype(np.float64) for name in _POSE_COLUMNS], 1)[order]
    _pose(rows[0], f"{file}, its first row")  # the world begins there
    return _Car(file, stamps[order].astype(np.int64), rows)


def _pose(row: Float64[np.ndarray, " 7"], where: str) -> Float64[np.ndarray, "4 4"]:
    wxyz = row[:4]
    if not np.isfinite(row).all() or abs(np.linalg.norm(wxyz) - 1) > _MAX_QUATERNION_ERROR:
        raise FormatError(f"{where}: is no pose. Expected: {_SAYS}.")
    xyzw, xyz_m = torch.from_numpy(wxyz[[1, 2, 3, 0]]), torch.from_numpy(row[4:].copy())
    return rigid(pose_from_quaternion(xyzw, xyz_m).numpy(), where, _SAYS)


def _mount(log: Path, said: list[str]) -> Float64[np.ndarray, "4 4"] | None:
    """Return car_from_camera; None, and a sentence, where the calibration does not tell it."""
    row = _row(log / _MOUNTS, _POSE_COLUMNS)
    if row is None:
        said.append(f"{_MOUNTS} does not tell of {_CAMERA}, so there are no poses of the camera.")
        return None
    return _pose(row, f"{log / _MOUNTS}, {_CAMERA}")


def _camera(
    log: Path, paths: Sequence[Path | None], options: IngestOptions, said: list[str]
) -> Camera:
    """Return the front camera; without a lens it has no intrinsics."""
    lens = _lens(log, options)
    if lens is None:
        said.append(f"{_LENSES} does not tell of {_CAMERA}, so there is no lens.")
    known = lens or Lens((1.0, 1.0, 0.0, 0.0))  # only to see that all pictures are of one size
    camera = colour_camera(paths, [measured_on(known, paths)] * len(paths))
    return camera if lens is not None else replace(camera, intrinsics=None)


def _lens(log: Path, options: IngestOptions) -> Lens | None:
    if options.intrinsics is not None:
        return Lens(options.intrinsics)
    row = _row(log / _LENSES, _LENS_COLUMNS)
    if row is None:
        return None
    fx, fy, cx, cy, rows, columns = row.tolist()
    if not 1 <= min(rows, columns) <= max(rows, columns) <= _MAX_SIDE:
        raise FormatError(
            f"{log / _LENSES}: height_px and width_px of {_CAMERA} in pixels were expected; pass "
            "--intrinsics fx fy cx cy."
        )
    return checked(Lens((fx, fy, cx, cy), (), (int(rows), int(columns))), str(log / _LENSES))


def _row(file: Path, names: Sequence[str]) -> Float64[np.ndarray, " columns"] | None:
    """Return the numbers of the camera's row of a table; None where there is none."""
    if not file.is_file():
        return None
    columns = read_arrow(file, names, ("sensor_name",))
    at = np.flatnonzero(columns["sensor_name"] == _CAMERA)
    return np.array([float(columns[name][at[0]]) for name in names]) if len(at) else None
