"""RGB-D folders: colour and depth beside poses, as ScanNet, Redwood and 7-Scenes lay them out.

7-Scenes has all in one folder: ``frame-000000.color.png``, ``.depth.png`` and ``.pose.txt``. Its
depth 65535 says that nothing was measured, and its lens is given on its page alone. ScanNet has
``pose/N.txt`` (4x4) and ``intrinsic/intrinsic_color.txt``; Redwood has one trajectory ``*.log``
(three numbers, then 4x4) and the intrinsics in a JSON file. ScanNet writes -inf where tracking was
lost: such steps are left out, and long stretches of them cut the episode. The names of pictures
tell when they were taken (``picture_names.py``).

Convention: depth in millimetres, camera-to-world, OpenCV camera, metres. ScanNet's world is z up;
Redwood's is the first camera's frame, so its poses are in the frame ``first_camera``.
Source: the format notes of ScanNet (Dai et al. 2017), Redwood (Choi et al. 2016) and 7-Scenes
(Shotton et al. 2013).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int64

from armillary.core.errors import FormatError
from armillary.core.files import read_json
from armillary.core.progress import Progress
from armillary.core.values import Stream
from armillary.data.sources.lens import Lens, checked, pinhole_of, read_lens
from armillary.data.sources.picture_files import (
    POSED_RGBD_OPTIONS,
    colour_camera,
    depth_camera,
    measured_on,
)
from armillary.data.sources.picture_names import times_ns
from armillary.data.sources.recording import Recording, rigid, sequences, write_sequences
from armillary.data.sources.source import IngestOptions, IngestSummary
from armillary.data.sources.stamps import matched
from armillary.data.sources.text_files import numbers

OPTIONS = POSED_RGBD_OPTIONS
LOOKS_FOR = ("color/ or rgb/ or image/", "depth/", "pose/ or *.log")
_SEVEN_SCENES_NOTHING = 65535
_MISSING = (
    "color/ and depth/ with pose/ (ScanNet) or a *.log (Redwood), and no frame-*.color.png with "
    ".depth.png and .pose.txt (7-Scenes)"
)
DEPTH_SCALE = 0.001
COLOURS, DEPTHS = ("color", "rgb", "image", "colour"), ("depth",)
_SAYS = (
    "camera-to-world 4x4 in metres, OpenCV axes (ScanNet pose/*.txt, Redwood *.log, 7-Scenes "
    "*.pose.txt)"
)
_SUFFIXES = {".jpg", ".jpeg", ".png"}


def detect(path: Path) -> bool:
    """Say whether a folder, or one directly below it, is a recording of these kinds."""
    return path.is_dir() and bool(sequences(path, _is_recording))


def ingest(source: Path, out: Path, progress: Progress, options: IngestOptions) -> IngestSummary:
    """Write a dataset of one RGB-D folder, or of a folder of them.

    Raises:
        FormatError: no recording there, no intrinsics, or nothing that fits together.
    """
    return write_sequences("rgbd", source, _is_recording, read, _MISSING, out, progress, options)


def read(folder: Path, options: IngestOptions) -> Recording:
    """Return the recording of one folder.

    Raises:
        FormatError: the intrinsics, poses or pictures are missing or wrong.
    """
    flat = _is_seven_scenes(folder)
    colour, taken_ns = _files(folder, ".color") if flat else _files(_subfolder(folder, COLOURS))
    depth, stamps_ns = _files(folder, ".depth") if flat else _files(_subfolder(folder, DEPTHS))
    pair = matched(taken_ns, stamps_ns, options.tolerance_s, "depth pictures", str(folder))
    poses, tracked = _poses(folder, colour)
    colour_lens, depth_lens = _lenses(folder, options)
    if colour_lens is depth_lens:  # then it is colour's, and depth may have fewer pixels
        colour_lens = depth_lens = measured_on(colour_lens, colour)
    scale = options.depth_scale or DEPTH_SCALE
    depths = [depth[i] if i >= 0 else None for i in pair]
    cameras = {
        "rgb": colour_camera(colour, [colour_lens] * len(colour)),
        "depth": depth_camera(
            depths, [depth_lens] * len(colour), scale, _SEVEN_SCENES_NOTHING if flat else None
        ),
    }
    frame = "world" if flat or (folder / "pose").is_dir() else "first_camera"
    others = {"world_from_camera": Stream("pose", poses, "m", frame)}
    return Recording(folder.name, taken_ns, tracked & (pair >= 0), cameras, others)


def _is_recording(folder: Path) -> bool:
    if _is_seven_scenes(folder):
        return True
    pictures = any((folder / n).is_dir() for n in COLOURS) and (folder / "depth").is_dir()
    return pictures and ((folder / "pose").is_dir() or any(folder.glob("*.log")))


def _is_seven_scenes(folder: Path) -> bool:
    """Say whether a folder has its pictures and poses side by side."""
    parts = ("frame-*.color.*", "frame-*.depth.*", "frame-*.pose.txt")
    return folder.is_dir() and all(next(folder.glob(part), None) is not None for part in parts)


def _subfolder(folder: Path, names: tuple[str, ...]) -> Path:
    return next(folder / name for name in names if (folder / name).is_dir())


def _files(folder: Path, kind: str = "") -> tuple[list[Path], Int64[np.ndarray, " T"]]:
    """Return pictures and their times, ascending, by what their names tell.

    Args:
        folder: with the pictures.
        kind: at the end of their names, before the suffix.
    """
    there = (f for f in folder.iterdir() if f.suffix.lower() in _SUFFIXES and f.is_file())
    files = [file for file in there if file.stem.endswith(kind)]
    times = times_ns([file.stem for file in files], str(folder))
    order = np.argsort(times, kind="stable")
    return [files[n] for n in order], times[order]


def _poses(
    folder: Path, colour: list[Path]
) -> tuple[Float[np.ndarray, "T 4 4"], Bool[np.ndarray, " T"]]:
    """Return the pose of every colour picture, and where there is one."""
    if _is_seven_scenes(folder):
        names = [f"{picture.stem.removesuffix('.color')}.pose.txt" for picture in colour]
        raw = _pose_files(folder, names)
    elif (folder / "pose").is_dir():
        raw = _pose_files(folder / "pose", [f"{picture.stem}.txt" for picture in colour])
    else:
        raw = _redwood_poses(next(iter(sorted(folder.glob("*.log")))), len(colour))
    poses, tracked = np.tile(np.eye(4), (len(colour), 1, 1)), np.zeros(len(colour), bool)
    for step, (where, pose) in raw.items():
        if np.isneginf(pose).any():  # tracking was lost; NaN and +inf are no such mark
            continue
        poses[step], tracked[step] = rigid(pose, where, _SAYS), True
    return poses, tracked


def _pose_files(folder: Path, names: list[str]) -> dict[int, tuple[str, Float[np.ndarray, "4 4"]]]:
    found = {}
    for step, name in enumerate(names):
        file = folder / name
        if file.is_file():
            found[step] = str(file), _matrix(numbers(file), str(file))
    if not found:
        raise FormatError(
            f"{folder}: has no pose file named after a picture ({names[0]} was looked for). "
            f"Expected: {_SAYS}."
        )
    return found


def _redwood_poses(file: Path, steps: int) -> dict[int, tuple[str, Float[np.ndarray, "4 4"]]]:
    rows = numbers(file)
    heads = rows[::5]
    whole = rows and len(rows) % 5 == 0 and all(len(head) == 3 for head in heads)
    if not whole or not np.isfinite(heads).all():
        raise FormatError(
            f"{file}: {len(rows)} lines are no Redwood trajectory: three numbers, then four lines "
            "of a 4x4 matrix, for every picture. The file may be cut off."
        )
    ids = [int(head[0]) for head in heads]
    if len(set(ids)) < len(ids):  # some tools number nothing: then they go by order
        ids = list(range(len(ids)))
    if not 0 <= min(ids) <= max(ids) < steps:
        raise FormatError(
            f"{file}: has poses for pictures {min(ids)} to {max(ids)}, but there are {steps} "
            "pictures counted from 0."
        )
    blocks = [rows[n + 1 : n + 5] for n in range(0, len(rows), 5)]
    where = [f"{file}, entry {n + 1}" for n in range(len(ids))]
    entries = zip(ids, where, blocks, strict=True)
    return {step: (name, _matrix(block, name)) for step, name, block in entries}


def _matrix(rows: list[list[float]], where: str) -> Float[np.ndarray, "4 4"]:
    if len(rows) != 4 or any(len(row) != 4 for row in rows):
        raise FormatError(f"{where}: is no 4x4 matrix. Expected: {_SAYS}.")
    return np.array(rows, np.float64)


def _lenses(folder: Path, options: IngestOptions) -> tuple[Lens, Lens]:
    """Return the lens of colour and of depth."""
    if options.intrinsics is not None:
        lens = Lens(options.intrinsics)
        return lens, lens
    inner = folder / "intrinsic"
    if (inner / "intrinsic_color.txt").is_file() and (inner / "intrinsic_depth.txt").is_file():
        for name in ("extrinsic_color.txt", "extrinsic_depth.txt"):
            _check_aligned(inner / name)
        return read_lens(inner / "intrinsic_color.txt"), read_lens(inner / "intrinsic_depth.txt")
    for name in ("camera_intrinsic.json", "intrinsic.json", "camera.json"):
        if (folder / name).is_file():
            lens = _open3d_lens(folder / name)
            return lens, lens
    for name in ("intrinsics.txt", "camera-intrinsics.txt", "camera.txt"):
        if (folder / name).is_file():
            lens = read_lens(folder / name)
            return lens, lens
    raise FormatError(
        f"{folder}: has no intrinsics; intrinsic/intrinsic_color.txt and intrinsic_depth.txt "
        "(ScanNet), camera_intrinsic.json or intrinsics.txt (Redwood) were looked for. Pass "
        "--intrinsics fx fy cx cy; Redwood's sensor has 525, 525, 319.5, 239.5, that of 7-Scenes "
        "585, 585, 320, 240."
    )


def _check_aligned(file: Path) -> None:
    """One pose holds for colour and depth, so the two may not be apart."""
    if file.is_file() and not np.allclose(_matrix(numbers(file), str(file)), np.eye(4), atol=1e-3):
        raise FormatError(
            f"{file}: colour and depth are apart; one pose for both was expected (the identity "
            "here). Register the depth to the colour camera first."
        )


def _open3d_lens(file: Path) -> Lens:
    meta = read_json(file)
    try:
        k = np.array(meta["intrinsic_matrix"], np.float64).reshape(3, 3, order="F")
        size = int(meta["height"]), int(meta["width"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise FormatError(
            f"{file}: 'intrinsic_matrix' (9 numbers by column), 'width' and 'height' were "
            "expected; pass --intrinsics fx fy cx cy instead."
        ) from error
    return checked(Lens(pinhole_of(k), (), size), str(file))
