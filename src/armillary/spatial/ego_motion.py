"""Ego motion: what a sensor's own movement does to what it measures, put in or taken out.

Poses name the sensor at two times: ``new_from_old`` takes points in the old sensor frame to the
new one, ``relative(world_from_new, world_from_old)``.

Torch, differentiable in points and poses. Planar scans: ``scan_warp.py``.

Axes: *B any batch axes, P points.
Convention: metres; NaN stays NaN, without harm to the gradients of the rest.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.spatial.poses import compose, inverse, relative, transform_points
from armillary.spatial.twists import exp, log


def warp_points(
    points_old: Float[Tensor, "*B P 3"], new_from_old: Float[Tensor, "*B 4 4"]
) -> Float[Tensor, "*B P 3"]:
    """Return where points that do not move are seen after the sensor moved."""
    finite = torch.isfinite(points_old).all(-1, keepdim=True)
    moved = transform_points(new_from_old, torch.where(finite, points_old, 0.0))
    return torch.where(finite, moved, torch.nan)


def deskew(
    points_then: Float[Tensor, "*B P 3"],
    share: Float[Tensor, "*B P"],
    world_from_start: Float[Tensor, "*B 4 4"],
    world_from_end: Float[Tensor, "*B 4 4"],
) -> Float[Tensor, "*B P 3"]:
    """Return the points of a sweep as they would be seen at once, from its end.

    Args:
        points_then: each in the sensor's frame at its own time.
        share: that time, 0 at the start pose and 1 at the end; beyond, the motion goes on.
        world_from_start: pose of the sensor at share 0.
        world_from_end: pose at share 1; between them it moves and turns at constant speed.
    """
    start_from_end = relative(world_from_start, world_from_end)
    twist = share[..., None] * log(start_from_end)[..., None, :]
    end_from_then = compose(inverse(start_from_end)[..., None, :, :], exp(twist))
    return warp_points(points_then[..., None, :], end_from_then)[..., 0, :]


def rigid_flow(
    points_old: Float[Tensor, "*B P 3"], new_from_old: Float[Tensor, "*B 4 4"]
) -> Float[Tensor, "*B P 3"]:
    """Return how far points that do not move seem to move, new minus old coordinates, metres."""
    return warp_points(points_old, new_from_old) - points_old


def remove_ego_motion(
    flow_m: Float[Tensor, "*B P 3"],
    points_old: Float[Tensor, "*B P 3"],
    new_from_old: Float[Tensor, "*B 4 4"],
) -> Float[Tensor, "*B P 3"]:
    """Return the displacement that is the points' own, metres, in the new sensor's axes.

    Args:
        flow_m: seen displacement (scene flow): new coordinates minus old ones.
        points_old: points before, in the old sensor frame.
        new_from_old: the sensor's motion.
    """
    return flow_m - rigid_flow(points_old, new_from_old)
