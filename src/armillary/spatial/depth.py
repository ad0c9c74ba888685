"""Depth pictures as maps of points: the same pixel grid, a place in space in each pixel.

Convention: depth is camera z in metres (not ray length); NaN, infinity, 0 and below are invalid.

Axes: *B any batch axes, H W image.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from armillary.spatial.cameras import pixel_grid, unproject
from armillary.spatial.poses import transform_points


def depth_from_disparity(
    disparity_px: Float[Tensor, "*B H W"],
    focal_px: float,
    baseline_m: float,
    offset_px: float = 0.0,
) -> Float[Tensor, "*B H W"]:
    """Return the depth in metres of a rectified stereo pair; NaN where it has no disparity.

    Args:
        disparity_px: u of the left picture less u of the right one; what is not finite is invalid.
        focal_px: of both cameras.
        baseline_m: from the left camera to the right one, along x.
        offset_px: principal point's u of the right camera less that of the left one.
    """
    shift_px = disparity_px + offset_px
    valid = torch.isfinite(shift_px) & (shift_px > 0)
    return torch.where(valid, focal_px * baseline_m / torch.where(valid, shift_px, 1.0), torch.nan)


def valid_depth(depth_m: Float[Tensor, "*B H W"]) -> Bool[Tensor, "*B H W"]:
    """Return where there is a depth."""
    return torch.isfinite(depth_m) & (depth_m > 0)


def points_from_depth(
    depth_m: Float[Tensor, "*B H W"], intrinsics: Float[Tensor, "*B 3 3"]
) -> Float[Tensor, "*B H W 3"]:
    """Return the point in each pixel in the camera frame, metres; (0, 0, 0) where invalid."""
    height, width = depth_m.shape[-2:]
    flat_m = torch.where(valid_depth(depth_m), depth_m, 0.0).flatten(-2)
    grid = pixel_grid(height, width, like=depth_m).flatten(0, 1)
    points = unproject(grid.expand(*flat_m.shape, 2), flat_m, intrinsics)
    return points.unflatten(-2, (height, width))


def point_map(
    depth_m: Float[Tensor, "*B H W"],
    intrinsics: Float[Tensor, "*B 3 3"],
    world_from_camera: Float[Tensor, "*B 4 4"],
) -> tuple[Float[Tensor, "*B H W 3"], Bool[Tensor, "*B H W"]]:
    """Return the point in each pixel in the world frame, metres, and where there is one.

    Args:
        depth_m: camera z.
        intrinsics: K in pixels of this picture size.
        world_from_camera: pose of the camera.

    Returns:
        Points, (0, 0, 0) where invalid, and the mask of valid ones.
    """
    valid = valid_depth(depth_m)
    camera = points_from_depth(depth_m, intrinsics).flatten(-3, -2)
    world = transform_points(world_from_camera, camera).unflatten(-2, depth_m.shape[-2:])
    return torch.where(valid[..., None], world, 0.0), valid
