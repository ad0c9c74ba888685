"""Lenses agree with OpenCV, their inverse is exact, and what they cannot see is NaN."""

import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from armillary.core.errors import ConfigError, ShapeError
from armillary.spatial import (
    Lens,
    distort,
    pixel_grid,
    project,
    project_lens,
    rays,
    undistort,
    unproject_lens,
)

few = settings(max_examples=30)

K = torch.tensor([[420.0, 0.0, 319.5], [0.0, 410.0, 239.5], [0.0, 0.0, 1.0]]).double()
# As calibrations give them; the rational one is like those of time-of-flight cameras.
BROWN = {
    "none": [],
    "webcam": [0.05, -0.12, 1e-3, -5e-4],
    "barrel": [-0.28, 0.07, 2e-4, 3e-4, -0.008],
    "pincushion": [0.2, 0.05, -1e-3, 1e-3, 0.01],
    "rational": [0.45, -2.5, 6e-4, -3e-4, 1.45, 0.33, -2.33, 1.38],
}
FISHEYE = {"ideal": [0.0, 0.0, 0.0, 0.0], "gopro": [0.05, -0.01, 0.004, -0.001]}
LENSES = [("brown_conrady", name, values) for name, values in BROWN.items()]
LENSES += [("kannala_brandt", name, values) for name, values in FISHEYE.items()]


def lens_of(model, values):
    return Lens(K, model, torch.tensor(values, dtype=torch.float64))


@pytest.fixture(params=LENSES, ids=lambda one: one[1])
def lens(request):
    return lens_of(request.param[0], request.param[2])


def points(lens, count=500):
    random = torch.Generator().manual_seed(0)
    place = torch.rand(count, 3, generator=random, dtype=torch.float64)
    return (place - torch.tensor([0.5, 0.5, -0.6])) * torch.tensor([1.6, 1.2, 3.0])


def test_projection_is_opencv_s(lens):
    cloud = points(lens)
    coefficients = lens.coefficients.numpy()
    zero = np.zeros(3)
    if lens.model == "kannala_brandt":
        theirs, _ = cv2.fisheye.projectPoints(
            cloud[None].numpy(), zero, zero, K.numpy(), coefficients
        )
    else:
        theirs, _ = cv2.projectPoints(cloud.numpy(), zero, zero, K.numpy(), coefficients)
    mine, depth_m = project_lens(cloud, lens)
    seen = ~mine.isnan().any(-1)
    assert seen.float().mean() > 0.7
    assert np.abs(mine[seen].numpy() - theirs.reshape(-1, 2)[seen]).max() < 1e-9
    assert torch.equal(depth_m, cloud[:, 2])


def test_undistortion_is_opencv_s(lens):
    pixels = pixel_grid(12, 16, like=K).flatten(0, 1) * 40
    mine = unproject_lens(pixels, torch.ones_like(pixels[:, 0]), lens)[:, :2]
    kept = ~mine.isnan().any(-1)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 500, 1e-12)
    source, coefficients = pixels[kept][:, None].numpy(), lens.coefficients.numpy()
    if lens.model == "kannala_brandt":
        theirs = cv2.fisheye.undistortPoints(source, K.numpy(), coefficients, criteria=criteria)
    else:
        theirs = cv2.undistortPoints(source, K.numpy(), coefficients, criteria=criteria)
    assert kept.float().mean() > 0.9
    assert np.abs(mine[kept].numpy() - theirs[:, 0]).max() < 1e-6


def test_pixels_come_back_to_a_hundred_thousandth(lens):
    pixels = pixel_grid(60, 80, like=K).flatten(0, 1) * 8
    depth_m = torch.full_like(pixels[:, 0], 2.5)
    cloud = unproject_lens(pixels, depth_m, lens)
    kept = ~cloud.isnan().any(-1)
    again, depth_again = project_lens(cloud[kept], lens)
    assert kept.float().mean() > 0.9
    assert (again - pixels[kept]).abs().max() < 1e-5
    assert (depth_again - 2.5).abs().max() < 1e-12


