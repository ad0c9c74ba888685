"""Lens: intrinsics and distortion as sources give them, and pictures brought to one pinhole.

A dataset holds one K per camera and no distortion. So every picture is drawn anew as the pinhole
of the episode would have seen it; where it saw nothing, colour is black and depth invalid.

Convention: K 3x3 in pixels, pixel centres at integers; distortion in OpenCV's order (k1 k2 p1 p2
k3 [k4 k5 k6]); depth is camera z, so it moves with its pixel and keeps its value.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from armillary.core.errors import FormatError
from armillary.data.resize import Size, resized_lens
from armillary.data.sources.text_files import numbers

Pinhole = tuple[float, float, float, float]


@dataclass(frozen=True)
class Lens:
    """What a source says about a camera.

    Attributes:
        pinhole: fx, fy, cx, cy in pixels, pixel centres at integers.
        distortion: OpenCV's coefficients; empty or all zero for a pinhole.
        size: rows and columns of the pictures it was measured on; None where unknown.
    """

    pinhole: Pinhole
    distortion: tuple[float, ...] = ()
    size: Size | None = None

    @property
    def intrinsics(self) -> np.ndarray:
        """K [3 3]."""
        fx, fy, cx, cy = self.pinhole
        return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])

    @property
    def is_pinhole(self) -> bool:
        """Whether straight lines stay straight."""
        return not any(self.distortion)

    def at(self, size: Size, where: str) -> Lens:
        """Return the lens in the pixels of a picture of another size.

        Raises:
            FormatError: the picture has another shape, so it was cropped somehow; or the middle of
                a lens that was measured on an untold size lies outside of it.
        """
        if self.size is None:
            _, _, cx, cy = self.pinhole
            if not (-0.5 <= cx <= size[1] - 0.5 and -0.5 <= cy <= size[0] - 0.5):
                raise FormatError(
                    f"{where}: is {size[1]}x{size[0]}, and the middle of its lens, {cx:g} {cy:g}, "
                    "lies outside: the intrinsics are of larger pictures. Pass those of these with "
                    "--intrinsics fx fy cx cy."
                )
        if self.size is None or self.size == size:
            return replace(self, size=size)
        if abs(self.size[0] * size[1] - self.size[1] * size[0]) > max(*self.size, *size):
            raise FormatError(
                f"{where}: is {size[1]}x{size[0]} but its intrinsics are for "
                f"{self.size[1]}x{self.size[0]}; pass theirs with "
                "--intrinsics fx fy cx cy."
            )
        k = resized_lens(self.intrinsics, self.size, size)
        return Lens(pinhole_of(k), self.distortion, size)


def pinhole_of(k: np.ndarray) -> Pinhole:
    """Return fx, fy, cx, cy of a matrix K [3 3] or larger."""
    return float(k[0, 0]), float(k[1, 1]), float(k[0, 2]), float(k[1, 2])


def checked(lens: Lens, where: str) -> Lens:
    """Return the lens if it can be one.

    Raises:
        FormatError: numbers that are not finite, a focal length of 0 or below, or no picture size.
    """
    if lens.size is not None and min(lens.size) < 1:
        raise FormatError(
            f"{where}: intrinsics of pictures of {lens.size[1]}x{lens.size[0]} pixels cannot be; "
            "correct their size, or pass --intrinsics fx fy cx cy."
        )
    known = np.isfinite([*lens.pinhole, *lens.distortion]).all()
    if not known or min(lens.pinhole[:2]) <= 0:
        raise FormatError(
            f"{where}: intrinsics fx, fy, cx, cy in pixels were expected, got "
            f"{', '.join(f'{n:g}' for n in lens.pinhole)}; pass --intrinsics fx fy cx cy."
        )
    return lens


def read_lens(path: Path) -> Lens:
    """Read a text file with a 3x3 or 4x4 matrix K, or with fx fy cx cy [k1 k2 p1 p2 k3].

    Raises:
        FormatError: it holds neither.
    """
    values = [float(value) for row in numbers(path) for value in row]
    where = str(path)
    if len(values) in (9, 16):
        k = np.array(values).reshape(3, 3) if len(values) == 9 else np.array(values).reshape(4, 4)
        if np.allclose(k[2], [0, 0, 1, 0][: len(k)]) and k[1, 0] == 0:
            return checked(Lens(pinhole_of(k)), where)
    if len(values) in (4, 8, 9):
        fx, fy, cx, cy, *distortion = values
        return checked(Lens((fx, fy, cx, cy), tuple(distortion)), where)
    raise FormatError(
        f"{path}: K as 3x3 or 4x4, or a line 'fx fy cx cy' with or without distortion, was "
        f"expected; got {len(values)} numbers. Pass --intrinsics fx fy cx cy instead."
    )


class Rectifier:
    """Brings pictures of any lens to one pinhole.

    Args:
        pinhole: the camera that all pictures shall be of; its ``size`` must be known.
    """

    def __init__(self, pinhole: Lens) -> None:
        self._pinhole = pinhole
        self._maps: dict[Lens, tuple[np.ndarray, np.ndarray]] = {}

    @property
    def intrinsics(self) -> np.ndarray:
        """K of the pictures that come out [3 3]."""
        return self._pinhole.intrinsics

    def leaves(self, lens: Lens, size: Size) -> bool:
        """Say whether pictures of this size, taken with ``lens``, stay as they are."""
        same = lens.is_pinhole and lens.pinhole == self._pinhole.pinhole
        return same and size == self._pinhole.size

    def __call__(self, image: np.ndarray, lens: Lens, *, average: bool) -> np.ndarray:
        """Return a picture as the pinhole would have seen it.

        Args:
            image: [H W ...], taken with ``lens``.
            lens: in the pixels of this picture.
            average: between pixels, for colour; depth takes the nearest.
        """
        if self.leaves(lens, (image.shape[0], image.shape[1])):
            return image
        along, down = self._maps_of(lens)
        how = cv2.INTER_LINEAR if average else cv2.INTER_NEAREST
        return cv2.remap(image, along, down, how, borderMode=cv2.BORDER_CONSTANT, borderValue=0)

    def _maps_of(self, lens: Lens) -> tuple[np.ndarray, np.ndarray]:
        if lens not in self._maps:
            if len(self._maps) > 8:  # a lens for every picture: keep memory bounded
                self._maps.clear()
            rows, columns = self._pinhole.size or (0, 0)
            distortion = np.array(lens.distortion or (0.0,) * 5)
            along, down = cv2.initUndistortRectifyMap(
                lens.intrinsics,
                distortion,
                np.eye(3),
                self._pinhole.intrinsics,
                (columns, rows),
                cv2.CV_32FC1,
            )
            self._maps[lens] = (along, down)
        return self._maps[lens]
