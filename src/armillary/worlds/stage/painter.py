"""Painter: pictures of a scene, with smooth edges, so that places finer than a pixel show.

Axes: T steps, H W picture (row 0 is the top).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

from armillary.worlds.stage.scene import REACH, STAGE, Box, Scene, Thing


def paint(scene: Scene, size: int = 64) -> UInt8[np.ndarray, "T H W 3"]:
    """Return every step of a scene, the camera panning as the scene says.

    Args:
        scene: what to paint.
        size: H = W, pixels.
    """
    moves = np.concatenate([np.zeros((1, 2)), np.cumsum(scene.pans(), axis=0)])
    back = None if np.any(moves) else _back(scene, size, np.zeros(2))
    frames = [paint_step(scene, step, size, moves[step], back) for step in range(scene.steps)]
    return np.stack(frames)


def paint_step(
    scene: Scene,
    step: int,
    size: int,
    camera: Float[np.ndarray, " 2"],
    back: Float[np.ndarray, "H W 3"] | None = None,
) -> UInt8[np.ndarray, "H W 3"]:
    """Return one step of a scene.

    Args:
        scene: what to paint.
        step: of the scene.
        size: H = W, pixels.
        camera: where the camera has moved to, units; 0, 0 at the start.
        back: background and boxes as seen from there, where they are painted already.
    """
    picture = _back(scene, size, camera) if back is None else back.copy()
    scale = size / STAGE
    for thing in scene.things:
        _blend_thing(picture, thing, (thing.path[step] - camera) * scale, scale)
    for screen in scene.screens:
        down = 0.0 if screen.lowered is None else float(screen.lowered[step])
        _blend_box(picture, screen, camera - (0.0, down), scale)
    if scene.light is not None:
        picture *= scene.light[step]
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8)


def _back(scene: Scene, size: int, camera: np.ndarray) -> Float[np.ndarray, "H W 3"]:
    picture = np.empty((size, size, 3), np.float32)
    picture[:] = scene.background
    for box in scene.boxes:
        _blend_box(picture, box, camera, size / STAGE)
    return picture


def _blend_thing(picture: np.ndarray, thing: Thing, place: np.ndarray, scale: float) -> None:
    radius = thing.radius * scale
    reach = int(np.ceil(1.3 * radius)) + 1
    size = len(picture)
    x, y = float(place[0]), float(place[1])
    left, right = max(0, int(x) - reach), min(size, int(x) + reach + 1)
    top, bottom = max(0, int(y) - reach), min(size, int(y) + reach + 1)
    if left >= right or top >= bottom:
        return
    across = np.abs(np.arange(left, right, dtype=np.float32) + 0.5 - x)[None]
    down = np.abs(np.arange(top, bottom, dtype=np.float32) + 0.5 - y)[:, None]
    if thing.shape == "disc":
        outside = np.sqrt(across**2 + down**2) - radius
    elif thing.shape == "square":
        outside = np.maximum(across, down) - REACH["square"] * radius
    else:
        outside = (across + down - REACH["diamond"] * radius) / np.sqrt(np.float32(2))
    cover = np.clip(0.5 - outside, 0, 1)[..., None]
    part = picture[top:bottom, left:right]
    part += cover * (np.asarray(thing.colour, np.float32) - part)


def _blend_box(picture: np.ndarray, box: Box, camera: np.ndarray, scale: float) -> None:
    size = len(picture)
    edges = np.arange(size + 1, dtype=np.float32)
    across = _cover(edges, (box.left - camera[0]) * scale, (box.right - camera[0]) * scale)
    down = _cover(edges, (box.top - camera[1]) * scale, (box.bottom - camera[1]) * scale)
    rows, columns = np.flatnonzero(down), np.flatnonzero(across)
    if not len(rows) or not len(columns):
        return
    part = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    cover = np.outer(down[rows[0] : rows[-1] + 1], across[columns[0] : columns[-1] + 1])[..., None]
    part += cover * (np.asarray(box.colour, np.float32) - part)


def _cover(edges: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return the share of each pixel between two limits."""
    return np.diff(np.clip(edges, low, high))
