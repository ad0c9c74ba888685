"""Nerfstudio: ``transforms.json``, the poses and lenses of photographs, with depth if there is any.

Convention: ``transform_matrix`` is camera-to-world with OpenGL camera axes (y up, z backward); the
world is z up; pixel (0, 0) has its centre at (0.5, 0.5), half a pixel from ours; depth is camera z
in units of ``depth_unit_scale_factor`` (0.001) metres. Its unit of length is a metre only if it
was made so; that is believed where there is depth.
Source: the data conventions page of nerfstudio, and its ``nerfstudio_dataparser``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from armillary.core.errors import FormatError
from armillary.core.files import read_json
from armillary.core.progress import Progress
from armillary.core.values import Stream
from armillary.data.sources.lens import Lens, checked
from armillary.data.sources.photos import by_folder, step_times
from armillary.data.sources.picture_files import colour_camera, depth_camera
from armillary.data.sources.pictures import below
from armillary.data.sources.recording import Recording, rigid, write_recordings
from armillary.data.sources.source import IngestOptions, IngestSummary
from armillary.spatial import opencv_from_opengl

OPTIONS = ("fps", "max_side", "depth_scale", "intrinsics", "pictures")
LOOKS_FOR = ("transforms.json",)
FILE = "transforms.json"
DEPTH_SCALE = 0.001
_PINHOLES = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE")
_SAYS = "nerfstudio's transform_matrix, 4x4 camera-to-world with OpenGL axes, without scale"


def detect(path: Path) -> bool:
    """Say whether a file or folder is nerfstudio's."""
    return path.name == FILE if path.is_file() else (path / FILE).is_file()


def ingest(source: Path, out: Path, progress: Progress, options: IngestOptions) -> IngestSummary:
    """Write a dataset of the pictures that a ``transforms.json`` names.

    Raises:
        FormatError: the file, its lenses, poses or pictures are missing or wrong.
    """
    file = source if source.is_file() else source / FILE
    meta = read_json(file)
    frames = meta.get("frames") if isinstance(meta, dict) else None
    if not isinstance(frames, list) or not frames or not all(isinstance(f, dict) for f in frames):
        raise FormatError(f"{file}: a list 'frames' of at least one picture was expected in it.")
    frames = [{**meta, **frame} for frame in frames]
    paths = [_picture(file, frame) for frame in frames]
    groups = by_folder([path.relative_to(file.parent).as_posix() for path in paths])
    loads = [
        (
            file.parent / folder,
            lambda folder=folder, chosen=chosen: _recording(
                file, folder, [frames[i] for i in chosen], [paths[i] for i in chosen], options
            ),
        )
        for folder, chosen in groups.items()
    ]
    return write_recordings(loads, out, progress, options, {"ingested": "nerfstudio"})


def _recording(
    file: Path,
    folder: str,
    frames: Sequence[Mapping[str, Any]],
    paths: Sequence[Path],
    options: IngestOptions,
) -> Recording:
    lenses = [_lens(file, frame, options) for frame in frames]
    poses = np.stack([_pose(file, frame) for frame in frames])
    there = np.array([path.is_file() for path in paths])
    if not there.any():
        raise FormatError(f"{paths[0]}: there is no such picture, though {file} names it.")
    pictures = [path if path.is_file() else None for path in paths]
    cameras = {"rgb": colour_camera(pictures, lenses)}
    depths = [_depth(file, frame) for frame in frames]
    if any(depths):
        there &= np.array([path is not None for path in depths])
        scale = options.depth_scale or _scale(file, frames[0])
        cameras["depth"] = depth_camera(depths, lenses, scale)
    pose = Stream("pose", poses, "m" if any(depths) else "", "world")
    name = folder if folder != "." else file.parent.name
    times_ns = step_times(len(frames), options)
    return Recording(name, times_ns, there, cameras, {"world_from_camera": pose}, one_motion=False)


def _picture(file: Path, frame: Mapping[str, Any]) -> Path:
    path = below(file.parent, frame.get("file_path"), str(file))
    return path if path.suffix else path.with_suffix(".png")  # as in the first NeRF's files


