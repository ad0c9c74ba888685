"""Episodes that play: pictures of every camera, and points in 3-D, of a dataset.

Points are those of LiDAR and other clouds. Without any, they come from a depth camera whose lens is
known.

Axes: T steps that are shown, H W image, P points.
"""

from __future__ import annotations

from itertools import repeat

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from armillary.core.rng import generator
from armillary.data import Dataset
from armillary.data.depth import to_metres
from armillary.data.resize import resized
from armillary.report import CloudFrames, EpisodeView, depth_picture, spread_steps
from armillary.report.images import depth_range
from armillary.spatial.cameras import unproject

_MOST_STEPS = 120
_MOST_CLOUDS = 40
_MOST_POINTS = 6000
_MOST_CAMERAS = 4
_SIDE_PX = 256


def episode_view(dataset: Dataset, episode: int) -> EpisodeView:
    """Return one episode of a dataset, small enough for a page.

    Args:
        dataset: an opened dataset.
        episode: number of it.

    Raises:
        DatasetError: there is no such episode, or a file is damaged.
    """
    low = dataset.read_low(episode)
    depths = [n for n, kind in dataset.cameras.items() if kind == "depth"]
    lens = next((n for n in depths if dataset.camera(episode, n).intrinsics is not None), None)
    pointed = bool(dataset.clouds) or lens is not None
    steps = spread_steps(len(low), _MOST_CLOUDS if pointed else _MOST_STEPS)
    time_s = (low.time_ns[list(steps)] - low.time_ns[0]) / 1e9
    clouds = {name: scan_frames(dataset, episode, name, steps) for name in dataset.clouds}
    if not clouds and lens is not None:
        clouds = {f"points of {lens}": _depth_frames(dataset, episode, lens, steps)}
    left_out = f" {len(steps)} of {len(low):,} steps are shown." if len(steps) < len(low) else ""
    return EpisodeView(
        title=f"Episode {episode}",
        time_s=time_s.astype(np.float64),
        steps=steps,
        pictures=_pictures(dataset, episode, steps),
        clouds={name: cloud for name, cloud in clouds.items() if cloud is not None},
        caption=f"Source: {low.source}.{left_out}",
    )


def picture_frames(
    dataset: Dataset, episode: int, name: str, steps: tuple[int, ...], side: int = _SIDE_PX
) -> UInt8[np.ndarray, "T H W 3"]:
    """Return pictures of one camera as colours, at most ``side`` pixels wide and high.

    Args:
        dataset: an opened dataset.
        episode: number of it.
        name: of the camera's stream; depth is drawn as colour, labels as luminance.
        steps: which pictures, ascending.
        side: the longer side at most, in pixels.
    """
    kind = dataset.cameras[name]
    found = dataset.frames(episode, name, list(steps))
    images = [small_picture(image, side, average=kind == "rgb") for image in found]
    if kind == "depth":
        depths = tuple(to_metres(image) for image in images)
        near, far = depth_range(depths) or (0.0, 1.0)
        images = [depth_picture(depth, near, far)[..., :3] for depth in depths]
        for image, depth in zip(images, depths, strict=True):
            image[~np.isfinite(depth)] = 0
    elif kind == "segmentation":
        images = [np.repeat((image * 37)[..., None], 3, axis=2) for image in images]
    return np.stack(images)


def small_picture(image: np.ndarray, side: int, average: bool = True) -> np.ndarray:
    """Return a picture whose longer side is at most ``side`` pixels; never enlarged.

    Args:
        image: [H W] or [H W 3].
        side: in pixels.
        average: mean of the pixels, for colours; else the nearest one, for depth and labels.
    """
    rows, columns = image.shape[:2]
    share = min(1.0, side / max(rows, columns))
    return resized(image, (max(1, round(rows * share)), max(1, round(columns * share))), average)


def scan_frames(
    dataset: Dataset, episode: int, name: str, steps: tuple[int, ...]
) -> CloudFrames | None:
    """Return the clouds of one stream in the sensor's frame, z up; None where all are empty.

    Args:
        dataset: an opened dataset.
        episode: number of it.
        name: of the stream, one of ``dataset.clouds``.
        steps: which clouds, ascending.
    """
    columns = dataset.columns(name)
    colour = [columns.index(c) for c in ("r", "g", "b")] if {"r", "g", "b"} <= {*columns} else []
    frame = dataset.sidecar(episode)["streams"][name]["frame"]
    points, colours = [], []
    for number, cloud in enumerate(dataset.points(episode, name, list(steps))):
        some = cloud[_some(len(cloud), number)]
        points.append(_z_up(some[:, :3]) if frame == "camera" else some[:, :3])
        if colour:
            colours.append((some[:, colour].clip(0, 1) * 255).round().astype(np.uint8))
    if not any(map(len, points)):
        return None
    return CloudFrames(tuple(points), tuple(colours))


def _pictures(
    dataset: Dataset, episode: int, steps: tuple[int, ...]
) -> dict[str, UInt8[np.ndarray, "T H W 3"]]:
    names = list(dataset.cameras)[:_MOST_CAMERAS]
    return {name: picture_frames(dataset, episode, name, steps) for name in names}


def _depth_frames(
    dataset: Dataset, episode: int, name: str, steps: tuple[int, ...]
) -> CloudFrames | None:
    """Return the points of a depth camera, coloured by the colour camera of the same size.

    One picture at a time is in memory, and only the pixels that are drawn become points.
    """
    lens = torch.from_numpy(np.asarray(dataset.camera(episode, name).intrinsics, np.float32))
    colour = _beside(dataset, name)
    colours = repeat(None) if colour is None else dataset.frames(episode, colour, list(steps))
    points, shades = [], []
    images = dataset.frames(episode, name, list(steps))
    for number, (image, picture) in enumerate(zip(images, colours, strict=colour is not None)):
        seen = np.flatnonzero(image)  # 0 is invalid
        rows, columns = np.divmod(seen[_some(len(seen), number)], image.shape[1])
        pixels = torch.from_numpy(np.stack([columns, rows], axis=1).astype(np.float32))
        placed = unproject(pixels, torch.from_numpy(to_metres(image[rows, columns])), lens).numpy()
        points.append(_z_up(placed).astype(np.float32))
        if picture is not None:
            shades.append(picture[rows, columns])
    if not any(map(len, points)):
        return None
    return CloudFrames(tuple(points), tuple(shades), eye=(-1.0, -0.25, 0.25))


def _beside(dataset: Dataset, name: str) -> str | None:
    """Return the colour camera that looks where a depth camera does, or None."""
    colour = name.replace("depth", "rgb", 1)
    if dataset.cameras.get(colour) != "rgb":
        return None
    if dataset.picture_size(colour) != dataset.picture_size(name):
        return None
    return colour


def _z_up(points: Float32[np.ndarray, "P 3"]) -> Float32[np.ndarray, "P 3"]:
    """Return points of a camera (x right, y down, z ahead) as x ahead, y left, z up."""
    return np.stack([points[:, 2], -points[:, 0], -points[:, 1]], axis=1)


def _some(count: int, number: int) -> np.ndarray:
    """Return which points are drawn: all, or a random choice that is always the same."""
    if count <= _MOST_POINTS:
        return np.arange(count)
    return generator("view.points", number).permutation(count)[:_MOST_POINTS]
