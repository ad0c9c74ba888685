"""The tabletop: what it shows is where things are, and the same seed shows the same."""

import gc
import hashlib
import subprocess
import sys

import numpy as np
import pytest

from armillary.core.errors import ConfigError, ShapeError, WorldError
from armillary.core.rng import generator
from armillary.worlds import check_world, make_world
from armillary.worlds.tabletop.world import Tabletop

SENSORS = ("rgb", "depth", "world_from_camera", "segmentation", "proprio")


@pytest.fixture(scope="module")
def world():
    table = Tabletop(image_size=64, sensors=SENSORS)
    yield table
    table.close()


def same(a, b):
    return all(np.array_equal(a.streams[n], b.streams[n], equal_nan=True) for n in a.streams)


def points_in_world(streams):
    depth, k, pose = (
        streams["depth"].astype(float),
        streams["intrinsics"],
        streams["world_from_camera"],
    )
    v, u = np.mgrid[: depth.shape[0], : depth.shape[1]]
    camera = np.stack([(u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1], np.ones_like(depth)], -1)
    return (camera * depth[..., None]) @ pose[:3, :3].T + pose[:3, 3]


def test_keeps_the_contract_of_worlds():
    check_world(lambda: make_world("tabletop", image_size=32, sensors=SENSORS))
    check_world(lambda: make_world("tabletop", image_size=32, task="push", samples=0))


_DIGEST = """
import hashlib, numpy as np
from armillary.worlds.tabletop.world import Tabletop
world, digest = Tabletop(image_size=32), hashlib.sha256()
seen = [world.reset(3)] + [world.step(np.array([0.3, -0.2])) for _ in range(5)]
for observation in seen:
    for name in sorted(observation.streams):
        digest.update(observation.streams[name].tobytes())
print(digest.hexdigest())
"""


@pytest.mark.runs  # a process starts: 5 s
def test_a_new_process_shows_the_same_bits():
    run = subprocess.run(
        [sys.executable, "-c", _DIGEST], capture_output=True, text=True, check=True, timeout=60
    )
    table, digest = Tabletop(image_size=32), hashlib.sha256()
    table.reset(99)  # an earlier episode leaves no trace
    table.step(np.array([0.1, 0.1]))
    seen = [table.reset(3)] + [table.step(np.array([0.3, -0.2])) for _ in range(5)]
    for observation in seen:
        for name in sorted(observation.streams):
            digest.update(observation.streams[name].tobytes())
    table.close()
    assert run.stdout.strip() == digest.hexdigest()


def test_depth_pose_and_truth_agree(world):
    for seed in range(5):
        streams = world.reset(seed).streams
        points, labels, truth = points_in_world(streams), streams["segmentation"], world.truth()
        inner = points[labels == 1]
        assert np.median(np.abs(inner[:, 2])) < 1e-4  # the table top is the plane z = 0
        for label, place in ((2, truth["pusher_xy"]), (3, truth["object_xy"])):
            if (labels == label).sum() > 12:
                # Seen from one side, a body's points lie within its radius of its centre.
                assert np.linalg.norm(points[labels == label][:, :2].mean(0) - place) < 0.035


def test_labels_and_colours_tell_the_object_apart(world):
    for seed in range(5):
        streams = world.reset(seed).streams
        assert set(np.unique(streams["segmentation"])) <= {0, 1, 2, 3, 4, 5}
        red, green, blue = world.scene.bodies[0].rgb
        assert red >= green > blue or red > blue  # object 0 is warm
        for body in world.scene.bodies[1:]:
            assert body.rgb[0] < max(body.rgb[1:])


def test_everything_is_in_the_picture_and_wide_enough(world):
    widths = []
    for seed in range(30):
        labels = world.reset(seed).streams["segmentation"]
        edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
        assert (edge <= 1).all()
        assert (labels == 2).sum() >= 12
        widths.append(np.ptp(np.nonzero(labels == 3)[1]) + 1 if (labels == 3).any() else 0)
    assert np.median(widths) >= 5


def test_pusher_moves_at_the_speed_asked_for_and_stays_on_the_table(world):
    world.reset(2)
    before = world.truth()["pusher_xy"]
    towards = -np.sign(before) * 0.2
    world.step(towards)
    assert np.allclose(world.truth()["pusher_xy"] - before, towards * 0.1, atol=0.004)
    for _ in range(30):
        world.step(np.array([0.4, 0.4]))
    # Held by its reach unless an object is jammed in the corner.
    assert (world.truth()["pusher_xy"] < 0.21).all()


def test_at_rest_nothing_moves(world):
    first = world.reset(5)
    for _ in range(3):
        later = world.step(np.zeros(2))
    assert np.abs(first.streams["rgb"].astype(int) - later.streams["rgb"]).max() <= 8


