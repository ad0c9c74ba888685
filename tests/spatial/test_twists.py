"""Twists: exp and log are the group's own, from no turn at all to half a turn."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from armillary.core.errors import ShapeError
from armillary.spatial import (
    check_pose,
    compose,
    exp,
    interpolate,
    inverse,
    log,
    nearest_rotation,
    pose_distance,
    pose_from_parts,
    relative,
    transform_points,
)

few = settings(max_examples=30)

EYE = torch.eye(4, dtype=torch.float64)
shifts = st.lists(st.floats(-5, 5), min_size=3, max_size=3)
# Angles near nothing, near half a turn, and all between.
angles = st.one_of(
    st.floats(0, 1e-5), st.floats(0, math.pi), st.floats(math.pi - 1e-5, math.pi - 1e-9)
)


def twist_of(shift, axis, angle):
    axis = torch.tensor(axis, dtype=torch.float64)
    length = axis.norm()
    axis = axis / length if length > 1e-3 else torch.tensor([0.0, 0.6, 0.8], dtype=torch.float64)
    return torch.cat([torch.tensor(shift, dtype=torch.float64), angle * axis])


twists = st.builds(twist_of, shifts, shifts, angles)


def close(a, b, atol=1e-9):
    return torch.allclose(a, b, rtol=0, atol=atol)


def generator_of(twist):
    """The 4x4 matrix that a twist stands for (translation first)."""
    x, y, z = twist[3:]
    matrix = torch.zeros(4, 4, dtype=twist.dtype)
    matrix[:3, :3] = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=twist.dtype)
    matrix[:3, 3] = twist[:3]
    return matrix


@few
@given(twists)
def test_exp_is_the_exponential_of_the_generator(twist):
    assert close(exp(twist), torch.linalg.matrix_exp(generator_of(twist)), 1e-11)
    check_pose(exp(twist), "exp", tolerance=1e-12)


@few
@given(twists)
def test_log_and_exp_are_inverse(twist):
    pose = exp(twist)
    assert close(exp(log(pose)), pose)
    if twist[3:].norm() < math.pi - 1e-6:
        assert close(log(pose), twist, 1e-8)


@few
@given(twists)
def test_no_digit_is_lost_at_tiny_angles(twist):
    tiny = 1e-9 * twist
    assert torch.allclose(log(exp(tiny)), tiny, rtol=1e-6, atol=1e-18)


@few
@given(twists, st.floats(-1, 1), st.floats(-1, 1))
def test_motions_along_one_twist_add(twist, s, t):
    assert close(compose(exp(s * twist), exp(t * twist)), exp((s + t) * twist))
    assert close(exp(-twist), inverse(exp(twist)))


@few
@given(twists, twists)
def test_moving_the_frame_moves_the_twist_by_the_adjoint(move, twist):
    pose = exp(move)
    turn, cross = pose[:3, :3], generator_of(torch.cat([pose[:3, 3] * 0, pose[:3, 3]]))[:3, :3]
    shift = turn @ twist[:3] + cross @ turn @ twist[3:]
    moved = torch.cat([shift, turn @ twist[3:]])
    assert close(compose(compose(pose, exp(twist)), inverse(pose)), exp(moved), 1e-8)


@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, -2, 3)])
def test_half_a_turn(axis):
    twist = twist_of((1.0, 2.0, 3.0), [float(x) for x in axis], math.pi)
    again = log(exp(twist))
    assert close(again[3:].norm(), torch.tensor(math.pi, dtype=torch.float64))
    assert close(exp(again), exp(twist))


@few
@given(twists)
def test_the_rotation_agrees_with_scipy(twist):
    mine = exp(twist)[:3, :3].numpy()
    assert abs(mine - Rotation.from_rotvec(twist[3:].numpy()).as_matrix()).max() < 1e-12


def test_one_unit_of_time_of_a_body_that_drives_a_quarter_circle():
    # Forward pi/2 metres while turning left a quarter: a circle of one metre.
    twist = torch.tensor([math.pi / 2, 0, 0, 0, 0, math.pi / 2], dtype=torch.float64)
    assert close(exp(twist)[:3, 3], torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64))


@pytest.mark.parametrize("scale", [0.0, 1e-12, 1e-3, 1.0])
def test_gradients_are_those_of_differences(scale):
    start = scale * torch.tensor([0.3, -0.2, 0.5, 0.7, -1.1, 0.4], dtype=torch.float64)
    twist = start.clone().requires_grad_()
    assert torch.autograd.gradcheck(exp, (twist,))
    assert torch.autograd.gradcheck(lambda x: log(exp(x)), (twist,))
    jacobian = torch.autograd.functional.jacobian(lambda x: log(exp(x)), start)
    assert close(jacobian, torch.eye(6, dtype=torch.float64), 1e-7)


def test_single_precision_and_batch_axes():
    many = torch.randn(5, 2, 6, generator=torch.Generator().manual_seed(0))
    assert (log(exp(many)) - many).abs().max() < 1e-5
    assert torch.allclose(exp(many)[3, 1], exp(many[3, 1]))


@few
@given(twists, twists)
def test_relative_is_where_b_is_seen_from_a(a, b):
    world_from_a, world_from_b = exp(a), exp(b)
    a_from_b = relative(world_from_a, world_from_b)
    assert close(compose(world_from_a, a_from_b), world_from_b)
    assert close(relative(world_from_a, world_from_a), EYE)
    place = transform_points(world_from_b, torch.ones(1, 3, dtype=torch.float64))
    seen = transform_points(inverse(world_from_a), place)
    assert close(transform_points(a_from_b, torch.ones(1, 3, dtype=torch.float64)), seen)


@few
@given(twists, twists, twists)
def test_distance_is_a_distance(a, b, c):
    poses = exp(a), exp(b), exp(c)
    for one, two in zip(pose_distance(*poses[:2]), pose_distance(poses[1], poses[0]), strict=True):
        assert close(one, two)
    moved = pose_distance(compose(poses[2], poses[0]), compose(poses[2], poses[1]))
    for one, two in zip(pose_distance(*poses[:2]), moved, strict=True):
        assert close(one, two, 1e-7)
    legs = [pose_distance(poses[i], poses[j]) for i, j in ((0, 1), (1, 2), (0, 2))]
    for first, second, direct in zip(*legs, strict=True):
        assert direct <= first + second + 1e-9
    assert max(float(x) for x in pose_distance(poses[0], poses[0])) < 1e-9


def test_distance_in_numbers():
    a, b = EYE, exp(torch.tensor([3.0, 0, 4.0, 0, 0, 0], dtype=torch.float64))
    turned = compose(b, exp(torch.tensor([0, 0, 0, 0, math.pi, 0], dtype=torch.float64)))
    assert [float(x) for x in pose_distance(a, turned)] == pytest.approx([math.pi, 5.0])


@few
@given(twists, twists, st.floats(0, 1))
def test_interpolation_goes_at_constant_pace(a, b, share):
    start, end = exp(a), exp(b)
    if pose_distance(start, end)[0] > math.pi - 1e-3:
        return  # half a turn: either way round is right
    middle = interpolate(start, end, torch.tensor(share, dtype=torch.float64))
    gone, whole = pose_distance(start, middle)[0], pose_distance(start, end)[0]
    assert close(gone, share * whole, 1e-7)
    zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    assert close(interpolate(start, end, zero), start)
    assert close(interpolate(start, end, one), end, 1e-7)


@few
@given(twists, st.floats(0.1, 10), st.integers(0, 2**32 - 1))
def test_nearest_rotation(twist, scale, seed):
    turn = exp(twist)[:3, :3]
    assert close(nearest_rotation(scale * turn), turn)
    noise = torch.randn(3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    spoiled = turn + 0.3 * noise
    nearest = nearest_rotation(spoiled)
    check_pose(pose_from_parts(nearest, torch.zeros(3, dtype=torch.float64)), "nearest", 1e-9)
    # No rotation around it is nearer.
    for axis in torch.eye(6, dtype=torch.float64)[3:]:
        for sign in (-1e-3, 1e-3):
            other = nearest @ exp(sign * axis)[:3, :3]
            assert (spoiled - nearest).norm() <= (spoiled - other).norm() + 1e-12


def test_a_mirror_becomes_a_rotation():
    mirror = torch.diag(torch.tensor([1.0, 1.0, -1.0]))
    assert torch.det(nearest_rotation(mirror)) > 0


def test_nan_has_no_nearest_rotation():
    with pytest.raises(ShapeError, match="NaN or infinity; leave it out"):
        nearest_rotation(torch.full((3, 3), float("nan")))
