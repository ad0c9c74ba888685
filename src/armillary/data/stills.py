"""Stills: pictures that become a video as they came, encoded already, so that nothing is lost.

Each packet of the video is one picture file: PNG, lossless, or the JPEG that a camera wrote. Every
frame can be decoded without another one. Depth keeps its own unit, which stands beside it.

Axes: H W image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from jaxtyping import UInt16

from armillary.core.errors import FormatError
from armillary.core.files import replacing
from armillary.data.depth import to_millimetres
from armillary.data.video import rate

MILLIMETRE = 0.001
_REPACKED_QUALITY = 95


@dataclass(frozen=True)
class StillForm:
    """How pictures are encoded; all of one video are alike.

    Attributes:
        codec: FFmpeg's name, ``png`` or ``mjpeg``.
        pixels: FFmpeg's name of the pixel format.
        rows: of a picture.
        columns: of a picture.
        metres_per_unit: of depth; 0 for colour.
    """

    codec: str
    pixels: str
    rows: int
    columns: int
    metres_per_unit: float = 0.0


@dataclass(frozen=True)
class Still:
    """An encoded picture; as an array it is rgb uint8 [H W 3] or depth uint16 millimetres [H W].

    Attributes:
        data: the file's bytes.
        form: how they are encoded.
        decode: returns the array.
    """

    data: bytes
    form: StillForm
    decode: Callable[[], np.ndarray]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""
        size = self.form.rows, self.form.columns
        return size if self.form.metres_per_unit else (*size, 3)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.decode(), dtype)


def write_stills(path: Path, stills: Iterable[Still], fps: float | int) -> int:
    """Write encoded pictures as a video file, in one step (beside, then rename).

    Args:
        path: where the mp4 goes.
        stills: all of one form.
        fps: frames per second.

    Returns:
        Number of pictures written.

    Raises:
        FormatError: there is no picture, or their forms differ.
        StorageError: the disk is full or not writable.
    """
    count, form = 0, None
    with replacing(path) as beside, av.open(str(beside), "w", format="mp4") as container:
        stream: Any = None
        for still in stills:
            if stream is None:
                form, stream = still.form, _add_stream(container, still.form, fps)
            if still.form != form:
                raise FormatError(f"{path}: frame {count} is {still.form}, the first is {form}.")
            packet = av.Packet(still.data)
            packet.stream, packet.time_base = stream, 1 / rate(fps)
            packet.pts = packet.dts = count
            packet.duration, packet.is_keyframe = 1, True
            container.mux(packet)
            count += 1
        if stream is None:
            raise FormatError(f"{path}: a video needs at least one frame, none came.")
    return count


def repacked(image: np.ndarray, form: StillForm) -> Still:
    """Return a decoded picture in the form that the others of its video have.

    Args:
        image: rgb uint8 [H W 3] or depth uint16 millimetres [H W].
        form: PNG loses nothing; JPEG is written at quality 95.

    Raises:
        FormatError: depth that does not fit 16 bits of the form's unit.
    """
    if form.metres_per_unit:
        image = _in_units(image, form.metres_per_unit)
        _, data = cv2.imencode(".png", image)
    elif form.codec == "png":
        _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    else:
        sampling = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{form.pixels[4:7]}")
        how = [cv2.IMWRITE_JPEG_QUALITY, _REPACKED_QUALITY]
        how += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
        _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), how)
    return Still(data.tobytes(), form, lambda: image)


def in_millimetres(
    units: UInt16[np.ndarray, "H W"], metres_per_unit: float
) -> UInt16[np.ndarray, "H W"]:
    """Return stored depth in millimetres; 0 where it is invalid or beyond what 16 bits hold."""
    return units if metres_per_unit == MILLIMETRE else _table(metres_per_unit)[units]


@lru_cache(maxsize=4)
def _table(metres_per_unit: float) -> UInt16[np.ndarray, " 65536"]:
    """Return the millimetres of every number that 16 bits hold: five times faster for a picture."""
    return to_millimetres(np.arange(1 << 16, dtype=np.float64) * metres_per_unit)


def _in_units(millimetres: np.ndarray, metres_per_unit: float) -> np.ndarray:
    units = np.rint(millimetres * (MILLIMETRE / metres_per_unit))
    if units.max() >= 1 << 16:
        raise FormatError(
            f"a depth of {millimetres.max() / 1000:.1f} m does not fit 16 bits of "
            f"{metres_per_unit:g} m, the unit of the pictures before it."
        )
    return units.astype(np.uint16)


def _add_stream(container: Any, form: StillForm, fps: float | int) -> Any:
    stream = container.add_stream(form.codec, rate=rate(fps))
    stream.height, stream.width = form.rows, form.columns
    stream.pix_fmt = form.pixels
    return stream
