"""Several trainings on the same episodes: with one it is McNemar's test, copies add nothing."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from armillary.core.statistics import mcnemar, over_trainings, sign_flip_p

SOLVED = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)


@given(SOLVED)
def test_of_one_training_it_is_mcnemars_exact_test(pairs):
    first, second = np.array(pairs, float).T
    found, known = over_trainings([first], [second]), mcnemar(first, second)
    assert (found.only_first, found.only_second) == (known.only_a, known.only_b)
    assert found.p == pytest.approx(known.p_value)


@given(SOLVED)
def test_the_same_training_told_three_times_is_no_more_evidence(pairs):
    first, second = np.array(pairs, float).T
    once, thrice = over_trainings([first], [second]), over_trainings([first] * 3, [second] * 3)
    assert thrice.p == pytest.approx(once.p)
    assert thrice.only_first == 3 * once.only_first


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=8))
def test_it_is_the_share_of_all_signs(differences):
    values = np.array(differences)
    sums = [abs(np.array(signs) @ values) for signs in product((-1, 1), repeat=len(values))]
    assert sign_flip_p(values) == pytest.approx(np.mean(np.array(sums) >= abs(values.sum())))
