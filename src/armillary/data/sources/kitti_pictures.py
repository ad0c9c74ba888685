"""KITTI odometry without sweeps: its rectified pictures, with their times, lenses and poses.

``image_2`` and ``image_3`` are the left and the right colour camera. ``image_0`` and ``image_1``
are the grey ones, which are read where there is no colour. ``P0`` to ``P3`` of calib.txt are
K [I | t], where t leads from camera 0 to the camera.

Convention: poses are of camera 0. The world is the LiDAR's frame at the start where calib.txt has
``Tr`` (x forward, y left, z up), else camera 0's at the start (z forward).

Axes: T steps.

Source: Geiger et al. 2012, development kit of the odometry benchmark.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from armillary.core.errors import FormatError
from armillary.core.values import Stream
from armillary.data.sources.kitti_files import calibration, pose_of_rows
from armillary.data.sources.lens import Lens, checked, pinhole_of
from armillary.data.sources.picture_files import colour_camera, measured_on
from armillary.data.sources.recording import Camera, Recording
from armillary.data.sources.source import IngestOptions, natural

COLOUR, GREY = ("image_2", "image_3"), ("image_0", "image_1")
TIMES = "times.txt"
_SUFFIXES = {".png", ".jpg"}
_SAYS = "KITTI's 12 numbers of Tr, a 3x4 matrix by row"


def pictures_of(folder: Path) -> dict[str, list[Path]]:
    """Return the pictures of each camera of a sequence that has some, in the order of numbers."""
    found = {}
    for name in (*COLOUR, *GREY):
        files = [file for file in (folder / name).glob("*") if file.suffix.lower() in _SUFFIXES]
        if files:
            found[name] = sorted(files, key=lambda file: natural(file.name))
    return found


def read_pictures(
    folder: Path,
    options: IngestOptions,
    time_ns: Int64[np.ndarray, " T"],
    start_from_camera: Float64[np.ndarray, "T 4 4"] | None,
) -> Recording:
    """Return the pictures of a sequence, as a recording.

    Args:
        folder: of the sequence.
        options: what was chosen.
        time_ns: of each step.
        start_from_camera: poses of camera 0 in its first frame; None where there are none.

    Raises:
        FormatError: a camera has other pictures than there are times, or calib.txt is damaged.
    """
    files = pictures_of(folder)
    grey = [name for name in GREY if name in files]
    colour = [name for name in COLOUR if name in files]
    said = [f"{' and '.join(grey)}: grey cameras are not read where there is colour."] * bool(
        colour and grey
    )
    calib = folder / "calib.txt"
    matrices = calibration(calib) if calib.is_file() else {}
    said += [] if matrices else ["calib.txt is missing, so there are no lenses and no poses."]
    said += [] if start_from_camera is not None else ["There are no poses (poses.txt)."]
    cameras: dict[str, Camera] = {}
    others: dict[str, Stream] = {}
    for number, name in enumerate(colour or grey):
        if len(files[name]) != len(time_ns):
            raise FormatError(
                f"{folder / name}: has {len(files[name])} pictures, {TIMES} has {len(time_ns)} "
                "times; one for each was expected. Copy the sequence anew."
            )
        end = f"_{number}" if number else ""
        projection = _projection(matrices, f"P{name[-1]}", calib)
        lens = None if projection is None else _lens(projection, calib)
        lens = lens if options.intrinsics is None else Lens(options.intrinsics)
        cameras[f"rgb{end}"] = _camera(files[name], lens)
        if projection is not None and start_from_camera is not None:
            poses = _poses(start_from_camera, projection, matrices, calib)
            frame = "world" if "Tr" in matrices else "first_camera"
            others[f"world_from_camera{end}"] = Stream("pose", poses, "m", frame)
    every = np.ones(len(time_ns), bool)
    name = folder.resolve().name
    return Recording(name, time_ns, every, cameras, others, left_out=tuple(said))


def _projection(
    matrices: Mapping[str, tuple[float, ...]], name: str, file: Path
) -> Float64[np.ndarray, "3 4"] | None:
    row = np.array(matrices.get(name, ()), np.float64)
    if not row.size:
        return None
    if row.size != 12 or not np.isfinite(row).all():
        raise FormatError(f"{file}: a line '{name}:' with 12 numbers was expected.")
    return row.reshape(3, 4)


def _lens(projection: Float64[np.ndarray, "3 4"], file: Path) -> Lens:
    k = projection[:, :3]
    if k[0, 1] or k[1, 0] or np.any(k[2] != [0.0, 0.0, 1.0]) or not k[0, 0] or not k[1, 1]:
        raise FormatError(f"{file}: its P are K of a pinhole and a shift; got {k.tolist()}.")
    return checked(Lens(pinhole_of(k)), str(file))


def _camera(files: list[Path], lens: Lens | None) -> Camera:
    known = lens or Lens((1.0, 1.0, 0.0, 0.0))  # only to see that all pictures are of one size
    camera = colour_camera(files, [measured_on(known, files)] * len(files))
    return camera if lens is not None else replace(camera, intrinsics=None)


def _poses(
    start_from_camera: Float64[np.ndarray, "T 4 4"],
    projection: Float64[np.ndarray, "3 4"],
    matrices: Mapping[str, tuple[float, ...]],
    file: Path,
) -> Float64[np.ndarray, "T 4 4"]:
    zero_from_camera = np.eye(4)
    zero_from_camera[:3, 3] = -np.linalg.solve(projection[:, :3], projection[:, 3])
    world_from_start = np.eye(4)
    if "Tr" in matrices:
        row = np.array(matrices["Tr"], np.float64)
        if row.size != 12:
            raise FormatError(f"{file}: a line 'Tr:' with 12 numbers was expected.")
        world_from_start = np.linalg.inv(pose_of_rows(row, str(file), _SAYS))
    return world_from_start @ start_from_camera @ zero_from_camera