def test_points_come_back(lens):
    cloud = points(lens)
    pixels, depth_m = project_lens(cloud, lens)
    seen = ~pixels.isnan().any(-1)
    again = unproject_lens(pixels[seen], depth_m[seen], lens)
    assert (again - cloud[seen]).abs().max() < 1e-8
    toward = cloud[seen] / cloud[seen].norm(dim=-1, keepdim=True)
    assert (rays(pixels[seen], lens) - toward).abs().max() < 1e-8


def test_without_coefficients_it_is_the_pinhole():
    lens = lens_of("brown_conrady", [])
    cloud = points(lens)
    for mine, plain in zip(project_lens(cloud, lens), project(cloud, K), strict=True):
        assert torch.allclose(mine, plain)


radii = st.floats(0, 0.8)
small = st.floats(-0.02, 0.02)


@few
@given(
    st.lists(st.floats(-0.15, 0.3), min_size=3, max_size=3),
    st.lists(small, min_size=2, max_size=2),
    radii,
    st.floats(-math.pi, math.pi),
)
def test_distort_and_undistort_are_inverse(k, p, radius, direction):
    lens = lens_of("brown_conrady", [k[0], k[1], *p, k[2]])
    place = radius * torch.tensor([[math.cos(direction), math.sin(direction)]]).double()
    jacobian = torch.autograd.functional.jacobian(lambda x: distort(x, lens), place)
    reached = undistort(distort(place, lens), lens)
    if not reached.isnan().any():
        assert (distort(reached, lens) - distort(place, lens)).abs().max() < 1e-12
    # Far from where the formula bends back there is one answer, and it is found.
    rising = min(1 + 3 * k[0] * r**2 + 5 * k[1] * r**4 + 7 * k[2] * r**6 for r in (0.3, 0.6, 0.9))
    if rising > 0.4 and torch.det(jacobian[0, :, 0]) > 0.2:
        assert (reached - place).abs().max() < 1e-9


def test_what_lies_past_the_bend_is_nan_not_a_wrong_pixel():
    # r (1 - r^2 / 3) rises until r = 1, where it is 2/3.
    lens = lens_of("brown_conrady", [-1 / 3, 0.0, 0.0, 0.0])
    near, far, behind = [0.9, 0.0, 1.0], [1.6, 0.0, 1.0], [0.1, 0.0, -1.0]
    pixels, _ = project_lens(torch.tensor([near, far, behind]).double(), lens)
    assert pixels.isnan().any(-1).tolist() == [False, True, True]
    inside, outside = [0.6, 0.2], [0.7, 0.0]
    places = undistort(torch.tensor([inside, outside]).double(), lens)
    assert places.isnan().any(-1).tolist() == [False, True]
    assert rays(torch.tensor([[319.5 + 420 * 0.7, 239.5]]).double(), lens).isnan().all()


def test_a_formula_that_rises_again_far_outside_gives_no_points_there():
    # r (1 - 0.4 r^2 + 0.06 r^4) rises to 0.665 at r = 1.09, falls, and rises past it from 1.68 on.
    lens = lens_of("brown_conrady", [-0.4, 0.06, 0.0, 0.0])
    targets = torch.tensor([[0.6, 0.0], [0.7, 0.0], [0.0, 0.9], [1.5, 0.0], [3.0, 1.0]]).double()
    places = undistort(targets, lens)
    assert places.isnan().any(-1).tolist() == [False, True, True, True, True]
    far = torch.tensor([[0.9, 0.0, 1.0], [2.5, 0.0, 1.0]]).double()
    assert project_lens(far, lens)[0].isnan().any(-1).tolist() == [False, True]


