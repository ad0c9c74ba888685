"""The scripted pusher of Push-T, on a plane without physics: the T stays, or moves as told."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from armillary.core.errors import ConfigError
from armillary.core.rng import generator
from armillary.worlds import make_world
from armillary.worlds.gym.pusher import push

REACH_PX = 35.0  # what a full action moves the disc here


def strokes(tee, seed=0, steps=400, disc=(60.0, 60.0)):
    """Return places of the disc and what it was doing, beside a T that nothing moves."""
    rng, disc, state = generator("test.pusher", seed), np.array(disc), None
    places, states = [], []
    for _ in range(steps):
        action, state = push(disc, np.array(tee), rng, state)
        disc = np.clip(disc + REACH_PX * np.clip(action, -1, 1), 15, 497)
        places.append(disc)
        states.append(state)
    return np.array(places), states


@pytest.mark.parametrize("seed", range(5))
def test_it_goes_round_the_t_before_it_pushes(seed):
    tee = (256.0, 256.0)
    places, states = strokes(tee, seed)
    going = np.array([not state.pushing for state in states])
    first = int(np.argmin(going))  # after its first stroke it begins beside the T
    assert 0 < first < 120
    assert np.linalg.norm(places[:first] - tee, axis=1).min() > 90


def test_its_strokes_go_through_the_t_from_all_sides():
    tee = np.array([256.0, 256.0])
    drawn = {(*s.begin, *s.end) for seed in range(5) for s in strokes(tee, seed)[1]}
    ways = np.array(sorted(drawn))
    begin, end = ways[:, :2], ways[:, 2:]
    angles = np.arctan2(*(end - begin).T)
    assert len(ways) > 20
    assert np.histogram(angles, 4, (-np.pi, np.pi))[0].min() > 0
    assert ((begin - tee) * (end - begin)).sum(1).max() < 0  # it begins before the T's middle


def test_it_rests_at_ends_for_as_long_as_it_drew():
    states = strokes((256.0, 256.0), steps=3000)[1]
    drawn, rested = {}, Counter()
    for before, now in pairwise(states):
        if now.begin is before.begin:
            rested[id(now.begin)] += before.rest - now.rest
        else:
            drawn[id(now.begin)] = now.rest, now.begin
    whole = [(rest, rested[key]) for key, (rest, _) in list(drawn.items())[:-1]]
    assert len(whole) > 20
    assert all(stayed in (0, rest) for rest, stayed in whole)  # 0: given up before its end
    lengths = {stayed for _, stayed in whole}
    assert min(lengths) == 0 and 5 < max(lengths) <= 10


def test_at_a_wall_it_stays_on_the_plane_and_goes_on():
    places, states = strokes((40.0, 80.0), steps=600)
    assert places.min() > 0 and places.max() < 512
    assert len({state.speed for state in states}) > 8  # drawn for each stroke


def test_what_it_cannot_reach_is_given_up():
    rng, state, begins = generator("test.pusher"), None, set()
    for _ in range(130):
        _, state = push(np.array([60.0, 60.0]), np.array([256.0, 256.0]), rng, state)
        begins.add(tuple(state.begin))
    assert len(begins) == 3


def test_chance_comes_from_the_generator_alone():
    one, other = (strokes((200.0, 300.0), seed=3)[0] for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert not np.array_equal(one, strokes((200.0, 300.0), seed=4)[0])


def test_collections_are_a_closed_list():
    with pytest.raises(ConfigError, match="strokes"):
        make_world("gym:stable_worldmodel:swm/PushT-v1", collection="stroke")
    with pytest.raises(ConfigError, match="collection"):
        make_world("gym:CartPole-v1", collection="strokes")
