"""Poses form a group, and whatever is no rigid motion is refused in words."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from armillary.core.errors import ShapeError
from armillary.spatial import (
    check_pose,
    compose,
    inverse,
    pose_from_quaternion,
    quaternion_from_pose,
    transform_points,
)

numbers = st.floats(-3, 3, width=32)
poses = st.builds(
    lambda q, x: pose_from_quaternion(
        torch.tensor([*q, 1.5], dtype=torch.float64), torch.tensor(x, dtype=torch.float64)
    ),
    st.lists(numbers, min_size=3, max_size=3),
    st.lists(numbers, min_size=3, max_size=3),
)
EYE = torch.eye(4, dtype=torch.float64)


def close(a, b):
    return torch.allclose(a, b, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(poses, poses, poses)
def test_group_laws(a, b, c):
    assert close(compose(compose(a, b), c), compose(a, compose(b, c)))
    assert close(compose(a, EYE), a)
    assert close(compose(EYE, a), a)
    assert close(compose(a, inverse(a)), EYE)
    assert close(inverse(compose(a, b)), compose(inverse(b), inverse(a)))


@settings(max_examples=50, deadline=None)
@given(poses, poses)
def test_points_move_as_poses_compose(a, b):
    points = torch.arange(12, dtype=torch.float64).reshape(4, 3)
    assert close(
        transform_points(compose(a, b), points), transform_points(a, transform_points(b, points))
    )


@settings(max_examples=50, deadline=None)
@given(poses)
def test_quaternion_round_trip(pose):
    again = pose_from_quaternion(quaternion_from_pose(pose), pose[:3, 3])
    assert close(again, pose)
    check_pose(pose, "here")


def test_half_turns_keep_their_digits():
    for axis in range(3):
        xyzw = torch.zeros(4, dtype=torch.float64)
        xyzw[axis] = 1.0
        pose = pose_from_quaternion(xyzw, torch.zeros(3, dtype=torch.float64))
        assert close(
            pose_from_quaternion(quaternion_from_pose(pose), torch.zeros(3, dtype=torch.float64)),
            pose,
        )


def test_quarter_turn_about_z_takes_x_to_y():
    half = math.pi / 4
    pose = pose_from_quaternion(
        torch.tensor([0.0, 0.0, math.sin(half), math.cos(half)]), torch.tensor([0.0, 0.0, 2.0])
    )
    point = transform_points(pose, torch.tensor([[1.0, 0.0, 0.0]]))
    assert torch.allclose(point, torch.tensor([[0.0, 1.0, 2.0]]), atol=1e-6)


def test_batch_axes():
    one = pose_from_quaternion(torch.tensor([0.1, 0.2, 0.3, 1.0]), torch.tensor([1.0, 2.0, 3.0]))
    many = one.expand(5, 2, 4, 4)
    assert torch.allclose(inverse(many)[3, 1], inverse(one))
    points = torch.randn(5, 2, 7, 3, generator=torch.Generator().manual_seed(0))
    moved = transform_points(many, points)
    assert torch.allclose(moved[3, 1], transform_points(one, points[3, 1]), atol=1e-6)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda p: p * float("nan"), "NaN or infinity"),
        (lambda p: p.mT.clone(), "is it transposed"),
        (lambda p: p @ torch.diag(torch.tensor([2.0, 2, 2, 1])), "not orthonormal"),
        (lambda p: p @ torch.diag(torch.tensor([1.0, 1, -1, 1])), "mirrors space"),
    ],
)
def test_what_is_no_pose_is_refused(spoil, sentence):
    pose = pose_from_quaternion(torch.tensor([0.1, 0.2, 0.3, 1.0]), torch.tensor([1.0, 2.0, 3.0]))
    with pytest.raises(ShapeError, match=sentence) as caught:
        check_pose(spoil(pose), "step 3 of a.csv")
    assert "step 3 of a.csv" in str(caught.value)


def test_nothing_is_no_wrong_pose_and_nan_has_no_quaternion():
    check_pose(torch.zeros(0, 4, 4), "none")
    poses = torch.eye(4).repeat(2, 1, 1)
    poses[1, 0, 0] = torch.nan
    with pytest.raises(ShapeError, match="quaternion of a pose with NaN or infinity"):
        quaternion_from_pose(poses)
