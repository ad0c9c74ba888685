"""COLMAP's model files, text and binary: cameras, images, points.

Convention (kept here, converted by the source): poses are world-to-camera, quaternions wxyz, OpenCV
camera axes, pixel (0, 0) has its centre at (0.5, 0.5).
Source: the "Output Format" page of COLMAP's documentation.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int64

from armillary.core.errors import FormatError
from armillary.data.sources.text_files import read_text

MAX_FILE_BYTES = 4 << 30
# name and number of parameters by number; what is not here is a fisheye or rarer
MODELS = {
    0: ("SIMPLE_PINHOLE", 3),
    1: ("PINHOLE", 4),
    2: ("SIMPLE_RADIAL", 4),
    3: ("RADIAL", 5),
    4: ("OPENCV", 8),
    6: ("FULL_OPENCV", 12),
}
PARTS = ("cameras", "images", "points3D")
_POINT = np.dtype([("x", "<f8"), ("y", "<f8"), ("id", "<i8")])


@dataclass(frozen=True)
class ColmapCamera:
    """A lens as COLMAP numbers it: model, columns, rows, parameters in COLMAP's order."""

    model: str
    columns: int
    rows: int
    parameters: tuple[float, ...]


@dataclass(frozen=True)
class ColmapImage:
    """A posed picture.

    Attributes:
        name: its path below the image folder.
        camera: number of its camera.
        wxyz: rotation of camera_from_world.
        shift: translation of camera_from_world.
        points: numbers of the points that were seen in it [N].
    """

    name: str
    camera: int
    wxyz: tuple[float, float, float, float]
    shift: tuple[float, float, float]
    points: Int64[np.ndarray, " N"]


@dataclass(frozen=True)
class ColmapModel:
    """A sparse model.

    Attributes:
        cameras: by number.
        images: in the order of the file.
        places: world coordinates of the points by number.
    """

    cameras: dict[int, ColmapCamera]
    images: list[ColmapImage]
    places: dict[int, Float[np.ndarray, " 3"]]


def has_model(folder: Path) -> bool:
    """Say whether cameras and images of a model lie in a folder, as text or binary."""
    return any(
        all((folder / f"{part}{end}").is_file() for part in PARTS[:2]) for end in (".bin", ".txt")
    )


def read_model(folder: Path) -> ColmapModel:
    """Read a model; binary files are preferred, points may be missing.

    Raises:
        FormatError: a file is cut off, claims more than it holds, or has an unknown camera model.
    """
    end = ".bin" if (folder / "cameras.bin").is_file() else ".txt"
    files = [folder / f"{part}{end}" for part in PARTS]
    cameras, images, places = (_BINARY if end == ".bin" else _TEXT)[:]
    points = places(files[2]) if files[2].is_file() else {}
    return ColmapModel(cameras(files[0]), images(files[1]), points)


class _Bytes:
    """A binary file that is read from front to back and never past its end."""

    def __init__(self, file: Path) -> None:
        size = file.stat().st_size
        if size > MAX_FILE_BYTES:
            raise FormatError(f"{file}: larger than {MAX_FILE_BYTES >> 30} GiB; refused.")
        self.file, self.data, self.at = file, file.read_bytes(), 0

    def take(self, fields: str) -> tuple:
        """Return the next fields, little endian, packed."""
        size = struct.calcsize("<" + fields)
        self._check(size)
        self.at += size
        return struct.unpack_from("<" + fields, self.data, self.at - size)

    def count(self, least_bytes: int) -> int:
        """Return a count of records of at least this size, which must fit into the file."""
        (count,) = self.take("Q")
        if count * least_bytes > len(self.data) - self.at:
            raise FormatError(
                f"{self.file}: claims {count} records with {len(self.data) - self.at} bytes left; "
                "it is damaged or cut off. Export the model again."
            )
        return count

    def array(self, kind: np.dtype, count: int) -> np.ndarray:
        """Return the next ``count`` records."""
        self._check(kind.itemsize * count)
        values = np.frombuffer(self.data, kind, count, self.at)
        self.at += kind.itemsize * count
        return values

    def skip(self, size: int) -> None:
        """Leave bytes out."""
        self._check(size)
        self.at += size

    def text(self) -> str:
        """Return text up to the next zero byte."""
        end = self.data.find(b"\0", self.at, self.at + 4096)
        if end < 0:
            self._check(len(self.data))
        name = self.data[self.at : end].decode(errors="replace")
        self.at = end + 1
        return name

    def _check(self, size: int) -> None:
        if size > len(self.data) - self.at:
            raise FormatError(
                f"{self.file}: is cut off: it ends within a record. Export the model again."
            )


