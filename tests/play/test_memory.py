"""Remembered pictures draw what they remember; places lie where the picture shows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from armillary.core.errors import DatasetError
from armillary.core.values import Episode, Stream
from armillary.data import Cache
from armillary.play.memory import pictures_of, remember
from armillary.play.picture_map import PictureMap, by_camera, by_motion
from armillary.play.scene import scene_episodes
from armillary.worlds import make_world
from armillary.worlds.two_rooms.layout import ARENA_M


@pytest.fixture(scope="module")
def episodes():
    world = make_world("two_rooms", image_size=16)
    yield scene_episodes(world, 5, 8, 20)
    world.close()


@pytest.fixture(scope="module")
def memory(model, episodes):
    return remember(model, Cache.from_episodes(episodes, 16))


def test_all_episodes_of_a_scene_begin_alike_and_go_elsewhere(episodes) -> None:
    firsts = [episode.streams["rgb"].values[0] for episode in episodes]
    lasts = [episode.streams["agent_xy"].values[-1] for episode in episodes]
    assert all(np.array_equal(first, firsts[0]) for first in firsts)
    assert len({tuple(last) for last in lasts}) == len(episodes)


def test_a_remembered_state_is_drawn_as_its_picture(model, memory, episodes) -> None:
    for frame in (0, 7, 90):
        state = memory.middle + memory.coordinates[frame] @ memory.directions
        picture, far = memory.draw(state)
        assert np.abs(picture.astype(int) - memory.pictures[frame]).max() < 64
        assert np.abs(picture.astype(int) - memory.pictures[frame]).mean() < 1
        assert far < 0.1


def test_a_state_far_from_all_pictures_is_said_to_be_far(memory) -> None:
    away = memory.middle + 100 * np.sqrt(memory.spacing) * memory.directions[0]
    assert memory.draw(away)[1] > 10


def test_a_place_is_found_by_what_moves(memory, episodes) -> None:
    place = memory.places["agent_xy"]
    assert place.on_picture.source == "motion"
    for episode in episodes[:3]:
        x, y = episode.streams["agent_xy"].values[-1].tolist()
        found = place.on_picture.shares(np.array([x, y]))
        # y points up
        np.testing.assert_allclose(found, [x / ARENA_M, 1 - y / ARENA_M], atol=0.02)
        np.testing.assert_allclose(place.on_picture.place(found), [x, y], atol=1e-9)


def test_what_is_read_badly_tells_no_place(model, episodes, monkeypatch) -> None:
    monkeypatch.setattr("armillary.play.memory._LEAST_R2", 0.99)
    found = remember(model, Cache.from_episodes(episodes, 16))
    assert not found.places and not found.read_alone


def test_what_does_not_move_with_a_place_tells_nothing() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (40, 8, 8, 3)).astype(np.uint8)
    assert by_motion(noise, rng.normal(size=(40, 2))) is None
    assert by_motion(np.zeros((40, 8, 8, 3), np.uint8), rng.normal(size=(40, 2))) is None


def moved_camera(step_m: float) -> Cache:
    pose = np.tile(np.diag([1.0, -1.0, -1.0, 1.0]), (3, 1, 1))
    pose[:, 2, 3] = 2.0  # two metres up, looking down
    pose[1:, 0, 3] += step_m
    lens = np.array([[10.0, 0, 7.5], [0, 10.0, 7.5], [0, 0, 1]])
    rgb = np.zeros((3, 16, 16, 3), np.uint8)
    streams = {
        "rgb": Stream("rgb", rgb, intrinsics=lens),
        "world_from_camera": Stream("pose", pose, "m", "world"),
    }
    return Cache.from_episodes([Episode(streams, np.arange(3) * 100_000_000)], 16)


def test_a_camera_that_stands_tells_where_places_lie() -> None:
    found = by_camera(moved_camera(0.0))
    assert found is not None and found.source == "camera"
    # 0.4 m to the right, seen from 2 m with a lens of 10 px, is 2 px
    np.testing.assert_allclose(found.shares(np.array([0.4, 0.0])), [(7.5 + 2 + 0.5) / 16, 0.5])
    assert by_camera(moved_camera(0.1)) is None


def test_a_map_and_its_reverse_are_inverse() -> None:
    made = PictureMap(np.array([[3.0, 1, 4], [0, -2, 9], [0.1, 0, 1]]), (20, 30), "camera")
    place = np.array([0.7, 0.2])
    np.testing.assert_allclose(made.place(made.shares(place)), place)


def test_depth_is_shown_in_grey_and_without_a_camera_nothing_is() -> None:
    depth = np.linspace(1, 2, 3 * 64, dtype=np.float32).reshape(3, 8, 8)
    times = np.arange(3) * 100_000_000
    cache = Cache.from_episodes([Episode({"depth": Stream("depth", depth, "m")}, times)], 8)
    grey = pictures_of(cache)
    assert grey.shape == (3, 8, 8, 3) and grey[0, 0, 0, 0] > grey[2, 7, 7, 0]
    truth = Stream("truth", np.zeros((3, 2), np.float32))
    blind = Cache.from_episodes([Episode({"agent_xy": truth}, times)], 8)
    with pytest.raises(DatasetError, match="There is no picture to draw"):
        pictures_of(blind)


def test_pages_are_in_the_package() -> None:
    from armillary import play

    names = {path.name for path in (Path(play.__file__).parent / "page").iterdir()}
    assert names == {"index.html", "play.css", "play.js", "icon.svg"}
