"""Size and distance: the pictures of a pair are alike, and only depth tells which is larger."""

from __future__ import annotations

import numpy as np
import pytest

from armillary.core.errors import ConfigError, ShapeError
from armillary.core.rng import generator
from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig, untrained
from armillary.understanding.suites.size_distance import (
    FACTOR,
    NOISE_LEVELS,
    make_pairs,
    pair_accuracy,
    size_distance,
)

PAIRS = make_pairs(60)


def test_pictures_of_a_pair_are_the_same_up_to_their_noise():
    off = np.abs(PAIRS.rgb[:, 0].astype(int) - PAIRS.rgb[:, 1])
    assert (off > 2 * NOISE_LEVELS).mean() < 1e-4  # a pixel on an edge may fall to either side
    np.testing.assert_allclose(PAIRS.size_m[:, 1], FACTOR * PAIRS.size_m[:, 0])
    np.testing.assert_allclose(PAIRS.distance_m[:, 1], FACTOR * PAIRS.distance_m[:, 0])


def test_depth_is_where_the_object_is_and_twice_as_far():
    wall = PAIRS.depth_m.max()
    seen = PAIRS.depth_m < wall
    share = seen.mean((2, 3))
    assert share.min() > 0.005 and share.max() < 0.4
    both = seen.all(1)
    ratio = PAIRS.depth_m[:, 1][both] / PAIRS.depth_m[:, 0][both]
    np.testing.assert_allclose(ratio, FACTOR, rtol=1e-9)
    for pair in range(60):
        found = PAIRS.depth_m[pair, 0][seen[pair, 0]]
        reach_m = PAIRS.size_m[pair, 0] * 3**0.5 * 1.1
        assert np.abs(found - PAIRS.distance_m[pair, 0]).max() < reach_m


def test_an_oracle_gets_all_and_a_coin_half():
    assert pair_accuracy(PAIRS.size_m) == 1.0
    assert pair_accuracy(-PAIRS.size_m) == 0.0
    assert pair_accuracy(np.zeros((60, 2))) == 0.5
    coins = generator("coin", 0).standard_normal((4000, 2))
    assert pair_accuracy(coins) == pytest.approx(0.5, abs=0.03)
    with pytest.raises(ShapeError, match="must be finite"):
        pair_accuracy(np.full((3, 2), np.nan))


@pytest.mark.parametrize(
    ("sensors", "least"),
    [
        (("rgb",), None),
        (("rgb", "pose"), None),
        (("rgb", "depth"), 0.85),  # a naive channel, with weights that nobody trained
        (("rgb", "points_camera"), 0.95),
        (("rgb", "points"), 0.95),
        (("depth_cloud",), 0.95),
    ],
)
def test_colour_alone_stays_at_chance_and_depth_does_not(sensors, least):
    """Random weights keep in the latent what a sensor gives; none keep what it does not give."""
    encoder = EncoderConfig(
        image_size=32, patch=8, patch_hidden=64, patch_width=16, hidden=128, tokens=4, width=32
    )
    model = untrained(JEPAConfig(sensors, encoder, PredictorConfig(8, 8)), 0).eval()
    model.normalizer.point_reach_m.fill_(0.6)  # clouds end before the wall, which is higher
    found = size_distance(model, 300, 200, image_size=32)
    low, high = found["chance95"]
    if least is None:
        assert low - 0.03 < found["accuracy"] < high + 0.03
    else:
        assert found["accuracy"] > least
    assert found["n"] == 200 and found["wilson95"][0] <= found["accuracy"]


def test_pairs_repeat_and_differ_by_seed():
    again, other = make_pairs(3), make_pairs(3, seed=1)
    assert np.array_equal(again.rgb, PAIRS.rgb[:3])
    assert not np.array_equal(other.rgb, again.rgb)
    with pytest.raises(ConfigError, match="count of at least 1"):
        make_pairs(0)
