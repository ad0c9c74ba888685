"""Clouds made of depth: the highest points that a camera sees.

Most of what a camera sees is ground, as flat everywhere. A cloud of 256 of the 4,096 points of a
picture, at equal strides, had one or two points of a thing; the 128 highest have 98 in 100 of all
that things have (tabletop). What lies beside the scene is cut off.

A pixel without depth still has a colour and a ray. It counts as being as high as what is beside it
and like it, else as what is like it elsewhere (``spatial.fill_holes``), or as high as a thing if
nothing is, and its ray says where that is. With 30 % of the pixels lost in blobs, 98 in 100 points
of things are kept (72 without), 0.6 cm off, and 2 points of the ground seem to stand (13 by the
rims of holes alone); which of them are guessed is told. Tried: what is guessed as a thing stands
upright on the ground, to the height of the tallest. A pusher that a hole had swallowed then was
where it is more often, but so were other things taken for one.

Colour does no more than that. Told with each point, it was what things were known by, and in new
colours, with depth whole, the object was read 2.6 cm off (0.5 in its own; by shape 0.7 in both).

Axes: F frames, H W picture, P pixels, Q points of the cloud.
Source: Ze et al. 2024, DP3 (2403.03954): clouds cut to a box without the ground.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from armillary.spatial import fill_holes

_STANDING = 0.4  # height of what is like nothing that is known, in the scene's: a low thing
_AT_ONCE = 64  # frames that a processor's cache holds; 512 at once took 1.4 times as long


@torch.no_grad()
def depth_cloud(
    depth_m: Float[Tensor, "F H W"],
    intrinsics: Float[Tensor, "F 3 3"],
    world_from_camera: Float[Tensor, "F 4 4"],
    mean_m: Float[Tensor, " 3"],
    reach_m: Float[Tensor, " 3"],
    count: int,
) -> Float[Tensor, "F Q 3"]:
    """Return the highest points in the world, metres; rows of NaN are none.

    Args:
        depth_m: camera z, 0 invalid.
        intrinsics: K in pixels.
        world_from_camera: camera pose.
        mean_m: centre of the scene, on the ground.
        reach_m: how far the scene reaches from there along each axis.
        count: Q, or as many as there are pixels.
    """

    def made(depth_m: Tensor, lens: Tensor, pose: Tensor) -> Tensor:
        origin, rays = _rays(depth_m, lens, pose)
        points_m = torch.addcmul(origin, rays, depth_m.flatten(1)[:, None])
        highest, there = _highest(points_m, depth_m.flatten(1) > 0, mean_m, reach_m, count)
        return _chosen(points_m, highest, there)

    return _in_parts(made, depth_m, intrinsics, world_from_camera)


@torch.no_grad()
def filled_cloud(
    rgb: UInt8[Tensor, "F H W 3"],
    depth_m: Float[Tensor, "F H W"],
    intrinsics: Float[Tensor, "F 3 3"],
    world_from_camera: Float[Tensor, "F 4 4"],
    mean_m: Float[Tensor, " 3"],
    reach_m: Float[Tensor, " 3"],
    count: int,
) -> Float[Tensor, "F Q 4"]:
    """Return the highest points in the world, what has no depth too; rows of NaN are none.

    Args:
        rgb: pictures.
        depth_m: as for ``depth_cloud``.
        intrinsics: the same.
        world_from_camera: the same.
        mean_m: the same.
        reach_m: the same.
        count: the same.

    Returns:
        x, y, z in metres; 1 where the place is guessed, else 0.
    """

    def made(rgb: Tensor, depth_m: Tensor, lens: Tensor, pose: Tensor) -> Tensor:
        origin, rays = _rays(depth_m, lens, pose)
        depth, known = depth_m.flatten(1), depth_m > 0
        if not known.all():
            ground_m, tallest_m = mean_m[2], reach_m[2]
            height = torch.addcmul(origin[:, 2], rays[:, 2], depth).sub_(ground_m).div_(tallest_m)
            # what is below the ground tells that of the ground, or the table's edge would sink
            height = height.clamp_(0, 1).view_as(depth_m)
            height = fill_holes(height, known, rgb, _STANDING).flatten(1)
            guessed = (height * tallest_m + ground_m - origin[:, 2]) / rays[:, 2]
            depth = torch.where(known.flatten(1), depth, guessed)
        points_m = torch.addcmul(origin, rays, depth[:, None])
        # a ray that leads away from where it should end has a depth below 0
        highest, there = _highest(points_m, depth > 0, mean_m, reach_m, count)
        told = torch.cat([points_m, (~known).flatten(1)[:, None].to(points_m.dtype)], 1)
        return _chosen(told, highest, there)

    return _in_parts(made, rgb, depth_m, intrinsics, world_from_camera)


def _in_parts(made: Callable[..., Tensor], *streams: Tensor) -> Tensor:
    """Return the clouds of a few frames after those of a few others, on a processor."""
    device = streams[0].device.type
    count = max(1, len(streams[0]))
    if device == "cpu":
        count = _AT_ONCE
    with torch.autocast(device, enabled=False):
        parts = zip(*(stream.split(count) for stream in streams), strict=True)
        return torch.cat([made(*some) for some in parts])


def _highest(
    points_m: Tensor, valid: Tensor, mean_m: Tensor, reach_m: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Return which of the points [F 3 P] are the highest in the scene, and which are points."""
    beside = (points_m[:, :2] - mean_m[:2, None]).abs() > reach_m[:2, None]
    height = torch.where(valid & ~beside.any(1), points_m[:, 2], -torch.inf)
    best = height.topk(min(count, height.shape[1]), sorted=False)
    return best.indices, best.values.isfinite()


def _chosen(told: Tensor, which: Tensor, there: Tensor) -> Tensor:
    chosen = told.gather(2, which[:, None].expand(-1, told.shape[1], -1))
    return torch.where(there[:, None], chosen, torch.nan).mT


def _rays(depth_m: Tensor, intrinsics: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
    """Return where cameras stand [F 3 1], and how far a metre of depth leads from there [F 3 P]."""
    rows, columns = (
        torch.arange(side, dtype=torch.float32, device=pose.device) for side in depth_m.shape[1:]
    )
    v, u = torch.meshgrid(rows, columns, indexing="ij")
    pixels = torch.stack([u, v, torch.ones_like(u)]).flatten(1)
    return pose[:, :3, 3:], pose[:, :3, :3] @ torch.linalg.inv(intrinsics) @ pixels
