"""One thing goes wrong, at its step and not before, and the same seed does it again."""

import numpy as np
import pytest

from armillary.core.errors import ConfigError
from armillary.core.rng import generator
from armillary.worlds import check_world, make_world
from armillary.worlds.perturbed import KINDS, LEAST_JUMP_M, possible_kinds
from armillary.worlds.tabletop.tasks import Layout, draw_elsewhere

SMALL = {"image_size": 32, "samples": 0}
FORWARD = np.array([0.1, -0.05])


def walk(world, seed, steps=8, action=FORWARD):
    seen, truths = [world.reset(seed)], [world.truth()]
    for _ in range(steps):
        seen.append(world.step(action))
        truths.append(world.truth())
    return seen, truths


def same(a, b):
    return all(np.array_equal(a.streams[n], b.streams[n], equal_nan=True) for n in a.streams)


@pytest.mark.parametrize("kind", KINDS)
def test_keeps_the_contract_of_worlds(kind):
    check_world(lambda: make_world("perturbed", base="tabletop", kind=kind, **SMALL))


@pytest.mark.parametrize("kind", KINDS)
def test_all_is_as_in_the_world_itself_until_the_event_and_not_after(kind):
    world = make_world("perturbed", base="tabletop", kind=kind, latest=6, **SMALL)
    base = make_world("tabletop", **SMALL)
    for seed in range(3):
        seen, _ = walk(world, seed)
        usual, _ = walk(base, seed)
        event = world.event.step
        assert 2 <= event <= 6 and world.event.kind == kind
        assert all(same(a, b) for a, b in zip(seen[:event], usual[:event], strict=True))
        assert not same(seen[event], usual[event])
    world.close()
    base.close()


def test_the_object_jumps_at_its_step():
    world = make_world("perturbed", base="tabletop", kind="teleport", **SMALL)
    _, truths = walk(world, 4, 13, np.zeros(2))
    places = np.stack([truth["object_xy"] for truth in truths])
    moved = np.linalg.norm(np.diff(places, axis=0), axis=1)
    assert moved.argmax() + 1 == world.event.step
    assert moved.max() == pytest.approx(world.event.size["jump_m"], abs=1e-4)
    assert moved.max() >= LEAST_JUMP_M > 10 * np.sort(moved)[-2]
    world.close()


def test_a_stuck_pusher_stays_whatever_is_commanded():
    world = make_world("perturbed", base="tabletop", kind="stuck", earliest=3, latest=3, **SMALL)
    _, truths = walk(world, 1)
    places = np.stack([truth["pusher_xy"] for truth in truths])
    moved = np.linalg.norm(np.diff(places, axis=0), axis=1)
    assert (moved[:2] > 0.005).all() and (moved[2:] < 0.002).all()
    with pytest.raises(ValueError, match="outside the bounds"):
        world.step(np.array([9.0, 0.0]))
    world.close()


def test_a_knocked_camera_still_reports_where_it_was_until_the_next_episode():
    world = make_world("perturbed", base="tabletop", kind="camera", **SMALL)
    seen, _ = walk(world, 2, 13, np.zeros(2))
    poses = np.stack([observation.streams["world_from_camera"] for observation in seen])
    assert (poses == poses[0]).all()
    event = world.event
    assert not np.array_equal(seen[event.step].streams["rgb"], seen[event.step - 1].streams["rgb"])
    assert 1 <= event.size["turn_deg"] <= 5 and 0.01 <= event.size["shift_m"] <= 0.04
    again, _ = walk(world, 2, 13, np.zeros(2))
    assert all(same(a, b) for a, b in zip(seen, again, strict=True))
    world.close()


def test_a_camera_turned_about_its_axis_turns_the_picture():
    world = make_world("tabletop", image_size=65, samples=0)
    before = world.reset(0).streams["rgb"]
    after = world.nudge_camera(np.zeros(3), np.array([0.0, 0.0, np.pi])).streams["rgb"]
    change = np.abs(before.astype(int) - after[::-1, ::-1]).mean()
    assert change < 3 < np.abs(before.astype(int) - after).mean()
    world.close()


def test_what_a_world_cannot_show_is_refused():
    rooms = make_world("two_rooms")
    assert possible_kinds(rooms) == ("stuck",)
    rooms.close()
    with pytest.raises(ConfigError, match="two_rooms cannot show 'camera'; possible in it: stuck"):
        make_world("perturbed", base="two_rooms", kind="camera")
    with pytest.raises(ConfigError, match=r"no perturbation called 'stack'\. Did you mean 'stuck'"):
        make_world("perturbed", base="two_rooms", kind="stack")
    with pytest.raises(ConfigError, match="1 <= earliest <= latest was expected, got 5 and 3"):
        make_world("perturbed", base="two_rooms", earliest=5, latest=3)


def test_elsewhere_is_far_free_and_on_the_table():
    objects = np.array([[0.0, 0.0, 0.02], [-0.1, 0.1, 0.02]])
    layout = Layout(np.array([0.1, 0.0]), objects, (0.03, 0.03))
    for seed in range(50):
        place = draw_elsewhere(layout, generator("test.elsewhere", seed), 0.08)
        assert np.linalg.norm(place) >= 0.08
        assert np.linalg.norm(place - layout.objects_xyz[1, :2]) > 0.06
        assert np.linalg.norm(place - layout.pusher_xy) > 0.05
        assert np.abs(place).max() <= 0.165
