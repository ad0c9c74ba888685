"""What happens on the stage is possible: areas, mirrors, bounces, falls, collisions are exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from armillary.core.errors import ConfigError
from armillary.worlds import check_world, make_world
from armillary.worlds.stage import Scene, Thing, paint
from armillary.worlds.stage.appearance import HELD_OUT, SHAPES, TRAIN
from armillary.worlds.stage.crossing import Actor, Crossing, Look, folded
from armillary.worlds.stage.mechanics import GRAVITY, Barrier, Ledge, Shelf, Strike
from armillary.worlds.stage.plays import PLAYS, draw_scene

LOOK = Look(32, (220.0, 220.0, 220.0), (90.0, 90.0, 90.0), (140.0, 140.0, 140.0))


def actor(**changes) -> Actor:
    given = {"shape": "disc", "radius": 4.5, "colour": (200.0, 30.0, 30.0), "lane": 32.0}
    return Actor(**{**given, "speed": 2.2, "passes": 15.0, **changes})


def test_it_is_a_world():
    check_world(lambda: make_world("stage"))


@pytest.mark.parametrize("play", PLAYS)
def test_every_play_is_painted_and_repeats_from_its_seed(play):
    scenes = [draw_scene(TRAIN, np.random.default_rng(3), play) for _ in range(2)]
    first, second = map(paint, scenes)
    assert first.shape == (32, 64, 64, 3)
    np.testing.assert_array_equal(first, second)
    others = [paint(draw_scene(TRAIN, np.random.default_rng(seed), play)) for seed in range(3)]
    assert any(len({frame.tobytes() for frame in clip}) > 1 for clip in others), "nothing happens"


@pytest.mark.parametrize("shape", SHAPES)
def test_all_shapes_of_a_radius_have_the_area_of_its_disc(shape):
    thing = Thing(shape, 6.0, (0.0, 0.0, 0.0), np.full((1, 2), 30.3))
    picture = paint(Scene(1, (255.0, 255.0, 255.0), (thing,)))[0, :, :, 0].astype(float)
    assert (1 - picture / 255).sum() == pytest.approx(np.pi * 36, rel=0.01)


@given(seed=st.integers(0, 10_000), play=st.sampled_from(list(PLAYS)))
def test_the_mirror_of_the_mirror_is_the_scene(seed, play):
    scene = draw_scene(TRAIN, np.random.default_rng(seed), play)
    twice = scene.mirrored().mirrored()
    for one, other in zip(scene.things, twice.things, strict=True):
        np.testing.assert_allclose(one.path, other.path, atol=1e-9)
    assert paint(scene.mirrored())[5].shape == (64, 64, 3)


def test_the_picture_of_the_mirror_is_the_mirror_of_the_picture():
    scene = Crossing(LOOK, (actor(),), 20.0).scene()
    mirror = paint(scene.mirrored()).astype(int)
    assert np.abs(mirror - paint(scene)[:, :, ::-1].astype(int)).max() <= 1


def test_colours_of_training_and_evaluation_share_no_range():
    for name in ("hue_off", "radius", "small", "large", "speed", "background", "screen", "box"):
        for low, high in getattr(HELD_OUT, name):
            assert all(high < a or low > b for a, b in getattr(TRAIN, name)), name


def test_red_and_green_are_equally_bright():
    luma = np.array([0.299, 0.587, 0.114])
    rng = np.random.default_rng(0)
    lights = [np.dot(TRAIN.colour(hue, rng), luma) for hue in ("red", "green", "blue", "yellow")]
    np.testing.assert_allclose(lights, lights[0], atol=0.5)


@given(low=st.floats(1, 10), span=st.floats(5, 50), at=st.floats(-200, 200))
def test_what_is_thrown_back_stays_inside_and_keeps_its_speed(low, span, at):
    path = folded(at + 0.01 * np.arange(50), low, low + span)
    assert path.min() >= low - 1e-9 and path.max() <= low + span + 1e-9
    speeds = np.abs(np.diff(path))
    assert (speeds <= 0.01 + 1e-9).all() and np.median(speeds) == pytest.approx(0.01)


def test_a_barrier_stops_and_nothing_else_does():
    for stands in (False, True):
        play = Barrier(LOOK, actor(lane=40.0), 24.0, stands, 3)
        ends = play.scene().things[0].path[-1, 0]
        assert (ends < 32) == stands


def test_what_leaves_a_ledge_falls_as_things_fall():
    for goes_on, edge in ((False, 25), (True, 42)):
        path = Ledge(LOOK, actor(speed=2.0), goes_on, rises=3).scene().things[0].path
        assert np.ptp(path[path[:, 0] <= edge, 1]) == 0
        free = (path[:, 0] > edge + 1) & (path[:, 1] < 55)
        assert free.sum() >= 4
        bent = np.diff(path[free][:, 1], 2)
        np.testing.assert_allclose(bent, GRAVITY, rtol=0.02)


def test_a_shelf_holds_and_the_floor_does():
    held, fell = (Shelf(LOOK, actor(passes=8.0), holds, 3).scene() for holds in (True, False))
    assert held.things[0].path[-1, 1] < 40 < fell.things[0].path[-1, 1] < 62
    assert held.hidden(held.things[0], 31)
    assert not fell.hidden(fell.things[0], 31)


def test_a_collision_of_equals_hands_all_speed_on():
    first, second = actor(lane=18.0), actor(lane=46.0)
    scene = Strike(LOOK, actor(lane=18.0), (first, second), 22.0).scene()
    struck, spared, runner = (thing.path[:, 0] for thing in scene.things)
    speeds = np.diff(struck) + np.diff(runner)
    np.testing.assert_allclose(speeds, 2.2, atol=1e-9)
    assert np.ptp(spared) == 0


def test_wrong_settings_are_one_sentence():
    with pytest.raises(ConfigError, match="Did you mean 'crossing'"):
        make_world("stage", play="crosing")
    with pytest.raises(ConfigError, match="the only sensor is rgb"):
        make_world("stage", sensors=("depth",))
    with pytest.raises(ConfigError, match="there is no goal"):
        make_world("stage").draw_goal("reach", np.random.default_rng(0))
