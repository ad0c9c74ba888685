"""Depth and points are what the sensors measured, where the things are, and only when asked for."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from armillary.core.values import Episode, Observation, Stream
from armillary.data import DatasetWriter, open_dataset
from armillary.models import JEPAConfig, save_model, untrained
from armillary.models.config import EncoderConfig
from armillary.play import open_recording, open_world
from armillary.play.scene import scene_episodes
from armillary.play.sensors import MOST_POINTS, Sensors, cloud_of
from armillary.play.session import Session
from armillary.play.showing import Points, ramps
from armillary.play.sources import WorldSource
from armillary.worlds import make_world, record
from armillary.worlds.tabletop.scene import PUSHER_HALF_HEIGHT_M, PUSHER_RADIUS_M

SIZE = 32
AXES = [(0.6, 1.0), (-1.0, 0.2), (1.0, -0.7)]
ALL = ["colour", "depth", "points"]


@pytest.fixture(scope="module", autouse=True)
def short_scenes():
    """Fewer kept steps: what is drawn of them is tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        fewer = partial(scene_episodes, episodes=8, steps=12)
        patch.setattr("armillary.play.sources.scene_episodes", fewer)
        yield


def saved_model(folder: Path, sensors: tuple[str, ...] = ("rgb",)) -> str:
    encoder = EncoderConfig(image_size=SIZE, width=16)
    config = JEPAConfig(encoder=encoder, action_width=2, frame_skip=1, sensors=sensors)
    save_model(untrained(config, 0), folder)
    return str(folder)


@pytest.fixture(scope="module")
def seeing_colour(tmp_path_factory: pytest.TempPathFactory) -> str:
    return saved_model(tmp_path_factory.mktemp("colour") / "model")


@pytest.fixture(scope="module")
def table(seeing_colour: str):
    made = open_world(seeing_colour, "tabletop").session()
    yield made
    made.close()


def shown(session: Session, sensor: str, steps: int = 0):
    """Return the frame after some steps in which a sensor is shown."""
    controls = replace(session.controls(), sensor=sensor)
    frame = session.frame(controls)
    for axes in AXES[:steps]:
        frame = session.step(replace(controls, axes=axes))
    return frame


def places(points: Points, session: Session) -> np.ndarray:
    """Return the points of a side in metres, as a page has them."""
    framing = session._drive.showing._scales["points"].framing
    return points.xyz.astype(np.float64) * points.scale_m + framing.middle


# --- what is measured ----------------------------------------------------------------------------


def test_points_of_depth_lie_where_camera_and_lens_say() -> None:
    pose = np.diag([1.0, -1.0, -1.0, 1.0])
    pose[:3, 3] = 0.5, 0.0, 2.0  # two metres up, looking down
    lens = np.array([[10.0, 0, 7.5], [0, 10.0, 7.5], [0, 0, 1]])
    depth = np.full((16, 16), 2.0, np.float32)
    depth[3, 4], depth[5, 6], depth[7, 8] = 1.5, np.nan, 0.0
    picture = np.arange(16 * 16 * 3).reshape(16, 16, 3).astype(np.uint8)
    seen = Observation({"depth": depth, "world_from_camera": pose, "intrinsics": lens})
    cloud = cloud_of(seen, Sensors(), picture)
    assert len(cloud.xyz_m) == 16 * 16 - 2  # what is invalid is no point
    number = 3 * 16 + 4
    np.testing.assert_allclose(cloud.xyz_m[number], [0.5 - 3.5 * 0.15, 4.5 * 0.15, 0.5])
    np.testing.assert_allclose(np.delete(cloud.xyz_m, number, 0)[:, 2], 0.0, atol=1e-12)
    np.testing.assert_array_equal(cloud.rgb[number], picture[3, 4])
    assert cloud.shade_m[number] == pytest.approx(np.linalg.norm([3.5 * 0.15, 4.5 * 0.15, 1.5]))
    np.testing.assert_array_equal(cloud.ahead, [0, 0, -1])
    assert cloud.dot_m == pytest.approx(0.1)  # a pixel covers 2 m / 10
    beside = cloud_of(seen, Sensors(aligned=False), picture)
    assert beside.rgb is None  # colours of another camera are no colours of these pixels