def _depth(file: Path, frame: Mapping[str, Any]) -> Path | None:
    if frame.get("depth_file_path") is None:
        return None
    path = below(file.parent, frame["depth_file_path"], str(file))
    return path if path.is_file() else None


def _pose(file: Path, frame: Mapping[str, Any]) -> Float[np.ndarray, "4 4"]:
    where = f"{file}, {frame['file_path']}"
    try:
        matrix = np.array(frame.get("transform_matrix"), np.float64)
    except (TypeError, ValueError) as error:
        raise FormatError(f"{where}: has no pose. Expected: {_SAYS}.") from error
    if matrix.shape != (4, 4):
        raise FormatError(f"{where}: its pose is {list(matrix.shape)}. Expected: {_SAYS}.")
    pose = torch.from_numpy(rigid(matrix, where, _SAYS))
    return opencv_from_opengl(pose).numpy()


def _scale(file: Path, frame: Mapping[str, Any]) -> float:
    scale = _number(file, frame, "depth_unit_scale_factor", DEPTH_SCALE)
    if not 0 < scale < math.inf:
        raise FormatError(f"{file}: depth_unit_scale_factor is metres above 0, got {scale:g}.")
    return scale


def _lens(file: Path, frame: Mapping[str, Any], options: IngestOptions) -> Lens:
    if options.intrinsics is not None:
        return Lens(options.intrinsics)
    model = str(frame.get("camera_model", "OPENCV")).upper()
    distortion, fourth = _distortion(file, frame)
    # The fourth radial term stands in OpenCV's denominator, in nerfstudio's numerator.
    if model not in _PINHOLES or frame.get("is_fisheye") or fourth:
        raise FormatError(
            f"{file}: the camera model {model} {'with k4 ' if fourth else ''}is not "
            "read; a pinhole with k1, k2, k3, p1, p2 was expected. Undistort the pictures first "
            "(colmap image_undistorter, or ns-process-data)."
        )
    columns, rows = (_number(file, frame, name, 0.0) for name in ("w", "h"))
    focal_u = _focal(file, frame, "x", columns)
    focal_v = _focal(file, frame, "y", rows) or focal_u
    if not focal_u:
        raise FormatError(
            f"{file}: has no intrinsics; fl_x, fl_y, cx, cy, or camera_angle_x with w and h, were "
            "expected. Pass --intrinsics fx fy cx cy."
        )
    size = (round(rows), round(columns)) if rows and columns else None
    centre_u = _number(file, frame, "cx", columns / 2) - 0.5
    centre_v = _number(file, frame, "cy", rows / 2) - 0.5
    if size is None and not {"cx", "cy"} <= frame.keys():
        raise FormatError(
            f"{file}: has neither cx and cy nor w and h; pass --intrinsics fx fy cx cy."
        )
    return checked(Lens((focal_u, focal_v, centre_u, centre_v), distortion, size), str(file))


def _distortion(file: Path, frame: Mapping[str, Any]) -> tuple[tuple[float, ...], float]:
    """Return k1 k2 p1 p2 k3, OpenCV's order, and k4; ``distortion_params`` come before names."""
    names = ("k1", "k2", "k3", "k4", "p1", "p2")
    listed = frame.get("distortion_params")
    if listed is not None:
        if not isinstance(listed, list) or len(listed) != len(names):
            raise FormatError(
                f"{file}: distortion_params are {', '.join(names)}, got {str(listed)[:80]}."
            )
        frame = dict(zip(names, listed, strict=True))
    k1, k2, k3, k4, p1, p2 = (_number(file, frame, name, 0.0) for name in names)
    return (k1, k2, p1, p2, k3), k4


def _focal(file: Path, frame: Mapping[str, Any], axis: str, side: float) -> float:
    if f"fl_{axis}" in frame:
        return _number(file, frame, f"fl_{axis}", 0.0)
    angle_rad = _number(file, frame, f"camera_angle_{axis}", 0.0)
    if not 0 < angle_rad < math.pi:
        return 0.0
    return side / 2 / math.tan(angle_rad / 2)


def _number(file: Path, frame: Mapping[str, Any], name: str, default: float) -> float:
    value = frame.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise FormatError(f"{file}: {name!r} must be a finite number, got {value!r}.")
    return float(value)
