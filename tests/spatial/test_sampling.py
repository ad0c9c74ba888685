"""Sampling: centres cover as promised, neighbours are those of brute force."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armillary.core.errors import ShapeError
from armillary.spatial import farthest_points, nearest_points, patches

few = settings(max_examples=30)

seeds = st.integers(0, 2**32 - 1)


def cloud(seed, count):
    return np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)


def distances(a, b):
    return np.linalg.norm(a[:, None].astype(np.float64) - b[None], axis=-1)


def radius(points, rows):
    """The distance of the worst served point to its nearest centre."""
    return distances(points, points[list(rows)]).min(axis=1).max()


def by_hand(points, count):
    rows = [int(distances(points, points.mean(axis=0, keepdims=True))[:, 0].argmax())]
    while len(rows) < count:
        rows.append(int(distances(points, points[rows]).min(axis=1).argmax()))
    return rows


@few
@given(seeds, st.integers(1, 4))
def test_cover_is_at_most_twice_the_best(seed, count):
    points = cloud(seed, 9)
    best = min(radius(points, rows) for rows in combinations(range(9), count))
    assert radius(points, farthest_points(points, count)) <= 2 * best + 1e-6


@few
@given(seeds)
def test_it_is_what_a_loop_does(seed):
    points = cloud(seed, 300)
    assert farthest_points(points, 20).tolist() == by_hand(points, 20)


@few
@given(seeds)
def test_fewer_are_the_beginning_of_more(seed):
    points = cloud(seed, 100)
    assert np.array_equal(farthest_points(points, 30)[:10], farthest_points(points, 10))


def test_all_are_chosen_once_even_where_points_are_doubled():
    points = np.repeat(cloud(0, 5), 4, axis=0)
    assert sorted(farthest_points(points, 20)) == list(range(20))
    assert len(np.unique(points[farthest_points(points, 5)], axis=0)) == 5


def test_far_from_the_origin_it_still_chooses():
    points = cloud(0, 200).astype(np.float64)
    # A map's coordinates; float32 would hold half metres there.
    moved = points + np.array([4_500_000.0, 300_000.0, 0.0])
    assert np.array_equal(farthest_points(moved, 20), farthest_points(points, 20))


@few
@given(seeds, st.integers(1, 40))
def test_neighbours_are_those_of_brute_force(seed, count):
    points, queries = cloud(seed, 150), cloud(seed + 1, 7)
    rows, distance_m = nearest_points(points, queries, count)
    whole = distances(queries, points)
    assert np.allclose(distance_m, np.sort(whole, axis=1)[:, :count])
    assert np.allclose(np.take_along_axis(whole, rows, axis=1), distance_m)
    assert all(len(set(row)) == count for row in rows.tolist())


def test_ties_go_to_the_lower_row():
    points = np.array([[1.0, 0, 0], [-1.0, 0, 0], [0, 1.0, 0], [0, 0, 0]])
    rows, _ = nearest_points(points, np.zeros((1, 3)), 4)
    assert rows.tolist() == [[3, 0, 1, 2]]


@few
@given(seeds, st.integers(1, 400), st.integers(1, 400))
def test_patches_are_farthest_points_with_their_nearest(seed, count, near):
    points = cloud(seed, 400)
    made = patches(points, min(count, 12), near)
    assert np.array_equal(made.centres, farthest_points(points, min(count, 12)))
    whole = distances(points[made.centres], points)
    found = np.take_along_axis(whole, made.members, axis=1)
    assert np.allclose(found, np.sort(whole, axis=1)[:, :near], atol=1e-6)
    assert all(len(set(row)) == near for row in made.members.tolist())


def test_patches_begin_with_their_centre_and_repeat_to_the_bit():
    points = cloud(3, 2000)
    one, other = patches(points, 16, 8), patches(points, 16, 8)
    assert np.array_equal(one.members, other.members)
    assert np.array_equal(one.members[:, 0], one.centres)
    assert one.members.shape == (16, 8)


def test_what_cannot_be_asked():
    points = cloud(0, 10)
    with pytest.raises(ShapeError, match="11 farthest points of a cloud of 10 points"):
        farthest_points(points, 11)
    with pytest.raises(ShapeError, match="0 nearest points of a cloud"):
        nearest_points(points, points, 0)
    with pytest.raises(ShapeError, match="keep its valid points only"):
        farthest_points(np.full((3, 3), np.nan), 1)
    with pytest.raises(ShapeError, match="nearest points of NaN"):
        nearest_points(points, np.full((1, 3), np.nan), 1)


@pytest.mark.parametrize("count", [1, 2, 5, 27])
def test_ties_beyond_the_last_neighbour_go_to_the_lower_row_too(count):
    """On a grid nearly every neighbourhood ends within a tie; the tree would choose by its own."""
    axis = np.arange(3.0)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    rows, distance_m = nearest_points(grid, grid, count)
    squares = np.square(grid[:, None] - grid).sum(-1)
    order = np.argsort(squares, axis=1, kind="stable")[:, :count]
    assert np.array_equal(rows, order)
    assert np.allclose(distance_m, np.sqrt(np.take_along_axis(squares, order, axis=1)))


@pytest.mark.parametrize("count", [2, 7, 19])
def test_more_neighbours_begin_with_the_fewer_where_squares_are_not_exact(count):
    axis = np.arange(4) * 0.1
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    rows, distance_m = nearest_points(grid, grid, count)
    more, _ = nearest_points(grid, grid, count + 9)
    assert np.array_equal(rows, more[:, :count])
    tied = distance_m[:, 1:] == distance_m[:, :-1]
    assert (rows[:, 1:] > rows[:, :-1])[tied].all()


def test_doubled_points_are_neighbours_in_their_order():
    rows, distance_m = nearest_points(np.zeros((400, 3)), np.zeros((2, 3)), 5)
    assert rows.tolist() == [[0, 1, 2, 3, 4]] * 2
    assert (distance_m == 0).all()