def test_points_without_a_pose_are_seen_from_the_camera() -> None:
    lens = np.array([[10.0, 0, 0], [0, 10.0, 0], [0, 0, 1]])
    depth = np.array([[2.0, 4.0]], np.float32)
    cloud = cloud_of(Observation({"depth": depth, "intrinsics": lens}), Sensors(), None)
    # x ahead, y left, z up
    np.testing.assert_allclose(cloud.xyz_m, [[2, 0, 0], [4, -0.4, 0]], atol=1e-12)


@pytest.mark.parametrize("shape", [(200, 200), (64, 64), (1, 9000), (3, 4097)])
def test_there_are_never_more_points_than_that(shape: tuple[int, int]) -> None:
    seen = {"depth": np.ones(shape, np.float32), "intrinsics": np.eye(3)}
    assert 0 < len(cloud_of(Observation(seen), Sensors(), None).xyz_m) <= MOST_POINTS
    count = shape[0] * shape[1]
    recorded = Observation({"points": np.ones((count, 3), np.float32)})
    assert 0 < len(cloud_of(recorded, Sensors(), None).xyz_m) <= MOST_POINTS
    beams = Sensors(beams_rad=np.zeros((count, 2)))
    scan = Observation({"lidar": np.ones(count, np.float32)})
    assert 0 < len(cloud_of(scan, beams, None).xyz_m) <= MOST_POINTS


def test_points_of_a_scan_lie_along_its_beams() -> None:
    beams = np.array([[0.0, 0.0], [np.pi / 2, 0.0], [0.0, np.pi / 2], [1.0, 0.0]])
    pose = np.eye(4)
    pose[:3, 3] = 10, 20, 30
    ranges = np.array([1.0, 2.0, 3.0, np.nan], np.float32)
    seen = Observation({"lidar": ranges, "world_from_lidar": pose})
    cloud = cloud_of(seen, Sensors(beams_rad=beams), None)
    np.testing.assert_allclose(cloud.xyz_m, [[11, 20, 30], [10, 22, 30], [10, 20, 33]])
    np.testing.assert_allclose(cloud.shade_m, [1, 2, 3])
    assert cloud.shade == "distance" and cloud.rgb is None


def test_recorded_points_keep_their_colours_or_tell_their_height() -> None:
    points = np.array([[1, 2, 3, 0.0, 1.0, 0.5], [np.nan] * 6], np.float32)
    columns = ("x", "y", "z", "g", "r", "b")
    cloud = cloud_of(Observation({"points": points}), Sensors(columns=columns), None)
    np.testing.assert_array_equal(cloud.rgb, [[255, 0, 128]])
    seen = Observation({"points": points[:, :3]})
    camera = cloud_of(seen, Sensors(columns=columns[:3], frame="camera"), None)
    np.testing.assert_allclose(camera.xyz_m, [[3, -1, -2]])
    world = cloud_of(seen, Sensors(columns=columns[:3], frame="world"), None)
    assert world.shade == "height" and world.shade_m.tolist() == [3.0] and world.sensor_m is None


# --- the tabletop: depth and points by a second simulator -----------------------------------------


def test_the_world_that_is_driven_renders_colour_alone(seeing_colour: str) -> None:
    made = open_world(seeing_colour, "tabletop").session()
    assert made.begin(3)["sensors"] == ALL
    assert "depth" not in made.source._world.spec.sensors
    colour = shown(made, "colour", steps=2)
    assert made.source._eye._world is None
    assert shown(made, "depth").facts["sensor"] == "depth"
    assert made.source._eye._world is not None
    made.begin(3)
    again = shown(made, "colour", steps=2)  # that depth was shown changes nothing
    np.testing.assert_array_equal(again.real, colour.real)
    np.testing.assert_array_equal(again.imagined, colour.imagined)
    assert again.facts == colour.facts
    made.close()
    assert made.source._eye._world is None


