"""ICL-NUIM: rendered rooms in the folders of TUM RGB-D, with a camera whose y axis points up.

    rgb/N.png, depth/N.png    picture number N, 30 a second
    associations.txt          N depth/N.png N rgb/N.png
    *.gt.freiburg             N tx ty tz qx qy qz qw

The lens of the dataset is 481.20, -480.00, 319.50, 239.50. The second number is negative because
the renderer's frames are left-handed: y is up in the camera and in the world. So y is turned down
in the camera, and y and z of the world change places, which makes both right-handed:

    world_from_camera = S T M        S swaps y and z, M = diag(1, -1, 1)

With the lens made positive and T left as it is, the world would be a mirror image, and pictures
would not fit together. The first picture has no pose in some sequences; it is left out.

Convention: depth is 1/5000 m, along the camera's z; quaternions xyzw; the world's z is the y of
the ground truth, which leans where that begins in the first camera's axes.

Source: Handa et al. 2014, A benchmark for RGB-D visual odometry, 3D reconstruction and SLAM.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64, Int64

from armillary.core.errors import FormatError
from armillary.core.progress import Progress
from armillary.core.values import Stream
from armillary.data.sources.lens import Lens
from armillary.data.sources.picture_files import colour_camera, depth_camera, measured_on
from armillary.data.sources.recording import Recording, sequences, write_sequences
from armillary.data.sources.source import IngestOptions, IngestSummary
from armillary.data.sources.stamps import matched
from armillary.data.sources.tum import DEPTH_SCALE, PAIRS, listed_pictures, read_trajectory

OPTIONS = ("fps", "max_side", "depth_scale", "intrinsics", "ego_motion", "pictures")
LOOKS_FOR = ("*.gt.freiburg", " or ".join(PAIRS))
FPS = 30
LENS = Lens((481.2, 480.0, 319.5, 239.5), (), (480, 640))
_SECOND = 10**9
_LAST = 100_000_000  # number of a picture
_WORLD = np.eye(4)[[0, 2, 1, 3]]  # swaps y and z
_CAMERA = np.diag([1.0, -1.0, 1.0, 1.0])


def detect(path: Path) -> bool:
    """Say whether a folder, or one directly below it, is a sequence of ICL-NUIM."""
    try:
        return path.is_dir() and bool(sequences(path, _is_sequence))
    except OSError:
        return False


def ingest(source: Path, out: Path, progress: Progress, options: IngestOptions) -> IngestSummary:
    """Write a dataset of one sequence of ICL-NUIM, or of a folder of them.

    Raises:
        FormatError: no sequence there, or nothing that fits together.
        StorageError: ``out`` cannot be written; nothing is left there.
    """
    missing = f"{PAIRS[0]} and *.gt.freiburg of ICL-NUIM beside rgb/ and depth/"
    return write_sequences("icl_nuim", source, _is_sequence, read, missing, out, progress, options)


def read(folder: Path, options: IngestOptions) -> Recording:
    """Return the recording of one sequence.

    Raises:
        FormatError: a list or the trajectory is missing or wrong, or pictures are stamped, not
            counted.
    """
    colour, depth = listed_pictures(folder)
    where = str(folder)
    number = _numbers(np.array([stamp for stamp, _ in colour], np.int64), where)
    depth_number = _numbers(np.array([stamp for stamp, _ in depth], np.int64), where)
    pair = matched(number, depth_number, 0.0, "depth pictures", where)
    poses, posed, said = _poses(folder, number)
    paths = [path for _, path in colour]
    lens = LENS if options.intrinsics is None else Lens(options.intrinsics)
    lenses = [measured_on(lens, paths)] * len(paths)
    depths = [depth[i][1] if i >= 0 else None for i in pair]
    cameras = {
        "rgb": colour_camera(paths, lenses),
        "depth": depth_camera(depths, lenses, options.depth_scale or DEPTH_SCALE),
    }
    others = {"world_from_camera": Stream("pose", poses, "m", "world")}
    time_ns = np.rint(number * (_SECOND / FPS)).astype(np.int64)
    return Recording(folder.name, time_ns, posed & (pair >= 0), cameras, others, left_out=said)


def _is_sequence(folder: Path) -> bool:
    pictures = all((folder / name).is_dir() for name in ("rgb", "depth"))
    return (
        pictures
        and any((folder / name).is_file() for name in PAIRS)
        and next(folder.glob(LOOKS_FOR[0]), None) is not None
    )


def _numbers(stamps_ns: Int64[np.ndarray, " N"], where: str) -> Int64[np.ndarray, " N"]:
    """Return the numbers of pictures, which were read as seconds."""
    number = stamps_ns // _SECOND
    if (stamps_ns % _SECOND).any() or not 0 <= number.min() <= number.max() <= _LAST:
        raise FormatError(
            f"{where}: numbers of pictures (0, 1, 2) were expected in its lists, as ICL-NUIM has "
            "them; pictures with times in seconds are of the format tum."
        )
    return number


def _poses(
    folder: Path, number: Int64[np.ndarray, " T"]
) -> tuple[Float64[np.ndarray, "T 4 4"], Bool[np.ndarray, " T"], tuple[str, ...]]:
    """Return the pose of each picture, at which there is one [T], and what is to be reported."""
    files = sorted(folder.glob(LOOKS_FOR[0]))
    if len(files) > 1:
        names = ", ".join(file.name for file in files[:3])
        raise FormatError(f"{folder}: has more than one ground truth ({names}); keep one of them.")
    stamps_ns, left_handed = read_trajectory(files[0])
    where = str(files[0])
    step = matched(number, _numbers(stamps_ns, where), 0.0, "poses", where)
    poses, posed = _WORLD @ left_handed[step] @ _CAMERA, step >= 0
    lost = int((~posed).sum())
    first = int(number[np.argmin(posed)])
    said = f"{files[0].name}: has no pose for {lost} of {len(posed)} pictures (first: {first})."
    return poses, posed, (said,) if lost else ()
