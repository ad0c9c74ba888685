"""Pictures: PNG files of a bounded size, for a language model to look at.

Axes: H W image.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from matplotlib import colormaps
from PIL import Image

from armillary.data.depth import to_metres
from armillary.data.resize import resized
from armillary.report.images import depth_picture, depth_range
from armillary.services.view.episodes import small_picture

MOST_COLUMNS = 6
_CELL_PX, _GAP_PX = 128, 4

Picture = UInt8[np.ndarray, "H W 3"]


def png(picture: Picture) -> bytes:
    """Return a picture as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(file, "PNG", optimize=True)
    return file.getvalue()


def coloured(image: np.ndarray, kind: str, side_px: int) -> Picture:
    """Return a recorded picture as colours, its longer side at most ``side_px``.

    Args:
        image: rgb uint8 [H W 3], depth uint16 millimetres [H W], or labels uint8 [H W].
        kind: of its stream.
        side_px: at most; smaller pictures are not enlarged.
    """
    small = small_picture(image, side_px, average=kind == "rgb")
    if kind == "depth":
        metres = to_metres(small)
        near, far = depth_range((metres,)) or (0.0, 1.0)
        return np.ascontiguousarray(depth_picture(metres, near, far)[..., :3])
    if small.ndim == 2:
        labels = colormaps["tab20"](small % 20)[..., :3]
        return (labels * 255).round().astype(np.uint8)
    return small


def strip(rows: Sequence[Sequence[np.ndarray]]) -> Picture:
    """Return rows of pictures as one, on white; at most six columns are drawn.

    Args:
        rows: uint8 [H W 3], each with the same number of pictures.
    """
    side = _CELL_PX + _GAP_PX
    columns = min(len(rows[0]), MOST_COLUMNS)
    sheet = np.full((len(rows) * side - _GAP_PX, columns * side - _GAP_PX, 3), 255, np.uint8)
    for down, row in enumerate(rows):
        for right, picture in enumerate(row[:columns]):
            cell = _cell(picture)
            top, left = down * side, right * side
            sheet[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
    return sheet


def _cell(picture: Picture) -> UInt8[np.ndarray, "_ _ 3"]:
    """Return a picture that fills its cell: small ones are enlarged without blur."""
    times = max(1, _CELL_PX // max(picture.shape[:2]))
    if times > 1:
        rows, columns = picture.shape[:2]
        return resized(picture, (rows * times, columns * times), average=False)
    return small_picture(picture, _CELL_PX)
