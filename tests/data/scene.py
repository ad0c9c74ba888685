"""A scene whose truth is known: a floor and a wall with a pattern, seen by a camera that walks.

World: z up, floor z = 0, wall y = 3. Depth and colour are analytic: each pixel's ray is cut with
both planes, so that depth is exact and each world point has one colour.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

ROWS, COLUMNS = 48, 64
K = np.array([[60.0, 0, 31.5], [0, 62.0, 24.0], [0, 0, 1.0]])
WALL_Y = 3.0


def pose(step: int) -> np.ndarray:
    """world_from_camera, OpenCV axes: at head height, looking along +y, down, and turning."""
    yaw, pitch = 0.05 * step - 0.1, 0.45
    forward = np.array([np.sin(yaw) * np.cos(pitch), np.cos(yaw) * np.cos(pitch), -np.sin(pitch)])
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    made = np.eye(4)
    made[:3, :3] = np.stack([right, np.cross(forward, right), forward], 1)
    made[:3, 3] = [0.1 * step, 0.03 * step, 1.5]
    return made


def poses(steps: int) -> np.ndarray:
    return np.stack([pose(step) for step in range(steps)])


def rays(k: np.ndarray = K, shape: tuple[int, int] = (ROWS, COLUMNS)) -> np.ndarray:
    """Camera rays with z = 1 of every pixel centre."""
    v, u = np.mgrid[: shape[0], : shape[1]]
    return np.stack([(u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1], np.ones(shape)], -1)


def depth_along(world_from_camera: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Camera z where rays [... 3] (z = 1) meet floor or wall."""
    turned = directions @ world_from_camera[:3, :3].T
    _, y, z = world_from_camera[:3, 3]
    with np.errstate(divide="ignore"):
        floor = np.where(turned[..., 2] < 0, -z / turned[..., 2], np.inf)
        wall = np.where(turned[..., 1] > 0, (WALL_Y - y) / turned[..., 1], np.inf)
    return np.minimum(floor, wall)


def depth_m(step: int, k: np.ndarray = K, shape: tuple[int, int] = (ROWS, COLUMNS)) -> np.ndarray:
    return depth_along(pose(step), rays(k, shape))


def colour_of(points: np.ndarray) -> np.ndarray:
    """Smooth and different everywhere near: red goes with x, green with y + z, blue is level."""
    red = 128 + 100 * np.sin(1.3 * points[..., 0])
    green = 128 + 100 * np.sin(0.9 * (points[..., 1] + points[..., 2]))
    return np.stack([red, green, np.full_like(red, 60)], -1).round().astype(np.uint8)


def rgb_along(world_from_camera: np.ndarray, directions: np.ndarray) -> np.ndarray:
    depth = depth_along(world_from_camera, directions)[..., None]
    points = (directions * depth) @ world_from_camera[:3, :3].T + world_from_camera[:3, 3]
    return colour_of(points)


def rgb(step: int, k: np.ndarray = K, shape: tuple[int, int] = (ROWS, COLUMNS)) -> np.ndarray:
    return rgb_along(pose(step), rays(k, shape))


def save_rgb(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1])


def save_depth(path: Path, metres: np.ndarray, units_per_metre: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.rint(metres * units_per_metre).astype(np.uint16))


def world_points(depth: np.ndarray, k: np.ndarray, world_from_camera: np.ndarray) -> np.ndarray:
    """Back-project: what a reader of the dataset would do with depth, K and pose."""
    points = rays(k, depth.shape) * depth[..., None]
    return points @ world_from_camera[:3, :3].T + world_from_camera[:3, 3]


def off_the_planes(points: np.ndarray) -> np.ndarray:
    """Distance in metres to the nearer of floor and wall."""
    return np.minimum(np.abs(points[..., 2]), np.abs(points[..., 1] - WALL_Y))


def check(episode, steps: list[int], quantum_m: float, *, colour: float | None = 8) -> None:
    """Poses to a millimetre, depth to the format's quantum, and every point on its plane."""
    seen = episode.streams
    found = seen["world_from_camera"].values
    assert np.allclose(found, np.stack([pose(s) for s in steps]), atol=1e-3)
    for at, step in enumerate(steps):
        depth, k = seen["depth"].values[at], seen["depth"].intrinsics
        valid = np.isfinite(depth)
        assert valid.mean() > 0.5
        truth = depth_m(step, k, depth.shape)
        assert np.abs(depth - truth)[valid].max() <= quantum_m
        points = world_points(depth.astype(np.float64), k, found[at])
        assert off_the_planes(points)[valid].max() < 3 * quantum_m + 1e-3
        both = valid & (np.abs(points[..., 2]) < 0.02)
        assert both.any()  # the floor is seen, at z = 0 and not above
        if colour is not None:
            truth_rgb = rgb(step, seen["rgb"].intrinsics, seen["rgb"].values.shape[1:3])
            error = np.abs(seen["rgb"].values[at].astype(int) - truth_rgb)
            assert np.percentile(error[2:-2, 2:-2], 95) <= colour
