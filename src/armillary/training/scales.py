"""Scales: fit a model's normaliser on a sample of the training clips."""

from __future__ import annotations

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
    points = _points(batch) if "depth_m" in batch.streams else (None, None)
    model.normalizer.fit(actions, proprio, *points)


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
