"""Poses: rigid motions as 4x4 matrices ``a_from_b``, so that products read by their names.

``point_a = a_from_b @ point_b`` and ``a_from_c = compose(a_from_b, b_from_c)``. As six numbers:
``twists.py``.

Axes: *B any batch axes, P points.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.errors import ShapeError


def compose(a_from_b: Float[Tensor, "*B 4 4"], b_from_c: Float[Tensor, "*C 4 4"]) -> Tensor:
    """Return ``a_from_c`` [*B 4 4]; batch axes broadcast."""
    return a_from_b @ b_from_c


def inverse(a_from_b: Float[Tensor, "*B 4 4"]) -> Float[Tensor, "*B 4 4"]:
    """Return ``b_from_a``, using that a rotation's inverse is its transpose."""
    turn = a_from_b[..., :3, :3].mT
    shift = -turn @ a_from_b[..., :3, 3:]
    return pose_from_parts(turn, shift[..., 0])


def relative(
    world_from_a: Float[Tensor, "*B 4 4"], world_from_b: Float[Tensor, "*B 4 4"]
) -> Float[Tensor, "*B 4 4"]:
    """Return ``a_from_b`` of two poses in the same world: where b is, seen from a."""
    return compose(inverse(world_from_a), world_from_b)


def pose_from_parts(
    turn: Float[Tensor, "*B 3 3"], xyz_m: Float[Tensor, "*B 3"]
) -> Float[Tensor, "*B 4 4"]:
    """Return the pose of a rotation matrix and a place in metres."""
    top = torch.cat([turn, xyz_m[..., None]], dim=-1)
    last = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=turn.dtype, device=turn.device)
    return torch.cat([top, last.expand(*top.shape[:-2], 1, 4)], dim=-2)


def transform_points(
    a_from_b: Float[Tensor, "*B 4 4"], points_b: Float[Tensor, "*B P 3"]
) -> Float[Tensor, "*B P 3"]:
    """Return the points in frame a, metres."""
    return points_b @ a_from_b[..., :3, :3].mT + a_from_b[..., None, :3, 3]


def pose_from_quaternion(
    xyzw: Float[Tensor, "*B 4"], xyz_m: Float[Tensor, "*B 3"]
) -> Float[Tensor, "*B 4 4"]:
    """Return the pose of a quaternion (xyzw, of any length but zero) and a place in metres."""
    x, y, z, w = (xyzw / xyzw.norm(dim=-1, keepdim=True)).unbind(-1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    turn = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
    return pose_from_parts(turn, xyz_m)


def quaternion_from_pose(pose: Float[Tensor, "*B 4 4"]) -> Float[Tensor, "*B 4"]:
    """Return the unit quaternion (xyzw, w >= 0) of a pose's rotation.

    Source: Bar-Itzhack 2000: the eigenvector of the largest eigenvalue of a symmetric 4x4; exact
    for every rotation, also by half a turn where shortcuts through the trace lose digits.

    Raises:
        ShapeError: NaN or infinity.
    """
    if not torch.isfinite(pose).all():
        raise ShapeError("The quaternion of a pose with NaN or infinity was asked; leave it out.")
    r = pose[..., :3, :3]
    xx, yy, zz = r[..., 0, 0], r[..., 1, 1], r[..., 2, 2]
    xy, xz, yz = r[..., 0, 1], r[..., 0, 2], r[..., 1, 2]
    yx, zx, zy = r[..., 1, 0], r[..., 2, 0], r[..., 2, 1]
    rows = (
        (xx - yy - zz, xy + yx, xz + zx, zy - yz),
        (xy + yx, yy - xx - zz, yz + zy, xz - zx),
        (xz + zx, yz + zy, zz - xx - yy, yx - xy),
        (zy - yz, xz - zx, yx - xy, xx + yy + zz),
    )
    form = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2) / 3
    xyzw = torch.linalg.eigh(form).eigenvectors[..., -1]
    return torch.where(xyzw[..., 3:] < 0, -xyzw, xyzw)


def nearest_rotation(matrix: Float[Tensor, "*B 3 3"]) -> Float[Tensor, "*B 3 3"]:
    """Return the rotation with the smallest sum of squared differences from a matrix.

    For rotations that lost digits in a file or were averaged. A scale is removed. Not unique (one
    of the nearest is returned, with useless gradients) where the matrix has rank below two.

    Raises:
        ShapeError: NaN or infinity.

    Source: Kabsch 1976; Umeyama 1991 for the sign that keeps mirrors out.
    """
    if not torch.isfinite(matrix).all():
        raise ShapeError("A matrix to be made a rotation holds NaN or infinity; leave it out.")
    left, _, right = torch.linalg.svd(matrix)
    sign = torch.ones_like(matrix[..., 0])
    sign[..., 2] = torch.det(left @ right).sign()
    return (left * sign[..., None, :]) @ right


def check_pose(pose: Float[Tensor, "*B 4 4"], where: str, tolerance: float = 1e-4) -> None:
    """Refuse matrices that are no rigid motion.

    Args:
        pose: to be checked.
        where: what the sentence calls it, e.g. a file and a step.
        tolerance: largest error of the rotation's products, 1.

    Raises:
        ShapeError: not finite, last row not (0, 0, 0, 1), or not a rotation (scale, mirror).
    """
    if not torch.isfinite(pose).all():
        raise ShapeError(f"{where}: a pose holds NaN or infinity; leave such steps out.")
    if not pose.numel():
        return
    turn = pose[..., :3, :3]
    eye = torch.eye(4, dtype=pose.dtype, device=pose.device)
    if (pose[..., 3, :] - eye[3]).abs().max() > tolerance:
        raise ShapeError(f"{where}: the last row of a pose is (0, 0, 0, 1); is it transposed?")
    error = float((turn @ turn.mT - eye[:3, :3]).abs().max())
    if error > tolerance:
        raise ShapeError(
            f"{where}: the rotation of a pose is not orthonormal (error {error:.2g}); remove its "
            "scale, or check that it is a 4x4 world_from_camera."
        )
    if (torch.linalg.det(turn) < 0).any():
        raise ShapeError(f"{where}: a pose mirrors space; check the signs of its axes.")
