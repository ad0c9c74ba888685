"""Scales: fit a model's normaliser on a sample of the training clips."""

from __future__ import annotations

import torch
from torch import Tensor

from armillary.core.values import Batch
from armillary.data import Windows, epoch_order
from armillary.models import JEPA
from armillary.spatial import points_from_depth, transform_points

_SAMPLE_CLIPS = 256


def fit_scales(model: JEPA, windows: Windows, seed: int) -> None:
    """Fit the normaliser on up to 256 training clips drawn by the seed.

    Args:
        model: its normaliser is set.
        windows: training clips.
        seed: names the sample.
    """
    order = epoch_order(len(windows), seed, 0)
    batch = windows.gather(order[:_SAMPLE_CLIPS])
    config = model.config
    actions = None
    if config.action_width and batch.actions is not None:
        actions = batch.actions.flatten(0, 1)
    proprio = batch.streams["proprio"].flatten(0, 1) if "proprio" in config.sensors else None
    points = _points(batch) if "depth_m" in batch.streams else None
    model.normalizer.fit(actions, proprio, points)


def _points(batch: Batch) -> Tensor:
    """Return the world points of the clips' first frames, in metres: [P 3]."""
    depth = batch.streams["depth_m"][:, 0]
    camera = points_from_depth(depth, batch.streams["intrinsics"][:, 0])
    world = transform_points(batch.streams["world_from_camera"][:, 0], camera.flatten(1, 2))
    return world[torch.as_tensor(depth.flatten(1) > 0)]
