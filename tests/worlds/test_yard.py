"""The yard: beams fly as far as they should, nothing is driven through, and seeds decide it all."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from armillary.core.errors import ConfigError, ShapeError, WorldError
from armillary.core.rng import generator
from armillary.data import open_dataset, verify
from armillary.spatial import check_pose, points_from_scan
from armillary.worlds import check_world, make_world, record
from armillary.worlds.yard.drive import Pose, arc, drive
from armillary.worlds.yard.layout import (
    MOVER_RADIUS_M,
    VEHICLE_RADIUS_M,
    Layout,
    Path,
    draw_layout,
)
from armillary.worlds.yard.rays import cast
from armillary.worlds.yard.world import MAX_SPEED_M_S, STEP_S, Yard

ALL = ("lidar", "proprio", "world_from_lidar", "rgb")
EXACT = {"noise_m": 0.0, "dropout": 0.0, "drift": 0.0}
number = st.floats(-1, 1, allow_nan=False, width=32)


def yard(seed, moving=True, things=(4, 9)):
    return draw_layout(generator("test.yard", seed), things, moving)


def same(a, b):
    return all(np.array_equal(a.streams[n], b.streams[n], equal_nan=True) for n in a.streams)


def test_keeps_the_contract_of_worlds():
    check_world(lambda: make_world("yard", sensors=ALL))
    check_world(lambda: make_world("yard", beams=361, field_deg=180, reach_m=80, moving=False))


@pytest.mark.parametrize("kind", ["teleport", "stuck", "camera"])
def test_one_thing_can_go_wrong_and_only_from_its_step_on(kind):
    check_world(lambda: make_world("perturbed", base="yard", kind=kind))
    world, usual = make_world("perturbed", base="yard", kind=kind, latest=4), make_world("yard")
    a, b = world.reset(3), usual.reset(3)
    for step in range(6):
        assert same(a, b) == (step < world.event.step)
        a, b = (w.step(np.array([0.4, 0.3])) for w in (world, usual))


# Beams


@settings(max_examples=100, deadline=None)
@given(number, number)
def test_beams_in_an_empty_room_are_its_walls(x, y):
    layout, eye = Layout((4.0, 3.0), (), ()), np.array([3.9 * x, 2.9 * y])
    angle = np.linspace(-3.0, 3.1, 57)
    c, s = np.cos(angle), np.sin(angle)
    to_x = (np.copysign(4.0, c) - eye[0]) / np.where(c == 0, 1e-300, c)
    to_y = (np.copysign(3.0, s) - eye[1]) / np.where(s == 0, 1e-300, s)
    ranges = cast(eye, angle, layout.segments_m, layout.circles_m)
    assert np.allclose(ranges, np.minimum(to_x, to_y), rtol=1e-9)


def march(layout, eye, angle):
    """The twin: walk along one beam by the distance to the nearest thing until it is none."""
    along, far = np.array([math.cos(angle), math.sin(angle)]), 0.0
    for _ in range(1000):
        room = float(layout.clearance(eye + far * along))
        if room < 1e-6:
            return far
        far += room
    return far


@pytest.mark.parametrize("seed", range(4))
def test_beams_fly_until_a_thing_is_met(seed):
    layout, rng = yard(seed, moving=False), generator("test.eye", seed)
    eye = layout.draw_free(rng, 0.3)
    angle = rng.uniform(-np.pi, np.pi, 20)
    ranges = cast(eye, angle, layout.segments_m, layout.circles_m)
    assert np.allclose(ranges, [march(layout, eye, a) for a in angle], atol=2e-3)
    hits = eye + ranges[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    assert np.abs(layout.clearance(hits)).max() < 1e-9


def test_many_eyes_at_once_are_as_one_by_one():
    layout, rng = yard(1), generator("test.eyes")
    eyes, angle = rng.uniform(-2, 2, (5, 2)), rng.uniform(-3, 3, (5, 9))
    at_once = cast(eyes, angle, layout.segments_m, layout.circles_m)
    for eye, beams, ranges in zip(eyes, angle, at_once, strict=True):
        assert np.array_equal(cast(eye, beams, layout.segments_m, layout.circles_m), ranges)


def test_a_scan_back_in_the_world_lies_on_things():
    world = Yard(sensors=("lidar",), **EXACT)
    for seed in range(6):
        ranges = torch.from_numpy(world.reset(seed).streams["lidar"]).double()
        truth = world.truth()
        points = points_from_scan(ranges, torch.from_numpy(world.spec.beams_rad["lidar"][:, 0]))
        yaw = float(truth["vehicle_yaw_rad"][0])
        turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
        there = points.numpy() @ turn.T + truth["vehicle_xy"]
        there = there[np.isfinite(there[:, 0])]
        assert len(there) > 100
        assert np.abs(world.layout.clearance(there, truth["mover_xy"])).max() < 1e-5


def test_noise_and_dropout_are_as_asked_for():
    true, lost, errors = Yard(**EXACT), [], []
    real = Yard(noise_m=0.02, dropout=0.1)
    for seed in range(20):
        a, b = (w.reset(seed).streams["lidar"] for w in (true, real))
        lost.append((np.isnan(b) & np.isfinite(a)).mean())
        errors.append((b - a)[np.isfinite(a) & np.isfinite(b)])
    assert np.mean(lost) == pytest.approx(0.1, abs=0.02)
    assert np.concatenate(errors).std() == pytest.approx(0.02, rel=0.05)


def test_beyond_its_reach_nothing_returns():
    near = Yard(reach_m=2.0, **EXACT).reset(0).streams["lidar"]
    far = Yard(reach_m=50.0, **EXACT).reset(0).streams["lidar"]
    assert np.isfinite(far).all()
    assert np.array_equal(np.isnan(near), far > 2.0)


# Driving


@given(number, number, number, number)
def test_an_arc_is_the_limit_of_many_small_steps(v, w, yaw, share):
    pose = Pose(0.3, -0.2, yaw * 3)
    whole = arc(pose, v, 3 * w)
    first = arc(pose, v * abs(share), 3 * w * abs(share))
    rest = arc(first, v * (1 - abs(share)), 3 * w * (1 - abs(share)))
    assert np.allclose(whole.matrix(), rest.matrix(), atol=1e-9)
    back = arc(whole, -v, -3 * w)
    assert np.allclose(back.matrix(), pose.matrix(), atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 50), st.lists(st.tuples(number, number), min_size=1, max_size=8))
def test_the_vehicle_is_never_inside_a_thing(seed, commands):
    layout = yard(seed, moving=False)
    x, y = layout.draw_free(generator("test.start", seed), VEHICLE_RADIUS_M).tolist()
    pose = Pose(x, y, 0.0)
    for v, w in commands:
        # Strides five times as long as the vehicle can make: it must not jump through walls.
        pose, driven = drive(pose, v, 0.4 * w, VEHICLE_RADIUS_M, layout.clearance)
        assert abs(driven) <= abs(v)
        assert layout.clearance(pose.xy) >= VEHICLE_RADIUS_M - 1e-9


def test_a_wall_stops_and_can_be_left_again():
    layout = Layout((2.0, 2.0), (), ())
    pose, driven = drive(Pose(1.0, 0.0, 0.0), 1.5, 0.0, VEHICLE_RADIUS_M, layout.clearance)
    assert driven == pytest.approx(0.75, abs=1e-5) and pose.x_m <= 1.75
    stuck, none = drive(pose, 0.2, 0.5, VEHICLE_RADIUS_M, layout.clearance)
    assert abs(none) < 1e-5 and stuck.yaw_rad == pytest.approx(0.5)
    _, back = drive(pose, -0.2, 0.0, VEHICLE_RADIUS_M, layout.clearance)
    assert back == -0.2


def test_driven_way_and_odometry_are_the_sum_of_commands_where_it_is_free():
    world = Yard(num_things=(0, 0), moving=False, **EXACT)
    free = 0
    for seed in range(10):
        world.reset(seed)
        rng, pose, speeds = generator("test.drive", seed), None, []
        start = world.save_state().pose
        for _ in range(10):
            command = rng.uniform(-0.5, 0.5, 2)
            before = world.save_state().pose
            streams = world.step(command).streams
            after = world.save_state().pose
            speeds.append(np.allclose(streams["proprio"], command, atol=1e-6))
            if speeds[-1]:
                straight = np.hypot(*(after.xy - before.xy))
                half = command[1] * STEP_S / 2
                assert straight == pytest.approx(abs(command[0]) * STEP_S * np.sinc(half / np.pi))
        pose = start.matrix() @ streams["world_from_lidar"]
        free += all(speeds)
        # Without drift odometry is right, even where something was in the way.
        if all(speeds):
            assert np.allclose(pose, world.save_state().pose.matrix(), atol=1e-9)
    assert free >= 6


def test_odometry_drifts_and_stays_a_pose_and_standing_is_no_motion():
    world, gaps = Yard(drift=0.05), []
    for seed in range(10):
        world.reset(seed)
        start, state = world.save_state().pose.matrix(), None
        for step in range(80):
            action, state = world.explore(generator("test.explore", seed, step), state)
            odometry = world.step(action).streams["world_from_lidar"]
        check_pose(torch.from_numpy(odometry), "odometry", 1e-9)
        gaps.append(np.linalg.norm((start @ odometry - world.save_state().pose.matrix())[:2, 3]))
        rest = world.step(np.zeros(2)).streams
        assert np.array_equal(rest["world_from_lidar"], odometry)
        assert np.array_equal(rest["proprio"], np.zeros(2, np.float32))
    assert 0.03 < np.median(gaps) < 1.5


def test_the_walker_walks_and_never_into_the_vehicle():
    world = Yard(sensors=("proprio",))
    walked, met = 0.0, 0
    for seed in range(6):
        world.reset(seed)
        if world.layout.path is None:
            continue
        state = None
        for step in range(100):
            before = world.truth()["mover_xy"]
            action, state = world.explore(generator("test.explore", seed, step), state)
            world.step(action)
            truth = world.truth()
            gap = np.linalg.norm(truth["mover_xy"] - truth["vehicle_xy"])
            assert gap >= VEHICLE_RADIUS_M + MOVER_RADIUS_M - 1e-5
            walked += np.linalg.norm(truth["mover_xy"] - before)
            met += gap < 0.6
    assert walked > 20 and met > 2


def test_a_path_goes_to_and_fro():
    path = Path((0.0, 0.0), (2.0, 0.0))
    assert [path.at(m)[0] for m in (0.0, 0.5, 2.0, 2.5, 4.0, 4.5)] == [0.0, 0.5, 2.0, 1.5, 0.0, 0.5]


# The world


def test_seeds_decide_everything_and_sensors_nothing():
    first, second = Yard(sensors=ALL), Yard(sensors=("rgb", "lidar"))
    second.reset(8)
    for seed in (1, 2):
        a, b = first.reset(seed), second.reset(seed)
        for step in range(8):
            assert same(b, a.only(("rgb", "lidar")))
            action = generator("test.act", seed, step).uniform(-0.8, 0.8, 2)
            a, b = first.step(action), second.step(action)
    assert first.layout == second.layout
    first.reset(3)
    assert first.layout != second.layout


def test_saved_state_replays_to_the_bit():
    world = Yard(sensors=ALL)
    world.reset(6)
    world.step(np.array([0.2, 0.1]))
    state = world.save_state()
    actions = [generator("test", i).uniform(-0.8, 0.8, 2) for i in range(6)]
    once = [world.step(action) for action in actions]
    world.reset(7)
    world.load_state(state)
    assert all(same(a, b) for a, b in zip(once, map(world.step, actions), strict=True))


def test_a_goal_tells_its_place_by_its_scan_alone():
    world = Yard(sensors=ALL, noise_m=0.0, dropout=0.0)
    for seed in range(5):
        world.reset(seed)
        goal = world.draw_goal("reach", generator("goal", seed))
        assert world.distance(goal) >= 1.5
        shown = goal.observation.streams
        assert np.array_equal(shown["world_from_lidar"], np.eye(4))
        assert np.array_equal(shown["proprio"], np.zeros(2))
        room = world.layout.clearance(goal.truth["vehicle_xy"].astype(float))
        assert room >= VEHICLE_RADIUS_M
        world.teleport(goal.truth["vehicle_xy"])
        assert world.distance(goal) == 0.0


@pytest.mark.runs  # whole episodes of three: 6 s
def test_expert_solves_what_chance_and_rest_do_not():
    world = Yard(sensors=("proprio",))
    solved, lucky, idle = 0, 0, 0
    for seed in range(40):
        world.reset(seed)
        start = world.save_state()
        goal = world.draw_goal("reach", generator("goal", seed))
        rng = generator("chance", seed)
        for count, act in enumerate(
            (
                lambda: world.expert(goal, rng),  # noqa: B023 - used at once
                lambda: rng.uniform(world.spec.bounds.low, world.spec.bounds.high),  # noqa: B023
                lambda: np.zeros(2),
            )
        ):
            world.load_state(start)
            for _ in range(world.spec.budget):
                if world.distance(goal) <= world.spec.success_distance:
                    break
                world.advance(act())
            done = world.distance(goal) <= world.spec.success_distance
            solved, lucky, idle = (
                solved + (done and count == 0),
                lucky + (done and count == 1),
                idle + (done and count == 2),
            )
    assert solved >= 38
    assert lucky <= 2 and idle == 0


def test_exploring_crosses_the_yard_and_meets_things():
    world, far, stopped = Yard(sensors=("proprio",)), [], 0
    for seed in range(8):
        world.reset(seed)
        state, places = None, []
        for step in range(100):
            action, state = world.explore(generator("test.explore", seed, step), state)
            speed = world.step(action).streams["proprio"][0]
            stopped += abs(action[0]) > 0.2 and abs(speed) < 0.5 * abs(action[0])
            places.append(world.truth()["vehicle_xy"])
        far.append(np.ptp(places, axis=0).max())
    assert np.median(far) > 2.0
    assert 10 < stopped < 300


def test_the_picture_shows_where_the_vehicle_is():
    world = Yard(sensors=("rgb",), image_size=128)
    for seed in range(6):
        rgb = world.reset(seed).streams["rgb"].astype(float)
        v, u = np.nonzero((rgb[..., 0] > 190) & (rgb[..., 2] < 120) & (rgb[..., 1] < 150))
        place = np.array([u.mean(), v.mean()])
        xy = (place + 0.5) * 10.6 / 128 - 5.3
        truth = world.truth()
        yaw = float(truth["vehicle_yaw_rad"][0])
        # The nose is light: what is left of the disc lies a bit behind its middle.
        behind = truth["vehicle_xy"] - 0.03 * np.array([np.cos(yaw), np.sin(yaw)])
        assert np.allclose([xy[0], -xy[1]], behind, atol=0.05)


def test_it_is_recorded_with_its_beams(tmp_path):
    record("yard", tmp_path / "d", 2, 12, workers=1)
    assert verify(tmp_path / "d").ok
    episode = open_dataset(tmp_path / "d").read(1)
    world = Yard()
    seen = [world.reset(int(episode.source.split("seed=")[1]))]
    assert episode.actions is not None
    seen += [world.step(action) for action in episode.actions]
    lidar = episode.streams["lidar"]
    assert lidar.beams_rad is not None
    assert np.allclose(lidar.beams_rad, world.spec.beams_rad["lidar"])
    ranges = np.stack([o.streams["lidar"] for o in seen])
    assert np.array_equal(lidar.values, ranges, equal_nan=True)
    poses = np.stack([o.streams["world_from_lidar"] for o in seen])
    assert np.array_equal(episode.streams["world_from_lidar"].values, poses)
    assert {"vehicle_xy", "vehicle_yaw_rad", "mover_xy"} <= set(episode.streams)


def test_bad_use_is_one_sentence():
    world = Yard()
    with pytest.raises(WorldError, match="reset"):
        world.step(np.zeros(2))
    world.reset(0)
    with pytest.raises(ShapeError, match="outside the bounds"):
        world.step(np.array([2 * MAX_SPEED_M_S, 0.0]))
    with pytest.raises(ConfigError, match="Did you mean 'reach'"):
        world.draw_goal("reech", generator("goal", 0))
    for settings_, sentence in (
        ({"sensors": ("lidr",)}, "Did you mean 'lidar'"),
        ({"beams": 1}, "yard: beams is 2 to 4096, got 1"),
        ({"field_deg": 400}, "field_deg is above 0 and at most 360"),
        ({"dropout": "much"}, "dropout takes a number, got 'much'"),
        ({"num_things": [5, 2]}, "num_things is"),
        ({"colour": 1}, "There is no setting of yard called 'colour'"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            make_world("yard", **settings_)


def test_a_jump_out_of_the_yard_is_refused():
    world = Yard()
    world.reset(1)
    with pytest.raises(WorldError, match="no free place is 40 m away; ask for less"):
        world.teleport_away(np.random.default_rng(0), 40.0)


def test_noise_brings_nothing_back_from_beyond_the_reach():
    world = make_world("yard", sensors=("lidar",), reach_m=2.0, noise_m=0.3)
    ranges = [world.reset(seed).streams["lidar"] for seed in range(6)]
    assert np.nanmax(ranges) <= 2.0
    assert np.isnan(ranges).any()


@pytest.mark.parametrize("reach_m", [np.inf, np.nan, 0.0])
def test_a_reach_that_is_none_is_refused(reach_m):
    with pytest.raises(ConfigError, match="reach_m is above 0 m and finite"):
        make_world("yard", reach_m=reach_m)
