"""The picture of a yard from above: edges are smooth, so places finer than a pixel show.

Axes: H W image; row 0 is the north (y highest).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, UInt8

from armillary.worlds.yard.drive import Pose
from armillary.worlds.yard.layout import MOVER_RADIUS_M, VEHICLE_RADIUS_M, Layout

# The widest yard and a margin around it.
SHOWN_M = 10.6
_FLOOR, _THING, _OUTSIDE = (236, 233, 224), (62, 74, 94), (104, 114, 128)
_VEHICLE, _NOSE, _MOVER = (226, 84, 44), (255, 236, 214), (34, 139, 120)


def draw_map(layout: Layout, size: int) -> UInt8[np.ndarray, "H W 3"]:
    """Return the yard without vehicle and mover."""
    places, pixel_m = _places(size)
    solid = np.clip(0.5 - layout.clearance(places) / pixel_m, 0.0, 1.0)[..., None]
    beyond = (np.abs(places) - layout.half_m).max(axis=-1)
    outside = np.clip(0.5 + (beyond - 0.08) / pixel_m, 0.0, 1.0)[..., None]
    picture = (1 - solid) * _FLOOR + solid * ((1 - outside) * _THING + outside * _OUTSIDE)
    return picture.round().astype(np.uint8)


def draw_moment(
    ground: UInt8[np.ndarray, "H W 3"], pose: Pose, mover: Float64[np.ndarray, " 2"] | None
) -> UInt8[np.ndarray, "H W 3"]:
    """Return the picture with the vehicle, whose light nose tells its heading, and the mover."""
    picture = ground.astype(np.float64)
    if mover is not None:
        _dot(picture, mover, MOVER_RADIUS_M, _MOVER)
    _dot(picture, pose.xy, VEHICLE_RADIUS_M, _VEHICLE)
    ahead = np.array([np.cos(pose.yaw_rad), np.sin(pose.yaw_rad)])
    _dot(picture, pose.xy + 0.6 * VEHICLE_RADIUS_M * ahead, 0.4 * VEHICLE_RADIUS_M, _NOSE)
    return picture.round().astype(np.uint8)


def _dot(picture: np.ndarray, xy: np.ndarray, radius_m: float, rgb: tuple[int, int, int]) -> None:
    places, pixel_m = _places(len(picture))
    gap = np.hypot(places[..., 0] - xy[0], places[..., 1] - xy[1]) - radius_m
    cover = np.clip(0.5 - gap / pixel_m, 0.0, 1.0)[..., None]
    picture += cover * (np.array(rgb) - picture)


def _places(size: int) -> tuple[Float64[np.ndarray, "H W 2"], float]:
    """Return where pixels' middles lie in the world, and how wide one is, metres."""
    pixel_m = SHOWN_M / size
    line = (np.arange(size) + 0.5) * pixel_m - SHOWN_M / 2
    return np.stack(np.meshgrid(line, -line), axis=-1), pixel_m
