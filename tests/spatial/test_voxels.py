"""Voxels: the vectorised means equal those of a loop, and order says nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armillary.core.errors import ConfigError, ShapeError
from armillary.spatial import Grid, occupancy, point_counts, voxel_downsample

few = settings(max_examples=30)

seeds = st.integers(0, 2**32 - 1)
sizes = st.floats(0.05, 3)


def cloud(seed, count=200):
    return np.random.default_rng(seed).normal(size=(count, 3))


def by_hand(points, size, features):
    groups = {}
    for i, point in enumerate(points):
        groups.setdefault(tuple(int(np.floor(x / size)) for x in point), []).append(i)
    cells = sorted(groups)
    means = [np.mean([points[i] for i in groups[cell]], axis=0) for cell in cells]
    marks = [np.mean([features[i] for i in groups[cell]], axis=0) for cell in cells]
    return cells, means, marks, [len(groups[cell]) for cell in cells]


@few
@given(seeds, sizes)
def test_it_is_what_a_loop_does(seed, size):
    points, features = cloud(seed), cloud(seed + 1)
    cells, means, marks, counts = by_hand(points, size, features)
    mine = voxel_downsample(points, size, features)
    assert mine.cells.tolist() == [list(cell) for cell in cells]
    assert mine.counts.tolist() == counts
    assert np.allclose(mine.points_m, means)
    assert np.allclose(mine.features, marks)
    assert np.array_equal(mine.cells[mine.index], np.floor(points / size))


@few
@given(seeds, sizes)
def test_the_order_of_the_points_says_nothing(seed, size):
    points = cloud(seed)
    shuffled = np.random.default_rng(seed).permutation(points)
    one, other = voxel_downsample(points, size), voxel_downsample(shuffled, size)
    assert np.array_equal(one.cells, other.cells)
    assert np.array_equal(one.counts, other.counts)
    assert np.allclose(one.points_m, other.points_m)


@few
@given(seeds, sizes)
def test_means_stay_in_their_voxels_and_keep_the_middle(seed, size):
    points = cloud(seed)
    mine = voxel_downsample(points, size)
    inside = mine.points_m / size - mine.cells
    assert (inside > -1e-9).all()
    assert (inside < 1 + 1e-9).all()
    assert mine.counts.sum() == len(points)
    assert np.allclose(mine.counts @ mine.points_m, points.sum(axis=0))


def test_points_that_are_not_finite_are_left_out():
    points = np.array([[0.1, 0.1, 0.1], [np.nan, 0, 0], [0.3, 0.1, 0.1], [0, np.inf, 0]])
    mine = voxel_downsample(points, 1.0)
    assert mine.points_m.tolist() == [[0.2, 0.1, 0.1]]
    assert mine.index.tolist() == [0, -1, 0, -1]


def test_an_empty_cloud_has_no_voxels():
    mine = voxel_downsample(np.empty((0, 3), np.float32), 0.1, np.empty((0, 2), np.float32))
    assert mine.points_m.shape == (0, 3)
    assert mine.features is not None
    assert mine.features.shape == (0, 2)
    assert mine.points_m.dtype == np.float32


def test_far_from_the_origin_no_digit_is_lost():
    # Map coordinates: millions of metres.
    points = np.array([[4_500_000.25, 300_000.5, 100.0], [4_500_000.75, 300_000.5, 100.0]])
    assert len(voxel_downsample(points, 0.5).counts) == 2
    assert voxel_downsample(points, 1.0).points_m.tolist() == [[4_500_000.5, 300_000.5, 100.0]]


@pytest.mark.parametrize("size", [0.0, -1.0, float("nan"), float("inf")])
def test_a_voxel_has_a_side(size):
    with pytest.raises(ConfigError, match="positive number of metres"):
        voxel_downsample(cloud(0), size)


def test_absurd_clouds_are_refused_before_memory_is_taken():
    with pytest.raises(ShapeError, match=r"too many voxels of 0.001 m.*outliers"):
        voxel_downsample(np.array([[0.0, 0, 0], [1e30, 0, 0]]), 0.001)
    with pytest.raises(ShapeError, match="too many voxels"):
        voxel_downsample(np.array([[0.0, 0, 0], [1e9, 1e9, 1e9]]), 0.0001)


GRID = Grid((-1.0, -1.0, 0.0), (0.5, 0.5, 1.0), (4, 4, 2))


@few
@given(seeds)
def test_occupancy_is_what_a_loop_does(seed):
    points = cloud(seed)
    counts = np.zeros(GRID.cells, int)
    for x, y, z in points:
        cell = int(np.floor((x + 1) / 0.5)), int(np.floor((y + 1) / 0.5)), int(np.floor(z))
        if all(0 <= i < n for i, n in zip(cell, GRID.cells, strict=True)):
            counts[cell] += 1
    assert np.array_equal(point_counts(points, GRID), counts)
    assert np.array_equal(occupancy(points, GRID), counts > 0)


def test_faces_belong_to_the_upper_cell_and_centres_to_their_own():
    edge = np.array([[-1.0, -1.0, 0.0], [1.0, 0.0, 0.0], [np.nan, 0, 0]])
    cells, inside = GRID.cell_of(edge)
    assert inside.tolist() == [True, False, False]
    assert cells[0].tolist() == [0, 0, 0]
    cells, inside = GRID.cell_of(GRID.centres().reshape(-1, 3))
    assert inside.all()
    assert np.array_equal(cells.reshape(*GRID.cells, 3), np.stack(np.indices(GRID.cells), -1))


def test_grids_that_cannot_be():
    with pytest.raises(ConfigError, match="positive sides in metres"):
        Grid((0.0, 0.0, 0.0), (0.0, 1.0, 1.0), (1, 1, 1))
    with pytest.raises(ConfigError, match="make the cells larger"):
        Grid((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (2**20, 2**20, 2**24))
