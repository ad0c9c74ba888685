"""Cameras: the pinhole, between camera points and pixels.

Convention: OpenCV axes (x right, y down, z forward); K is 3x3 in pixels; pixel (0, 0) has its
centre at (0, 0); a pixel is (u, v) = (column, row).

Axes: *B any batch axes, H W image.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def project(
    points_camera: Float[Tensor, "*B P 3"], intrinsics: Float[Tensor, "*B 3 3"]
) -> tuple[Float[Tensor, "*B P 2"], Float[Tensor, "*B P"]]:
    """Return pixels (u, v) and depth in metres of points in the camera frame.

    Points at or behind the camera (depth <= 0) have no meaningful pixel; look at the depth.
    """
    homogeneous = points_camera @ intrinsics.mT
    depth_m = points_camera[..., 2]
    return homogeneous[..., :2] / depth_m[..., None], depth_m


def unproject(
    pixels: Float[Tensor, "*B P 2"],
    depth_m: Float[Tensor, "*B P"],
    intrinsics: Float[Tensor, "*B 3 3"],
) -> Float[Tensor, "*B P 3"]:
    """Return the points in the camera frame, metres, that pixels with a depth stand for."""
    focal = torch.stack([intrinsics[..., 0, 0], intrinsics[..., 1, 1]], dim=-1)[..., None, :]
    skew = intrinsics[..., 0, 1, None]
    offset = pixels - intrinsics[..., None, :2, 2]
    rays = offset / focal
    # A skewed sensor (rare) shifts columns by rows; zero in almost every K.
    x = rays[..., 0] - skew * rays[..., 1] / focal[..., 0]
    return torch.stack([x * depth_m, rays[..., 1] * depth_m, depth_m], dim=-1)


def pixel_grid(
    height: int, width: int, like: Tensor | None = None
) -> Float[Tensor, "{height} {width} 2"]:
    """Return the centre (u, v) of every pixel, in ``like``'s precision and on its device."""
    dtype = torch.float32 if like is None else like.dtype
    device = None if like is None else like.device
    v, u = torch.meshgrid(
        torch.arange(height, dtype=dtype, device=device),
        torch.arange(width, dtype=dtype, device=device),
        indexing="ij",
    )
    return torch.stack([u, v], dim=-1)


def intrinsics_from_fov(fovy_rad: float, height: int, width: int) -> Float[Tensor, "3 3"]:
    """Return K of a camera with square pixels and its axis through the picture's middle."""
    focal = height / 2 / math.tan(fovy_rad / 2)
    centre_u, centre_v = (width - 1) / 2, (height - 1) / 2
    return torch.tensor([[focal, 0.0, centre_u], [0.0, focal, centre_v], [0.0, 0.0, 1.0]])


def scale_intrinsics(
    intrinsics: Float[Tensor, "*B 3 3"], scale_u: float, scale_v: float
) -> Float[Tensor, "*B 3 3"]:
    """Return K after resizing the picture: ``scale_u`` = new width / old width, v likewise.

    Pixel centres are at integers, so the picture's corner at -0.5 is what stays in place.
    """
    scale = torch.tensor([scale_u, scale_v], dtype=intrinsics.dtype, device=intrinsics.device)
    scaled = intrinsics.clone()
    scaled[..., :2, :2] = intrinsics[..., :2, :2] * scale[:, None]
    scaled[..., :2, 2] = (intrinsics[..., :2, 2] + 0.5) * scale - 0.5
    return scaled


def opencv_from_opengl(world_from_camera: Float[Tensor, "*B 4 4"]) -> Float[Tensor, "*B 4 4"]:
    """Return the pose with OpenCV camera axes, given one with OpenGL's (y up, z backward).

    Its own inverse, since both axes are flipped back by a second call.
    """
    flip = torch.tensor([1.0, -1.0, -1.0, 1.0]).to(world_from_camera)
    return world_from_camera * flip
