"""Occupancy: the error is that of plain sets of cells, cast into a toy room."""

import numpy as np
import pytest

from armillary.understanding.occupancy import SHELLS, Shells

DIRECTIONS = 24
AZIMUTH = (np.arange(DIRECTIONS) + 0.5) * 2 * np.pi / DIRECTIONS
HALF_M = np.array([3.0, 2.0])  # of a room, around its middle


def seen_from(place):
    """Return the distance of the walls in each direction: the nearest crossing ahead."""
    ways = np.stack([np.cos(AZIMUTH), np.sin(AZIMUTH)], 1)
    return ((np.sign(ways) * HALF_M - place) / ways).min(axis=1)


def cells(distance_m, width_m):
    """March along each direction, cell by cell, until the surface: occupied and seen cells."""
    occupied, seen = set(), set()
    for way, far in enumerate(distance_m):
        for shell in range(SHELLS):
            if np.isnan(far) or shell * width_m > far:
                break
            seen.add((way, shell))
            if far < (shell + 1) * width_m:
                occupied.add((way, shell))
    return occupied, seen


def by_sets(guess, observed, width_m):
    guessed, _ = cells(guess, width_m)
    true, seen = cells(observed, width_m)
    either = true | (guessed & seen)
    return 1 - len(true & guessed) / len(either) if either else 0.0


def test_the_error_is_that_of_sets_of_cells_in_a_room():
    rng = np.random.default_rng(0)
    places = rng.uniform(-1.5, 1.5, (50, 2))
    guess, observed = (np.stack([seen_from(at) for at in some]) for some in (places, places + 0.1))
    observed[rng.uniform(size=observed.shape) < 0.2] = np.nan
    shells = Shells.fit(guess)
    assert np.isclose(shells.width_m * SHELLS, np.quantile(guess, 0.99))
    assert (guess > shells.width_m * SHELLS).any()  # some walls are beyond the grid
    want = [by_sets(*pair, shells.width_m) for pair in zip(guess, observed, strict=True)]
    found = shells.error(guess, observed)
    assert np.allclose(found, want)
    assert 0.2 < found.mean() < 0.9
    assert np.array_equal(shells.error(guess, guess), np.zeros(50))


@pytest.mark.parametrize(
    ("guess", "observed", "error"),
    [
        ([0.5, 1.5], [0.5, 1.5], 0),
        ([0.5, 1.5], [0.6, 1.9], 0),  # the same cells
        ([0.5, 1.5], [0.5, 2.5], 2 / 3),  # one is right, one is too near and leaves its own out
        ([0.5, 2.5], [0.5, 1.5], 1 / 2),  # behind the surface nothing is judged
        ([0.5, 2.5], [0.5, np.nan], 0),
        ([40.0, 40.0], [50.0, np.nan], 0),  # both say that all of the grid is free
        ([0.5, 40.0], [50.0, 50.0], 1),
    ],
)
def test_what_is_free_occupied_and_unknown(guess, observed, error):
    assert np.isclose(Shells(1.0).error(np.array([guess]), np.array([observed]))[0], error)
