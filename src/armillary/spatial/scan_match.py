"""Scan matching: how a flat laser moved, from what it saw before and after.

The motion is sought that makes the warped earlier scan agree with the later one: damped
Gauss-Newton steps on the ranges, with weights that turn squares into absolute errors, so that what
moved by itself or was never seen before does not pull. Slopes are taken by finite differences. A
step is only taken where it lowers the cost, so the result is never worse than the start.

Axes: B pairs of scans, P beams.

Source: Holland & Welsch 1977 (reweighting), Levenberg 1944 (damping).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.spatial.scan_warp import planar_pose, warp_scan_ranges

_NUDGE = (0.02, 0.02, 0.004)  # m, m, rad: wider than the noise of a return, narrower than a step
_FARTHEST = (0.2, 0.1, 0.05)  # m, m, rad of one step
_SAME_SURFACE_M = 1.0  # a range that jumps more than this under a nudge has changed its surface


def match_scans(
    earlier_m: Float[Tensor, "B P"],
    later_m: Float[Tensor, "B P"],
    angles_rad: Float[Tensor, " P"],
    motion: Float[Tensor, "B 3"],
    rounds: int = 25,
    clip_m: float = 0.5,
) -> tuple[Float[Tensor, "B 3"], Float[Tensor, " B"]]:
    """Return the motion between scans, and how far they then differ.

    Args:
        earlier_m: ranges, NaN where there was no return.
        later_m: ranges after the motion.
        angles_rad: of the beams.
        motion: where to start: (dx m, dy m, dyaw rad) in the earlier frame, e.g. odometry.
        rounds: steps that are tried.
        clip_m: a beam counts at most this much; also where only one of the two has a range.

    Returns:
        Motions, and mean absolute differences in metres, clipped.
    """
    scans = (earlier_m, later_m, angles_rad)
    damping = torch.full_like(motion[:, 0], 1e-2)
    error = _error(*scans, motion)
    cost = _cost(error, later_m, clip_m)
    farthest = motion.new_tensor(_FARTHEST)
    for _ in range(rounds):
        step = _step(*scans, motion, error, damping, clip_m)
        step = torch.maximum(torch.minimum(step, farthest), -farthest)
        new_error = _error(*scans, motion + step)
        new_cost = _cost(new_error, later_m, clip_m)
        better = new_cost < cost
        motion = torch.where(better[:, None], motion + step, motion)
        error = torch.where(better[:, None], new_error, error)
        cost = torch.where(better, new_cost, cost)
        damping = torch.where(better, damping * 0.4, damping * 5).clamp(1e-4, 1e3)
    return motion, cost


def _error(earlier_m: Tensor, later_m: Tensor, angles_rad: Tensor, motion: Tensor) -> Tensor:
    """Return warped minus later ranges; NaN where either is open."""
    return warp_scan_ranges(earlier_m, angles_rad, planar_pose(motion)) - later_m


def _cost(error: Tensor, later_m: Tensor, clip_m: float) -> Tensor:
    counted = later_m.isfinite()
    size = torch.where(error.isfinite(), error.abs().clamp(max=clip_m), clip_m)
    return torch.where(counted, size, 0.0).sum(1) / counted.sum(1).clamp(min=1)


def _step(
    earlier_m: Tensor,
    later_m: Tensor,
    angles_rad: Tensor,
    motion: Tensor,
    error: Tensor,
    damping: Tensor,
    clip_m: float,
) -> Tensor:
    slopes = []
    for axis, nudge in enumerate(_NUDGE):
        shift = torch.zeros_like(motion)
        shift[:, axis] = nudge
        ahead = _error(earlier_m, later_m, angles_rad, motion + shift)
        behind = _error(earlier_m, later_m, angles_rad, motion - shift)
        change = ahead - behind
        slopes.append(torch.where(change.abs() < _SAME_SURFACE_M, change / (2 * nudge), torch.nan))
    slope = torch.stack(slopes, dim=-1)
    usable = slope.isfinite().all(-1) & (error.abs() < clip_m)
    slope = torch.where(usable[..., None], slope, 0.0)
    error = torch.where(usable, error, 0.0)
    weight = usable / (0.05 + error.abs())
    curvature = torch.einsum("bpi,bp,bpj->bij", slope, weight, slope)
    slant = torch.einsum("bpi,bp->bi", slope, weight * error)
    diagonal = torch.diagonal(curvature, dim1=1, dim2=2)
    # the constant keeps a scan that sees nothing solvable: its step is zero
    curvature = curvature + torch.diag_embed(diagonal * damping[:, None] + 1e-3)
    return -torch.linalg.solve(curvature, slant[..., None])[..., 0]