def test_what_the_eye_sees_is_what_the_world_would_have_seen(table: Session) -> None:
    table.begin(3)
    with_depth = make_world("tabletop", image_size=SIZE)
    try:
        seen = with_depth.reset(3)
        for axes in AXES:
            action = replace(table.controls(), axes=axes).action(table.about.bounds, 1)
            seen = with_depth.step(action.astype(np.float32))
    finally:
        with_depth.close()
    shown(table, "depth", steps=3)
    for name in ("depth", "world_from_camera", "intrinsics"):
        np.testing.assert_array_equal(table.source.sense(None).streams[name], seen.streams[name])


def test_points_of_the_table_lie_on_it_and_those_of_the_pusher_where_it_is(table: Session) -> None:
    table.begin(3)
    frame = shown(table, "points", steps=3)
    points = places(frame.real, table)
    assert len(points) <= MOST_POINTS and len(points) == len(frame.real.rgb)
    on_table = (np.abs(points[:, :2]) < 0.2).all(1)
    flat = np.abs(points[on_table, 2]) < 1e-3
    assert flat.mean() > 0.5  # the rest are the things on it
    # its upper side is a millimetre more than its height above the table
    top = 2 * PUSHER_HALF_HEIGHT_M + 0.001
    upper = points[np.abs(points[:, 2] - top) < 1e-3]
    away = np.linalg.norm(upper[:, :2] - table._drive.seen.truth["pusher_xy"], axis=1)
    assert len(upper) >= 2 and away.max() <= PUSHER_RADIUS_M + 1e-3


def test_imagined_and_real_begin_as_one_in_every_sensor(table: Session) -> None:
    table.begin(3)
    depth, points = shown(table, "depth"), shown(table, "points")
    np.testing.assert_array_equal(depth.imagined, depth.real)
    np.testing.assert_array_equal(points.imagined.xyz, points.real.xyz)
    np.testing.assert_array_equal(points.imagined.rgb, points.real.rgb)


def test_the_imagined_side_is_measured_at_the_nearest_kept_step(table: Session) -> None:
    table.begin(3)
    memory = table._drive.memory
    row = 40
    table._drive.drawn = memory.middle + memory.coordinates[row] @ memory.directions
    nearest = memory.nearest(table._drive.drawn)
    np.testing.assert_array_equal(memory.coordinates[nearest], memory.coordinates[row])
    kept = table.source.sense(nearest)
    frame = shown(table, "points")
    wanted = cloud_of(kept, table.sensors, memory.pictures[nearest])
    np.testing.assert_allclose(places(frame.imagined, table), wanted.xyz_m, atol=1e-4)
    np.testing.assert_array_equal(frame.imagined.rgb, memory.pictures[nearest].reshape(-1, 3))


def test_the_legend_of_depth_is_right(table: Session) -> None:
    table.begin(3)
    frame = shown(table, "depth", steps=1)
    near, far = frame.facts["range_m"]
    depth = table.source.sense(None).streams["depth"]
    assert frame.facts["colours"] == "depth" and near < far
    assert (depth < near).mean() < 0.1 and (depth > far).mean() < 0.2
    stops = np.array(ramps()["depth"], np.float64)
    place = ((depth - near) / (far - near)).clip(0, 1) * (len(stops) - 1)
    wanted = np.stack([np.interp(place, range(len(stops)), stops[:, c]) for c in range(3)], -1)
    # the page draws its bar straight between these colours
    assert np.abs(frame.real[..., :3] - wanted).max() <= 6
    assert (frame.real[..., 3] == 255).all()


