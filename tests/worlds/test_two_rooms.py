"""Two rooms: walls stop, doors do not, and evaluation layouts are never trained on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armillary.core.errors import ConfigError
from armillary.core.rng import generator
from armillary.worlds import check_world, make_world
from armillary.worlds.two_rooms.layout import Layout, layouts
from armillary.worlds.two_rooms.world import MAX_STEP_M, TwoRooms

share = st.floats(-1, 1)


def test_keeps_the_contract_of_worlds():
    check_world(lambda: make_world("two_rooms", sensors=("rgb", "proprio")))
    check_world(lambda: make_world("two_rooms", split="held_out", task="cross", image_size=65))


def test_splits_share_no_layout():
    train, held_out = set(layouts("train")), set(layouts("held_out"))
    assert not train & held_out
    assert len(held_out) == pytest.approx(0.2 * len(train | held_out), abs=1)
    world = TwoRooms(split="held_out")
    for seed in range(50):
        world.reset(seed)
        assert world.layout in held_out


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.tuples(share, share), min_size=1, max_size=40))
def test_the_agent_is_never_inside_a_wall(seed, moves):
    rng = generator("test", seed)
    layout = layouts("train")[int(rng.integers(len(layouts("train"))))]
    x, y = 0.1, float(rng.uniform(0.1, 0.5))
    for dx, dy in moves:
        x, y = layout.move(x, y, dx * MAX_STEP_M, dy * MAX_STEP_M)
        assert 0.05 <= x <= 0.59
        assert 0.05 <= y <= 0.59
        for left, right, low, high in layout.solid_boxes(0.019):
            assert not (left < x < right and low < y < high)


def test_wall_stops_and_door_lets_through():
    layout = Layout(0.32, 0.32)
    x, y = layout.move(0.27, 0.2, 0.025, 0.0)
    assert (x, y) == (pytest.approx(0.32 - 0.015 - 0.02, abs=1e-5), 0.2)
    x, y = 0.27, 0.32
    for _ in range(4):
        x, y = layout.move(x, y, 0.025, 0.0)
    assert x == pytest.approx(0.37)


def test_the_dot_is_where_the_agent_is():
    world = TwoRooms(image_size=64)
    for seed in range(10):
        rgb = world.reset(seed).streams["rgb"].astype(float)
        orange = np.clip(rgb[..., 0] - rgb[..., 2] - 30, 0, None)
        v, u = np.mgrid[:64, :64]
        place = np.array([(orange * u).sum(), (orange * (63 - v)).sum()]) / orange.sum()
        assert np.allclose((place + 0.5) * 0.01, world.truth()["agent_xy"], atol=0.003)


@pytest.mark.parametrize("task", ["reach", "cross"])
def test_expert_always_arrives(task):
    world = TwoRooms(split="held_out", task=task)
    for seed in range(100):
        world.reset(seed)
        goal = world.draw_goal(task, generator("goal", seed))
        if task == "cross":
            right = [
                world.layout.is_right(float(t["agent_xy"][0])) for t in (goal.truth, world.truth())
            ]
            assert right[0] != right[1]
        for _ in range(world.spec.budget):
            if world.distance(goal) <= world.spec.success_distance:
                break
            world.step(world.expert(goal, generator("expert", 0)))
        assert world.distance(goal) <= world.spec.success_distance


def test_exploring_goes_through_the_door():
    world, crossings = TwoRooms(), 0
    for seed in range(10):
        world.reset(seed)
        state, rng, side = None, generator("explore", seed), None
        for _ in range(100):
            action, state = world.explore(rng, state)
            world.step(action)
            now = world.layout.is_right(float(world.truth()["agent_xy"][0]))
            crossings += side is not None and now != side
            side = now
    assert crossings >= 8


def test_wrong_settings_are_one_sentence():
    with pytest.raises(ConfigError, match="Did you mean 'held_out'"):
        make_world("two_rooms", split="heldout")
    with pytest.raises(ConfigError, match="There is no setting of two_rooms called 'colour'"):
        make_world("two_rooms", colour=1)
    with pytest.raises(ConfigError, match="There is no setting of two_rooms called 'name'"):
        make_world("two_rooms", **{"name": "x"})
    with pytest.raises(ConfigError, match="Did you mean 'two_rooms'"):
        make_world("tworooms")


@pytest.mark.parametrize("step_m", [0.01, 0.017])
def test_no_way_of_acting_leaves_a_narrower_bound(step_m):
    world = TwoRooms(max_step_m=step_m)
    world.reset(3)
    rng, state = np.random.default_rng(0), None
    goal = world.draw_goal("cross", rng)
    for _ in range(60):
        action, state = world.explore(rng, state)
        assert np.abs(action).max() <= step_m
        assert np.abs(world.expert(goal, rng)).max() <= step_m
        world.step(action)
