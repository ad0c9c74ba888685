"""Range images: pixels come back, and the nearest point is the one that is seen."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armillary.core.errors import ShapeError
from armillary.spatial import RangeView, even_view, points_from_range_image, range_image

few = settings(max_examples=30)

VIEW = even_view(math.radians(15), math.radians(-15), 16, 120)
# As real heads: dense in the middle.
UNEVEN = RangeView((0.3, 0.1, 0.05, 0.0, -0.05, -0.2), 90)
views = st.sampled_from([VIEW, UNEVEN])
seeds = st.integers(0, 2**32 - 1)


def cloud(seed, count=400):
    return np.random.default_rng(seed).normal(size=(count, 3)) * (5, 5, 1)


@few
@given(views, seeds)
def test_a_picture_comes_back(view, seed):
    rng = np.random.default_rng(seed)
    range_m = rng.uniform(0.5, 100, (len(view.elevation_rad), view.columns))
    range_m[rng.random(range_m.shape) < 0.3] = np.nan
    points = points_from_range_image(range_m, view)
    again = range_image(points.reshape(-1, 3), view)
    assert np.allclose(again.range_m, range_m, rtol=1e-12, equal_nan=True)
    flat = np.arange(range_m.size).reshape(range_m.shape)
    assert np.array_equal(again.index, np.where(np.isnan(range_m), -1, flat))


@few
@given(views, seeds)
def test_it_is_what_a_loop_does(view, seed):
    points = cloud(seed)
    best = {}
    elevations = np.array(view.elevation_rad)
    for i, (x, y, z) in enumerate(points):
        distance = np.linalg.norm(points[i])
        elevation = math.atan2(z, math.hypot(x, y))
        row = int(np.abs(elevations - elevation).argmin())
        beside = elevations[[0, 1]] if row == 0 else elevations[[-2, -1]]
        end = row in (0, len(elevations) - 1)
        beyond = elevation > elevations[0] or elevation < elevations[-1]
        if end and beyond and abs(elevation - elevations[row]) > (beside[0] - beside[1]) / 2:
            continue
        azimuth = math.pi - math.atan2(y, x)
        pixel = row, int(azimuth / (2 * math.pi) * view.columns) % view.columns
        if pixel not in best or distance < best[pixel][0]:
            best[pixel] = distance, i
    mine = range_image(points, view)
    assert {tuple(p): mine.index[tuple(p)] for p in np.argwhere(mine.index >= 0).tolist()} == {
        pixel: i for pixel, (_, i) in best.items()
    }
    assert np.allclose(mine.range_m[mine.index >= 0], [best[p][0] for p in sorted(best)])


@few
@given(seeds)
def test_points_return_within_half_a_pixel(seed):
    points = cloud(seed)
    made = range_image(points, VIEW)
    hit = made.index >= 0
    back = points_from_range_image(made.range_m, VIEW)[hit]
    true = points[made.index[hit]]
    cosine = (back * true).sum(-1) / np.linalg.norm(true, axis=-1) ** 2
    half = math.hypot(math.radians(1), math.pi / 120)  # 30 degrees in 15 steps, a turn in 120
    assert np.arccos(cosine.clip(-1, 1)).max() <= half + 1e-9


def test_ahead_is_the_middle_left_is_left_up_is_up():
    points = np.array([[5.0, 0.01, 0], [0, 5.0, 0], [0, -5.0, 0], [5.0, -0.01, 1.2]])
    made = range_image(points, VIEW)
    pixels = [tuple(np.argwhere(made.index == i)[0].tolist()) for i in range(4)]
    assert pixels[0][1] == 59
    assert pixels[1][1] in (29, 30)
    assert pixels[2][1] in (89, 90)
    assert pixels[3][0] < pixels[0][0]


def test_rings_decide_where_the_sensor_tells_them():
    points = np.array([[5.0, 0, 0], [0, 5.0, 0], [np.nan, 0, 0]], np.float32)
    made = range_image(points, VIEW, np.array([3, 7, -1]))
    assert np.argwhere(made.index >= 0)[:, 0].tolist() == [3, 7]
    assert made.range_m.dtype == np.float32
    with pytest.raises(ShapeError, match="Rings 0 to 15 were expected, got 3 to 16"):
        range_image(points, VIEW, np.array([3, 16, 0]))


def test_the_seam_and_the_origin():
    behind = np.array([[-5.0, -0.0, 0.0], [-5.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    made = range_image(behind, VIEW)
    assert np.argwhere(made.index >= 0).tolist() == [[8, 0]] or (made.index >= 0).sum() == 1
    assert made.index.max() == 0


def test_views_and_pictures_that_do_not_fit():
    with pytest.raises(ShapeError, match="Row 0 is the top"):
        RangeView((-0.1, 0.1), 10)
    with pytest.raises(ShapeError, match=r"\(16, 120\) pixels was expected, got \(3, 4\)"):
        points_from_range_image(np.ones((3, 4)), VIEW)
