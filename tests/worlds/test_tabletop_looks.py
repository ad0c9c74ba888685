"""Looks of the tabletop: each shows the same scene, and what it promises."""

import colorsys
from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from armillary.core.rng import generator
from armillary.data import open_dataset, verify
from armillary.worlds import check_world, make_world, record
from armillary.worlds.tabletop.looks import (
    APPEARANCES,
    DriftingNoise,
    draw_patterns,
    with_look,
)
from armillary.worlds.tabletop.scene import draw_scene
from armillary.worlds.tabletop.world import Tabletop

SENSORS = ("rgb", "depth", "world_from_camera", "segmentation", "proprio", "lidar")
OTHERS = tuple(name for name in APPEARANCES if name != "usual")
FORWARD = np.array([0.1, -0.05])


@pytest.fixture
def table():
    made = []

    def make(**settings):
        made.append(Tabletop(**{"samples": 0, "sensors": SENSORS, **settings}))
        return made[-1]

    yield make
    for world in made:
        world.close()


def scenes(appearance, count=300):
    """Scenes in a look and as usual, without MuJoCo."""
    for seed in range(count):
        usual = draw_scene(generator("tabletop.scene", seed), (1, 3), (-15.0, 15.0), (45.0, 65.0))
        yield with_look(usual, appearance, generator("tabletop.look", seed)), usual


def explored(world, seed, steps):
    """Observations and truths of an episode of the world's own exploration."""
    observations, truths = [world.reset(seed)], [world.truth()]
    state, rng = None, np.random.default_rng(seed)
    for _ in range(steps):
        action, state = world.explore(rng, state)
        observations.append(world.step(action))
        truths.append(world.truth())
    return observations, truths


@pytest.mark.parametrize("appearance", OTHERS)
def test_a_look_changes_colours_and_nothing_else(table, appearance):
    usual, other = table(), table(appearance=appearance)
    for seed in range(3):
        (a, a_truth), (b, b_truth) = explored(usual, seed, 25), explored(other, seed, 25)
        for before, now, truth, true in zip(a, b, a_truth, b_truth, strict=True):
            assert np.abs(before.streams["rgb"].astype(int) - now.streams["rgb"]).mean() > 5
            for name in SENSORS[1:]:
                assert np.array_equal(before.streams[name], now.streams[name], equal_nan=True)
            for name, values in truth.items():
                assert np.array_equal(values, true[name], equal_nan=True)
        # something was pushed, so that the physics had something to differ in
        assert seed or np.ptp([truth["pusher_xy"] for truth in a_truth], axis=0).max() > 0.05


@pytest.mark.parametrize("appearance", ["grey", "textured", "moving"])
def test_looks_keep_the_contract_of_worlds(appearance):
    check_world(lambda: make_world("tabletop", image_size=32, samples=0, appearance=appearance))


def test_older_looks_are_as_they_were(table):
    """Numbers of the commit before there were more than two looks."""
    usual, new = table(sensors=("rgb",)), table(sensors=("rgb",), appearance="new")
    usual.reset(3)
    new.reset(3)
    assert usual.scene.table_rgb == pytest.approx((0.34261975, 0.400566177, 0.3952768))
    assert usual.scene.brightness == pytest.approx(0.950957486)
    assert usual.scene.textures == "none"
    assert new.scene.table_rgb == pytest.approx((0.553183822, 0.364894285, 0.367757497))
    assert new.scene.light_dir == pytest.approx((-0.828491293, -1.074377845, -1.0))
    patterns = draw_patterns(generator("tabletop.patterns", 3), new.scene.pattern_shade)
    assert sum(pattern.sum(dtype=int) for pattern in patterns) == pytest.approx(5645745, rel=1e-5)


def test_grey_has_no_hue_and_one_grey_for_all_that_stands_on_the_table():
    lighter = 0
    for scene, _ in scenes("grey"):
        thing, table, floor = scene.pusher_rgb[0], scene.table_rgb[0], scene.floor_rgb[0]
        for rgb in (scene.pusher_rgb, scene.table_rgb, scene.floor_rgb, scene.screen_rgb):
            assert len(set(rgb)) == 1
        assert all(body.rgb == scene.pusher_rgb for body in scene.bodies)
        assert abs(thing - table) >= 0.2
        assert min(abs(floor - table), abs(floor - thing)) >= 0.1
        assert scene.light_rgb == (1.0, 1.0, 1.0)
        lighter += thing > table
    assert 60 < lighter < 240  # either way


def test_pictures_in_grey_have_no_hue_and_show_the_things(table):
    world = table(appearance="grey", occluder="screen")
    for seed in range(20):
        for observation in explored(world, seed, 2)[0]:
            rgb, labels = observation.streams["rgb"], observation.streams["segmentation"]
            assert (rgb == rgb[..., :1]).all()
            assert rgb.max() < 255  # nothing is cut off at white
            ground = np.median(rgb[labels == 1])
            for label in range(2, 6):
                if (labels == label).sum() > 8:
                    assert np.abs(rgb[labels == label] - ground).mean() > 15