def test_pixels_without_depth_are_marked(seeing_colour: str) -> None:
    made = open_world(seeing_colour, "tabletop", {"depth_holes": 0.2}).session()
    made.begin(0)
    frame, depth = shown(made, "depth"), made.source.sense(None).streams["depth"]
    assert 0.05 < np.isnan(depth).mean() < 0.5
    np.testing.assert_array_equal(frame.real[..., 3] == 0, np.isnan(depth))
    assert len(shown(made, "points").real.xyz) == np.isfinite(depth).sum()
    made.close()


def test_a_model_that_sees_depth_has_it_rendered_once(tmp_path: Path) -> None:
    made = open_world(saved_model(tmp_path / "model", ("rgb", "depth")), "tabletop").session()
    made.begin(0)
    assert shown(made, "depth", steps=1).facts["sensor"] == "depth"
    points = shown(made, "points", steps=1)
    assert made.source._eye._world is None
    assert np.median(places(points.real, made)[:, 2]) == pytest.approx(0.0, abs=1e-3)
    made.close()


def test_a_world_that_saves_no_moments_shows_what_it_renders_anyway(seeing_colour: str) -> None:
    made = open_world(seeing_colour, "perturbed", {"base": "tabletop"}).session()
    assert made.source._eye is None and made.begin(0)["sensors"] == ALL
    frame = shown(made, "depth", steps=1)
    assert frame.real.shape == frame.imagined.shape == (SIZE, SIZE, 4)
    made.close()


# --- other worlds ---------------------------------------------------------------------------------


def test_points_of_the_yard_lie_on_what_stands_in_it(seeing_colour: str) -> None:
    settings = {"noise_m": 0.0, "dropout": 0.0, "drift": 0.0, "moving": False}
    made = open_world(seeing_colour, "yard", settings).session()
    begun = made.begin(3)
    assert begun["sensors"] == ["colour", "points"]
    assert "lidar" not in made.source._world.spec.sensors
    start = made.source._world.save_state().pose.matrix()
    frame = shown(made, "points", steps=3)
    assert frame.facts["colours"] == "distance" and len(frame.real.xyz) > 50
    found = places(frame.real, made) @ start[:3, :3].T + start[:3, 3]
    np.testing.assert_allclose(found[:, 2], 0.0, atol=1e-6)
    off = made.source._world.layout.clearance(found[:, :2])
    assert np.abs(off).max() < 1e-3  # metres; what is sent is rounded
    # the arrow begins where the vehicle is
    middle = made._drive.showing._scales["points"].framing.middle
    tail = np.array(frame.real.sensor[0]) + middle
    place = tail @ start[:3, :3].T + start[:3, 3]
    np.testing.assert_allclose(place[:2], made._drive.seen.truth["vehicle_xy"], atol=1e-3)
    # depth is not given, so colour stays
    other = shown(made, "depth")
    assert other.facts["sensor"] == "colour" and other.real.shape == (SIZE, SIZE, 3)
    made.close()


def test_colours_of_points_without_colour_are_those_of_the_legend(seeing_colour: str) -> None:
    made = open_world(seeing_colour, "yard", {"moving": False}).session()
    made.begin(3)
    frame = shown(made, "points")
    near, far = frame.facts["range_m"]
    away = cloud_of(made.source.sense(None), made.sensors, None).shade_m
    stops = np.array(ramps()["points"], np.float64)
    place = ((away - near) / (far - near)).clip(0, 1) * (len(stops) - 1)
    wanted = np.stack([np.interp(place, range(len(stops)), stops[:, c]) for c in range(3)], -1)
    assert np.abs(frame.real.rgb - wanted).max() <= 6
    made.close()


def test_a_model_that_sees_the_scan_needs_no_eye(tmp_path: Path) -> None:
    beams = make_world("yard").spec.beams_rad["lidar"]
    encoder = EncoderConfig(image_size=SIZE, width=16)
    config = JEPAConfig(
        encoder=encoder,
        action_width=2,
        sensors=("scan",),
        azimuths_rad=tuple(beams[:, 0].tolist()),
        elevations_rad=tuple(beams[:, 1].tolist()),
    )
    save_model(untrained(config, 0), tmp_path / "model")
    made = open_world(str(tmp_path / "model"), "yard").session()
    made.begin(0)
    frame = shown(made, "points", steps=2)
    assert made.source._eye._world is None
    ranges = made.source.sense(None).streams["lidar"]
    assert len(frame.real.xyz) == np.isfinite(ranges).sum()
    made.close()


