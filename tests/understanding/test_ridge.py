"""Ridge equals its formula, primal and dual, and survives columns that never change."""

import numpy as np
import pytest

from armillary.core.errors import ShapeError
from armillary.understanding.ridge import fit_ridge


def _problem(count: int, width: int):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, width))
    return x, x @ rng.normal(size=(width, 2)) + 0.3 * rng.normal(size=(count, 2))


@pytest.mark.parametrize(("count", "width"), [(60, 5), (20, 50)])
def test_equals_the_normal_equations(count, width):
    x, y = _problem(count, width)
    held_out = np.arange(count) % 4 == 0
    fitted = fit_ridge(x, y, held_out, penalties=(0.1,))
    z = (x - x.mean(0)) / x.std(0)
    weights = np.linalg.solve(z.T @ z + 0.1 * count * np.eye(width), z.T @ (y - y.mean(0)))
    np.testing.assert_allclose(fitted.weights, weights, atol=1e-9)


def test_columns_that_never_change_are_left_out():
    x, y = _problem(60, 5)
    with_constant = np.column_stack([x, np.full(60, 7.1, np.float32)])
    held_out = np.arange(60) % 4 == 0
    a, b = fit_ridge(x, y, held_out), fit_ridge(with_constant, y, held_out)
    np.testing.assert_allclose(a.predict(x), b.predict(with_constant))


def test_noise_gets_the_largest_penalty_and_signal_a_small_one():
    x, y = _problem(80, 40)
    held_out = np.arange(80) % 4 == 0
    noise = np.random.default_rng(3).normal(size=(80, 2))
    assert fit_ridge(x, noise, held_out).penalty > 10 * fit_ridge(x, y, held_out).penalty


def test_values_that_are_not_finite_are_refused():
    x, y = _problem(10, 2)
    x[3, 1] = np.nan
    with pytest.raises(ShapeError, match="finite"):
        fit_ridge(x, y, np.arange(10) < 3)