def _binary_cameras(file: Path) -> dict[int, ColmapCamera]:
    source = _Bytes(file)
    cameras = {}
    for _ in range(source.count(24)):
        number, model, columns, rows = source.take("IiQQ")
        if model not in MODELS:
            raise _unknown(file, f"number {model}")
        name, width = MODELS[model]
        cameras[number] = ColmapCamera(name, columns, rows, source.take(f"{width}d"))
    return cameras


def _binary_images(file: Path) -> list[ColmapImage]:
    source = _Bytes(file)
    images = []
    for _ in range(source.count(73)):
        _, *values, camera = source.take("I7dI")
        name = source.text()
        seen = source.array(_POINT, source.count(_POINT.itemsize))
        images.append(_image(name, camera, values, seen["id"].astype(np.int64)))
    return images


def _binary_points(file: Path) -> dict[int, np.ndarray]:
    source = _Bytes(file)
    places = {}
    for _ in range(source.count(51)):
        number, *xyz = source.take("Q3d")
        source.skip(11)  # colour and reprojection error
        source.skip(8 * source.count(8))  # where it was seen; the images say so, too
        places[number] = np.array(xyz)
    return places


def _text_cameras(file: Path) -> dict[int, ColmapCamera]:
    names = dict(MODELS.values())
    cameras = {}
    for where, words in _lines(file):
        if not words:
            continue
        if len(words) > 1 and words[1] not in names:
            raise _unknown(file, words[1])
        values = _floats(where, [words[0], *words[2:]])
        if len(values) < 3 or len(values) - 3 != names[words[1]]:
            raise FormatError(f"{where}: 'id model columns rows parameters' was expected.")
        size = int(values[1]), int(values[2])
        cameras[int(values[0])] = ColmapCamera(words[1], *size, tuple(values[3:]))
    return cameras


def _text_images(file: Path) -> list[ColmapImage]:
    images = []
    lines = _lines(file)
    for where, words in lines:
        if not words:
            continue
        if len(words) < 10:
            raise FormatError(f"{where}: 'id qw qx qy qz tx ty tz camera name' was expected.")
        values = _floats(where, words[:9])
        _, seen = next(lines, (where, []))
        triples = np.array(_floats(where, seen), np.float64)
        if triples.size % 3:
            raise FormatError(f"{where}: the line after it holds no triples 'x y point'.")
        points = triples.reshape(-1, 3)[:, 2].astype(np.int64)
        images.append(_image(" ".join(words[9:]), int(values[8]), values[1:8], points))
    return images


def _text_points(file: Path) -> dict[int, np.ndarray]:
    rows = (_floats(where, words[:4]) for where, words in _lines(file) if words)
    return {int(row[0]): np.array(row[1:4]) for row in rows if len(row) == 4}


def _image(name: str, camera: int, values: list[float], points: np.ndarray) -> ColmapImage:
    w, x, y, z, right, down, forward = values
    return ColmapImage(name, camera, (w, x, y, z), (right, down, forward), points)


def _lines(file: Path) -> Iterator[tuple[str, list[str]]]:
    for number, line in enumerate(read_text(file).splitlines()):
        if not line.startswith("#"):
            yield f"{file}, line {number + 1}", line.split()


def _floats(where: str, words: list[str]) -> list[float]:
    try:
        values = [float(word) for word in words]
    except ValueError as error:
        raise FormatError(f"{where}: numbers were expected ({error}).") from error
    if not np.isfinite(values).all():
        raise FormatError(f"{where}: holds NaN or infinity; leave such images out of the model.")
    return values


def _unknown(file: Path, model: str) -> FormatError:
    known = ", ".join(name for name, _ in MODELS.values())
    return FormatError(
        f"{file}: the camera model {model} is not read; known: {known}. Run colmap "
        "image_undistorter, which makes PINHOLE cameras."
    )


_BINARY = (_binary_cameras, _binary_images, _binary_points)
_TEXT = (_text_cameras, _text_images, _text_points)
