"""Moving pictures and points as text inside the page: sheets of pictures, and packed clouds.

A clip becomes a few large pictures (sheets) with many frames each, which a canvas shows one at a
time. Every browser can draw them at any frame at once, which a video element cannot promise.

Axes: T frames, H W image, P points.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import colormaps
from PIL import Image

from armillary.report.contents import CloudFrames

_SHEET_PX = 4096  # the largest side that every phone draws
_LOSSLESS_PX = 128 * 128  # small pictures are drawn large: they show every flaw


def sheets(frames: UInt8[np.ndarray, "T H W 3"]) -> dict[str, Any]:
    """Return a clip for ``player.js``: data URIs of sheets, and how the frames lie in them."""
    count, height, width = frames.shape[:3]
    columns = max(1, min(count, _SHEET_PX // width))
    per_sheet = columns * max(1, _SHEET_PX // height)
    uris = [
        webp_uri(_tiled(frames[start : start + per_sheet], columns), height * width <= _LOSSLESS_PX)
        for start in range(0, count, per_sheet)
    ]
    return {"width": width, "height": height, "columns": columns, "per": per_sheet, "sheets": uris}


def webp_uri(picture: UInt8[np.ndarray, "H W 3"], lossless: bool) -> str:
    """Return a picture as a ``data:image/webp`` URI."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(
        file, "WEBP", lossless=lossless, quality=70 if lossless else 82, method=4
    )
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


@dataclass(frozen=True)
class Framing:
    """How some clouds are looked at, all of them alike.

    Attributes:
        middle: of the view, metres.
        reach_m: radius in which most points lie.
        dot_m: half the side of a drawn point.
    """

    middle: Float[np.ndarray, " 3"]
    reach_m: float
    dot_m: float


def framing(clouds: Sequence[Float[np.ndarray, "_ 3"]]) -> Framing:
    """Return a view that is centred on the middle of all points, and reaches over most of them."""
    every = np.concatenate([*clouds, np.zeros((0, 3))])
    middle = np.median(every, axis=0) if len(every) else np.zeros(3)
    away = np.linalg.norm(every - middle, axis=1)
    reach = max(float(np.quantile(away, 0.6)) if len(every) else 1.0, 1e-6)
    largest = max(map(len, clouds), default=0)
    return Framing(middle, reach, 0.7 * reach / max(largest, 16) ** 0.5)


def packed_clouds(cloud: CloudFrames) -> dict[str, Any]:
    """Return points for ``player.js``: int16 of one scale, and a colour for each.

    Points that are not finite are left out.
    """
    kept = [np.isfinite(points).all(axis=1) for points in cloud.points]
    points = [each[keep].astype(np.float64) for each, keep in zip(cloud.points, kept, strict=True)]
    every = np.concatenate([*points, np.zeros((0, 3))])
    view = framing(points)
    scale = max(float(np.abs(every - view.middle).max(initial=0.0)) / 32767, 1e-9)
    if cloud.colours:
        colours = [each[keep] for each, keep in zip(cloud.colours, kept, strict=True)]
    else:
        colours = _by_height(points, every)
    return {
        "scale": scale,
        "reach": view.reach_m,
        "dot": view.dot_m,
        "eye": list(cloud.eye),
        "xyz": [_base64(np.rint((each - view.middle) / scale).astype("<i2")) for each in points],
        "rgb": [_base64(each.astype(np.uint8)) for each in colours],
    }


def _tiled(frames: np.ndarray, columns: int) -> np.ndarray:
    count, height, width = frames.shape[:3]
    rows = -(-count // columns)
    columns = min(columns, count)
    filled = np.zeros((rows * columns, height, width, 3), np.uint8)
    filled[:count] = frames
    grid = filled.reshape(rows, columns, height, width, 3)
    return grid.swapaxes(1, 2).reshape(rows * height, columns * width, 3)


def _by_height(points: list[np.ndarray], every: Float[np.ndarray, "P 3"]) -> list[np.ndarray]:
    low, high = np.quantile(every[:, 2], [0.02, 0.98]) if len(every) else (0.0, 1.0)
    span = max(high - low, 1e-9)
    return [on_dark((each[:, 2] - low) / span) for each in points]


def on_dark(share: Float[np.ndarray, " P"]) -> UInt8[np.ndarray, "P 3"]:
    """Return the colours of shares of a range, without the darkest ones: the canvas is dark."""
    return (
        (colormaps["viridis"](0.2 + 0.8 * share.clip(0, 1))[:, :3] * 255).round().astype(np.uint8)
    )


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
