"""Augmentation: whatever is drawn, the sensors still tell of one and the same world."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from armillary.core.errors import ConfigError
from armillary.spatial import (
    Change,
    Changes,
    check_pose,
    drop_points,
    exp,
    intrinsics_from_fov,
    jitter,
    point_map,
    points_from_depth,
)

few = settings(max_examples=30)

seeds = st.integers(0, 2**32 - 1)
changes = st.builds(
    Change,
    st.floats(-math.pi, math.pi),
    st.floats(0.5, 2),
    st.tuples(st.floats(-2, 2), st.floats(-2, 2), st.floats(-2, 2)),
)


def cloud(seed, count=30):
    return np.random.default_rng(seed).normal(size=(2, count, 3))


def pose(seed):
    twist = torch.randn(6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return exp(twist).numpy()


def distances(points):
    return np.linalg.norm(points[..., :, None, :] - points[..., None, :, :], axis=-1)


@few
@given(changes, seeds)
def test_a_change_and_its_inverse_are_nothing(change, seed):
    points, world_from_camera = cloud(seed), pose(seed)
    back = change.inverse()
    assert np.allclose(back.points(change.points(points)), points, atol=1e-9)
    assert np.allclose(back.vectors(change.vectors(points)), points, atol=1e-9)
    assert np.allclose(back.poses(change.poses(world_from_camera)), world_from_camera, atol=1e-9)
    assert np.allclose(back.lengths(change.lengths(points[..., 0])), points[..., 0])


@few
@given(changes, seeds)
def test_distances_grow_by_the_scale_and_by_nothing_else(change, seed):
    points = cloud(seed)
    assert np.allclose(distances(change.points(points)), change.scale * distances(points))
    moved = change.points(points)[..., 2]
    assert np.allclose(moved, change.scale * points[..., 2] + change.shift_m[2])


@few
@given(changes, seeds)
def test_depth_and_poses_still_give_the_points(change, seed):
    depth_m = np.random.default_rng(seed).uniform(0.5, 3, (6, 8))
    intrinsics = intrinsics_from_fov(0.9, 6, 8).double()
    before, _ = point_map(torch.tensor(depth_m), intrinsics, torch.tensor(pose(seed)))
    world_from_camera = torch.tensor(change.poses(pose(seed)))
    check_pose(world_from_camera, "after the change", tolerance=1e-9)
    after, _ = point_map(torch.tensor(change.lengths(depth_m)), intrinsics, world_from_camera)
    assert np.allclose(after.numpy(), change.points(before.numpy()), atol=1e-9)


@few
@given(changes, seeds)
def test_actions_still_lead_where_they_led(change, seed):
    place, action = cloud(seed)[0], cloud(seed + 1)[0]
    assert np.allclose(
        change.points(place + action), change.points(place) + change.vectors(action), atol=1e-9
    )


@few
@given(changes, st.floats(-math.pi, math.pi))
def test_headings_turn_as_directions_do(change, heading):
    ahead = change.vectors(np.array([[math.cos(heading), math.sin(heading), 0.0]]))[0]
    turned = float(change.headings(np.array([heading]))[0])
    assert math.isclose(math.cos(turned), ahead[0] / change.scale, abs_tol=1e-9)
    assert math.isclose(math.sin(turned), ahead[1] / change.scale, abs_tol=1e-9)


def test_nothing_is_written_into_and_dtypes_and_nan_stay():
    change = Change(0.3, 1.2, (1.0, 0.0, 0.0))
    points = cloud(0).astype(np.float32)
    points[0, 0] = np.nan
    before, world_from_camera = points.copy(), pose(0).astype(np.float32)
    after = change.points(points)
    assert np.array_equal(points, before, equal_nan=True)
    assert after.dtype == np.float32
    assert np.isnan(after[0, 0]).all()
    assert np.isfinite(after[0, 1:]).all()
    kept = world_from_camera.copy()
    assert change.poses(world_from_camera).dtype == np.float32
    assert np.array_equal(world_from_camera, kept)


@few
@given(seeds)
def test_draws_stay_in_their_ranges_and_repeat(seed):
    limits = Changes(0.5, 1.3, (0.1, 0.2, 0.0))
    change = limits.draw(np.random.default_rng(seed))
    assert abs(change.yaw_rad) <= 0.5
    assert 1 / 1.3 <= change.scale <= 1.3
    assert all(abs(a) <= b for a, b in zip(change.shift_m, limits.shift_m, strict=True))
    assert change == limits.draw(np.random.default_rng(seed))
    assert Changes(0.0, 1.0, (0.0, 0.0, 0.0)).draw(np.random.default_rng(seed)) == Change()


def test_jitter_has_its_sigma_and_no_outliers():
    noise = jitter(np.zeros((20_000, 3)), np.random.default_rng(0), 0.01)
    assert noise.std() == pytest.approx(0.01, rel=0.03)
    assert np.abs(noise).max() <= 0.03


def test_drop_out_drops_its_share_of_valid_points_only():
    valid = np.arange(40_000) % 2 == 0
    kept = drop_points(valid, np.random.default_rng(0), 0.3)
    assert not (kept & ~valid).any()
    assert kept.sum() / valid.sum() == pytest.approx(0.7, abs=0.02)
    assert np.array_equal(drop_points(valid, np.random.default_rng(0), 0.0), valid)
    assert not drop_points(valid, np.random.default_rng(0), 1.0).any()


def test_camera_points_scale_with_depth():
    depth_m = torch.full((2, 2), 1.5)
    twice = points_from_depth(depth_m * 2, torch.eye(3))
    assert torch.allclose(twice, 2 * points_from_depth(depth_m, torch.eye(3)))


def test_changes_that_cannot_be():
    with pytest.raises(ConfigError, match="scale is a positive number, got 0"):
        Change(scale=0.0)
    with pytest.raises(ConfigError, match="factor of 1 or more"):
        Changes(scale=0.9)
    with pytest.raises(ConfigError, match="yaw and shifts of 0 or more"):
        Changes(yaw_rad=-1.0)
    with pytest.raises(ConfigError, match=r"within 0 to 1, got 1\.5"):
        drop_points(np.ones(3, bool), np.random.default_rng(0), 1.5)


@pytest.mark.parametrize(
    "change", [{"yaw_rad": np.nan}, {"yaw_rad": np.inf}, {"shift_m": (np.nan, 0.0, 0.0)}]
)
def test_changes_that_are_no_numbers(change):
    with pytest.raises(ConfigError, match="Changes go up to a yaw and shifts of 0 or more"):
        Changes(**change)
