"""Depth pictures as maps of points: the same pixel grid, a place in space in each pixel.

Convention: depth is camera z in metres (not ray length); NaN, infinity, 0 and below are invalid.

Axes: *B any batch axes, H W image.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from armillary.spatial.cameras import pixel_grid, unproject
from armillary.spatial.poses import transform


def valid_depth(depth_m: Float[Tensor, "*B H W"]) -> Bool[Tensor, "*B H W"]:
    """Return where there is a depth."""
    return torch.isfinite(depth_m) & (depth_m > 0)


def point_map(
    depth_m: Float[Tensor, "*B H W"],
    intrinsics: Float[Tensor, "*B 3 3"],
    world_from_camera: Float[Tensor, "*B 4 4"] | None = None,
) -> tuple[Float[Tensor, "*B H W 3"], Bool[Tensor, "*B H W"]]:
    """Return the point in each pixel, metres, and where there is one.

    Args:
        depth_m: camera z.
        intrinsics: K in pixels of this picture size.
        world_from_camera: pose; without it the points are in the camera frame.

    Returns:
        Points (0, 0, 0 where invalid) and the mask of valid ones.
    """
    height, width = depth_m.shape[-2:]
    valid = valid_depth(depth_m)
    flat_m = torch.where(valid, depth_m, 0.0).flatten(-2)
    grid = pixel_grid(height, width, like=depth_m).flatten(0, 1)
    points = unproject(grid.expand(*flat_m.shape, 2), flat_m, intrinsics)
    if world_from_camera is not None:
        points = transform(world_from_camera, points)
    points = points.unflatten(-2, (height, width))
    return torch.where(valid[..., None], points, 0.0), valid
