"""Picture files as a camera: decoded, brought to one pinhole, depth in millimetres."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from armillary.core.errors import FormatError
from armillary.core.values import StreamKind
from armillary.data.encoded import decode_depth, decode_rgb
from armillary.data.resize import Size
from armillary.data.sources.encoded_picture import EncodedPicture
from armillary.data.sources.lens import Lens, Rectifier
from armillary.data.sources.pictures import depth_mm, read_bytes
from armillary.data.sources.recording import Camera, Picture
from armillary.data.sources.still_files import colour_form, depth_form
from armillary.data.video import MAX_PIXELS

# What may be chosen for a folder of colour and depth pictures with poses.
POSED_RGBD_OPTIONS = (
    "fps",
    "max_side",
    "tolerance_s",
    "depth_scale",
    "intrinsics",
    "ego_motion",
    "pictures",
)


def colour_camera(paths: Sequence[Path | None], lenses: Sequence[Lens]) -> Camera:
    """Return the camera of colour files.

    Args:
        paths: one for each step; None where there is none (such steps are not asked for).
        lenses: one for each step.

    Raises:
        FormatError: the first file cannot be read.
    """

    def seen(path: Path, stills: bool) -> EncodedPicture:
        data, where = read_bytes(path), str(path)
        form = colour_form(data, where) if stills else None
        return EncodedPicture(partial(decode_rgb, data, where), where, data, form)

    return _camera("rgb", paths, lenses, seen)


def depth_camera(
    paths: Sequence[Path | None],
    lenses: Sequence[Lens],
    metres_per_unit: float,
    nothing: int | None = None,
) -> Camera:
    """Return the camera of depth files (16 bit PNG or TIFF, or ``.npy``).

    Args:
        paths: one for each step; None where there is none (such steps are not asked for).
        lenses: one for each step.
        metres_per_unit: metres of the number 1 in the files.
        nothing: the number that says that nothing was measured, beside 0.

    Raises:
        FormatError: the first file cannot be read.
    """

    def decoded(path: Path, data: bytes) -> np.ndarray:
        raw = _raw_depth(path, data)
        raw = raw if nothing is None else np.where(raw == nothing, 0, raw)
        return depth_mm(raw, metres_per_unit, str(path))

    def seen(path: Path, stills: bool) -> EncodedPicture:
        data, where = read_bytes(path), str(path)
        # a file that is kept as it is would keep that number, too
        kept = stills and nothing is None
        form = depth_form(data, metres_per_unit, where) if kept else None
        return EncodedPicture(partial(decoded, path, data), where, data, form)

    return _camera("depth", paths, lenses, seen)


def measured_on(lens: Lens, paths: Sequence[Path | None]) -> Lens:
    """Return the lens with its picture size, taken from the first file if it says none."""
    return lens if lens.size is not None else replace(lens, size=first_size(paths))


def first_size(paths: Sequence[Path | None]) -> Size:
    """Return rows and columns of the first picture that there is."""
    path = _there(next((path for path in paths if path is not None), None))
    return _size(decode_rgb(read_bytes(path), str(path)))


def _camera(
    kind: StreamKind,
    paths: Sequence[Path | None],
    lenses: Sequence[Lens],
    seen: Callable[[Path, bool], EncodedPicture],
) -> Camera:
    """Return a camera of files; all pictures are drawn for the first one's pinhole.

    Where each picture has a lens of its own, next to all are drawn anew, so none is a still.
    """
    first = next((n for n, path in enumerate(paths) if path is not None), 0)
    one = seen(_there(paths[first]), False)
    pinhole = replace(lenses[first].at(_size(one.decode()), one.where), distortion=())
    rectify, same = Rectifier(pinhole), len({*lenses}) == 1

    def read(steps: Sequence[int], stills: bool) -> Iterator[Picture]:
        for step in steps:
            yield seen(_there(paths[step]), stills and same).through(lenses[step], rectify)

    return Camera(kind, read, rectify.intrinsics)


def _raw_depth(path: Path, data: bytes) -> np.ndarray:
    if path.suffix != ".npy":
        return decode_depth(data, str(path))
    try:
        raw = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError, MemoryError) as error:
        raise FormatError(f"{path}: cannot be read as an array of numbers ({error}).") from error
    raw = raw[..., 0] if raw.ndim == 3 and raw.shape[2] == 1 else raw
    if raw.ndim != 2 or raw.dtype.kind not in "fu" or not 0 < raw.size <= MAX_PIXELS:
        raise FormatError(
            f"{path}: depth was expected as numbers [H W], got {raw.dtype} {list(raw.shape)}."
        )
    return raw


def _size(image: np.ndarray) -> Size:
    return image.shape[0], image.shape[1]


def _there(path: Path | None) -> Path:
    if path is None:
        raise FormatError("A step without a picture was asked for; no picture is there at all.")
    return path
