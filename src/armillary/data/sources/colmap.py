"""COLMAP: a sparse model beside its photographs.

COLMAP's unit of length and its world axes are its own, so poses are in the frame ``colmap`` and
have no unit. With ``depth_scale`` (metres of one of its units) they become metres, and the points
that were seen in a picture become its depth: a few pixels each, exact where there are any.

Convention: world-to-camera with wxyz becomes ``world_from_camera``; pixel centres move by half a
pixel to the integers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from armillary.core.errors import FormatError
from armillary.core.progress import Progress
from armillary.core.values import Stream
from armillary.data.sources.colmap_model import (
    ColmapCamera,
    ColmapImage,
    ColmapModel,
    has_model,
    read_model,
)
from armillary.data.sources.lens import Lens, checked
from armillary.data.sources.photos import by_folder, step_times
from armillary.data.sources.picture_files import colour_camera, first_size
from armillary.data.sources.pictures import below, depth_mm
from armillary.data.sources.recording import Camera, Recording, rigid, write_recordings
from armillary.data.sources.source import IngestOptions, IngestSummary
from armillary.spatial import inverse, pose_from_quaternion

OPTIONS = ("fps", "max_side", "depth_scale", "intrinsics", "pictures")
LOOKS_FOR = ("sparse/", "images/")
MODELS = (".", "sparse/0", "sparse", "colmap/sparse/0")
PICTURES = ("images", "../images", "../../images", "input")
_SAYS = "COLMAP's world-to-camera pose, unit quaternion wxyz"


def detect(path: Path) -> bool:
    """Say whether a folder is a COLMAP model, or a project with one in ``sparse/0``."""
    return path.is_dir() and any(has_model(path / inner) for inner in MODELS)


def ingest(source: Path, out: Path, progress: Progress, options: IngestOptions) -> IngestSummary:
    """Write a dataset of the pictures that a COLMAP model has poses of.

    Raises:
        FormatError: the model or its pictures are missing, damaged, or of an unknown camera.
    """
    inner = next((source / name for name in MODELS if has_model(source / name)), None)
    pictures = next((source / n for n in PICTURES if (source / n).is_dir()), None)
    if inner is None or pictures is None:
        wanted = "cameras and images (.bin or .txt)" if inner is None else "folder images/"
        raise FormatError(f"{source}: has no {wanted} of a COLMAP project in it.")
    model = read_model(inner)
    if not model.images:
        raise FormatError(f"{inner}: the model has no image in it.")
    groups = by_folder([image.name for image in model.images])
    loads = [
        (pictures / folder, _loader(model, chosen, pictures, options))
        for folder, chosen in groups.items()
    ]
    return write_recordings(loads, out, progress, options, {"ingested": "colmap"})


def _loader(
    model: ColmapModel, chosen: Sequence[int], pictures: Path, options: IngestOptions
) -> Callable[[], Recording]:
    images = [model.images[index] for index in chosen]
    return lambda: _recording(model, images, pictures, options)


def _recording(
    model: ColmapModel, images: Sequence[ColmapImage], pictures: Path, options: IngestOptions
) -> Recording:
    where = str(pictures)
    paths = [below(pictures, image.name, where) for image in images]
    there = np.array([path.is_file() for path in paths])
    if not there.any():
        raise FormatError(f"{paths[0]}: there is no such picture, though the model has its pose.")
    lenses = [_lens(model, image, options) for image in images]
    scale = options.depth_scale
    poses = np.stack([_world_from_camera(image, scale or 1.0) for image in images])
    files = [path if path.is_file() else None for path in paths]
    cameras = {"rgb": colour_camera(files, lenses)}
    if scale is not None:
        cameras["depth"] = _sparse_depth(model, images, poses, cameras["rgb"], scale, files)
    pose = Stream("pose", poses, "" if scale is None else "m", "colmap")
    folder = Path(images[0].name).parent
    name = pictures.parent.name if folder == Path() else folder.as_posix()
    times_ns = step_times(len(images), options)
    return Recording(name, times_ns, there, cameras, {"world_from_camera": pose}, one_motion=False)


def _world_from_camera(image: ColmapImage, scale: float) -> Float[np.ndarray, "4 4"]:
    w, x, y, z = image.wxyz
    if not np.isclose(np.linalg.norm(image.wxyz), 1.0, atol=1e-2):
        raise FormatError(f"{image.name}: its quaternion has no length of 1. Expected: {_SAYS}.")
    xyzw = torch.tensor([x, y, z, w], dtype=torch.float64)
    shift = torch.tensor(image.shift, dtype=torch.float64) * scale
    return rigid(inverse(pose_from_quaternion(xyzw, shift)).numpy(), image.name, _SAYS)


def _lens(model: ColmapModel, image: ColmapImage, options: IngestOptions) -> Lens:
    if options.intrinsics is not None:
        return Lens(options.intrinsics)
    if image.camera not in model.cameras:
        raise FormatError(f"{image.name}: its camera {image.camera} is not among the cameras.")
    return checked(_as_lens(model.cameras[image.camera]), image.name)


def _as_lens(camera: ColmapCamera) -> Lens:
    values, size = camera.parameters, (camera.rows, camera.columns)
    if camera.model in ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL"):
        values = (values[0], *values)  # one focal length for both axes
    focal_u, focal_v, centre_u, centre_v, *distortion = values
    centre = centre_u - 0.5, centre_v - 0.5
    return Lens((focal_u, focal_v, *centre), (*distortion, *(0.0,) * 8)[:8], size)


def _sparse_depth(
    model: ColmapModel,
    images: Sequence[ColmapImage],
    poses: Float[np.ndarray, "T 4 4"],
    colour: Camera,
    scale: float,
    files: Sequence[Path | None],
) -> Camera:
    """Return the camera that sees the model's points where each picture saw them."""
    rows, columns = first_size(files)
    lens = colour.intrinsics
    assert lens is not None  # picture files have one

    def draw(step: int) -> np.ndarray:
        known = [p for n in images[step].points.tolist() if (p := model.places.get(n)) is not None]
        points = np.array(known).reshape(-1, 3) * scale
        camera = (points - poses[step, :3, 3]) @ poses[step, :3, :3]
        camera = camera[camera[:, 2] > 0]
        picture_m = np.full((rows, columns), np.inf)
        pixels = camera @ lens.T
        u, v = np.rint(pixels[:, :2] / camera[:, 2:]).astype(np.int64).T
        inside = (u >= 0) & (u < columns) & (v >= 0) & (v < rows)
        np.minimum.at(picture_m, (v[inside], u[inside]), camera[inside, 2])
        return depth_mm(picture_m / scale, scale, images[step].name)

    def read(steps: Sequence[int], _stills: bool) -> Iterator[np.ndarray]:
        return (draw(step) for step in steps)

    return Camera("depth", read, lens)
