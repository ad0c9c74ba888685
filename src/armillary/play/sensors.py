"""Sensors: what may be shown of a step beside colour, and its points in 3-D.

Points are those of a recorded cloud; else those of a depth camera whose lens is known; else those
of a LiDAR.

Convention: metres, z up; camera axes are x right, y down, z ahead; LiDAR axes are x ahead, y left.
Axes: H W image, N beams, P points, F features of a point.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8

from armillary.core.values import Observation
from armillary.spatial import point_map
from armillary.worlds.beams import beam_directions

COLOUR, DEPTH, POINTS = SENSORS = ("colour", "depth", "points")
MOST_POINTS = 4096
# Where no pose is known, a camera lies in the origin and looks along x.
_LEVEL_FROM_CAMERA = np.array(
    [[0.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)


@dataclass(frozen=True)
class Sensors:
    """What a source gives beside colour.

    Attributes:
        names: of ``SENSORS``, colour first.
        beams_rad: azimuth and elevation of a LiDAR's beams; None where none is known.
        columns: names of the features of recorded points, ``x y z`` first.
        frame: of recorded points, as in ``Stream``: "camera", "lidar", "world", ...
        aligned: whether depth and colour are of one camera, so that their pixels are the same.
    """

    names: tuple[str, ...] = (COLOUR,)
    beams_rad: Float[np.ndarray, "N 2"] | None = None
    columns: tuple[str, ...] = ()
    frame: str = ""
    aligned: bool = True


@dataclass(frozen=True)
class Cloud:
    """Points of one step, at most ``MOST_POINTS``.

    Attributes:
        xyz_m: in the world where the sensor's pose is known, else from the sensor.
        rgb: colour of each; None where the sensor gives none.
        shade_m: of each, what tells points without colour apart.
        shade: what that is: "distance" from the sensor, or "height".
        sensor_m: where the sensor is; None where nobody knows.
        ahead: unit vector along which it looks.
        dot_m: half the width that a pixel of a depth camera covers; 0 for others.
    """

    xyz_m: Float[np.ndarray, "P 3"]
    rgb: UInt8[np.ndarray, "P 3"] | None
    shade_m: Float[np.ndarray, " P"]
    shade: Literal["distance", "height"]
    sensor_m: Float[np.ndarray, " 3"] | None
    ahead: Float[np.ndarray, " 3"]
    dot_m: float = 0.0


def cloud_of(
    seen: Observation, sensors: Sensors, picture: UInt8[np.ndarray, "H W 3"] | None
) -> Cloud:
    """Return the points of an observation.

    Args:
        seen: with ``points``, or ``depth`` and ``intrinsics``, or ``lidar``.
        sensors: of its source.
        picture: of the same step, as large as the depth; None for no colours.
    """
    if "points" in seen.streams:
        return _of_points(seen.streams["points"], sensors)
    if "depth" in seen.streams and "intrinsics" in seen.streams:
        return _of_depth(seen, picture if sensors.aligned else None)
    return _of_scan(seen, sensors)


def _of_points(points: Float[np.ndarray, "P F"], sensors: Sensors) -> Cloud:
    kept = points[np.isfinite(points[:, :3]).all(1)]
    kept = kept[:: max(1, math.ceil(len(kept) / MOST_POINTS))]
    place = _LEVEL_FROM_CAMERA if sensors.frame == "camera" else np.eye(4)
    xyz = kept[:, :3].astype(np.float64) @ place[:3, :3].T
    rgb = None
    if {"r", "g", "b"} <= {*sensors.columns}:
        shares = kept[:, [sensors.columns.index(name) for name in "rgb"]]
        rgb = (np.nan_to_num(shares).clip(0, 1) * 255).round().astype(np.uint8)
    if sensors.frame == "world":  # its origin is anywhere
        return Cloud(xyz, rgb, xyz[:, 2], "height", None, np.array([1.0, 0.0, 0.0]))
    return _around(xyz, rgb, np.eye(4), axis=0)


def _of_depth(seen: Observation, picture: UInt8[np.ndarray, "H W 3"] | None) -> Cloud:
    depth = torch.from_numpy(np.asarray(seen.streams["depth"], np.float64))
    lens = torch.from_numpy(np.asarray(seen.streams["intrinsics"], np.float64))
    pose = np.asarray(seen.streams.get("world_from_camera", _LEVEL_FROM_CAMERA), np.float64)
    points, valid = point_map(depth, lens, torch.from_numpy(pose))
    step = _step(depth.shape[0], depth.shape[1])
    drawn = np.zeros(tuple(depth.shape), bool)
    drawn[::step, ::step] = valid.numpy()[::step, ::step]
    rgb = None if picture is None else np.ascontiguousarray(picture[drawn])
    away = float(np.median(depth.numpy()[drawn])) if drawn.any() else 0.0
    cloud = _around(points.numpy()[drawn], rgb, pose, axis=2)
    return replace(cloud, dot_m=step * away / float(lens[0, 0]) / 2)


def _of_scan(seen: Observation, sensors: Sensors) -> Cloud:
    assert sensors.beams_rad is not None, "points of a LiDAR are offered where its beams are known"
    ranges = np.asarray(seen.streams["lidar"], np.float64)
    pose = np.asarray(seen.streams.get("world_from_lidar", np.eye(4)), np.float64)
    returned = np.flatnonzero(np.isfinite(ranges) & (ranges > 0))
    returned = returned[:: max(1, math.ceil(len(returned) / MOST_POINTS))]
    own = ranges[returned, None] * beam_directions(sensors.beams_rad[returned])
    return _around(own @ pose[:3, :3].T + pose[:3, 3], None, pose, axis=0)


def _around(
    xyz: Float[np.ndarray, "P 3"],
    rgb: UInt8[np.ndarray, "P 3"] | None,
    pose: Float[np.ndarray, "4 4"],
    axis: int,
) -> Cloud:
    """Return points with their distance from the sensor, which looks along an axis of its pose."""
    away = np.linalg.norm(xyz - pose[:3, 3], axis=1)
    return Cloud(xyz, rgb, away, "distance", pose[:3, 3].copy(), pose[:3, axis].copy())


def _step(rows: int, columns: int) -> int:
    """Return which rows and columns of pixels become points: every first, second, third, ..."""
    step = 1
    while math.ceil(rows / step) * math.ceil(columns / step) > MOST_POINTS:
        step += 1
    return step