@pytest.mark.parametrize("name", ["two_rooms", "stage"])
def test_worlds_with_colour_alone_offer_nothing_else(seeing_colour: str, name: str) -> None:
    made = open_world(seeing_colour, name).session()
    assert made.begin(0)["sensors"] == ["colour"]
    assert shown(made, "points").facts["sensor"] == "colour"
    assert made.source._eye is None
    made.close()


def test_a_source_without_an_eye_offers_colour(model) -> None:
    source = WorldSource(model, make_world("two_rooms", image_size=16))
    assert source.sensors == Sensors()
    source.close()


# --- recordings -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table_recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("recorded") / "table"
    record("tabletop", out, 3, 9, workers=1, settings={"image_size": SIZE})
    return out


def test_a_recording_shows_its_depth_and_points(seeing_colour, table_recording: Path) -> None:
    made = open_recording(seeing_colour, table_recording, 1).session()
    assert made.begin(0)["sensors"] == ALL
    controls = replace(made.controls(), sensor="depth")
    for _ in range(4):
        frame = made.step(controls)
    stored = open_dataset(table_recording)[1].streams["depth"].values[4]
    found = made.source.sense(None).streams["depth"]
    np.testing.assert_allclose(found, stored, atol=1e-6)
    assert frame.real.shape == (SIZE, SIZE, 4) and frame.facts["departed"] is None
    points = places(shown(made, "points").real, made)
    assert np.median(points[:, 2]) == pytest.approx(0.0, abs=2e-3)
    # the last recorded step stays beside what is imagined after leaving
    made.step(replace(controls, axes=(1.0, 0.0)))
    np.testing.assert_array_equal(made.source.sense(None).streams["depth"], found)
    made.close()


def cloud_recording(folder: Path, steps: int, frame: str = "lidar") -> Path:
    """Write two episodes whose points say episode and step: x is the step, y is the episode."""
    writer, rng = DatasetWriter(folder, 10), np.random.default_rng(0)
    for episode in range(2):
        points = np.full((steps, 5000, 6), 0.5, np.float32)
        points[:, :, 0] = np.arange(steps)[:, None]
        points[:, :, 1] = episode
        points[:, 4000:] = np.nan  # padding
        streams = {
            "rgb": Stream("rgb", rng.integers(0, 255, (steps, 8, 8, 3)).astype(np.uint8)),
            "points": Stream("points", points, "m", frame, columns=("x", "y", "z", *"rgb")),
        }
        actions = np.zeros((steps - 1, 2), np.float32)
        writer.write(episode, Episode(streams, np.arange(steps) * 100_000_000, actions))
    writer.finalize()
    return folder


def test_recorded_clouds_are_those_of_their_step(seeing_colour, tmp_path: Path) -> None:
    path = cloud_recording(tmp_path / "clouds", 80)
    made = open_recording(seeing_colour, path, 1).session()
    assert made.begin(0)["sensors"] == ["colour", "points"]
    controls = replace(made.controls(), sensor="points")
    for step in range(1, 80):
        frame = made.step(controls)
        assert frame.facts["step"] == step and len(frame.real.xyz) == 4000
        found = places(frame.real, made)
        np.testing.assert_allclose(found[:, 0], step, atol=2e-3)
        np.testing.assert_allclose(found[:, 1], 1.0, atol=2e-3)
    assert (frame.real.rgb == 128).all() and frame.facts["colours"] == "colour"
    # a few parts of it are in memory, however long it is
    assert made.source.clouds._block.cache_info().maxsize == 4
    made.close()