def test_a_fisheye_sees_past_a_right_angle():
    lens = lens_of("kannala_brandt", FISHEYE["ideal"])
    sideways = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, -0.2], [0.0, 0.0, 1.0]]).double()
    pixels, depth_m = project_lens(sideways, lens)
    assert abs(pixels[0, 0] - (319.5 + 420 * math.pi / 2)) < 1e-9
    again = rays(pixels, lens)
    assert (again - sideways / sideways.norm(dim=-1, keepdim=True)).abs().max() < 1e-12
    # ... but no camera z stands for those two.
    nan = unproject_lens(pixels, depth_m, lens).isnan().any(-1).tolist()
    assert nan == [True, True, False]


def test_straight_behind_has_no_pixel():
    lens = lens_of("kannala_brandt", FISHEYE["ideal"])
    assert project_lens(torch.tensor([[0.0, 0.0, -1.0]]).double(), lens)[0].isnan().all()


def test_gradients_are_those_of_differences(lens):
    place = torch.tensor([[0.1, -0.2], [0.4, 0.3], [0.0, 0.0]], dtype=torch.float64)
    coefficients = lens.coefficients

    def bend(x, values):
        return distort(x, Lens(K, lens.model, values))

    def straighten(x, values):
        return undistort(x, Lens(K, lens.model, values))

    arguments = (place.clone().requires_grad_(), coefficients.clone().requires_grad_())
    # Away from the axis for the coefficients, which do nothing there.
    assert torch.autograd.gradcheck(bend, arguments, atol=1e-6)
    assert torch.autograd.gradcheck(straighten, arguments, atol=1e-6)


def test_unseen_pixels_leave_gradients_alone(lens):
    coefficients = lens.coefficients.clone().requires_grad_()
    mine = Lens(K, lens.model, coefficients)
    cloud = torch.tensor([[0.1, 0.2, 1.0], [0.1, 0.2, -1.0], [30.0, 0.0, 0.1]]).double()
    pixels = project_lens(cloud, mine)[0]
    back = rays(torch.cat([pixels[:1], torch.full((1, 2), 1e5).double()]), mine)
    total = pixels[~pixels.isnan()].sum() + back[~back.isnan()].sum()
    if coefficients.numel():
        assert torch.isfinite(torch.autograd.grad(total, coefficients)[0]).all()


def test_batch_axes_and_single_precision():
    lens = Lens(
        K.float().expand(2, 3, 3),
        "brown_conrady",
        torch.tensor([BROWN["barrel"], BROWN["pincushion"]]),
    )
    pixels = pixel_grid(6, 8).flatten(0, 1).expand(2, 48, 2) * 70 + 30
    depth_m = torch.full((2, 48), 1.5)
    again, _ = project_lens(unproject_lens(pixels, depth_m, lens), lens)
    assert (again - pixels).abs().max() < 1e-3
    one = Lens(K.float(), "brown_conrady", torch.tensor(BROWN["pincushion"]))
    apart = unproject_lens(pixels[1], depth_m[1], one)
    assert torch.allclose(apart, unproject_lens(pixels, depth_m, lens)[1], atol=1e-5)


def test_what_is_no_lens_is_refused():
    with pytest.raises(ConfigError, match="no lens model called 'fisheye'"):
        Lens(K, "fisheye", torch.zeros(4))
    with pytest.raises(ShapeError, match="0 or 4 or 5 or 8 coefficients, got 3"):
        Lens(K, "brown_conrady", torch.zeros(3))
    with pytest.raises(ShapeError, match="NaN or infinity; calibrate it again"):
        Lens(K, "kannala_brandt", torch.full((4,), float("nan")))


def test_where_a_lens_sees_nothing_no_part_of_a_point_is_told():
    lens = Lens(
        torch.tensor([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]]),
        "brown_conrady",
        torch.tensor([-0.5, 0, 0, 0]),
    )
    points = unproject_lens(torch.tensor([[32.0, 24.0], [900.0, 24.0]]), torch.ones(2), lens)
    assert torch.isfinite(points[0]).all()
    assert points[1].isnan().all()
