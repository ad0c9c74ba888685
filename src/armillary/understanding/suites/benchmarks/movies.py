"""Movies: clips of other people's benchmarks, whatever their layout on disk.

A movie is a folder of pictures, a video file, or an array in a npz file. Labels are kept apart from
what is shown: ``Movie`` says both, and only ``frames`` is handed to a judge.

Axes: T steps, H W picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from armillary.core.errors import FormatError
from armillary.data.resize import resized
from armillary.data.video import VideoReader

MAX_FRAMES = 4096  # a clip of more is refused before it is read
_PICTURES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Movie:
    """One clip.

    Attributes:
        id: as the benchmark names it.
        concept: of its block, property or test.
        group: clips that are compared with each other: a scene, a pair, a set of trials.
        possible: its label; None where the benchmark keeps it secret.
        path: folder of pictures, video file, or npz file.
        key: name of the array in a npz file, and row of it.
    """

    id: str
    concept: str
    group: str
    possible: bool | None
    path: Path
    key: tuple[str, int] | None = None

    def frames(self, size: int, step: int = 1, start: int = 0) -> UInt8[np.ndarray, "T H W 3"]:
        """Return every ``step``-th picture from ``start`` on, at ``size`` x ``size`` pixels.

        Raises:
            FormatError: nothing to read there, or too much.
        """
        if self.key is not None:
            pictures: Sequence[np.ndarray] = list(_array(self.path, *self.key))[start::step]
        elif self.path.is_dir():
            files = sorted(f for f in self.path.iterdir() if f.suffix.lower() in _PICTURES)
            _check(len(files), self.path)
            pictures = [_picture(file) for file in files[start::step]]
        else:
            with VideoReader(self.path, "rgb") as reader:
                _check(len(reader), self.path)
                pictures = list(reader.read(range(start, len(reader), step)))
        _check(len(pictures), self.path)
        return np.stack([resized(picture, (size, size), average=True) for picture in pictures])


def _picture(file: Path) -> UInt8[np.ndarray, "H W 3"]:
    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # a damaged PNG is a SyntaxError to Pillow
        raise FormatError(f"{file}: is not a picture ({error}).") from error


def _array(path: Path, name: str, row: int) -> UInt8[np.ndarray, "T H W 3"]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if name not in arrays:
                raise FormatError(f"{path}: has no array {name!r}, but {', '.join(arrays)}.")
            values = arrays[name]
    except (ValueError, OSError, EOFError, BadZipFile) as error:
        raise FormatError(f"{path}: cannot be read ({error}).") from error
    if values.ndim != 5 or values.shape[-1] != 3 or not row < len(values):
        raise FormatError(f"{path}: {name} is [clips T H W 3] with 2 clips; got {values.shape}.")
    clip = values[row]
    if clip.dtype == np.uint8:
        return clip
    scale = 255.0 if clip.max(initial=0) <= 1 else 1.0  # some writers keep shares of 1
    return np.clip(scale * clip + 0.5, 0, 255).astype(np.uint8)


def _check(count: int, path: Path) -> None:
    if not 0 < count <= MAX_FRAMES:
        raise FormatError(f"{path}: has {count} pictures; 1 to {MAX_FRAMES} can be read.")
