"""Statistics agree with scipy."""

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap

from armillary.core.errors import ConfigError
from armillary.core.rng import generator
from armillary.core.statistics import (
    bootstrap_interval,
    holm,
    mcnemar,
    paired_bootstrap,
    wilson_interval,
)


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (0, 200), (7, 9), (164, 200), (200, 200)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilson_agrees_with_scipy(successes, n, confidence):
    theirs = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    assert wilson_interval(successes, n, confidence) == pytest.approx(tuple(theirs), abs=1e-12)


def test_wilson_knows_nothing_without_trials_and_refuses_what_cannot_be():
    assert wilson_interval(0, 0) == (0.0, 1.0)
    with pytest.raises(ConfigError, match=r"within 0\.\.n; got 3 of 2"):
        wilson_interval(3, 2)
    with pytest.raises(ConfigError, match="confidence must be between 0 and 1"):
        wilson_interval(1, 2, 1.0)


def test_bootstrap_agrees_with_scipy_and_repeats():
    values = generator("test").gamma(2.0, size=60)
    ours = bootstrap_interval(values, generator("b"), resamples=20_000)
    theirs = bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20_000, rng=generator("s")
    ).confidence_interval
    assert ours == pytest.approx(tuple(theirs), abs=0.02)
    assert ours == bootstrap_interval(values, generator("b"), resamples=20_000)


def test_bootstrap_refuses_nothing_and_nan():
    for values in ([], [1.0, float("nan")]):
        with pytest.raises(ConfigError, match="A bootstrap needs a list of finite numbers"):
            bootstrap_interval(values, generator("b"))


def test_mcnemar_agrees_with_the_binomial_test():
    rng = generator("pairs")
    for n in (1, 30, 4000):
        a, b = rng.random(n) < 0.7, rng.random(n) < 0.5
        found = mcnemar(a, b)
        discordant = found.only_a + found.only_b
        assert discordant == np.count_nonzero(a != b)
        p = binomtest(found.only_a, discordant).pvalue if discordant else 1.0
        assert found.p_value == pytest.approx(p, rel=1e-9)


def test_pairs_make_a_difference_visible_that_two_lists_hide():
    rng = generator("paired")
    hardness = rng.normal(size=80)
    low, _ = paired_bootstrap(hardness + 0.2, hardness + 0.05 * rng.normal(size=80), rng)
    assert low > 0.15
    with pytest.raises(ConfigError, match="needs the same episodes on both sides; got 2 and 3"):
        paired_bootstrap([1.0, 2.0], [1.0, 2.0, 3.0], rng)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert holm([]) == ()
