"""Ego motion: a still world stays still once the sensor's movement is taken out."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from armillary.spatial import (
    compose,
    deskew,
    exp,
    inverse,
    log,
    planar_pose,
    relative,
    remove_ego_motion,
    rigid_flow,
    transform_points,
    warp_points,
)

few = settings(max_examples=30)

numbers = st.lists(st.floats(-0.8, 0.8), min_size=6, max_size=6)
twists = st.builds(lambda x: torch.tensor(x, dtype=torch.float64), numbers)


def cloud(count=50):
    random = torch.Generator().manual_seed(3)
    return torch.randn(count, 3, generator=random, dtype=torch.float64)


def planar(x, y, yaw):
    """The pose of a scanner in the plane."""
    return planar_pose(torch.tensor([x, y, yaw], dtype=torch.float64))


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
