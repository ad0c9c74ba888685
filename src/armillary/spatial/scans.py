"""Scans: one turn of a planar LiDAR, as ranges along beams and as points.

Torch, differentiable in ranges and points (a beam's gradient goes to the nearest point).

Axes: *B any batch axes, N beams, P points.
Convention: the scanner's frame, x ahead, y left; angles from x towards y, ascending; metres; NaN,
infinity, 0 and below are beams without a return, and NaN is what comes out for them.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.errors import ShapeError


def points_from_scan(
    range_m: Float[Tensor, "*B N"], angle_rad: Float[Tensor, " N"]
) -> Float[Tensor, "*B N 2"]:
    """Return the point of each beam in the scanner's frame, metres; NaN without a return."""
    returned = torch.isfinite(range_m) & (range_m > 0)
    direction = torch.stack([angle_rad.cos(), angle_rad.sin()], dim=-1).to(range_m)
    points = torch.where(returned, range_m, 0.0)[..., None] * direction
    return torch.where(returned[..., None], points, torch.nan)


def scan_from_points(
    points_m: Float[Tensor, "*B P 2"], angle_rad: Float[Tensor, " N"]
) -> Float[Tensor, "*B N"]:
    """Return the range of the nearest point in each beam, metres; NaN where there is none.

    A point belongs to the beam whose angle is nearest to its own; the outer beams reach half a
    step outwards. Points that are not finite are left out.

    Raises:
        ShapeError: fewer than two beams, or angles that do not ascend within one turn.
    """
    edges_rad, first_rad = _edges(angle_rad.to(points_m))
    finite = torch.isfinite(points_m).all(-1)
    safe = torch.where(finite[..., None], points_m, 1.0)
    range_m = torch.linalg.vector_norm(safe, dim=-1)
    # One turn, begun opposite of the field's middle, so that no beam lies across the seam.
    turned = torch.remainder(torch.atan2(safe[..., 1], safe[..., 0]) - first_rad, 2 * math.pi)
    beam = torch.searchsorted(edges_rad, (turned + first_rad).detach(), right=True) - 1
    hit = finite & (range_m > 0) & (beam >= 0) & (beam < len(angle_rad))
    beam = torch.where(hit, beam, 0)
    nothing = torch.full((*range_m.shape[:-1], len(angle_rad)), torch.inf).to(range_m)
    nearest = nothing.scatter_reduce(-1, beam, torch.where(hit, range_m, torch.inf), "amin")
    return torch.where(torch.isinf(nearest), torch.nan, nearest)


def _edges(angle_rad: Tensor) -> tuple[Tensor, Tensor]:
    """Return where beams end and begin [N+1], and where a turn around their middle begins."""
    steps = angle_rad.diff()
    # A full turn given with both its ends has the same beam twice; a bit more is rounding.
    if len(angle_rad) < 2 or not (steps > 0).all() or angle_rad[-1] - angle_rad[0] > 6.3:
        raise ShapeError(
            f"A scan has two beams or more whose angles ascend within one turn, in radians; got "
            f"{len(angle_rad)} from {float(angle_rad[:1].sum()):.3g} to "
            f"{float(angle_rad[-1:].sum()):.3g}. Flip a scan that turns clockwise."
        )
    middle = (angle_rad[1:] + angle_rad[:-1]) / 2
    ends = angle_rad[:1] - steps[:1] / 2, angle_rad[-1:] + steps[-1:] / 2
    return torch.cat([ends[0], middle, ends[1]]), (angle_rad[0] + angle_rad[-1]) / 2 - math.pi
