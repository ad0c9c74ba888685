"""Depth noise: it grows with the square of the depth, and holes lie where sensors have them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armillary.core.errors import ConfigError
from armillary.spatial import depth_holes, far_side, noisy_depth

few = settings(max_examples=30)

seeds = st.integers(0, 2**32 - 1)


def step_picture(batch=()):
    """A box at one metre before a wall at three; the right edge has no depth at all."""
    depth_m = np.full((*batch, 40, 60), 3.0, np.float32)
    depth_m[..., 10:30, 20:40] = 1.0
    depth_m[..., :, 55:] = np.nan
    return depth_m


@pytest.mark.parametrize("z", [0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_sigma_is_a_share_of_z_squared(z, kind):
    noisy = noisy_depth(np.full((200, 200), z, kind), np.random.default_rng(0), 0.015)
    # Cut at three sigma, a normal has 0.987 of its spread.
    assert noisy.std() == pytest.approx(0.987 * 0.015 * z**2, rel=0.02)
    assert noisy.mean() == pytest.approx(z, rel=0.001)
    assert np.abs(noisy - z).max() <= 3 * 0.015 * z**2 + 1e-6


def test_the_reference_distance():
    far = noisy_depth(np.full((200, 200), 4.0), np.random.default_rng(0), 0.02, at_m=4.0)
    assert far.std() == pytest.approx(0.987 * 0.02 * 4.0, rel=0.02)


def test_invalid_depth_stays_as_it_is_and_nothing_is_written_into():
    depth_m = np.array([[1.0, 0.0, np.nan, np.inf, -1.0]], np.float32)
    before = depth_m.copy()
    noisy = noisy_depth(depth_m, np.random.default_rng(0))
    assert np.array_equal(noisy[0, 1:], depth_m[0, 1:], equal_nan=True)
    assert noisy.dtype == np.float32
    depth_holes(depth_m, np.random.default_rng(0), 1.0, 1.0)
    assert np.array_equal(depth_m, before, equal_nan=True)


def test_no_point_behind_the_camera():
    noisy = noisy_depth(np.full((100, 100), 50.0), np.random.default_rng(0), 0.02)
    assert np.isnan(noisy).any()
    assert (noisy[~np.isnan(noisy)] > 0).all()


def test_no_share_no_change():
    depth_m = step_picture()
    rng = np.random.default_rng(0)
    assert np.array_equal(noisy_depth(depth_m, rng, 0.0), depth_m, equal_nan=True)
    assert np.array_equal(depth_holes(depth_m, rng, 0.0, 0.0), depth_m, equal_nan=True)


def test_the_far_side_of_an_edge_is_the_wall_around_the_box():
    far = far_side(step_picture(), 2, 0.05)
    frame = np.zeros((40, 60), bool)
    frame[8:32, 18:42] = True
    frame[10:30, 20:40] = False
    assert np.array_equal(far, frame)


@few
@given(seeds, st.floats(0, 1))
def test_edges_lose_their_share_exactly(seed, share):
    depth_m = step_picture((3,))
    holes = depth_holes(depth_m, np.random.default_rng(seed), share, 0.0)
    lost = np.isnan(holes) & ~np.isnan(depth_m)
    far = far_side(depth_m, 2, 0.05)
    assert not (lost & ~far).any()
    assert lost.sum(axis=(1, 2)).tolist() == [round(share * n) for n in far.sum(axis=(1, 2))]


@few
@given(seeds, st.floats(0, 1))
def test_blobs_cover_their_share_exactly_and_repeat(seed, share):
    flat = np.full((2, 30, 40), 2.0)
    holes = depth_holes(flat, np.random.default_rng(seed), 0.0, share)
    assert np.isnan(holes).sum(axis=(1, 2)).tolist() == [round(share * 1200)] * 2
    again = depth_holes(flat, np.random.default_rng(seed), 0.0, share)
    assert np.array_equal(holes, again, equal_nan=True)


def test_blobs_are_blobs():
    """A lost pixel's neighbour is lost far more often than by chance."""
    lost = np.isnan(depth_holes(np.ones((200, 200)), np.random.default_rng(0), 0.0, 0.05))
    beside = lost[:, 1:] & lost[:, :-1]
    assert beside.sum() / lost.sum() > 0.7


def test_what_cannot_be():
    depth_m, rng = step_picture(), np.random.default_rng(0)
    with pytest.raises(ConfigError, match="share of 0 or more at a distance above 0"):
        noisy_depth(depth_m, rng, -0.1)
    with pytest.raises(ConfigError, match=r"within 0 to 1, got 1\.5 and 0"):
        depth_holes(depth_m, rng, 1.5, 0.0)
    with pytest.raises(ConfigError, match="edge_px of 1 or more"):
        depth_holes(depth_m, rng, edge_px=0)