def test_textured_has_usual_things_in_usual_light_and_strong_patterns(table):
    for scene, usual in scenes("textured", 50):
        for name in ("bodies", "pusher_rgb", "table_rgb", "light_dir", "light_rgb", "brightness"):
            assert getattr(scene, name) == getattr(usual, name)
        hue, usual_hue = (colorsys.rgb_to_hsv(*s.floor_rgb)[0] for s in (scene, usual))
        assert hue == pytest.approx(usual_hue)
        weakest, strongest = scene.pattern_shade
        assert weakest >= 0.4
        for pattern in draw_patterns(generator("tabletop.patterns", 1), scene.pattern_shade):
            assert 1 - strongest - 0.01 < pattern.min() / 255 < 1 - weakest + 0.01
            assert pattern.max() >= 254
    usual, world = table(), table(appearance="textured")
    for seed in range(6):
        plain, streams = usual.reset(seed).streams, world.reset(seed).streams
        floor, on_table = (streams["segmentation"] == label for label in (0, 1))
        assert streams["rgb"][floor].std(0).max() > 8 > 3 * plain["rgb"][floor].std(0).max()
        darkened = streams["rgb"][on_table].sum(-1) / plain["rgb"][on_table].sum(-1)
        assert darkened.max() < 1.03 and (darkened < 0.75).mean() > 0.1
        things = streams["segmentation"] >= 2
        assert np.array_equal(streams["rgb"][things], plain["rgb"][things])


def test_only_the_floor_moves_and_it_moves_with_every_step(table):
    usual, world = table(), table(appearance="moving")
    for seed in range(4):
        plain, observations = explored(usual, seed, 30)[0], explored(world, seed, 30)[0]
        floors = []
        for before, now in zip(plain, observations, strict=True):
            floor = now.streams["segmentation"] == 0
            inside = ndimage.binary_erosion(~floor)  # an edge may be drawn half a pixel off
            assert np.array_equal(now.streams["rgb"][inside], before.streams["rgb"][inside])
            floors.append(now.streams["rgb"][:6].astype(float))  # floor in all of these
            assert floor[:6].all()
            colours = now.streams["rgb"][floor].astype(float)
            assert colours.std(0).min() > 35 and (np.ptp(colours, axis=1) > 60).mean() > 0.4
        for one, next_one in pairwise(floors):
            assert np.abs(one - next_one).mean() > 5
        # no moment comes again
        late = [np.abs(floors[0] - floor).mean() for floor in floors[6:]]
        assert min(late) > 20


def test_the_noise_drifts_rather_than_flickers_and_does_not_repeat():
    for seed in range(5):
        noise = DriftingNoise(generator("tabletop.noise", seed))
        pictures = np.stack([noise.at(step) for step in range(201)]).astype(float)
        centred = pictures - pictures.mean(axis=(1, 2), keepdims=True)
        centred /= centred.std(axis=(1, 2), keepdims=True)
        alike = [(centred[0] * other).mean() for other in centred[1:]]
        assert alike[0] > 0.5 and max(alike[20:]) < 0.9
        steps = np.abs(np.diff(pictures, axis=0)).mean(axis=(1, 2, 3))
        assert steps.min() > 10
        # No edge: across it the noise differs no more than elsewhere.
        edge, inside = (
            np.abs(pictures[:, a] - pictures[:, b]).mean() for a, b in ((0, -1), (8, 7))
        )
        assert edge < 1.5 * inside


def test_a_moving_background_is_that_of_seed_and_step_alone(table):
    world, other = table(appearance="moving"), table(appearance="moving")
    once = explored(world, 5, 12)[0]
    other.reset(2)
    other.step(FORWARD)
    again = explored(other, 5, 12)[0]
    for a, b in zip(once, again, strict=True):
        assert np.array_equal(a.streams["rgb"], b.streams["rgb"])
    assert np.array_equal(world.observe().streams["rgb"], once[-1].streams["rgb"])
    assert not np.array_equal(world.reset(6).streams["rgb"][:6], once[0].streams["rgb"][:6])


def test_a_saved_state_knows_its_background(table):
    world = table(appearance="moving")
    world.reset(1)
    world.step(FORWARD)
    state = world.save_state()
    seen = [world.observe(), world.step(FORWARD), world.step(FORWARD)]
    world.reset(2)
    then = [world.load_state(state), world.step(FORWARD), world.step(FORWARD)]
    for a, b in zip(seen, then, strict=True):
        assert np.array_equal(a.streams["rgb"], b.streams["rgb"])


def test_a_goal_has_the_background_of_another_moment(table):
    world = table(appearance="moving")
    now = world.reset(1).streams["rgb"]
    goals = [
        world.draw_goal("push", np.random.default_rng(0)).observation.streams["rgb"]
        for _ in range(2)
    ]
    assert np.array_equal(*goals)
    assert np.abs(goals[0][:6].astype(int) - now[:6]).mean() > 20
    assert np.array_equal(world.observe().streams["rgb"], now)  # a goal leaves nothing behind


@pytest.mark.parametrize("appearance", ["grey", "textured", "moving"])
def test_looks_are_recorded_and_replayed(tmp_path, appearance):
    settings = {"image_size": 32, "appearance": appearance}
    for name in ("one", "two"):
        record("tabletop", tmp_path / name, 2, 5, workers=1, settings=settings)
        assert verify(tmp_path / name).ok
    first, second = (open_dataset(tmp_path / name).read(1) for name in ("one", "two"))
    pictures = first.streams["rgb"].values
    assert np.array_equal(pictures, second.streams["rgb"].values)
    assert (pictures == pictures[..., :1]).all() == (appearance == "grey")
    world = Tabletop(**settings)
    seen = [world.reset(int(first.source.split("seed=")[1]))]
    seen += [world.step(action) for action in first.actions[: len(first) - 1]]
    for recorded, observation in zip(pictures, seen, strict=True):  # recorded as JPEG
        assert np.abs(recorded.astype(int) - observation.streams["rgb"]).mean() < 12
    world.close()
