"""Stills: pictures that become a video as they are, encoded already, so that nothing is lost.

Each packet of the video is one picture file: PNG, lossless, or the JPEG that a camera wrote. Every
frame can be decoded without another one. Depth keeps its own unit, which stands beside it.

Axes: H W image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from armillary.core.errors import FormatError
from armillary.core.files import replacing
from armillary.core.values import StreamKind
from armillary.data.encoded import MILLIMETRE, decode_depth, decode_rgb, in_millimetres
from armillary.data.video import VideoReader, decoding, rate

_REPACKED_QUALITY = 95
_MOST = 65535


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
            raise FormatError(f"{path}: a video needs at least one frame; got none.")
    return count


class StillsReader(VideoReader):
    """A video of stills, whose pictures are decoded as picture files are.

    So a damaged one is an error, where video decoders may show the picture before it instead.
    """

    def __init__(self, path: Path, kind: StreamKind) -> None:
        super().__init__(path, kind)
        self._decode_file = decode_rgb if kind == "rgb" else decode_depth
        self._packets: Iterator[Any] = iter(())
        self._next = -1  # index of the packet that comes next; going on from it needs no seek

    def _picture(self, index: int) -> np.ndarray:
        self._check_index(index)
        with decoding(self.path):
            if index != self._next:
                self._container.seek(self._pts[index], stream=self._stream, backward=True)
                self._packets = self._container.demux(self._stream)
            for packet in self._packets:
                if packet.pts is not None and packet.pts >= self._pts[index]:
                    self._next = index + 1
                    return self._decode_file(bytes(packet), f"{self.path}: frame {index}")
        self._next = -1
        raise FormatError(f"{self.path}: frame {index} of {len(self)} cannot be decoded.")


def repacked(image: np.ndarray, form: StillForm) -> Still:
    """Return a decoded picture in the form that the others of its video have.

    Args:
        image: rgb uint8 [H W 3] or depth uint16 millimetres [H W].
        form: PNG loses nothing; JPEG is written at quality 95.

    Raises:
        FormatError: depth that the form's unit cannot hold exactly.
    """
    if form.metres_per_unit:
        data = _file(".png", _in_units(image, form.metres_per_unit))
    elif form.codec == "png":
        data = _file(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    else:
        sampling = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{form.pixels[4:7]}")
        how = [cv2.IMWRITE_JPEG_QUALITY, _REPACKED_QUALITY]
        how += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
        data = _file(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), how)
    return Still(data, form, lambda: image)


def _file(suffix: str, image: np.ndarray, how: Sequence[int] = ()) -> bytes:
    done, data = cv2.imencode(suffix, image, how)
    if not done:
        raise FormatError(f"A picture of {image.shape} could not be encoded as {suffix}.")
    return data.tobytes()


def _in_units(millimetres: np.ndarray, metres_per_unit: float) -> np.ndarray:
    whole = np.rint(millimetres * (MILLIMETRE / metres_per_unit))
    units = whole.clip(max=_MOST).astype(np.uint16)  # the farthest number may round up beyond it
    if not np.array_equal(in_millimetres(units, metres_per_unit), millimetres):
        raise FormatError(
            f"a depth of up to {millimetres.max() / 1000:.1f} m does not fit the unit of the "
            f"pictures before it, {metres_per_unit:g} m; pass --pictures encoded, which makes "
            "millimetres of all."
        )
    return units


def _add_stream(container: Any, form: StillForm, fps: float | int) -> Any:
    stream = container.add_stream(form.codec, rate=rate(fps))
    stream.height, stream.width = form.rows, form.columns
    stream.pix_fmt = form.pixels
    return stream
