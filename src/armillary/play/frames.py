"""Frames as bytes: a length, JSON, and what is shown of both sides.

4 bytes   length of the JSON, little-endian
JSON      the facts, with "imagined" and "real": bytes of each side (0: as before, or none)
sides     one after the other: a picture as WebP, or points

Points are x, y, z of each (int16, little-endian), then red, green and blue of each (uint8). The
fact "clouds" has, by side, their ``count``, their ``scale`` in metres, and where the ``sensor`` is.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from armillary.play.session import Frame
from armillary.play.showing import Points, Shown

SIDE_PX = 128
_QUALITY = 82
_METHOD = 1  # of WebP, 0 to 6: half the time of OpenCV's for 128 pixels, and a third more bytes


def pack_frame(frame: Frame, about: Mapping[str, Any], side_px: int = SIDE_PX) -> bytes:
    """Return a frame as bytes.

    Args:
        frame: its colour pictures are brought to ``side_px`` on the longer side.
        about: facts beside its own.
        side_px: pixels.
    """
    imagined = _side(frame.imagined, side_px)
    real = b"" if frame.real is None else _side(frame.real, side_px)
    facts = {**frame.facts, **about, "imagined": len(imagined), "real": len(real)}
    sides = {"imagined": frame.imagined, "real": frame.real}
    clouds = {name: _about(side) for name, side in sides.items() if isinstance(side, Points)}
    facts |= {"clouds": clouds} if clouds else {}
    head = json.dumps(facts, allow_nan=False, separators=(",", ":")).encode()
    return struct.pack("<I", len(head)) + head + imagined + real


def _side(shown: Shown, side_px: int) -> bytes:
    if isinstance(shown, Points):
        return shown.xyz.astype("<i2").tobytes() + shown.rgb.tobytes()
    return webp(shown, side_px) if shown.shape[2] == 3 else exact_webp(shown)


def _about(points: Points) -> dict[str, Any]:
    return {"count": len(points.xyz), "scale": points.scale_m, "sensor": points.sensor}


def exact_webp(picture: UInt8[np.ndarray, "H W 4"]) -> bytes:
    """Return a picture as WebP without loss, in its own size: its colours stand for numbers."""
    data = BytesIO()
    Image.fromarray(picture).save(data, "WEBP", lossless=True, quality=0, method=0)
    return data.getvalue()


def webp(picture: UInt8[np.ndarray, "H W 3"], side_px: int) -> bytes:
    """Return a picture as WebP."""
    rows, columns = picture.shape[:2]
    scale = side_px / max(rows, columns)
    size = max(1, round(columns * scale)), max(1, round(rows * scale))
    way = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    bigger = picture if scale == 1 else cv2.resize(picture, size, interpolation=way)
    data = BytesIO()
    Image.fromarray(bigger).save(data, "WEBP", quality=_QUALITY, method=_METHOD)
    return data.getvalue()
