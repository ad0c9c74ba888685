"""The view from above says where each kind of thing stands, exactly, whatever its size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numeric import normal

from armillary.objectives import BIRD_VIEW_KINDS, bird_view, bird_view_loss, picture_view

CELLS = 4
GREY, RED, YELLOW, BLUE = (0.7, 0.7, 0.7), (1.0, 0.0, 0.0), (1.0, 0.9, 0.0), (0.1, 0.1, 0.9)


def view(points: np.ndarray, valid: np.ndarray | None = None, colours: np.ndarray | None = None):
    """Return shares [F rows columns K]; grey where no colours are given."""
    shape = points.shape[:2]
    shares = bird_view(
        torch.tensor(points, dtype=torch.float32),
        torch.tensor(np.ones_like(points) if colours is None else colours, dtype=torch.float32),
        torch.tensor(np.ones(shape, bool) if valid is None else valid),
        CELLS,
    )
    return shares.view(shape[0], CELLS, CELLS, BIRD_VIEW_KINDS).numpy()


def scene(seed: int = 0) -> np.ndarray:
    return normal(3, 50, 3, seed=seed) * [0.6, 0.6, 0.3] + [0, 0, 0.5]


def places() -> np.ndarray:
    """Return (x, y) of every grid place [rows columns 2]."""
    side = np.linspace(-1, 1, CELLS)
    return np.stack(np.meshgrid(side, side), -1)


@pytest.mark.parametrize("row", range(CELLS))
@pytest.mark.parametrize("column", range(CELLS))
def test_a_point_on_a_grid_place_is_there_and_nowhere_else(row, column):
    x, y = places()[row, column]
    shares = view(np.array([[[x, y, 0.5]]]))
    np.testing.assert_allclose(shares[0, row, column], [1, 0, 0, 0], atol=1e-6)
    shares[0, row, column] = 0
    np.testing.assert_allclose(shares, 0, atol=1e-6)


@given(
    x=st.floats(-1, 1),
    y=st.floats(-1, 1),
    count=st.integers(1, 40),
    height=st.floats(0.2, 1),
    shade=st.floats(0.5, 1),
    red=st.sampled_from([RED, (1.0, 0.3, 0.2), (0.9, 0.1, 0.0)]),
)
def test_where_a_thing_stands_is_linear_whatever_its_size_height_and_light(
    x, y, count, height, shade, red
):
    thing = np.tile([x, y, height], (count, 1))
    ground = np.concatenate([places().reshape(-1, 2), np.zeros((CELLS**2, 1))], 1)
    colours = np.concatenate([np.tile(red, (count, 1)) * shade, np.tile(RED, (CELLS**2, 1))])
    shares = view(np.concatenate([thing, ground])[None], colours=colours[None])[0]
    centre = (shares[..., 1, None] * places()).sum((0, 1))
    np.testing.assert_allclose(centre, [x, y], atol=1e-4)


def test_every_kind_that_is_seen_sums_to_one_and_the_others_to_nothing():
    colours = np.tile(GREY, (3, 50, 1))
    colours[0, :30] = RED
    colours[1, :30] = BLUE
    points = scene().clip(-0.9, 0.9) * [1, 1, 0] + [0, 0, 0.5]
    sums = view(points, colours=colours).sum((1, 2))
    np.testing.assert_allclose(sums, [[1, 1, 0, 0], [1, 0, 0, 1], [1, 0, 0, 0]], atol=1e-5)


def test_a_mixed_hue_belongs_to_both():
    points = np.array([[[-1.0, -1, 1], [-1, -1, 1], [1, 1, 1], [1, 1, 1]]])
    colours = np.array([[YELLOW, YELLOW, RED, RED]])
    shares = view(points, colours=colours)[0]
    assert 0 < shares[0, 0, 1] < shares[-1, -1, 1]
    assert shares[0, 0, 2] == pytest.approx(0)  # less than one whole point is green: not there


def test_the_order_of_points_does_not_matter():
    points, order = scene(), np.argsort(normal(50, seed=9))
    colours = np.abs(normal(3, 50, 3, seed=2)).clip(0, 1)
    first = view(points, colours=colours)
    second = view(points[:, order], colours=colours[:, order])
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_frames_do_not_share_places():
    points = scene()
    alone = np.concatenate([view(points[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(view(points), alone, atol=1e-6)


def test_the_ground_invalid_points_and_points_outside_count_for_nothing():
    points = scene()
    ground = points[:, :10] * [1, 1, 0]
    more = np.concatenate([points, points[:, :10], points[:, :10] + [9, -9, 0], ground], 1)
    valid = np.ones((3, 80), bool)
    valid[:, 50:60] = False
    np.testing.assert_allclose(view(points), view(more, valid), atol=1e-6)


def test_nothing_seen_is_nothing_and_finite():
    assert not view(scene(), np.zeros((3, 50), bool)).any()
    nothing = torch.zeros(3, CELLS**2 * BIRD_VIEW_KINDS)
    assert float(bird_view_loss(nothing, nothing, CELLS)) == 0


def test_the_loss_is_nothing_for_a_perfect_guess_and_one_for_the_mean():
    shares = torch.tensor(view(scene(), colours=np.abs(normal(3, 50, 3))).reshape(3, -1))
    assert float(bird_view_loss(shares, shares, CELLS)) == 0
    mean = shares.mean(0).expand_as(shares)
    assert float(bird_view_loss(mean, shares, CELLS)) == pytest.approx(1)


def test_a_blurred_guess_costs_less_than_one_in_the_wrong_place():
    def at(x: float) -> torch.Tensor:
        return torch.tensor(view(np.array([[[x, 0.0, 0.5]], [[-x, 0.3, 0.5]]])).reshape(2, -1))

    came = at(1.0)
    blurred = (at(1.0) + at(0.8)) / 2
    assert float(bird_view_loss(blurred, came, CELLS)) < float(
        bird_view_loss(at(-1.0), came, CELLS)
    )


@pytest.mark.parametrize(("colour", "kind"), [(GREY, 0), (RED, 1), (BLUE, 3)])
def test_in_a_picture_a_thing_is_where_it_stands_out_from_the_usual_picture(colour, kind):
    pictures = np.ones((40, 16, 16, 3), np.float32)  # white, and a wall that is always there
    pictures[:, :, 8] = 0
    corners = np.random.default_rng(0).integers(0, [5, 13], (40, 2))
    for picture, (left, top) in zip(pictures, corners, strict=True):
        picture[top : top + 3, left : left + 3] = np.array(colour) * 0.6
    shares = picture_view(torch.tensor(pictures), CELLS)
    shares = shares.view(40, CELLS, CELLS, BIRD_VIEW_KINDS).numpy()
    centres = (shares[..., kind, None] * places()).sum((1, 2))
    np.testing.assert_allclose(centres, (corners + 1) / 7.5 - 1, atol=1e-5)
    others = [other for other in range(BIRD_VIEW_KINDS) if other != kind]
    assert not shares[..., others].any()
