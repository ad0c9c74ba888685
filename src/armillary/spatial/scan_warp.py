"""Scans, seen from elsewhere: what a flat laser scan looks like after the laser has moved.

A scan is a range per beam, on beams of even angle. Neighbouring returns of similar range are one
surface; the new scan meets each surface where its beams cross it, and keeps the nearest. What no
surface covers is left open (NaN), to be filled by a rule that is chosen.

Axes: B scans, P beams.

Convention: beams anticlockwise, 0 ahead (x), in the laser's own plane; all beams within a full
turn that ends at the back. ``source_from_target`` is the 4x4 pose of the new place in the old.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from armillary.core.errors import unknown_name
from armillary.spatial.poses import inverse, transform_points

_STEEPEST = 4.0  # dr/db in ranges: a wall seen at 14 degrees; beyond it counts as an edge
_CLOSE_M = 0.5
FILL_RULES = ("nearest", "linear", "farther", "nearer")


def planar_pose(motion: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 4 4"]:
    """Return ``earlier_from_later`` of (dx m, dy m, dyaw rad), given in the earlier frame."""
    x, y, yaw = motion.unbind(-1)
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    cos, sin = yaw.cos(), yaw.sin()
    rows = ((cos, -sin, zero, x), (sin, cos, zero, y), (zero, zero, one, zero))
    last = (zero, zero, zero, one)
    return torch.stack([torch.stack(row, dim=-1) for row in (*rows, last)], dim=-2)


def planar_motion(pose: Float[Tensor, "*B 4 4"]) -> Float[Tensor, "*B 3"]:
    """Return (dx m, dy m, dyaw rad) of a pose whose rotation is about z."""
    yaw = torch.atan2(pose[..., 1, 0], pose[..., 0, 0])
    return torch.stack([pose[..., 0, 3], pose[..., 1, 3], yaw], dim=-1)


def warp_scan_ranges(
    ranges_m: Float[Tensor, "B P"],
    angles_rad: Float[Tensor, " P"],
    source_from_target: Float[Tensor, "B 4 4"],
    link_m: float = 0.5,
    link_share: float = 0.1,
) -> Float[Tensor, "B P"]:
    """Return the scans as seen from the new place; NaN where nothing is known to be.

    Args:
        ranges_m: NaN where there was no return.
        angles_rad: evenly spaced, ascending.
        source_from_target: where the new place is, one per scan.
        link_m: neighbouring returns are one surface if their ranges differ by less than this,
        link_share: plus this share of the nearer one.
    """
    first, step = angles_rad[0], angles_rad[1] - angles_rad[0]
    held = ranges_m.isfinite()
    flat = torch.where(held, ranges_m, 0.0)[..., None]
    rays = torch.stack([angles_rad.cos(), angles_rad.sin(), torch.zeros_like(angles_rad)], -1)
    points = transform_points(inverse(source_from_target), flat * rays)[..., :2]
    bearing = torch.atan2(points[..., 1], points[..., 0])
    place = (bearing - first) / step
    seen = torch.full_like(ranges_m, torch.inf).flatten()
    near = torch.minimum(flat[:, 1:, 0], flat[:, :-1, 0])
    close = (flat[:, 1:, 0] - flat[:, :-1, 0]).abs() < link_m + link_share * near
    # a surface across the back joins the two ends of the circle; no beam looks there
    ahead = (bearing[:, 1:] - bearing[:, :-1]).abs() < torch.pi
    linked = held[:, 1:] & held[:, :-1] & close & ahead
    _add_surfaces(seen, points, place, linked, angles_rad)
    inside = pad(linked, (1, 0)) & pad(linked, (0, 1))
    _add_points(seen, points, place, held & ~inside)
    seen = seen.unflatten(0, ranges_m.shape)
    return torch.where(seen.isfinite(), seen, torch.nan)


def fill_scan_gaps(ranges_m: Float[Tensor, "B P"], rule: str = "nearest") -> Float[Tensor, "B P"]:
    """Return scans without NaN: each open beam gets a range from its closest known neighbours.

    Args:
        ranges_m: NaN where open; a scan that is open everywhere becomes 0.
        rule: ``nearest`` in angle, ``linear`` in between, ``farther`` or ``nearer`` of the two.

    Raises:
        ConfigError: an unknown rule.
    """
    if rule not in FILL_RULES:
        raise unknown_name("rule to fill scans", rule, FILL_RULES)
    sides = known_beside(ranges_m)
    if rule == "nearest":
        return torch.where(sides.beams_right <= sides.beams_left, sides.right_m, sides.left_m)
    if rule == "linear":
        share = sides.beams_right / (sides.beams_right + sides.beams_left).clamp(min=1)
        lone = ~(sides.beams_right.isfinite() & sides.beams_left.isfinite())
        return torch.where(
            lone, sides.right_m, sides.right_m.lerp(sides.left_m, share.nan_to_num())
        )
    pick = torch.maximum if rule == "farther" else torch.minimum
    return pick(sides.right_m, sides.left_m)


@dataclass(frozen=True)
class KnownBeside:
    """The closest known ranges on either side of each beam; itself where it is known.

    Where one side has none, the other side's range stands there, infinitely many beams away.

    Attributes:
        right_m: [B P] towards the first beam.
        left_m: [B P] towards the last beam.
        beams_right: [B P] how many beams away, as a float.
        beams_left: [B P].
    """

    right_m: Float[Tensor, "B P"]
    left_m: Float[Tensor, "B P"]
    beams_right: Float[Tensor, "B P"]
    beams_left: Float[Tensor, "B P"]


def known_beside(ranges_m: Float[Tensor, "B P"]) -> KnownBeside:
    """Return the closest known ranges on either side of each beam; 0 in a scan without any."""
    beams = ranges_m.shape[-1]
    index = torch.arange(beams, device=ranges_m.device).expand(ranges_m.shape)
    held = ranges_m.isfinite()
    right = torch.where(held, index, -1).cummax(-1).values
    left = torch.where(held, index, beams).flip(-1).cummin(-1).values.flip(-1)
    far = ranges_m.new_tensor(torch.inf)
    beams_right = torch.where(right < 0, far, (index - right).to(ranges_m))
    beams_left = torch.where(left == beams, far, (left - index).to(ranges_m))
    plain = torch.where(held, ranges_m, 0.0)
    right_m = plain.gather(-1, torch.where(right < 0, left, right).clamp(max=beams - 1))
    left_m = plain.gather(-1, torch.where(left == beams, right, left).clamp(min=0))
    return KnownBeside(right_m, left_m, beams_right, beams_left)


def range_slopes(
    ranges_m: Float[Tensor, "B P"], angles_rad: Float[Tensor, " P"]
) -> Float[Tensor, "B 3 P"]:
    """Return how the range in each beam changes as the laser moves: per m ahead, m left, rad.

    Args:
        ranges_m: without NaN.
        angles_rad: evenly spaced, ascending.

    Convention: a return at range r and bearing b moves by dr = -dx cos b - dy sin b and
    r db = dx sin b - dy cos b - r dyaw; in a fixed beam the range changes by dr - (dr/db) db.
    Where the range jumps (an edge) dr/db counts as 0.
    """
    turn = torch.zeros_like(ranges_m)
    step_rad = angles_rad[1] - angles_rad[0]
    turn[:, 1:-1] = (ranges_m[:, 2:] - ranges_m[:, :-2]) / (2 * step_rad)
    turn = torch.where(turn.abs() < _STEEPEST * ranges_m, turn, 0.0)
    cos, sin = angles_rad.cos(), angles_rad.sin()
    share = turn / ranges_m.clamp(min=_CLOSE_M)
    return torch.stack([-cos - share * sin, -sin + share * cos, turn], 1)


def _add_points(seen: Tensor, points: Tensor, place: Tensor, held: Tensor) -> None:
    """Lower ``seen`` to lone returns and ends of surfaces, each in the beam nearest to it."""
    beam = place.round().long()
    scan, point = torch.nonzero(held & (beam >= 0) & (beam < held.shape[1]), as_tuple=True)
    where = scan * held.shape[1] + beam[scan, point]
    seen.scatter_reduce_(0, where, points[scan, point].norm(dim=-1), "amin")


def _add_surfaces(
    seen: Tensor, points: Tensor, place: Tensor, linked: Tensor, angles_rad: Tensor
) -> None:
    """Lower ``seen`` to where beams cross the straight pieces between linked neighbours."""
    beams = len(angles_rad)
    scan, piece = torch.nonzero(linked, as_tuple=True)
    start, end = points[scan, piece], points[scan, piece + 1]
    ends = torch.stack([place[scan, piece], place[scan, piece + 1]])
    beam = ends.amin(0).ceil().long().clamp(min=0)
    last = ends.amax(0).floor().long().clamp(max=beams - 1)
    while True:
        # one beam of every piece at a time; most pieces cross none or one
        keep = beam <= last
        if not keep.any():
            return
        scan, beam, last = scan[keep], beam[keep], last[keep]
        start, end = start[keep], end[keep]
        ray = torch.stack([angles_rad[beam].cos(), angles_rad[beam].sin()], -1)
        seen.scatter_reduce_(0, scan * beams + beam, _crossing(ray, start, end), "amin")
        beam = beam + 1


def _crossing(ray: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Return the range at which rays cross straight pieces that they do cross; else infinity."""
    along = end - start
    turn = ray[:, 0] * along[:, 1] - ray[:, 1] * along[:, 0]
    offset = start[:, 0] * along[:, 1] - start[:, 1] * along[:, 0]
    range_m = offset / torch.where(turn.abs() < 1e-9, torch.inf, turn)
    return torch.where(range_m > 0, range_m, torch.inf)
