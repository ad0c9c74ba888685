"""Scans: points and beams are each other's inverse, and the nearest point wins."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from armillary.core.errors import ShapeError
from armillary.spatial import points_from_scan, scan_from_points

few = settings(max_examples=30)

seeds = st.integers(0, 2**31 - 1)
# A half turn as a SICK's, a full turn, a full turn that begins ahead, and uneven beams.
FANS = [
    torch.linspace(-math.pi / 2, math.pi / 2, 181, dtype=torch.float64),
    -math.pi + 2 * math.pi * torch.arange(360, dtype=torch.float64) / 360,
    2 * math.pi * torch.arange(360, dtype=torch.float64) / 360,
    torch.tensor([-0.5, -0.2, 0.0, 0.3, 1.0], dtype=torch.float64),
]
fans = st.sampled_from(FANS)


def random(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_hand(points, angle_rad):
    """The beam with the nearest angle; outside of half a step none."""
    nearest = [math.nan] * len(angle_rad)
    steps = angle_rad.diff()
    for x, y in points.tolist():
        gaps = [
            abs(math.remainder(math.atan2(y, x) - beam, 2 * math.pi)) for beam in angle_rad.tolist()
        ]
        beam = min(range(len(gaps)), key=gaps.__getitem__)
        # Within the fan, or beyond its ends by half a step at most.
        turned = math.remainder(math.atan2(y, x) - float(angle_rad[beam]), 2 * math.pi)
        limit = steps[max(beam - 1, 0)] if turned < 0 else steps[min(beam, len(steps) - 1)]
        distance = math.hypot(x, y)
        if gaps[beam] <= limit / 2 and not nearest[beam] <= distance:
            nearest[beam] = distance
    return torch.tensor(nearest, dtype=torch.float64)


@few
@given(fans, seeds)
def test_points_come_back_into_their_beams(angle_rad, seed):
    range_m = 0.1 + 80 * random(seed, 2, 3, len(angle_rad))
    range_m[random(seed + 1, *range_m.shape) < 0.2] = math.nan
    again = scan_from_points(points_from_scan(range_m, angle_rad), angle_rad)
    assert torch.allclose(again, range_m, rtol=1e-12, equal_nan=True)


@few
@given(fans, seeds)
def test_it_is_what_a_loop_does(angle_rad, seed):
    points = 6 * random(seed, 150, 2) - 3
    mine = scan_from_points(points, angle_rad)
    assert torch.allclose(mine, by_hand(points, angle_rad), equal_nan=True)


def test_x_is_ahead_and_y_is_left():
    angle_rad = torch.tensor([-math.pi / 2, 0.0, math.pi / 2])
    points = points_from_scan(torch.tensor([1.0, 2.0, 3.0]), angle_rad)
    assert torch.allclose(points, torch.tensor([[0.0, -1], [2, 0], [0, 3]]), atol=1e-6)


def test_no_return_is_nan_whatever_it_was_called():
    range_m = torch.tensor([math.nan, math.inf, 0.0, -1.0, 2.0]).double()
    points = points_from_scan(range_m, FANS[3])
    assert points.isnan().all(-1).tolist() == [True, True, True, True, False]


def test_gradients_reach_the_nearest_and_nothing_breaks_them():
    points = torch.tensor([[2.0, 0.0], [1.0, 0.0], [math.nan, 0.0], [0.0, 0.0]])
    points.requires_grad_()
    scan = scan_from_points(points, torch.tensor([-0.1, 0.0, 0.1]))
    scan[~scan.isnan()].sum().backward()
    assert points.grad is not None
    assert points.grad.tolist() == [[0, 0], [1, 0], [0, 0], [0, 0]]


def test_single_precision_and_angles_of_another_precision():
    range_m = 0.1 + 80 * random(0, 2, 360).float()
    again = scan_from_points(points_from_scan(range_m, FANS[1]), FANS[1])
    assert again.dtype == torch.float32
    assert torch.allclose(again, range_m)


@pytest.mark.parametrize(
    "angles", [[0.0], [0.2, 0.1], [0.0, 0.0], [-4.0, 4.0], [math.nan, 0.0, 1.0]]
)
def test_angles_that_are_no_scan_s(angles):
    with pytest.raises(ShapeError, match=r"ascend within one turn.*Flip a scan that turns"):
        scan_from_points(torch.ones(3, 2), torch.tensor(angles))
