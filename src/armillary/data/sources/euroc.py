"""EuRoC MAV: a flying robot's grey cameras beside the ground truth of its body.

    mav0/cam0/data.csv                           time in ns, name of the picture
    mav0/cam0/data/TIME.png                      grey pictures
    mav0/cam0/sensor.yaml                        T_BS, intrinsics, resolution, distortion
    mav0/state_groundtruth_estimate0/data.csv    time in ns, place in m, quaternion w x y z, ...

    world_from_camera = world_from_body T_BS

The ground truth gives the pose of the body B; T_BS is body_from_sensor. It begins later than the
pictures and ends earlier, so pictures without a pose are left out. The steps are the pictures of
cam0; cam1 is the second camera where it is there.

Convention: OpenCV cameras; the world is the capture room's, z up; distortion k1 k2 p1 p2.

Axes: T steps, N rows of a table.

Source: Burri et al. 2016, The EuRoC micro aerial vehicle datasets, and the ASL dataset format.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64

from armillary.core.errors import FormatError
from armillary.core.progress import Progress
from armillary.core.values import Stream
from armillary.data.sources.lens import Lens, checked
from armillary.data.sources.picture_files import colour_camera
from armillary.data.sources.pictures import below
from armillary.data.sources.recording import Camera, Recording, rigid, sequences, write_sequences
from armillary.data.sources.source import IngestOptions, IngestSummary
from armillary.data.sources.stamps import matched
from armillary.data.sources.text_files import read_text
from armillary.spatial import pose_from_quaternion

OPTIONS = ("fps", "max_side", "tolerance_s", "intrinsics", "ego_motion", "pictures")
LOOKS_FOR = (
    "mav0/cam0/data.csv or cam0/data.csv",
    "mav0/cam0/sensor.yaml or cam0/sensor.yaml",
)
TRUTH = "state_groundtruth_estimate0/data.csv"
_CAMERAS = ("cam0", "cam1")
_ROBOT = "mav0"
_SAYS = "EuRoC's T_BS: body_from_sensor, 4x4 by row, metres"
_TRUTH_SAYS = "time in ns, x y z in metres, quaternion w x y z of length 1"
_MAX_QUATERNION_ERROR = 0.01
_MAX_NS = 1 << 62
_MAX_SIDE = 100_000  # pixels


@dataclass(frozen=True)
class _Mount:
    """What ``sensor.yaml`` tells of a camera: its lens, and where it is on the body."""

    lens: Lens
    body_from_camera: Float64[np.ndarray, "4 4"]


def detect(path: Path) -> bool:
    """Say whether a folder, or one directly below it, is a EuRoC sequence."""
    try:
        return path.is_dir() and bool(sequences(path, _is_sequence))
    except OSError:
        return False


def ingest(source: Path, out: Path, progress: Progress, options: IngestOptions) -> IngestSummary:
    """Write a dataset of one EuRoC sequence, or of a folder of them.

    Raises:
        FormatError: no sequence there, or none that is usable.
        StorageError: ``out`` cannot be written; nothing is left there.
    """
    missing = f"{_ROBOT}/cam0/data.csv of EuRoC"
    return write_sequences("euroc", source, _is_sequence, read, missing, out, progress, options)


def read(folder: Path, options: IngestOptions) -> Recording:
    """Return the recording of one sequence.

    Args:
        folder: of the sequence, or its ``mav0``.
        options: what was chosen.

    Raises:
        FormatError: a table or ``sensor.yaml`` is missing or wrong, or nothing fits together.
    """
    robot = _robot(folder)
    time_ns, main = _pictures(robot / _CAMERAS[0])
    mounts = {_CAMERAS[0]: _mount(robot / _CAMERAS[0], options)}
    files: dict[str, list[Path | None]] = {_CAMERAS[0]: [*main]}
    usable, said = np.ones(len(time_ns), bool), list[str]()
    second = robot / _CAMERAS[1]
    if (second / "data.csv").is_file():
        other_ns, others = _pictures(second)
        pair = matched(time_ns, other_ns, options.tolerance_s, "pictures", str(second))
        mounts[_CAMERAS[1]] = _mount(second, options)
        files[_CAMERAS[1]] = [others[i] if i >= 0 else None for i in pair]
        usable &= pair >= 0
    poses, posed = _poses(robot, time_ns, mounts, options.tolerance_s, said)
    if (robot / "imu0").is_dir():
        said.append("imu0 is not read: it has ten measurements and more between two pictures.")
    cameras = {_named("rgb", name): _camera(files[name], mounts[name]) for name in mounts}
    return Recording(_name(folder), time_ns, usable & posed, cameras, poses, left_out=tuple(said))


def _is_sequence(folder: Path) -> bool:
    return all((_robot(folder) / "cam0" / name).is_file() for name in ("data.csv", "sensor.yaml"))


def _robot(folder: Path) -> Path:
    """Return the folder with the sensors, which is in that of the sequence, or is it."""
    return folder / _ROBOT if (folder / _ROBOT).is_dir() else folder


def _name(folder: Path) -> str:
    """Return the name of a sequence: every ``mav0`` has the same, so that of the folder above."""
    whole = folder.resolve()
    return whole.parent.name if whole.name == _ROBOT else whole.name


def _named(stream: str, camera: str) -> str:
    return stream if camera == _CAMERAS[0] else f"{stream}_1"


def _camera(paths: Sequence[Path | None], mount: _Mount) -> Camera:
    return colour_camera(paths, [mount.lens] * len(paths))


def _poses(
    robot: Path,
    time_ns: Int64[np.ndarray, " T"],
    mounts: Mapping[str, _Mount],
    tolerance_s: float,
    said: list[str],
) -> tuple[dict[str, Stream], Bool[np.ndarray, " T"]]:
    """Return the poses of the cameras, and at which pictures there is one; say what is missing."""
    if not (robot / TRUTH).is_file():
        said.append(f"{TRUTH} is missing, so there are no poses.")
        return {}, np.ones(len(time_ns), bool)
    world_from_body, posed = _body_poses(robot / TRUTH, time_ns, tolerance_s)
    if not posed.all():
        inside = np.flatnonzero(posed)
        before, after = int(inside[0]), len(posed) - 1 - int(inside[-1])
        said.append(
            f"{TRUTH}: has no pose for {int((~posed).sum())} of {len(posed)} pictures ({before} "
            f"before it begins, {after} after it ends); these are left out."
        )
    found = {
        f"world_from_{_named('camera', name)}": world_from_body @ mount.body_from_camera
        for name, mount in mounts.items()
    }
    return {name: Stream("pose", poses, "m", "world") for name, poses in found.items()}, posed


# --- tables ----------------------------------------------------------------------------------


def _rows(file: Path, width: int, says: str) -> list[list[str]]:
    """Return the cells of a table with commas; lines that begin with # are left out."""
    lines = [line.strip() for line in read_text(file).splitlines()]
    rows = [[cell.strip() for cell in line.split(",")] for line in lines if line and line[0] != "#"]
    for number, cells in enumerate(rows):
        if len(cells) < width:
            shown = ",".join(cells)[:60]
            raise FormatError(f"{file}: row {number + 1} is {shown!r}; {says} was expected.")
    if not rows:
        raise FormatError(f"{file}: lists nothing; rows with {says} were expected.")
    return rows


