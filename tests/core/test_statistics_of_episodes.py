"""AUROC equals its definition; intervals resample episodes."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from armillary.core.errors import ShapeError
from armillary.core.statistics import auroc, auroc_interval, block_bootstrap_interval


def test_auroc_by_hand_with_a_tie():
    scores = np.array([3.0, 1.0, 1.0, 0.0])
    labels = np.array([True, True, False, False])
    assert auroc(scores, labels) == (1 + 1 + 0.5 + 1) / 4


def test_auroc_equals_mann_whitney():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 9, 200).astype(float)
    labels = rng.random(200) < 0.3
    u = mannwhitneyu(scores[labels], scores[~labels]).statistic
    assert auroc(scores, labels) == pytest.approx(u / (labels.sum() * (~labels).sum()))


def test_a_constant_score_is_at_chance_and_an_inverted_one_at_zero():
    labels = np.array([True, False, True, False])
    assert auroc(np.zeros(4), labels) == 0.5
    assert auroc(-labels.astype(float), labels) == 0.0


def test_a_score_that_is_not_a_number_counts_as_wrong():
    labels = np.array([True, False])
    assert auroc(np.array([np.nan, 0.0]), labels) == 0.0
    assert auroc(np.array([0.0, np.nan]), labels) == 0.0


def test_one_class_only_is_refused():
    with pytest.raises(ShapeError, match="positives and negatives; got 3 positives of 3"):
        auroc(np.zeros(3), np.ones(3, bool))


def test_interval_is_wider_when_steps_of_an_episode_agree():
    rng = np.random.default_rng(1)
    labels = np.repeat([True, False], 200)
    scores = np.repeat(rng.normal(size=40), 10) + labels
    wide = auroc_interval(scores, labels, np.repeat(np.arange(40), 10))
    narrow = auroc_interval(scores, labels, np.arange(400))
    assert wide[0] < auroc(scores, labels) < wide[1]
    assert wide[1] - wide[0] > 1.5 * (narrow[1] - narrow[0])


def test_interval_of_a_perfect_score_is_a_point():
    labels = np.array([True, False] * 10)
    assert auroc_interval(labels.astype(float), labels, np.arange(20)) == (1.0, 1.0)


def test_block_interval_is_wider_than_that_of_single_steps_for_a_slow_series():
    slow = np.repeat(np.random.default_rng(2).normal(size=30), 20)
    low, high = block_bootstrap_interval(slow, 40)
    narrow = block_bootstrap_interval(slow, 1)
    assert low < slow.mean() < high
    assert high - low > 2 * (narrow[1] - narrow[0])
