"""What a map of distances will show: merging what was seen, and what a network adds."""

import numpy as np
import pytest

from armillary.understanding.map_prediction import AHEAD, MapPredictor, MapWindows

pytestmark = pytest.mark.runs  # networks are fitted: 5 to 15 s each

SHAPE, COUNT = (1, 24), 160


def windows(ahead, rng, change, holes=0.0, older=1):
    """Ranges between 1 and 9 m; ``change`` says what comes from what was seen."""
    now = rng.uniform(1, 9, (COUNT, SHAPE[1]))
    seen = [now, *(rng.uniform(1, 9, now.shape) for _ in range(older))]
    gone = rng.uniform(size=now.shape) < holes
    newest = np.where(gone, np.nan, now)
    return MapWindows(
        ahead=ahead,
        shape=SHAPE,
        wraps=True,
        present=rng.uniform(1, 9, now.shape),
        seen=(newest, *seen[1:]),
        counts=tuple(np.isfinite(one).astype(np.int64) for one in (newest, *seen[1:])),
        nearest=newest,
        later=change(now, seen),
        groups=np.arange(COUNT) // 20,
    )


def several(seed, change, **settings):
    rng = np.random.default_rng(seed)
    return [windows(ahead, rng, change, **settings) for ahead in AHEAD]


def test_gaps_are_filled_by_what_was_seen_before_and_then_by_the_present():
    (one, *_) = several(0, lambda now, seen: now, holes=0.5)
    older = one.seen[1].copy()
    older[:, 3] = np.nan
    some = MapWindows(**{**vars(one), "seen": (one.seen[0], older)})
    found, gone = some.merged(0.0), np.isnan(one.seen[0])
    assert np.array_equal(found[~gone], one.seen[0][~gone])
    filled = gone & np.isfinite(older)
    assert np.array_equal(found[filled], older[filled])
    assert np.array_equal(found[:, 3][gone[:, 3]], one.present[:, 3][gone[:, 3]])


def test_merging_weighs_points_by_age():
    (one, *_) = several(0, lambda now, seen: now)
    three = MapWindows(**{**vars(one), "counts": (one.counts[0], 3 * one.counts[1])})
    expected = (one.seen[0] + 0.5 * 3 * one.seen[1]) / 2.5
    assert np.allclose(three.merged(0.5), expected)


def test_the_merge_that_serves_is_found_and_a_network_that_does_not_pay_is_left_out():
    found = MapPredictor.fit(several(1, lambda now, seen: now), 0)
    assert set(found.decays.values()) == {0.0}
    assert found.updates == 0
    test = several(2, lambda now, seen: now)[2]
    assert np.array_equal(found.predict(test), test.seen[0])
    mean = MapPredictor.fit(several(1, lambda now, seen: (now + seen[1]) / 2), 0)
    assert set(mean.decays.values()) == {1.0}


def test_a_network_learns_what_merging_cannot_know():
    """What comes is the nearer of a cell and the next: an edge that moves over."""

    def nearer(now, seen):
        return np.minimum(now, np.roll(now, 1, axis=1))

    found = MapPredictor.fit(several(3, nearer, older=0), 0)
    test = several(4, nearer, older=0)[0]
    assert test.error(found.predict(test)) < 0.4 * test.error(test.merged(found.decays[1]))
    for one in several(3, nearer, older=0):
        assert one.error(found.unseen[one.ahead]) < 0.5 * one.error(one.merged(0.0))


@pytest.mark.slow  # 15 s
def test_the_same_seed_gives_the_same_prediction():
    def half(now, seen):
        return 0.5 * now

    ones = [MapPredictor.fit(several(5, half), seed).predict(several(6, half)[1]) for seed in
            (0, 0, 1)]  # fmt: skip
    assert np.array_equal(ones[0], ones[1])
    assert not np.array_equal(ones[0], ones[2])


@pytest.mark.parametrize("wraps", [True, False])
def test_it_says_the_same_wherever_a_thing_is(wraps):
    """Turning the sensor turns what is predicted, where the map goes all around."""

    def nearer(now, seen):
        return np.minimum(now, np.roll(now, 1, axis=1))

    found = MapPredictor.fit(several(7, nearer, older=0), 0)
    test = MapWindows(**{**vars(several(8, nearer, older=0)[0]), "wraps": wraps})
    turned = {name: np.roll(getattr(test, name), 5, axis=1) for name in ("present", "nearest")}
    other = MapWindows(
        **{
            **vars(test),
            **turned,
            "seen": tuple(np.roll(one, 5, axis=1) for one in test.seen),
            "counts": tuple(np.roll(one, 5, axis=1) for one in test.counts),
        }
    )
    same = np.isclose(np.roll(found.predict(test), 5, axis=1), found.predict(other), atol=1e-4)
    assert same.all() == wraps
    assert same[:, 8:-3].all()