def _stamps(file: Path, rows: Sequence[Sequence[str]]) -> Int64[np.ndarray, " N"]:
    found = []
    for number, row in enumerate(rows):
        if not re.fullmatch(r"[0-9]{1,19}", row[0]) or int(row[0]) > _MAX_NS:
            raise FormatError(
                f"{file}: row {number + 1}: a time in whole nanoseconds was expected, got "
                f"{row[0][:40]!r}."
            )
        found.append(int(row[0]))
    stamps_ns = np.array(found, np.int64)
    if np.any(np.diff(stamps_ns) <= 0):
        late = int(np.argmax(np.diff(stamps_ns) <= 0)) + 2
        raise FormatError(
            f"{file}: the time of row {late} is not after that of the row before; sort the rows "
            "and remove doubles."
        )
    return stamps_ns


def _pictures(camera: Path) -> tuple[Int64[np.ndarray, " N"], list[Path]]:
    file = camera / "data.csv"
    rows = _rows(file, 2, "time in ns, name of the picture")
    return _stamps(file, rows), [below(camera / "data", row[1], str(file)) for row in rows]


def _body_poses(
    file: Path, time_ns: Int64[np.ndarray, " T"], tolerance_s: float
) -> tuple[Float64[np.ndarray, "T 4 4"], Bool[np.ndarray, " T"]]:
    """Return the pose of the body at each picture, and where there is one [T].

    There are ten poses for a picture, so only those that are taken are looked at.
    """
    rows = _rows(file, 8, _TRUTH_SAYS)
    index = matched(time_ns, _stamps(file, rows), tolerance_s, "poses", str(file))
    poses = np.tile(np.eye(4), (len(time_ns), 1, 1))
    for step in np.flatnonzero(index >= 0):
        poses[step] = _body_pose(rows[index[step]][1:8], f"{file}, row {index[step] + 1}")
    return poses, index >= 0


