"""Ego motion: a still world stays still once the sensor's movement is taken out."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from armillary.spatial import (
    compose,
    deskew,
    exp,
    inverse,
    log,
    relative,
    remove_ego_motion,
    rigid_flow,
    transform_points,
    warp_points,
    warp_scan,
)

few = settings(max_examples=30)

numbers = st.lists(st.floats(-0.8, 0.8), min_size=6, max_size=6)
twists = st.builds(lambda x: torch.tensor(x, dtype=torch.float64), numbers)
FAN = torch.linspace(-math.pi, math.pi, 721, dtype=torch.float64)[:-1]


def cloud(count=50):
    random = torch.Generator().manual_seed(3)
    return torch.randn(count, 3, generator=random, dtype=torch.float64)


def planar(x, y, yaw):
    """The pose of a scanner in the plane."""
    turn = exp(torch.tensor([0, 0, 0, 0, 0, yaw], dtype=torch.float64))
    return compose(exp(torch.tensor([x, y, 0, 0, 0, 0], dtype=torch.float64)), turn)


def room_scan(world_from_scanner, half_x=4.0, half_y=3.0):
    """The true scan of an empty box, by formula."""
    yaw = torch.atan2(world_from_scanner[1, 0], world_from_scanner[0, 0])
    x, y = world_from_scanner[0, 3], world_from_scanner[1, 3]
    cosine, sine = (FAN + yaw).cos(), (FAN + yaw).sin()
    to_x = torch.where(cosine > 0, half_x - x, half_x + x) / cosine.abs()
    to_y = torch.where(sine > 0, half_y - y, half_y + y) / sine.abs()
    return torch.minimum(to_x, to_y)


@few
@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(-3, 3))
def test_a_warped_scan_of_a_room_is_the_scan_from_there(x, y, yaw):
    old, new = planar(0.3, -0.2, 0.1), planar(x, y, yaw)
    warped = warp_scan(room_scan(old), FAN, relative(new, old))
    seen = ~warped.isnan()
    assert seen.float().mean() > 0.6
    # Half a beam off, a wall at a slant is off by its slope: a few centimetres.
    error = (warped - room_scan(new))[seen].abs()
    assert error.median() < 0.01
    assert error.max() < 0.1


def test_standing_still_changes_nothing():
    scan = room_scan(planar(1.0, 0.5, 0.7)).expand(2, -1).clone()
    scan[0, 100:200] = math.nan
    still = torch.eye(4, dtype=torch.float64).expand(2, 4, 4)
    assert torch.allclose(warp_scan(scan, FAN, still), scan, rtol=1e-12, equal_nan=True)


def test_turning_by_whole_beams_shifts_the_scan():
    scan = room_scan(planar(1.0, 0.5, 0.0))
    turned = warp_scan(scan, FAN, relative(planar(0, 0, 10 * math.pi / 360), planar(0, 0, 0)))
    assert torch.allclose(turned, scan.roll(-10), rtol=1e-9)


def test_what_was_hidden_stays_unknown_and_the_nearest_is_seen():
    scan = torch.full((720,), math.nan, dtype=torch.float64)
    scan[360], scan[180] = 5.0, 2.0  # ahead, and to the right
    ahead_from_here = relative(planar(4.0, 0, 0), planar(0, 0, 0))
    warped = warp_scan(scan, FAN, ahead_from_here)
    assert (~warped.isnan()).sum() == 2
    assert warped[360] == pytest.approx(1.0)


@few
@given(twists, twists)
def test_a_sweep_of_a_still_world_is_put_straight(start, end):
    start, end = exp(start), exp(end)
    world = cloud()
    share = torch.linspace(0, 1, len(world), dtype=torch.float64)
    twist = share[:, None] * log(relative(start, end))
    world_from_then = compose(start, exp(twist))
    skewed = transform_points(inverse(world_from_then), world[:, None])[:, 0]
    straight = deskew(skewed, share, start, end)
    assert torch.allclose(straight, transform_points(inverse(end), world), atol=1e-9)


def test_points_at_the_end_stay_and_those_of_the_start_move_once():
    start, end = planar(0, 0, 0), planar(1, 0, math.pi / 2)
    points, share = torch.tensor([[2.0, 0, 0], [2.0, 0, 0]]).double(), torch.tensor([0.0, 1.0])
    straight = deskew(points, share.double(), start, end)
    expected = torch.tensor([[0.0, -1, 0], [2.0, 0, 0]]).double()
    assert torch.allclose(straight, expected, atol=1e-12)


def test_deskew_has_batch_axes():
    ends = torch.stack([planar(1, 0, 0.3), planar(0, 2, -0.4)])
    points, share = cloud(20).reshape(2, 10, 3), torch.linspace(0, 1, 10).double().expand(2, 10)
    both = deskew(points, share, planar(0, 0, 0).expand(2, 4, 4), ends)
    assert torch.allclose(both[1], deskew(points[1], share[1], planar(0, 0, 0), ends[1]))


@few
@given(twists, twists)
def test_only_what_moved_itself_is_left(old, new):
    old, new = exp(old), exp(new)
    world, own = cloud(), torch.zeros(50, 3, dtype=torch.float64)
    own[:5] = torch.tensor([0.1, 0.2, -0.3])
    before = transform_points(inverse(old), world)
    after = transform_points(inverse(new), world + own)
    left = remove_ego_motion(after - before, before, relative(new, old))
    in_new_axes = own @ new[:3, :3]
    assert torch.allclose(left, in_new_axes, atol=1e-9)
    still = rigid_flow(before, relative(new, old))
    assert torch.allclose(still[5:], (after - before)[5:], atol=1e-9)


def test_nan_does_not_spread():
    pose = planar(1.0, 0.0, 0.2).requires_grad_()
    points = cloud(4)
    points[1, 0] = math.nan
    moved = warp_points(points, pose)
    assert moved.isnan().any(-1).tolist() == [False, True, False, False]
    moved[~moved.isnan()].sum().backward()
    assert pose.grad is not None
    assert torch.isfinite(pose.grad).all()
