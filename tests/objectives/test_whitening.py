"""Listening in the directions of a signal hears what a mean over all directions drowns."""

import numpy as np
import pytest

from armillary.core.rng import generator
from armillary.objectives.whitening import fit_whitening

WIDTH = 40


def test_towards_keeps_the_direction_in_which_the_signal_stands_out():
    rng = generator("test.towards", 0)
    mixing = rng.normal(size=(WIDTH, WIDTH))
    noise = rng.normal(size=(4000, WIDTH)) @ mixing
    way = rng.normal(size=WIDTH)
    signal = rng.normal(size=(4000, 1)) * 30 * way + rng.normal(size=(4000, WIDTH)) @ mixing
    whole = fit_whitening(noise)
    one = whole.towards(signal, 1)
    assert one.rotation is not None and one.rotation.shape == (WIDTH, 1)
    normal = rng.normal(size=(500, WIDTH)) @ mixing
    usual = one.score(normal).mean()
    assert usual == pytest.approx(1, abs=0.4)  # the correlation was shrunk
    # an event of this size, in units of normal residuals along the best direction: about 5 sigma
    covariance = mixing.T @ mixing
    size = 5 / np.sqrt(way @ np.linalg.solve(covariance, way))
    hit = normal + size * way
    heard = (one.score(hit).mean() - usual) / one.score(normal).std()
    calm = whole.score(normal)
    drowned = (whole.score(hit).mean() - calm.mean()) / calm.std()
    assert heard > 2 * drowned


def test_towards_asks_for_no_more_directions_than_there_are():
    values = generator("test.towards", 1).normal(size=(100, 3))
    few = fit_whitening(values).towards(values, 16)
    assert few.rotation is not None and few.rotation.shape == (3, 3)
    np.testing.assert_allclose(few.score(values), fit_whitening(values).score(values))


def test_a_diagonal_whitening_turns_too():
    wide = generator("test.towards", 2).normal(size=(50, 1100))
    assert fit_whitening(wide).rotation is None
    turned = fit_whitening(wide).towards(wide, 4)
    assert turned.rotation is not None and turned.rotation.shape == (1100, 4)