def _body_pose(cells: Sequence[str], where: str) -> Float64[np.ndarray, "4 4"]:
    try:
        values = torch.tensor([float(cell) for cell in cells], dtype=torch.float64)
    except ValueError as error:
        raise FormatError(f"{where}: {error}. Expected: {_TRUTH_SAYS}.") from error
    wxyz = values[3:]
    whole = bool(torch.isfinite(values).all())
    if not whole or abs(float(wxyz.norm()) - 1) > _MAX_QUATERNION_ERROR:
        raise FormatError(
            f"{where}: holds NaN or a quaternion of another length than 1; remove such rows. "
            f"Expected: {_TRUTH_SAYS}."
        )
    pose = pose_from_quaternion(wxyz[[1, 2, 3, 0]], values[:3])
    return rigid(pose.numpy(), where, _TRUTH_SAYS)


# --- sensor.yaml -----------------------------------------------------------------------------


def _mount(camera: Path, options: IngestOptions) -> _Mount:
    """Return lens and place of a camera.

    Raises:
        FormatError: ``sensor.yaml`` is missing or wrong, or its lens is of a kind that is not read.
    """
    file = camera / "sensor.yaml"
    text = re.sub(r"#[^\n]*", "", read_text(file))
    pose = _list(text, r"T_BS:[^\[\]]*", 16, file, "T_BS")
    body_from_camera = rigid(pose.reshape(4, 4), str(file), _SAYS)
    if options.intrinsics is not None:
        return _Mount(Lens(options.intrinsics), body_from_camera)
    model = re.search(r"^distortion_model:\s*([^\s]+)", text, re.MULTILINE)
    bent = () if model is None or model[1].lower() == "none" else _distortion(text, model[1], file)
    fx, fy, cx, cy = _list(text, r"intrinsics:\s*", 4, file, "intrinsics").tolist()
    columns, rows = _list(text, r"resolution:\s*", 2, file, "resolution").tolist()
    if not 1 <= min(columns, rows) <= max(columns, rows) <= _MAX_SIDE:
        raise FormatError(f"{file}: 'resolution: [columns, rows]' in pixels was expected.")
    lens = Lens((fx, fy, cx, cy), bent, (int(rows), int(columns)))
    return _Mount(checked(lens, str(file)), body_from_camera)


def _distortion(text: str, model: str, file: Path) -> tuple[float, ...]:
    if model.strip("'\"") not in ("radial-tangential", "radtan"):
        raise FormatError(
            f"{file}: a lens of the model {model[:40]!r} is not read; undistort the pictures, and "
            "pass --intrinsics fx fy cx cy."
        )
    return tuple(_list(text, r"distortion_coefficients:\s*", 4, file, "distortion").tolist())


def _list(
    text: str, begins: str, count: int, file: Path, name: str
) -> Float64[np.ndarray, " count"]:
    """Return the numbers in the brackets after a key at the beginning of a line."""
    match = re.search(rf"^{begins}\[([^\]]*)\]", text, re.MULTILINE)
    try:
        values = [float(word) for word in match[1].split(",")] if match else []
    except ValueError:
        values = []
    if len(values) != count or not np.isfinite(values).all():
        raise FormatError(
            f"{file}: {name} as a list of {count} numbers was expected, as EuRoC's sensor.yaml has "
            "it; correct the file."
        )
    return np.array(values)
