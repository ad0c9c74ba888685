"""The view from above says where things stand, exactly, and only what was seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numeric import normal

from armillary.objectives import bird_view, bird_view_loss

CELLS = 4


def view(points: np.ndarray, valid: np.ndarray | None = None, colours: np.ndarray | None = None):
    """Return heights [F rows columns], all four channels, and seen [F rows columns]."""
    shape = points.shape[:2]
    means, seen = bird_view(
        torch.tensor(points, dtype=torch.float32),
        torch.tensor(np.ones_like(points) if colours is None else colours, dtype=torch.float32),
        torch.tensor(np.ones(shape, bool) if valid is None else valid),
        CELLS,
    )
    grid = means.view(shape[0], CELLS, CELLS, 4).numpy()
    return grid[..., 0], grid, seen.view(shape[0], CELLS, CELLS).numpy()


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
    heights, channels, seen = view(np.array([[[x, y, 0.5]]]))
    assert heights[0, row, column] == pytest.approx(0.5)
    assert seen[0, row, column] == 1 and seen.sum() == 1
    channels[0, row, column] = 0
    np.testing.assert_allclose(channels, 0, atol=1e-6)


@given(x=st.floats(-1, 1), y=st.floats(-1, 1))
def test_where_a_thing_stands_is_a_linear_function_of_the_map(x, y):
    ground = np.concatenate([places().reshape(-1, 2), np.zeros((CELLS**2, 1))], 1)
    # a carpet of ground points, so dense that the thing does not change how much is seen where
    points = np.concatenate([np.repeat(ground, 500, 0), [[x, y, 0.9]]])[None]
    heights = view(points)[0][0]
    centre = (heights[..., None] * places()).sum((0, 1)) / heights.sum()
    np.testing.assert_allclose(centre, [x, y], atol=5e-3)


def test_points_on_one_place_are_averaged():
    heights, _, seen = view(np.array([[[-1, 1, 0.4], [-1, 1, 0.8], [-1, 1, 0.6]]]))
    assert heights.max() == pytest.approx(0.6) and seen.sum() == 1


def test_grey_has_no_hue_and_red_only_redness():
    points = np.array([[[-1, -1, 1.0], [1, 1, 1.0]]])
    colours = np.array([[[0.7, 0.7, 0.7], [1.0, 0.0, 0.0]]])
    channels = view(points, colours=colours)[1][0]
    np.testing.assert_allclose(channels[0, 0], [1, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(channels[-1, -1], [1, 1, 0, 0], atol=1e-6)


def test_the_order_of_points_does_not_matter():
    points, order = scene(), np.argsort(normal(50, seed=9))
    colours = normal(3, 50, 3, seed=2)
    first = view(points, colours=colours)
    second = view(points[:, order], colours=colours[:, order])
    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_frames_do_not_share_cells():
    points = scene()
    whole = view(points)[1]
    alone = np.concatenate([view(points[i : i + 1])[1] for i in range(3)])
    np.testing.assert_allclose(whole, alone, atol=1e-6)


def test_invalid_points_and_points_outside_count_for_nothing():
    points = scene()
    more = np.concatenate([points, points[:, :10] * [1, 1, -3], points[:, :10] + [9, -9, 0]], 1)
    valid = np.concatenate(
        [np.ones((3, 50), bool), np.zeros((3, 10), bool), np.ones((3, 10), bool)], 1
    )
    for one, other in zip(view(points), view(more, valid), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_nothing_seen_is_nothing_and_finite():
    heights, channels, seen = view(scene(), np.zeros((3, 50), bool))
    assert not heights.any() and not channels.any() and not seen.any()
    loss = bird_view_loss(torch.ones(3, 64), torch.zeros(3, 64), torch.zeros(3, 16))
    assert float(loss) == 0


def test_the_loss_is_nothing_for_a_perfect_guess_and_blind_to_unseen_cells():
    means = torch.tensor(normal(5, 64), dtype=torch.float32)
    seen = (torch.tensor(normal(5, 16, seed=1)) > 0).float()
    assert float(bird_view_loss(means, means, seen)) == 0
    guess = torch.tensor(normal(5, 64, seed=2), dtype=torch.float32)
    unseen = (1 - seen).repeat_interleave(4, 1)
    assert float(bird_view_loss(means + 100 * unseen * guess, means, seen)) == 0
    plain = bird_view_loss(guess, means, seen)
    assert float(plain) > 0
    assert float(bird_view_loss(guess + unseen, means, seen)) == pytest.approx(float(plain))
