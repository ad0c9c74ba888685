"""An oracle reads everything, shuffled labels nothing, a constant encoder is named."""

import numpy as np
import pytest

from armillary.core.errors import DatasetError
from armillary.understanding.probe import probe, shuffle_across_episodes


def _episodes(first: int, count: int, seed: int):
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(first, first + count), 20)
    state = rng.uniform(-0.3, 0.3, size=(len(groups), 2))
    mixing = np.random.default_rng(99).normal(size=(2, 16))
    return state @ mixing + 1.0, state, groups


TRAIN, TEST = _episodes(0, 40, 0), _episodes(40, 20, 1)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_features_that_hold_the_state_give_r2_of_one(kind):
    result = probe(*TRAIN, *TEST, kind=kind)
    assert result.r2 > (0.9999 if kind == "linear" else 0.99)
    assert result.error < (1e-3 if kind == "linear" else 0.02)
    assert result.r2_interval[0] <= result.r2 <= result.r2_interval[1]


def test_shuffled_labels_give_about_zero():
    features, targets, groups = TRAIN
    shuffled = shuffle_across_episodes(targets, groups)
    assert abs(probe(features, shuffled, groups, *TEST).r2) < 0.1


def test_shuffling_moves_whole_episodes_and_loses_no_label():
    _, targets, groups = TRAIN
    shuffled = shuffle_across_episodes(targets, groups)
    np.testing.assert_array_equal(np.sort(shuffled, axis=0), np.sort(targets, axis=0))
    owners = [
        next(e for e in range(40) if np.array_equal(shuffled[groups == own], targets[groups == e]))
        for own in range(40)
    ]
    assert sorted(owners) == list(range(40))
    assert all(owner != own for own, owner in enumerate(owners))


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_a_constant_encoder_reads_nothing_and_is_named(kind):
    same = [np.full((len(side[0]), 16), 0.7) for side in (TRAIN, TEST)]
    result = probe(same[0], *TRAIN[1:], same[1], *TEST[1:], kind=kind)
    assert result.constant
    assert -0.1 < result.r2 <= 0.0


def test_a_curved_state_needs_the_mlp():
    def curve(side):
        angle = side[1] * 10
        return np.concatenate([np.cos(angle), np.sin(angle)], axis=1), *side[1:]

    linear = probe(*curve(TRAIN), *curve(TEST))
    network = probe(*curve(TRAIN), *curve(TEST), kind="mlp")
    assert network.r2 > linear.r2 + 0.1


def test_the_error_is_a_distance_and_averages_over_points():
    features, targets, groups = TEST
    two = np.concatenate([targets, targets], axis=1)
    train = (TRAIN[0], np.concatenate([TRAIN[1], TRAIN[1]], axis=1), TRAIN[2])
    shifted = features * 0 + features.mean(axis=0)
    one = probe(*TRAIN, shifted, targets, groups).error
    both = probe(*train, shifted, two, groups).error
    assert one == pytest.approx(both)
    assert one == pytest.approx(np.linalg.norm(targets - targets.mean(0), axis=1).mean(), rel=0.05)


def test_an_episode_on_both_sides_is_refused():
    with pytest.raises(DatasetError, match="both in training and in test; split by episode"):
        probe(*TRAIN, *TRAIN)
