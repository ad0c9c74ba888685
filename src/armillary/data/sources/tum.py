"""TUM RGB-D: lists of stamped pictures beside a stamped trajectory.

``rgb.txt`` and ``depth.txt`` list ``stamp path``; ``groundtruth.txt`` lists ``t tx ty tz qx qy qz
qw``, camera-to-world, in metres. Clocks of the three differ, so what is nearest in time belongs
together. ``associations.txt`` (``t rgb t depth``) is taken where the lists are missing.

Convention: depth is 1/5000 m; OpenCV camera; quaternions xyzw. The world is the capture room's,
z up.
Source: the format page of the TUM RGB-D benchmark (Sturm et al. 2012).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64

from armillary.core.errors import FormatError
from armillary.core.progress import Progress
from armillary.core.values import Stream
from armillary.data.sources.lens import Lens, read_lens
from armillary.data.sources.picture_files import (
    POSED_RGBD_OPTIONS,
    colour_camera,
    depth_camera,
    measured_on,
)
from armillary.data.sources.pictures import below
from armillary.data.sources.recording import Recording, rigid, sequences, write_sequences
from armillary.data.sources.source import IngestOptions, IngestSummary
from armillary.data.sources.stamps import matched, nanoseconds
from armillary.data.sources.text_files import read_text
from armillary.spatial import pose_from_quaternion

OPTIONS = POSED_RGBD_OPTIONS
LOOKS_FOR = ("rgb.txt", "depth.txt", "groundtruth.txt")
DEPTH_SCALE = 1 / 5000
POSES = "groundtruth.txt"
PAIRS = ("associations.txt", "associate.txt", "association.txt")
LENSES = ("intrinsics.txt", "calibration.txt", "camera.txt")
_SAYS = "TUM lines 't tx ty tz qx qy qz qw', camera-to-world, metres, unit quaternion xyzw"
_MAX_QUATERNION_ERROR = 0.01


def detect(path: Path) -> bool:
    """Say whether a folder, or one directly below it, is a TUM RGB-D sequence."""
    return path.is_dir() and bool(sequences(path, _is_sequence))


def ingest(source: Path, out: Path, progress: Progress, options: IngestOptions) -> IngestSummary:
    """Write a dataset of one TUM RGB-D sequence, or of a folder of them.

    Raises:
        FormatError: no sequence there, no intrinsics, or nothing that fits together.
    """
    missing = f"rgb.txt and depth.txt (or {PAIRS[0]}) of TUM RGB-D"
    return write_sequences("tum", source, _is_sequence, read, missing, out, progress, options)


def read(folder: Path, options: IngestOptions) -> Recording:
    """Return the recording of one sequence.

    Raises:
        FormatError: a list, the intrinsics or the trajectory is missing or wrong, or pictures are
            counted, not stamped.
    """
    colour, depth = listed_pictures(folder)
    lens = measured_on(_lens(folder, options), [path for _, path in colour])
    times_ns = np.array([stamp for stamp, _ in colour], np.int64)
    _no_frame_numbers(folder, times_ns)
    stamps_ns = np.array([stamp for stamp, _ in depth], np.int64)
    where, scale = str(folder), options.depth_scale or DEPTH_SCALE
    pair = matched(times_ns, stamps_ns, options.tolerance_s, "depth pictures", where)
    usable = pair >= 0
    others, said = {}, (f"{POSES} is missing, so there are no poses.",)
    if (folder / POSES).is_file():
        said = ()
        stamps_ns, poses = read_trajectory(folder / POSES)
        step = matched(times_ns, stamps_ns, options.tolerance_s, "poses", str(folder / POSES))
        usable &= step >= 0
        others = {"world_from_camera": Stream("pose", poses[step], "m", "world")}
    depths = [depth[i][1] if i >= 0 else None for i in pair]
    lenses = [lens] * len(colour)
    cameras = {
        "rgb": colour_camera([path for _, path in colour], lenses),
        "depth": depth_camera(depths, lenses, scale),
    }
    return Recording(folder.name, times_ns, usable, cameras, others, left_out=said)


def _is_sequence(folder: Path) -> bool:
    lists = all((folder / name).is_file() for name in ("rgb.txt", "depth.txt"))
    return lists or any((folder / name).is_file() for name in PAIRS)


Listed = list[tuple[int, Path]]


def listed_pictures(folder: Path) -> tuple[Listed, Listed]:
    """Return stamps in nanoseconds and files of the colour and of the depth pictures, ascending.

    Raises:
        FormatError: a list is missing, empty or damaged, or a path leads out of the folder.
    """
    if (folder / "rgb.txt").is_file() and (folder / "depth.txt").is_file():
        return _listed(folder / "rgb.txt"), _listed(folder / "depth.txt")
    file = next((folder / name for name in PAIRS if (folder / name).is_file()), None)
    if file is None:
        raise FormatError(f"{folder}: has neither rgb.txt and depth.txt nor {PAIRS[0]}.")
    rows = _rows(file, 4, "stamp path stamp path")
    # Tools disagree on which of the two comes first; the folder's name tells.
    first_is_depth = rows[0][1].split("/")[0].startswith("depth")
    first, second = (_stamped(file, [row[at : at + 2] for row in rows]) for at in (0, 2))
    return (second, first) if first_is_depth else (first, second)


def _listed(file: Path) -> Listed:
    return _stamped(file, _rows(file, 2, "stamp path"))


def _stamped(file: Path, rows: list[list[str]]) -> Listed:
    found = {nanoseconds(row[0], str(file)): below(file.parent, row[1], str(file)) for row in rows}
    return sorted(found.items())


def _no_frame_numbers(folder: Path, times_ns: Int64[np.ndarray, " T"]) -> None:
    """Refuse 0, 1, 2, ... in place of times, as ICL-NUIM lists them: nothing tells their rate."""
    steps = np.diff(times_ns)
    if len(steps) and (times_ns % 10**9 == 0).all() and np.median(steps) == 10**9:
        raise FormatError(
            f"{folder}: its lists count pictures (0, 1, 2) where stamps in seconds were expected. "
            "Of ICL-NUIM, put its *.gt.freiburg there and pass --format icl_nuim. Else write "
            "number / rate in their place (0.0000, 0.0333), in the trajectory, too."
        )


def _rows(file: Path, width: int, says: str) -> list[list[str]]:
    lines = [line.split() for line in read_text(file).splitlines()]
    rows = [words for words in lines if words and not words[0].startswith("#")]
    for number, words in enumerate(rows):
        if len(words) < width:
            raise FormatError(f"{file}: entry {number + 1} is {words}; '{says}' was expected.")
    if not rows:
        raise FormatError(f"{file}: lists nothing; lines '{says}' were expected.")
    return rows


def _lens(folder: Path, options: IngestOptions) -> Lens:
    if options.intrinsics is not None:
        return Lens(options.intrinsics)
    for name in LENSES:
        if (folder / name).is_file():
            return read_lens(folder / name)
    raise FormatError(
        f"{folder}: has no intrinsics; TUM RGB-D gives them on its web page. Put 'fx fy cx cy' in "
        f"{LENSES[0]} there, or pass --intrinsics fx fy cx cy."
    )


def read_trajectory(file: Path) -> tuple[Int64[np.ndarray, " N"], Float[np.ndarray, "N 4 4"]]:
    """Return the stamps in nanoseconds, ascending, and the poses of a trajectory in TUM's format.

    Raises:
        FormatError: the file is missing or damaged, or a pose is none.
    """
    rows = _rows(file, 8, "t tx ty tz qx qy qz qw")
    stamps_ns = np.array([nanoseconds(row[0], str(file)) for row in rows], np.int64)
    try:
        values = np.array([[float(word) for word in row[1:8]] for row in rows])
    except ValueError as error:
        raise FormatError(f"{file}: {error}. Expected: {_SAYS}.") from error
    odd = np.abs(np.linalg.norm(values[:, 3:], axis=1) - 1) > _MAX_QUATERNION_ERROR
    if odd.any() or not np.isfinite(values).all():
        entry = int(np.argmax(odd | ~np.isfinite(values).all(1)))
        raise FormatError(
            f"{file}: the pose at {rows[entry][0]} s holds NaN or a quaternion of another length "
            f"than 1; remove such lines. Expected: {_SAYS}."
        )
    xyzw, xyz_m = torch.from_numpy(values[:, 3:].copy()), torch.from_numpy(values[:, :3].copy())
    poses = pose_from_quaternion(xyzw, xyz_m).numpy()
    order = np.argsort(stamps_ns, kind="stable")
    poses = np.stack([rigid(pose, str(file), _SAYS) for pose in poses])
    return stamps_ns[order], poses[order]
