"""Rays of the yard: how far beams fly until they hit a wall, a box or a post. Exact, in the plane.

Axes: *B any batch axes, N beams, M segments, C circles.
Convention: metres, world frame; infinity where nothing is hit.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64


def cast(
    eye_m: Float[np.ndarray, "*B 2"],
    azimuth_rad: Float[np.ndarray, "*B N"],
    segments_m: Float[np.ndarray, "M 4"],
    circles_m: Float[np.ndarray, "C 3"],
) -> Float64[np.ndarray, "*B N"]:
    """Return the range of each beam.

    Args:
        eye_m: where beams begin; inside a circle, its far side is hit.
        azimuth_rad: their directions in the world.
        segments_m: both ends, (x, y, x, y).
        circles_m: middle and radius, (x, y, radius).
    """
    along = np.stack([np.cos(azimuth_rad), np.sin(azimuth_rad)], axis=-1)
    walls = _to_segments(eye_m, along, segments_m)
    posts = _to_circles(eye_m, along, circles_m)
    return np.minimum(walls, posts)


def _to_segments(eye: np.ndarray, along: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """Cramer's rule for eye + r along = start + s edge, with s within 0 to 1."""
    start, edge = segments[:, :2], segments[:, 2:] - segments[:, :2]
    gap = start - eye[..., None, :]  # *B M 2
    cross = along[..., :1] * edge[:, 1] - along[..., 1:] * edge[:, 0]  # *B N M
    reach = (gap[..., 0] * edge[:, 1] - gap[..., 1] * edge[:, 0])[..., None, :]
    share = along[..., 1:] * gap[..., None, :, 0] - along[..., :1] * gap[..., None, :, 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        range_m, place = reach / cross, share / cross
    hit = (cross != 0) & (range_m >= 0) & (place >= 0) & (place <= 1)
    return np.where(hit, range_m, np.inf).min(axis=-1, initial=np.inf)


def _to_circles(eye: np.ndarray, along: np.ndarray, circles: np.ndarray) -> np.ndarray:
    """The nearer root of |eye + r along - middle| = radius, or the farther one from inside."""
    gap = circles[:, :2] - eye[..., None, :]  # *B C 2
    ahead = along[..., :1] * gap[..., None, :, 0] + along[..., 1:] * gap[..., None, :, 1]
    outside = np.square(gap).sum(-1) - np.square(circles[:, 2])
    under = np.square(ahead) - outside[..., None, :]
    half = np.sqrt(np.maximum(under, 0.0))
    near, far = ahead - half, ahead + half
    range_m = np.where(near >= 0, near, far)
    hit = (under >= 0) & (range_m >= 0)
    return np.where(hit, range_m, np.inf).min(axis=-1, initial=np.inf)
