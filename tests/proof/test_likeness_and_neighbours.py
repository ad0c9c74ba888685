"""The measures against their brute-force twins, and the probabilities against counting."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from armillary.core.errors import ConfigError
from armillary.proof.footage import Footage
from armillary.proof.likeness import (
    Nearest,
    Unit,
    hamming,
    joined,
    jpeg,
    near_copies,
    near_copy_unit,
    prints,
    rmse,
    run_distance,
)
from armillary.proof.neighbours import (
    NearestPair,
    excess_probability,
    judge,
    rank_probability,
    tasks,
)

RNG = np.random.default_rng(0)


def scenes(count, size=48):
    """Smooth random pictures: no two alike, none of them noise."""
    import cv2

    small = RNG.integers(0, 256, (count, 6, 6, 3)).astype(np.uint8)
    return [cv2.resize(one, (size, size), interpolation=cv2.INTER_CUBIC) for one in small]


def test_measures_equal_their_definitions():
    a, b = prints(scenes(5)), prints(scenes(4))
    x, y = a.thumbnails.astype(float), b.thumbnails.astype(float)
    wanted = [[np.sqrt(np.mean((p - q) ** 2)) for q in y] for p in x]
    assert np.allclose(rmse(a, b), wanted, rtol=1e-3)
    bits = [[np.unpackbits(p ^ q).sum() for q in b.hashes] for p in a.hashes]
    assert np.array_equal(hamming(a, b), bits)
    assert a.hashes.shape == (5, 32) and not hamming(a, a).diagonal().any()


def test_the_hash_ignores_brightness_and_size_and_half_its_bits_are_set():
    [scene] = scenes(1, 64)
    dark = (scene * 0.8).astype(np.uint8)
    [[apart]] = hamming(prints([scene]), prints([dark]))
    [[other]] = hamming(prints([scene]), prints(scenes(1, 64)))
    assert apart <= 24 and other >= 80
    assert 120 <= np.unpackbits(prints([scene]).hashes).sum() <= 136


def test_near_copies_are_nearer_than_other_pictures():
    pictures = scenes(30)
    whole = prints(pictures)
    copies = prints(near_copies(pictures, np.random.default_rng(1)))
    for measure in (rmse, hamming):
        between = measure(whole, copies)
        apart = between[~np.eye(30, dtype=bool)]
        assert between.diagonal().max() < apart.min()
    unit = near_copy_unit([(whole, copies)])
    nearest = Nearest(whole, unit)
    nearest.see(copies)
    strangers = Nearest(whole, unit)
    strangers.see(prints(scenes(30)))
    assert run_distance(nearest.distances) < 1.5 < strangers.distances.min()
    assert (jpeg(pictures[0], 90) != pictures[0]).any()


def test_pictures_that_come_in_parts_are_as_near_as_all_at_once():
    sought, seen = prints(scenes(9)), prints(scenes(12))
    once, parts = (Nearest(sought, Unit(2.0, 9.0)) for _ in range(2))
    once.see(seen)
    for start, stop in pairwise((0, 5, 6, 12)):
        parts.see(type(seen)(seen.thumbnails[start:stop], seen.hashes[start:stop]))
    assert np.allclose(once.distances, parts.distances)
    wanted = np.maximum(rmse(sought, seen) / 2.0, hamming(sought, seen) / 9.0).min(axis=1)
    assert np.allclose(once.distances, wanted)
    assert len(joined([sought, seen])) == 21


@given(st.lists(st.integers(0, 9), max_size=14))
def test_run_distance_is_the_least_limit_with_five_in_a_row(values):
    numbers = np.array(values, np.float32)

    def has_run(limit):
        return any(all(v <= limit for v in values[i : i + 5]) for i in range(len(values) - 4))

    wanted = next((float(limit) for limit in range(10) if has_run(limit)), float("inf"))
    assert run_distance(numbers) == wanted


def test_a_unit_needs_a_run():
    with pytest.raises(ConfigError, match="at least 5 pictures; none came"):
        near_copy_unit([(prints(scenes(2)), prints(scenes(2)))])


@given(st.integers(0, 10_000))
def test_nearest_pair_equals_trying_every_pair(seed):
    rng = np.random.default_rng(seed)
    sought = [
        Footage(f"e{i}", states={"xy": rng.normal(size=(2, 2)).astype("f4")}) for i in range(3)
    ]
    seen = [Footage("t", states={"xy": rng.normal(size=(n, 2)).astype("f4")}) for n in (1, 5)]
    wanted = tasks(sought, ["xy"])
    pairs = NearestPair(wanted)
    assert all(pairs.see(one) for one in seen)
    for at, found in enumerate(pairs.distances):
        tried = [
            np.concatenate([wanted.starts[at] - s[t], wanted.goals[at] - s[u]])
            for s in ((one.states["xy"] - wanted.centre) / wanted.spread for one in seen)
            for t in range(len(s))
            for u in range(t, len(s))
        ]
        assert found == pytest.approx(min(np.sqrt((d**2).sum() / 2) for d in tried))


def test_a_thing_that_a_scene_does_not_have_is_far_from_one_that_is_there():
    """Worlds say NaN for what is absent: two scenes without it agree."""
    scene = np.array([[0.1, np.nan], [0.2, np.nan]], "f4")
    there = np.array([[0.1, 0.5], [0.2, 0.6]], "f4")
    sought = [Footage("a", states={"xy": scene}), Footage("b", states={"xy": there})]
    pairs = NearestPair(tasks(sought, ["xy"]))
    assert pairs.see(Footage("t", states={"xy": scene}))
    assert pairs.distances[0] == 0.0 and pairs.distances[1] > 3
    nothing = NearestPair(tasks([Footage("c", states={"z": np.full((2, 1), np.nan)})], ["z"]))
    assert nothing.see(Footage("t", states={"z": np.full((3, 1), np.nan)}))
    assert nothing.distances.tolist() == [0.0]


def test_an_episode_without_the_states_says_so():
    one = Footage("e", states={"xy": np.zeros((3, 2), "f4")})
    pairs = NearestPair(tasks([one], ["xy"]))
    assert not pairs.see(Footage("t", states={"z": np.zeros((3, 2), "f4")}))
    assert not pairs.see(Footage("t", states={"xy": np.zeros((3, 5), "f4")}))


@pytest.mark.parametrize(("found", "independent", "rank"), [(3, 5, 1), (4, 4, 2), (2, 6, 3)])
def test_the_excess_probability_is_what_counting_every_order_gives(found, independent, rank):
    """Every way to deal ranks to the two sides is as likely as any other."""
    total, flagged = found + independent, []
    for places in combinations(range(total), independent):
        limit = places[rank - 1]
        flagged.append(sum(p < limit for p in range(total) if p not in places))
    for least in range(found + 1):
        share = np.mean([count >= least for count in flagged])
        assert excess_probability(least, found, rank, independent) == pytest.approx(share)


def test_judgement_flags_what_is_below_the_quantile():
    independent = np.linspace(1.0, 2.0, 199)
    judged = judge(np.array([0.5, 1.5, 0.9, 1.9]), independent)
    assert judged.flagged == (0, 2) and judged.limit == pytest.approx(np.sort(independent)[1])
    assert judged.expected == pytest.approx(4 * 2 / 200) and judged.p_value < 0.001
    assert rank_probability(0.5, independent) == 1 / 200
    assert rank_probability(3.0, independent) == 1.0
    with pytest.raises(ConfigError, match="needs 100 independent episodes; there are 99"):
        judge(np.ones(3), np.ones(99))


def test_ties_are_never_flagged():
    assert judge(np.zeros(50), np.zeros(100)).flagged == ()
