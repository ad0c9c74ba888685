"""Twists: a rigid motion as six numbers, in which it can be scaled, averaged and measured.

A twist is (translation first, rotation second): (v_m, w_rad) [*B 6]. ``exp(twist)`` is the motion
of a body that moves with the constant velocity v and turns with the constant w, both in its own
axes, for one unit of time. ``log`` is its inverse, with the shorter turn: at most half a turn.

Differentiable everywhere but at exactly half a turn, where the axis jumps to its opposite.

Axes: *B any batch axes.
Source: Lynch & Park 2017, Modern Robotics, 3.3.3; Eade 2017, Lie Groups for 2D and 3D
Transformations.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.spatial.poses import compose, pose_from_parts, relative

# Below this squared angle the closed forms lose digits by cancelling; the series, cut after six
# terms, is then exact to the last bit of float64.
_SMALL = 0.25
_COSINE = (1 / 2, -1 / 24, 1 / 720, -1 / 40320, 1 / 3628800, -1 / 479001600)
_SINE = (1 / 6, -1 / 120, 1 / 5040, -1 / 362880, 1 / 39916800, -1 / 6227020800)
_COTANGENT = (1 / 12, 1 / 720, 1 / 30240, 1 / 1209600, 1 / 47900160, 691 / 1307674368000)


def exp(twist: Float[Tensor, "*B 6"]) -> Float[Tensor, "*B 4 4"]:
    """Return the pose of a twist (translation first, metres and radians)."""
    shift, spin = twist[..., :3], twist[..., 3:]
    square = spin.square().sum(-1)[..., None, None]
    cosine = _evaluate(square, _COSINE, lambda t: (1 - t.sqrt().cos()) / t)
    sine = _evaluate(square, _SINE, lambda t: (1 - t.sqrt().sin() / t.sqrt()) / t)
    cross = _cross(spin)
    eye = torch.eye(3, dtype=twist.dtype, device=twist.device)
    turn = eye + (1 - square * sine) * cross + cosine * cross @ cross
    slide = eye + cosine * cross + sine * cross @ cross
    return pose_from_parts(turn, (slide @ shift[..., None])[..., 0])


def log(pose: Float[Tensor, "*B 4 4"]) -> Float[Tensor, "*B 6"]:
    """Return the twist (translation first, metres and radians) whose ``exp`` is a pose.

    The rotation's length is at most pi; at half a turn either of two opposite axes is right.
    """
    spin = _rotation_vector(pose[..., :3, :3])
    square = spin.square().sum(-1)[..., None, None]
    factor = _evaluate(square, _COTANGENT, lambda t: (1 - t.sqrt() / 2 / (t.sqrt() / 2).tan()) / t)
    cross = _cross(spin)
    eye = torch.eye(3, dtype=pose.dtype, device=pose.device)
    straight = eye - cross / 2 + factor * cross @ cross
    return torch.cat([(straight @ pose[..., :3, 3:])[..., 0], spin], dim=-1)


def interpolate(
    world_from_a: Float[Tensor, "*B 4 4"],
    world_from_b: Float[Tensor, "*B 4 4"],
    share: Float[Tensor, "*B"],
) -> Float[Tensor, "*B 4 4"]:
    """Return the pose on the way from a (share 0) to b (share 1) at constant velocity and turn."""
    return compose(world_from_a, exp(share[..., None] * log(relative(world_from_a, world_from_b))))


def pose_distance(
    world_from_a: Float[Tensor, "*B 4 4"], world_from_b: Float[Tensor, "*B 4 4"]
) -> tuple[Float[Tensor, "*B"], Float[Tensor, "*B"]]:
    """Return how far apart two poses are: the angle between them, rad 0..pi, and metres.

    Each is a distance (symmetric, zero only for equals, triangle inequality) and stays when the
    world is moved.
    """
    spin = _rotation_vector(relative(world_from_a, world_from_b)[..., :3, :3])
    shift = world_from_b[..., :3, 3] - world_from_a[..., :3, 3]
    return torch.linalg.vector_norm(spin, dim=-1), torch.linalg.vector_norm(shift, dim=-1)


def _rotation_vector(turn: Tensor) -> Tensor:
    xyzw = _quaternion(turn)
    vector, w = xyzw[..., :3], xyzw[..., 3]
    square = vector.square().sum(-1)
    # Twice the angle over its sine; by a series near no turn, where the root has no gradient.
    near = square < 1e-4
    length = torch.where(near, 1.0, square).sqrt()
    ratio = torch.where(near, square, 0.0) / torch.where(near, w, 1.0).square()
    series = (1 - ratio * (1 / 3 - ratio * (1 / 5 - ratio / 7))) / torch.where(near, w, 1.0)
    return 2 * vector * torch.where(near, series, torch.atan2(length, w) / length)[..., None]


def _quaternion(turn: Tensor) -> Tensor:
    """Return unit quaternions (xyzw, w >= 0) with gradients, which those by eigenvectors lack.

    The rows are a quaternion's products with each of its own numbers; the row of the largest one
    keeps its digits for every rotation (Shepperd 1978).
    """
    xx, yy, zz = turn[..., 0, 0], turn[..., 1, 1], turn[..., 2, 2]
    xy, xz, yz = (turn + turn.mT)[..., (0, 0, 1), (1, 2, 2)].unbind(-1)
    zy, xz_w, yx = (turn - turn.mT)[..., (2, 0, 1), (1, 2, 0)].unbind(-1)
    rows = (
        (1 + xx - yy - zz, xy, xz, zy),
        (xy, 1 - xx + yy - zz, yz, xz_w),
        (xz, yz, 1 - xx - yy + zz, yx),
        (zy, xz_w, yx, 1 + xx + yy + zz),
    )
    products = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
    largest = products.diagonal(dim1=-2, dim2=-1).argmax(-1)
    row = products.take_along_dim(largest[..., None, None], dim=-2)[..., 0, :]
    xyzw = row / torch.linalg.vector_norm(row, dim=-1, keepdim=True)
    return torch.where(xyzw[..., 3:] < 0, -xyzw, xyzw)


def _cross(vector: Tensor) -> Tensor:
    """Return the matrices that multiply as the cross product with a vector: [*B 3 3]."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    rows = ((zero, -z, y), (z, zero, -x), (-y, x, zero))
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def _evaluate(
    square: Tensor, series: tuple[float, ...], closed: Callable[[Tensor], Tensor]
) -> Tensor:
    """Return a series for small squared angles, else the closed form, both with gradients."""
    small = square < _SMALL
    powers = torch.where(small, square, 0.0)
    total = torch.zeros_like(square)
    for factor in reversed(series):
        total = total * powers + factor
    return torch.where(small, total, closed(torch.where(small, 1.0, square)))
