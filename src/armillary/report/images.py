"""Pictures inside the page: PNG as data URIs, and depth as colour.

Axes: H W image.
"""

from __future__ import annotations

import base64
import io

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import colormaps
from PIL import Image


def png_uri(picture: UInt8[np.ndarray, "H W C"]) -> str:
    """Return an RGB or RGBA picture as a ``data:image/png`` URI."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def depth_range(depths: tuple[Float[np.ndarray, "H W"], ...]) -> tuple[float, float] | None:
    """Return near and far (2nd and 90th percentile of the valid pixels, metres), or None.

    The farthest tenth is mostly floor; colours are kept for what stands on it.
    """
    valid = np.concatenate([depth[np.isfinite(depth) & (depth > 0)] for depth in depths] or [[]])
    if not valid.size:
        return None
    near, far = np.percentile(valid, [2, 90])
    return float(near), float(far)


def depth_picture(
    depth_m: Float[np.ndarray, "H W"], near_m: float, far_m: float, colours: str = "cividis"
) -> UInt8[np.ndarray, "H W 4"]:
    """Return depth as colour, near bright and far dark; invalid pixels are transparent.

    Args:
        depth_m: camera z.
        near_m: is brightest, as is what is nearer.
        far_m: is darkest, as is what is farther.
        colours: name of a map whose lightness is even to the eye.
    """
    valid = np.isfinite(depth_m) & (depth_m > 0)
    share = (far_m - np.where(valid, depth_m, far_m)) / max(far_m - near_m, 1e-9)
    picture = (colormaps[colours](share.clip(0, 1)) * 255).round().astype(np.uint8)
    picture[..., 3] = np.where(valid, 255, 0)
    return picture


def frames_around(count: int, event: int | None, shown: int = 8) -> list[int]:
    """Return which frames of a clip to show: consecutive ones around the event, or spread out."""
    if count <= shown:
        return list(range(count))
    if event is None:
        return np.linspace(0, count - 1, shown).round().astype(int).tolist()
    start = min(max(event - shown // 2, 0), count - shown)
    return list(range(start, start + shown))
