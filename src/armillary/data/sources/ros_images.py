"""Images of ROS: raw and compressed, as colour or as depth in millimetres.

Convention: depth of 16UC1 is millimetres, of 32FC1 metres (REP-118); 0 and NaN are invalid.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8, UInt16

from armillary.core.errors import FormatError
from armillary.data.encoded import MILLIMETRE, decode_depth, decode_rgb
from armillary.data.sources.pictures import depth_mm
from armillary.data.sources.still_files import colour_form, depth_form
from armillary.data.stills import StillForm
from armillary.data.video import MAX_PIXELS

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
Role = Literal["rgb", "grey", "depth"]
# channels in their order on disk, and which of them are red, green, blue
_COLOURS = {
    "rgb8": (3, (0, 1, 2)),
    "bgr8": (3, (2, 1, 0)),
    "rgba8": (4, (0, 1, 2)),
    "bgra8": (4, (2, 1, 0)),
    "mono8": (1, (0, 0, 0)),
    "8UC1": (1, (0, 0, 0)),
}
_DEPTHS = {"16UC1": ("u2", 0.001), "mono16": ("u2", 0.001), "32FC1": ("f4", 1.0)}
_COMPRESSED_DEPTH_HEADER = 12  # bytes of a configuration that only matters for 32FC1


ENCODINGS = (*_COLOURS, *_DEPTHS)


def encoding_of(message: Any) -> str:
    """Return how an Image or CompressedImage is encoded, as it says itself."""
    return str(message.format if hasattr(message, "format") else message.encoding)


def role_of(message: Any, topic: str) -> Role | None:
    """Return what a message shows, from its encoding; None where it is none that is read."""
    if hasattr(message, "format"):
        encoding = message.format
        return "depth" if "compressedDepth" in encoding or "16UC1" in encoding else "rgb"
    if message.encoding == "mono16":  # infrared cameras use it, too
        return "depth" if "depth" in topic else None
    if message.encoding in _DEPTHS:
        return "depth"
    if message.encoding in _COLOURS:
        return "grey" if _COLOURS[message.encoding][0] == 1 else "rgb"
    return None


def colour_of(message: Any, where: str) -> UInt8[np.ndarray, "H W 3"]:
    """Return the picture of an Image or CompressedImage.

    Raises:
        FormatError: an unknown encoding, or fewer bytes than the size needs.
    """
    if hasattr(message, "format"):
        return decode_rgb(bytes(message.data), where)
    channels, order = _COLOURS.get(message.encoding, (0, ()))
    if not channels:
        raise _unknown(message.encoding, where)
    rows = _rows(message, channels, where)
    pixels = rows.reshape(message.height, message.width, channels)
    return np.ascontiguousarray(pixels[..., list(order)])


def depth_of(message: Any, scale: float | None, where: str) -> UInt16[np.ndarray, "H W"]:
    """Return the depth of an Image or CompressedImage in millimetres.

    Args:
        message: of ROS.
        scale: metres of one unit; None takes what the encoding says.
        where: bag and topic, for the sentence.

    Raises:
        FormatError: an unknown encoding, a unit that cannot be, or fewer bytes than needed.
    """
    if hasattr(message, "format"):
        raw = decode_depth(_depth_file(message, where), where)
        return depth_mm(raw, scale or MILLIMETRE, where)
    if message.encoding not in _DEPTHS:
        raise _unknown(message.encoding, where)
    kind, unit = _DEPTHS[message.encoding]
    dtype = np.dtype(kind).newbyteorder(">" if message.is_bigendian else "<")
    raw = _rows(message, dtype.itemsize, where).view(dtype)
    return depth_mm(raw, scale or unit, where)


def still_of(
    message: Any, depth: bool, scale: float | None, where: str
) -> tuple[bytes, StillForm] | None:
    """Return a CompressedImage that can be kept as it is, and its form; None for all others.

    Args:
        message: of ROS.
        depth: whether it is depth.
        scale: metres of one unit; None for millimetres.
        where: bag and topic, for the sentence.

    Raises:
        FormatError: an unknown encoding, or damaged.
    """
    if not hasattr(message, "format"):
        return None
    data = _depth_file(message, where) if depth else bytes(message.data)
    form = depth_form(data, scale or MILLIMETRE, where) if depth else colour_form(data, where)
    return None if form is None else (data, form)


def _depth_file(message: Any, where: str) -> bytes:
    data = bytes(message.data)
    if "compressedDepth" in message.format:
        if "32FC1" in message.format:
            raise _unknown(message.format, where)
        return data[_COMPRESSED_DEPTH_HEADER:]
    return data


def _rows(message: Any, pixel_bytes: int, where: str) -> np.ndarray:
    """Return the bytes of the pixels [H, W pixel_bytes] without what pads each row."""
    rows, columns, step = message.height, message.width, message.step
    data = np.asarray(message.data, np.uint8)
    fits = 0 < rows * columns <= MAX_PIXELS and columns * pixel_bytes <= step
    if not fits or rows * step > len(data):
        raise FormatError(
            f"{where}: an image of {columns}x{rows} ({message.encoding}, {step} bytes a row) was "
            f"promised, {len(data)} bytes were found; the message is damaged."
        )
    used = data[: rows * step].reshape(rows, step)[:, : columns * pixel_bytes]
    return np.ascontiguousarray(used)


def _unknown(encoding: str, where: str) -> FormatError:
    known = ", ".join(ENCODINGS)
    return FormatError(f"{where}: images of encoding {encoding!r} are not read; known: {known}.")
