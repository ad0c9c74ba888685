"""A warped scan is the scan that is taken from the new place; gaps are filled by the rule."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rooms import SQUARE, beams, cast

from armillary.core.errors import ConfigError
from armillary.spatial import inverse
from armillary.spatial.scan_match import match_scans
from armillary.spatial.scan_warp import (
    fill_scan_gaps,
    known_beside,
    planar_motion,
    planar_pose,
    range_slopes,
    warp_scan_ranges,
)

ANGLES = beams()
motions = st.tuples(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5), st.floats(-0.6, 0.6))


def pose(*motion):
    return planar_pose(torch.tensor([motion], dtype=torch.float64))


@settings(max_examples=40, deadline=None)
@given(motions)
def test_a_warped_scan_of_a_square_room_is_the_scan_from_the_new_place(motion):
    there = pose(*motion)
    scan = cast(SQUARE, pose(0.0, 0.0, 0.0), ANGLES)
    warped = warp_scan_ranges(scan, ANGLES, there)
    truth = cast(SQUARE, there, ANGLES)
    seen = warped.isfinite()
    # a corner between two beams is cut off straight, which shortens at most a few beams a little
    away = (warped - truth)[seen].abs()
    assert away.max() < 0.15
    assert (away < 1e-9).double().mean() > 0.97
    # open is only what the first scan cannot have seen: it looked ahead, half a turn wide
    point = there[:, :2, 3, None] + truth * torch.stack(
        [(motion[2] + ANGLES).cos(), (motion[2] + ANGLES).sin()]
    )
    ahead = point[:, 0] > 0.1
    assert bool((seen | ~ahead).all())


def test_no_motion_changes_nothing():
    scan = cast(SQUARE, pose(0.3, -1.0, 0.2), ANGLES)
    assert torch.allclose(warp_scan_ranges(scan, ANGLES, pose(0.0, 0.0, 0.0)), scan)


def test_what_stands_in_front_hides_what_is_behind():
    step = ANGLES[1] - ANGLES[0]
    scan = torch.full((1, 361), 10.0, dtype=torch.float64)
    scan[0, 170:190] = 2.0  # a post ahead
    turned = warp_scan_ranges(scan, ANGLES, pose(0.0, 0.0, float(5 * step)))
    assert torch.allclose(turned[0, :356], scan[0, 5:])
    assert turned[0, 356:].isnan().all()
    # from 1 m nearer the post is twice as wide, and nothing is known right behind its old edges
    nearer = warp_scan_ranges(scan, ANGLES, pose(1.0, 0.0, 0.0))[0]
    assert int((nearer < 1.2).sum()) == pytest.approx(39, abs=2)
    # sideways the wall behind stays hidden where the post hid it
    aside = warp_scan_ranges(scan, ANGLES, pose(0.0, 0.5, 0.0))[0]
    assert aside.isnan().any()
    assert ((aside < 3) | (aside > 9) | aside.isnan()).all()


def test_beams_without_a_return_stay_open_and_link_nothing():
    scan = torch.full((2, 361), torch.nan, dtype=torch.float64)
    scan[1, 100], scan[1, 102] = 3.0, 3.0
    warped = warp_scan_ranges(scan, ANGLES, pose(0.0, 0.0, 0.0).expand(2, 4, 4))
    assert warped[0].isnan().all()
    assert torch.nonzero(warped[1].isfinite()).flatten().tolist() == [100, 102]


@given(motions)
@settings(max_examples=20, deadline=None)
def test_motions_and_poses_are_the_same(motion):
    assert torch.allclose(planar_motion(pose(*motion))[0], torch.tensor(motion).double())


def test_gaps_are_filled_by_the_rule():
    nan = torch.nan
    scan = torch.tensor([[nan, 2.0, nan, nan, 5.0, nan]])
    filled = {rule: fill_scan_gaps(scan, rule)[0].tolist() for rule in ("nearest", "farther")}
    assert filled["nearest"] == [2.0, 2.0, 2.0, 5.0, 5.0, 5.0]
    assert filled["farther"] == [2.0, 2.0, 5.0, 5.0, 5.0, 5.0]
    assert fill_scan_gaps(scan, "nearer")[0].tolist() == [2.0, 2.0, 2.0, 2.0, 5.0, 5.0]
    linear = fill_scan_gaps(scan, "linear")[0]
    assert torch.allclose(linear, torch.tensor([2.0, 2.0, 3.0, 4.0, 5.0, 5.0]))
    assert fill_scan_gaps(torch.full((1, 3), nan)).tolist() == [[0.0] * 3]
    beside = known_beside(scan)
    assert beside.beams_right[0].tolist() == [torch.inf, 0, 1, 2, 0, 1]
    assert beside.beams_left[0].tolist() == [1, 0, 2, 1, 0, torch.inf]
    with pytest.raises(ConfigError, match="rule to fill scans called 'closest'"):
        fill_scan_gaps(scan, "closest")


def test_matching_finds_the_motion_in_a_room_that_tells_it():
    corners = [(-3.0, -4.0), (5.0, -4.0), (5.0, 1.0), (7.0, 1.0), (7.0, 3.0), (-3.0, 3.0)]
    truth = torch.tensor([[0.3, 0.02, -0.05], [0.25, -0.03, 0.08], [0.0, 0.0, 0.0]]).double()
    first = cast(corners, pose(0.0, 0.0, 0.0), ANGLES).expand(3, -1)
    later = cast(corners, planar_pose(truth), ANGLES)
    start = truth + torch.tensor([0.08, -0.03, 0.02])
    found, cost = match_scans(first, later, ANGLES, start)
    assert (found - truth).abs().max() < 5e-3
    assert cost.max() < 0.02
    blind = torch.full_like(first, torch.nan)
    assert torch.equal(match_scans(blind, later, ANGLES, start)[0], start)


def test_there_and_back_is_where_it_began():
    there = pose(0.4, 0.1, 0.2)
    scan = cast(SQUARE, pose(0.0, 0.0, 0.0), ANGLES)
    back = warp_scan_ranges(warp_scan_ranges(scan, ANGLES, there), ANGLES, inverse(there))
    seen = back.isfinite()
    assert ((back - scan)[seen].abs() < 0.02).double().mean() > 0.95
    assert math.isclose(float(seen.double().mean()), 1.0, abs_tol=0.35)


def test_slopes_are_what_small_motions_do():
    scan = cast(SQUARE, pose(0.0, 0.0, 0.0), ANGLES)
    slopes = range_slopes(scan, ANGLES)[0]
    for axis in range(3):
        small = [0.0, 0.0, 0.0]
        small[axis] = 1e-4
        ahead = cast(SQUARE, pose(*small), ANGLES)
        small[axis] = -1e-4
        change = (ahead - cast(SQUARE, pose(*small), ANGLES))[0] / 2e-4
        # not at the ends, and not at a corner, where there is no slope
        good = (slopes[axis] - change).abs()[2:-2] < 0.02
        assert good.double().mean() > 0.97
