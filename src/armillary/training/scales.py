"""Scales: fit a model's normaliser on a sample of the training clips."""

from __future__ import annotations

import torch
from torch import Tensor

from armillary.core.values import Batch
from armillary.data import Windows
from armillary.models import JEPA
from armillary.models.config import STREAMS_OF
from armillary.spatial import points_from_depth, transform_points
from armillary.training.trunk_features import fit_trunk

_SAMPLE_CLIPS = 256
_PIXEL = 2  # of pictures, every second pixel of every second row tells the colours


def fit_scales(model: JEPA, windows: Windows, seed: int) -> None:
    """Fit the normaliser on up to 256 training clips drawn by the seed.

    Args:
        model: its normaliser is set.
        windows: training clips.
        seed: names the sample.
    """
    order = windows.order(seed, 0)
    batch = windows.gather(order[:_SAMPLE_CLIPS])
    config = model.config
    actions = None
    if config.action_width and batch.actions is not None:
        actions = batch.actions.flatten(0, 1)
    streams = batch.streams  # of optional sensors perhaps none
    proprio = "proprio" in config.sensors and "proprio" in streams
    depth = hasattr(model.normalizer, "camera_mean_m") and "depth_m" in streams
    scan = "scan" in config.sensors and "lidar" in streams
    model.normalizer.fit(
        actions, streams["proprio"].flatten(0, 1) if proprio else None, *_scene(batch, model)
    )
    if config.trunk:
        fit_trunk(model, windows.cache, windows.episodes, seed)
    elif config.encoder.colours == "whitened" and "rgb" in config.sensors and "rgb" in streams:
        pictures = streams["rgb"][:, 0, ::_PIXEL, ::_PIXEL]
        model.normalizer.fit_colours(pictures.flatten(0, 2))
    model.normalizer.fit_sensors(
        _camera_points(batch) if depth else None, _ranges(batch) if scan else None
    )


def _scene(batch: Batch, model: JEPA) -> tuple[Tensor | None, Tensor | None]:
    """Return world points, all and those in the middle of pictures: of depth, else of clouds."""
    if batch.streams.keys() >= {*STREAMS_OF["points"]}:
        return _points(batch)
    if "cloud" in model.config.sensors and "points" in batch.streams:
        points_m = batch.streams["points"][:, 0, :, :3]
        return points_m[points_m.isfinite().all(-1)], None
    return None, None


def _camera_points(batch: Batch) -> Tensor:
    """Return points of the clips' first frames in the camera's frame; x and y 0 without a lens."""
    depth_m = batch.streams["depth_m"][:, 0]
    if "intrinsics" in batch.streams:
        return points_from_depth(depth_m, batch.streams["intrinsics"][:, 0])[depth_m > 0]
    ahead = depth_m[depth_m > 0]
    return torch.stack([torch.zeros_like(ahead), torch.zeros_like(ahead), ahead], -1)


def _ranges(batch: Batch) -> Tensor:
    ranges_m = batch.streams["lidar"][:, 0]
    return ranges_m[ranges_m.isfinite() & (ranges_m > 0)]


def _points(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return world points of the clips' first frames, all and those in the middle: [P 3] metres."""
    depth_m = batch.streams["depth_m"][:, 0]
    camera = points_from_depth(depth_m, batch.streams["intrinsics"][:, 0])
    world = transform_points(batch.streams["world_from_camera"][:, 0], camera.flatten(1, 2))
    world, valid = world.unflatten(1, depth_m.shape[1:]), depth_m > 0
    rows, columns = (slice(side // 4, side - side // 4) for side in depth_m.shape[1:])
    middle = world[:, rows, columns][valid[:, rows, columns]]
    everywhere = world[valid]
    return everywhere, middle if len(middle) else everywhere