def test_teleport_changes_object_0_alone(world):
    world.reset(4)
    before = world.truth()
    world.teleport(np.array([0.0, 0.1]))
    after = world.truth()
    assert np.allclose(after["object_xy"], [0.0, 0.1])
    assert np.array_equal(before["pusher_xy"], after["pusher_xy"])
    assert np.array_equal(before["objects_xyz"][3:], after["objects_xyz"][3:], equal_nan=True)


def test_saved_state_replays_to_the_bit(world):
    world.reset(6)
    world.step(np.array([0.2, 0.1]))
    state = world.save_state()
    actions = [generator("test", i).uniform(-0.4, 0.4, 2) for i in range(6)]
    once = [world.step(action) for action in actions]
    world.reset(7)
    world.load_state(state)
    assert all(same(a, b) for a, b in zip(once, map(world.step, actions), strict=True))


def test_drawing_a_goal_does_not_change_the_future(world):
    actions = [generator("test", i).uniform(-0.4, 0.4, 2) for i in range(6)]
    world.reset(8)
    once = [world.step(action) for action in actions]
    world.reset(8)
    world.draw_goal("push", generator("goal", 0))
    assert all(same(a, b) for a, b in zip(once, map(world.step, actions), strict=True))


def test_a_world_dropped_unclosed_leaves_the_pictures_of_another_alone():
    action = np.zeros(2)
    kept = make_world("tabletop", image_size=64, sensors=SENSORS)
    alone = [kept.reset(9), kept.step(action)]
    dropped = make_world("tabletop", image_size=64, sensors=SENSORS)
    dropped.reset(9)
    beside = [kept.reset(9)]  # the kept world drew last, so that its context is current
    del dropped
    gc.collect()
    beside.append(kept.step(action))
    again = [kept.reset(9), kept.step(action)]
    kept.close()
    assert all(map(same, alone, beside))
    assert all(map(same, alone, again))


@pytest.mark.runs  # whole episodes: 6 s
@pytest.mark.parametrize(("task", "budget", "success_m"), [("reach", 30, 0.03), ("push", 60, 0.04)])
def test_expert_solves_what_chance_does_not(task, budget, success_m):
    table = Tabletop(image_size=16, samples=0, task=task)
    assert (table.spec.budget, table.spec.success_distance) == (budget, success_m)
    solved = lucky = 0
    for seed in range(20):
        table.reset(seed)
        goal = table.draw_goal(task, generator("goal", seed))
        assert table.distance(goal) >= 0.08 - 1e-6
        rng = generator("chance", seed)
        for _ in range(budget):
            table.step(rng.uniform(-0.4, 0.4, 2))
        lucky += table.distance(goal) <= success_m
        table.reset(seed)
        for _ in range(budget):
            if table.distance(goal) <= success_m:
                break
            table.step(table.expert(goal, rng))
        solved += table.distance(goal) <= success_m
    table.close()
    assert solved == 20
    assert lucky <= 3


def test_exploring_moves_objects_and_topples_none():
    table = Tabletop(image_size=16, samples=0)
    moved = steps = 0
    for seed in range(6):
        table.reset(seed)
        state, rng = None, generator("explore", seed)
        for _ in range(50):
            before = table.truth()["object_xy"]
            action, state = table.explore(rng, state)
            table.step(action)
            moved += np.linalg.norm(table.truth()["object_xy"] - before) > 0.002
            steps += 1
        heights = table.layout().objects_xyz[:, 2]
        assert np.allclose(heights, [b.height_m for b in table.scene.bodies], atol=0.004)
        assert (np.abs(table.layout().objects_xyz[:, :2]) < 0.235).all()
    table.close()
    assert moved > 0.1 * steps


def test_bad_use_is_one_sentence(world):
    world.reset(0)
    with pytest.raises(ShapeError, match="outside the bounds"):
        world.step(np.array([0.5, 0.0]))
    with pytest.raises(ShapeError, match="not finite"):
        world.step(np.array([np.nan, 0.0]))
    with pytest.raises(ShapeError, match=r"shape \(2,\), got \(3,\)"):
        world.step(np.zeros(3))
    with pytest.raises(ConfigError, match="Did you mean 'push'"):
        world.draw_goal("pusj", generator("goal", 0))
    with pytest.raises(ConfigError, match="Did you mean 'depth'"):
        Tabletop(sensors=("dept",))
    with pytest.raises(WorldError, match="reset"):
        Tabletop().step(np.zeros(2))
    closed = Tabletop(image_size=16)
    closed.reset(0)
    closed.close()
    with pytest.raises(WorldError, match="closed"):
        closed.reset(0)


@pytest.mark.parametrize("gap", [np.nan, np.inf, -1.0, 1e300])
def test_a_gap_between_cameras_is_an_angle(gap):
    with pytest.raises(ConfigError, match="camera_gap_deg is 0 to 360"):
        make_world("tabletop", camera_gap_deg=gap)
