"""Pillars: every point inside is in its column, once, until the column is full."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armillary.core.errors import ConfigError, ShapeError
from armillary.spatial import Grid, birds_eye, occupancy, pillars, scatter_pillars

few = settings(max_examples=30)

GRID = Grid((-2.0, -1.0, -1.0), (0.5, 0.25, 1.0), (8, 8, 2))
seeds = st.integers(0, 2**32 - 1)


def cloud(seed, count=300):
    return np.random.default_rng(seed).normal(size=(count, 4))


def columns_of(points):
    held = {}
    for i, (x, y, z, _) in enumerate(points):
        cell = int(np.floor((x + 2) / 0.5)), int(np.floor((y + 1) / 0.25))
        if 0 <= cell[0] < 8 and 0 <= cell[1] < 8 and -1 <= z < 1:
            held.setdefault(cell, []).append(i)
    return held


@few
@given(seeds, st.integers(1, 12))
def test_it_is_what_a_loop_does(seed, most):
    points = cloud(seed)
    held = columns_of(points)
    made = pillars(points, GRID, most)
    assert [tuple(cell) for cell in made.cells.tolist()] == sorted(held)
    for i, cell in enumerate(sorted(held)):
        kept = points[held[cell]][:most]
        assert made.seen[i] == len(held[cell])
        assert made.counts[i] == len(kept)
        assert np.array_equal(made.features[i, : len(kept)], kept)
        assert (made.features[i, len(kept) :] == 0).all()


@few
@given(seeds)
def test_a_draw_keeps_points_of_the_column_and_repeats(seed):
    points = cloud(seed)
    held = columns_of(points)
    made = pillars(points, GRID, 3, np.random.default_rng(seed))
    for i, cell in enumerate(made.cells.tolist()):
        rows = {tuple(points[j]) for j in held[tuple(cell)]}
        kept = {tuple(point) for point in made.features[i, : made.counts[i]]}
        assert kept <= rows
        assert len(kept) == min(3, len(rows))
    again = pillars(points, GRID, 3, np.random.default_rng(seed))
    assert np.array_equal(made.features, again.features)


@few
@given(seeds)
def test_the_map_from_above_is_the_columns_that_are_filled(seed):
    points = cloud(seed)
    made = pillars(points, GRID, 1)
    taken = birds_eye(points[:, :3], GRID)
    assert np.array_equal(taken, occupancy(points[:, :3], GRID).any(axis=-1))
    ones = np.ones((len(made.cells), 1))
    assert np.array_equal(scatter_pillars(ones, made.cells, GRID)[..., 0], taken)


def test_an_empty_cloud_has_no_pillars():
    made = pillars(np.full((3, 5), np.nan), GRID, 4)
    assert made.features.shape == (0, 4, 5)


def test_what_cannot_be():
    with pytest.raises(ConfigError, match="one point or more, got 0"):
        pillars(cloud(0), GRID, 0)
    with pytest.raises(ShapeError, match="x, y, z and features, got 2"):
        pillars(np.zeros((3, 2)), GRID, 1)
