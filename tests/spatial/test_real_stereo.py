"""A real stereo pair with measured truth: disparity, depth, points and pictures agree.

The pair is Middlebury 2014 "Motorcycle" at a quarter of its size, inside scikit-image's wheel.
"""

import math

import numpy as np
import pytest
import torch

from armillary.spatial import (
    depth_from_disparity,
    exp,
    inverse,
    pixel_grid,
    point_map,
    pose_from_parts,
    project,
    transform_points,
    valid_depth,
)

data = pytest.importorskip("skimage.data", reason="the stereo pair comes inside scikit-image")

# As the data set's own page gives them, at this size.
FOCAL_PX, CENTRE, OFFSET_PX, BASELINE_M = 994.978, (311.193, 254.877), 31.086, 0.193001


def intrinsics(offset_px):
    u, v = CENTRE
    return torch.tensor([[FOCAL_PX, 0, u + offset_px], [0, FOCAL_PX, v], [0, 0, 1]]).double()


@pytest.fixture(scope="module")
def pair():
    left, right, disparity_px = data.stereo_motorcycle()
    return (*(torch.tensor(x).double() / 255 for x in (left, right)), torch.tensor(disparity_px))


@pytest.fixture(scope="module")
def seen(pair):
    """Points in the world (a tilted camera), the mask, and pixels and depth in both cameras."""
    depth_m = depth_from_disparity(pair[2].double(), FOCAL_PX, BASELINE_M, OFFSET_PX)
    turn = exp(torch.tensor([0, 0, 0, 0.5, 0.1, 0.3]).double())[:3, :3]
    world_from_left = pose_from_parts(turn, torch.tensor([1.0, -2.0, 0.5]).double())
    points, valid = point_map(depth_m, intrinsics(0.0), world_from_left)
    left_from_right = pose_from_parts(
        torch.eye(3).double(), torch.tensor([BASELINE_M, 0.0, 0.0]).double()
    )
    flat = points[valid]
    in_left = transform_points(inverse(world_from_left), flat)
    in_right = transform_points(inverse(world_from_left @ left_from_right), flat)
    return (
        depth_m,
        valid,
        project(in_left, intrinsics(0.0)),
        project(in_right, intrinsics(OFFSET_PX)),
    )


def test_depths_are_those_of_the_room(pair, seen):
    depth_m, valid, _, _ = seen
    assert torch.equal(valid, valid_depth(depth_m))
    assert torch.equal(valid, torch.isfinite(pair[2]))
    assert valid.double().mean() == pytest.approx(0.927, abs=0.005)
    # A motorcycle two metres away, before a wall at less than five and a half.
    assert float(depth_m[valid].min()) > 2.0
    assert float(depth_m[valid].max()) < 5.5


def test_points_come_back_to_their_pixels(seen):
    depth_m, valid, (pixels, again_m), _ = seen
    grid = pixel_grid(*depth_m.shape, like=depth_m)[valid]
    assert (pixels - grid).abs().max() < 1e-6
    assert (again_m - depth_m[valid]).abs().max() < 1e-9


def test_points_fall_where_the_other_camera_saw_them(pair, seen):
    depth_m, valid, _, (pixels, _) = seen
    grid = pixel_grid(*depth_m.shape, like=depth_m)[valid]
    assert (pixels[:, 0] - (grid[:, 0] - pair[2][valid])).abs().max() < 0.5
    assert (pixels[:, 1] - grid[:, 1]).abs().max() < 0.5


def test_the_other_picture_has_the_same_colours_there(pair, seen):
    left, right, _ = pair
    _, valid, _, (pixels, _) = seen

    def difference(shift_px):
        column, row = (pixels + torch.tensor([shift_px, 0.0])).round().long().unbind(-1)
        inside = (column >= 0) & (column < left.shape[1])
        colours = left[valid][inside] - right[row[inside], column[inside]]
        return float(colours.abs().mean())

    found = {shift_px: difference(shift_px) for shift_px in (-8.0, -2.0, 0.0, 2.0, 8.0)}
    assert min(found, key=found.__getitem__) == 0.0
    assert found[0.0] < 0.5 * min(found[-8.0], found[8.0])


def test_what_has_no_disparity_has_no_depth():
    disparity_px = torch.tensor([[math.nan, math.inf, -40.0, 10.0]])
    depth_m = depth_from_disparity(disparity_px, 100.0, 0.2, 0.0)
    assert depth_m.isnan().tolist() == [[True, True, True, False]]
    assert float(depth_m[0, 3]) == pytest.approx(2.0)
    assert np.isfinite(float(depth_m[0, 3]))
