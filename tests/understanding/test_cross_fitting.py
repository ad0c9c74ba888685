"""A prediction is cross_fitted as far as it helped in the other half of the groups."""

from functools import partial

import numpy as np
import pytest

from armillary.understanding.cross_fitting import cross_fitted

GROUPS = np.arange(240) // 12
TARGET = np.random.default_rng(0).normal(size=(240, 5))


def error(guess, target):
    return np.abs(guess - target).mean(axis=1)


def fitted(other, base=None, groups=GROUPS, target=TARGET, default=0.0):
    base = np.zeros_like(target) if base is None else base
    return cross_fitted(base, other, partial(error, target=target), groups, default)


def test_what_is_right_has_full_weight_and_noise_has_none():
    found, weights = fitted(TARGET)
    assert weights == (1.0, 1.0)
    assert np.array_equal(found, TARGET)
    noise = np.random.default_rng(1).normal(size=TARGET.shape)
    found, weights = fitted(noise)
    assert weights == (0.0, 0.0)
    assert not found.any()


def test_what_goes_twice_as_far_has_half_the_weight():
    found, weights = fitted(2 * TARGET)
    assert weights == (0.5, 0.5)
    assert np.allclose(found, TARGET)


def test_the_weight_of_a_half_comes_from_the_other_alone():
    even = (GROUPS % 2 == 0)[:, None]
    found, weights = fitted(np.where(even, TARGET, -TARGET))
    assert weights == (0.0, 1.0)
    assert np.array_equal(found, np.where(even, 0, -TARGET))


def test_a_gain_that_is_not_significant_counts_as_none():
    lucky = np.zeros_like(TARGET)
    lucky[GROUPS < 2] = 0.2 * TARGET[GROUPS < 2]  # one group in each half
    assert fitted(lucky)[1] == (0.0, 0.0)


@pytest.mark.parametrize("default", [0.0, 1.0])
def test_with_few_groups_the_default_holds(default):
    found, weights = fitted(TARGET, groups=np.arange(240) // 35, default=default)
    assert weights == (default, default)
    assert np.allclose(found, default * TARGET)


def test_windows_that_are_not_judged_do_not_count():
    def some(guess):
        return np.where(GROUPS < 8, error(guess, TARGET), np.nan)

    _, weights = cross_fitted(np.zeros_like(TARGET), TARGET, some, GROUPS)
    assert weights == (1.0, 1.0)
