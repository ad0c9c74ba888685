"""A prediction is believed as far as it helped in the other half of the groups."""

from functools import partial

import numpy as np
import pytest

from armillary.comprehension.trust import believed

GROUPS = np.arange(240) // 12
CAME = np.random.default_rng(0).normal(size=(240, 5))


def error(guess, came):
    return np.abs(guess - came).mean(axis=1)


def told(other, base=None, groups=GROUPS, came=CAME, untold=0.0):
    base = np.zeros_like(came) if base is None else base
    return believed(base, other, partial(error, came=came), groups, untold)


def test_what_is_right_is_believed_and_noise_is_not():
    found, trust = told(CAME)
    assert trust == (1.0, 1.0)
    assert np.array_equal(found, CAME)
    noise = np.random.default_rng(1).normal(size=CAME.shape)
    found, trust = told(noise)
    assert trust == (0.0, 0.0)
    assert not found.any()


def test_what_goes_twice_as_far_is_believed_by_half():
    found, trust = told(2 * CAME)
    assert trust == (0.5, 0.5)
    assert np.allclose(found, CAME)


def test_a_half_is_told_by_the_other_alone():
    even = (GROUPS % 2 == 0)[:, None]
    found, trust = told(np.where(even, CAME, -CAME))
    assert trust == (0.0, 1.0)
    assert np.array_equal(found, np.where(even, 0, -CAME))


def test_a_gain_that_is_not_sure_is_not_believed():
    lucky = np.zeros_like(CAME)
    lucky[GROUPS < 2] = 0.2 * CAME[GROUPS < 2]  # one group in each half
    assert told(lucky)[1] == (0.0, 0.0)


@pytest.mark.parametrize("untold", [0.0, 1.0])
def test_few_groups_tell_nothing(untold):
    found, trust = told(CAME, groups=np.arange(240) // 35, untold=untold)
    assert trust == (untold, untold)
    assert np.allclose(found, untold * CAME)


def test_windows_that_are_not_judged_do_not_tell():
    def some(guess):
        return np.where(GROUPS < 8, error(guess, CAME), np.nan)

    _, trust = believed(np.zeros_like(CAME), CAME, some, GROUPS)
    assert trust == (1.0, 1.0)
