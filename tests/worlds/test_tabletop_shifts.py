"""Shifts of the tabletop: each setting changes what it says, and nothing else."""

import numpy as np
import pytest
import torch

from armillary.core.errors import ConfigError
from armillary.data import open_dataset, verify
from armillary.spatial import check_pose, point_map
from armillary.worlds import check_world, make_world, record
from armillary.worlds.tabletop.world import Tabletop

ALL = (
    "rgb", "depth", "world_from_camera", "segmentation", "proprio", "lidar", "world_from_lidar",
)  # fmt: skip
SEEN = ("depth", "world_from_camera", "segmentation")
FAST = {"image_size": 64, "samples": 0}
FORWARD = np.array([0.1, -0.05])


@pytest.fixture
def table():
    made = []

    def make(**settings):
        made.append(Tabletop(**{**FAST, **settings}))
        return made[-1]

    yield make
    for world in made:
        world.close()


def world_points(streams, camera=""):
    """The place of every pixel in the world [H W 3]; zeros where there is no depth."""
    points, valid = point_map(
        torch.from_numpy(streams[f"depth{camera}"]).double(),
        torch.from_numpy(streams["intrinsics"]),
        torch.from_numpy(streams[f"world_from_camera{camera}"]),
    )
    return points.numpy(), valid.numpy()


def placed(world, seed):
    """All of the truth, after a few steps, as one vector."""
    world.reset(seed)
    for _ in range(3):
        world.step(FORWARD)
    return np.concatenate([world.truth()[n] for n in ("pusher_xy", "objects_xyz")])


@pytest.mark.parametrize(
    "settings",
    [
        {"num_cameras": 2, "orbit_deg_s": (-30.0, 30.0), "depth_noise": 0.01, "depth_holes": 0.05},
        {"appearance": "new", "occluder": "screen", "lidar_noise_m": 0.005, "lidar_dropout": 0.1},
    ],
)
def test_keeps_the_contract_of_worlds(settings):
    check_world(lambda: make_world("tabletop", sensors=ALL, image_size=32, samples=0, **settings))


def test_a_knocked_camera_that_goes_round_keeps_the_contract():
    settings = {"orbit_deg_s": 20, "sensors": ("depth", "world_from_camera"), **FAST}
    world = make_world("perturbed", kind="camera", earliest=2, latest=2, **settings)
    usual = make_world("tabletop", **settings)
    a, b = world.reset(0), usual.reset(0)
    for step in range(4):
        assert np.array_equal(a.streams["world_from_camera"], b.streams["world_from_camera"])
        same = np.array_equal(a.streams["depth"], b.streams["depth"], equal_nan=True)
        assert same == (step < 2)
        a, b = world.step(FORWARD), usual.step(FORWARD)
    world.close()
    usual.close()


@pytest.mark.parametrize(
    "settings",
    [
        {"azimuth_deg": 60},
        {"elevation_deg": (50.0, 50.0)},
        {"orbit_deg_s": 20},
        {"appearance": "new"},
        {"occluder": "screen"},
        {"num_cameras": 3, "depth_noise": 0.02, "depth_holes": 0.1},
    ],
)
def test_no_setting_moves_what_stands_on_the_table(table, settings):
    usual, other = table(), table(**settings)
    for seed in range(3):
        assert np.array_equal(placed(usual, seed), placed(other, seed), equal_nan=True)


def test_azimuth_turns_the_camera_by_what_was_asked_for(table):
    middle = table(azimuth_deg=0, sensors=SEEN).reset(5).streams["world_from_camera"]
    for degrees in (30, 60, 90):
        pose = table(azimuth_deg=degrees, sensors=SEEN).reset(5).streams["world_from_camera"]
        # Seen from above, the viewing direction turns; its slope stays.
        a, b = (p[:2, 2] / np.linalg.norm(p[:2, 2]) for p in (middle, pose))
        turned = np.degrees(np.arctan2(a[0] * b[1] - a[1] * b[0], a @ b))
        assert turned == pytest.approx(degrees, abs=1e-6)
        assert pose[2, 2] == pytest.approx(middle[2, 2], abs=1e-9)


def test_a_moving_camera_sees_a_still_table_in_its_place(table):
    world = table(orbit_deg_s=(40.0, 40.0), sensors=SEEN)
    first = world.reset(3).streams
    poses = [first["world_from_camera"]]
    for _ in range(12):
        streams = world.step(np.zeros(2)).streams
        poses.append(streams["world_from_camera"])
        check_pose(torch.from_numpy(poses[-1]), "orbit", 1e-9)
        points, _ = world_points(streams)
        labels = streams["segmentation"]
        edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
        assert (edge == 0).all()  # the whole table stays in the picture
        top = points[(labels == 1) & (points[..., 2] > -0.005)]
        assert np.median(np.abs(top[:, 2])) < 1e-4
        # an object that rests is found where it is
        body = points[labels == 3]
        if len(body) > 12:
            gap = np.linalg.norm(body[:, :2].mean(0) - world.truth()["object_xy"])
            assert gap < 0.035
    radius = np.linalg.norm([pose[:2, 3] for pose in poses], axis=1)
    assert np.ptp(radius) < 1e-9 and np.ptp([pose[2, 3] for pose in poses]) < 1e-9
    angle = np.degrees(np.unwrap([np.arctan2(pose[1, 3], pose[0, 3]) for pose in poses]))
    assert np.allclose(np.diff(angle), 4.0, atol=1e-6)


def test_a_saved_state_knows_where_the_camera_was(table):
    world = table(orbit_deg_s=30, sensors=("rgb", *SEEN), depth_noise=0.01)
    world.reset(1)
    world.step(FORWARD)
    state = world.save_state()
    once = [world.step(FORWARD) for _ in range(3)]
    world.reset(2)
    world.load_state(state)
    for then in once:
        now = world.step(FORWARD)
        for name, values in then.streams.items():
            assert np.array_equal(values, now.streams[name], equal_nan=True)


def test_cameras_round_the_table_agree_on_where_things_are(table):
    world = table(num_cameras=4, sensors=SEEN)
    for seed in range(3):
        streams = world.reset(seed).streams
        place = world.truth()["object_xy"]
        seen = 0
        for camera in ("", "_1", "_2", "_3"):
            points, _ = world_points(streams, camera)
            body = points[streams[f"segmentation{camera}"] == 3]
            if len(body) > 12:
                seen += 1
                assert np.linalg.norm(body[:, :2].mean(0) - place) < 0.035
        assert seen >= 2


def test_lidar_and_depth_see_the_same(table):
    world = table(sensors=(*SEEN, "lidar", "world_from_lidar"), lidar_beams=(64, 64))
    beams = world.spec.beams_rad["lidar"]
    azimuth, elevation = beams.T
    flat = np.cos(elevation)
    rays = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)], -1)
    for seed in range(3):
        streams = world.reset(seed).streams
        pose = streams["world_from_lidar"]
        k, camera = streams["intrinsics"], streams["world_from_camera"]
        hits = (rays * streams["lidar"][:, None].astype(float)) @ pose[:3, :3].T + pose[:3, 3]
        seen = (hits - camera[:3, 3]) @ camera[:3, :3]
        pixel = seen @ k.T
        u, v = np.rint(pixel[:, :2] / pixel[:, 2:]).astype(int).T
        inside = (u > 0) & (u < 63) & (v > 0) & (v < 63)
        u, v, deep = u[inside], v[inside], seen[inside, 2]
        depth = streams["depth"]
        # Half a pixel beside a beam the surface is elsewhere: compare where it is smooth.
        around = [(dv, du) for dv in (-1, 0, 1) for du in (-1, 0, 1)]
        near = np.stack([depth[v + dv, u + du] for dv, du in around])
        labels = np.stack([streams["segmentation"][v + dv, u + du] for dv, du in around])
        smooth = np.ptp(near, axis=0) < 0.05
        beside = np.maximum(near.min(0) - deep, deep - near.max(0))
        floor, top = (smooth & (labels == label).all(0) for label in (0, 1))
        assert floor.sum() > 1000 and (beside[floor] < 1e-4).all()
        assert top.sum() > 1000 and (beside[top] < 1e-4).mean() > 0.98  # rims are under a pixel
        assert beside[smooth].max() < 0.006  # round bodies are drawn as prisms


def test_lidar_noise_and_dropout_are_as_asked_for(table):
    sensors = ("lidar",)
    true = table(sensors=sensors, lidar_beams=(64, 64)).reset(0).streams["lidar"]
    real = table(sensors=sensors, lidar_beams=(64, 64), lidar_noise_m=0.01, lidar_dropout=0.2)
    noisy = real.reset(0).streams["lidar"]
    lost = np.isnan(noisy)
    assert np.isfinite(true).all()
    assert lost.mean() == pytest.approx(0.2, abs=0.03)
    assert (noisy - true)[~lost].std() == pytest.approx(0.01, rel=0.05)


def test_holes_and_noise_are_as_asked_for(table):
    true = table(sensors=("depth",)).reset(0).streams["depth"]
    holes = table(sensors=("depth",), depth_holes=0.1).reset(0).streams["depth"]
    assert np.isnan(holes).mean() == pytest.approx(0.1, abs=1 / true.size)
    kept = np.isfinite(holes)
    assert np.array_equal(holes[kept], true[kept])
    edges = table(sensors=("depth",), depth_edge_holes=1.0).reset(0).streams["depth"]
    assert 0.005 < np.isnan(edges).mean() < 0.3
    world = table(sensors=("depth",), depth_noise=0.02)
    noisy = world.reset(0).streams["depth"]
    assert ((noisy - true) / true**2).std() == pytest.approx(0.02, rel=0.05)
    assert np.array_equal(noisy, world.observe().streams["depth"])  # looking is no event
    later = world.step(np.zeros(2)).streams["depth"]
    assert np.abs(later - noisy).std() > 0.01
    goal = world.draw_goal("push", np.random.default_rng(0)).observation.streams["depth"]
    assert np.abs(goal - later).std() > 0.01  # not the noise of the present picture


def test_a_new_look_is_new_and_keeps_object_0_warm(table):
    usual, new = table(sensors=("rgb", *SEEN)), table(sensors=("rgb", *SEEN), appearance="new")
    for seed in range(10):
        a, b = usual.reset(seed).streams, new.reset(seed).streams
        for name in SEEN:
            assert np.array_equal(a[name], b[name], equal_nan=True)
        assert np.abs(a["rgb"].astype(int) - b["rgb"]).mean() > 10
        red, green, blue = new.scene.bodies[0].rgb
        assert red > green > blue or red > blue
        for body in new.scene.bodies[1:]:
            assert body.rgb[0] < max(body.rgb[1:])
        assert new.scene.table_rgb[1] < max(new.scene.table_rgb)  # no green tables: those are usual
        again = new.reset(seed).streams["rgb"]
        assert np.array_equal(again, b["rgb"])


def test_a_pattern_does_not_outlive_its_episode(table):
    world = table(appearance="new", sensors=("rgb",))
    fresh = table(appearance="new", sensors=("rgb",)).reset(4).streams["rgb"]
    world.reset(3)
    assert np.array_equal(world.reset(4).streams["rgb"], fresh)


def test_the_screen_hides_the_object_and_only_from_there(table):
    world = table(occluder="screen", num_cameras=2, sensors=("segmentation",))
    free = table(num_cameras=2, sensors=("segmentation",))
    hidden, beside = 0, 0
    for seed in range(12):
        streams, without = world.reset(seed).streams, free.reset(seed).streams
        assert (streams["segmentation"] == 6).any()
        seen = world.truth()["object_seen"]
        assert seen[0] == 0 and (streams["segmentation"] == 3).sum() == 0
        hidden += (without["segmentation"] == 3).any()
        beside += seen[1] == 1 and (streams["segmentation_1"] == 3).any()
    assert hidden >= 11 and beside >= 10


def test_a_moving_camera_sees_past_the_screen_for_some_steps(table):
    world = table(occluder="screen", orbit_deg_s=40, sensors=("segmentation",))
    shares = []
    for seed in range(6):
        world.reset(seed)
        seen = [world.truth()["object_seen"][0]]
        for _ in range(40):
            labels = world.step(np.zeros(2)).streams["segmentation"]
            seen.append(world.truth()["object_seen"][0])
            assert seen[-1] == 0 or (labels == 3).any()
        shares.append(np.mean(seen))
    assert all(0.1 < share < 0.95 for share in shares)


def test_nothing_touches_the_screen(table):
    usual, other = table(sensors=("proprio",)), table(sensors=("proprio",), occluder="screen")
    for seed in range(3):
        usual.reset(seed)
        other.reset(seed)
        state, rng = None, np.random.default_rng(seed)
        for _ in range(40):
            action, state = usual.explore(rng, state)
            a, b = usual.step(action).streams, other.step(action).streams
            assert np.array_equal(a["proprio"], b["proprio"])


def test_all_of_it_is_recorded_with_beams_and_replayed(tmp_path):
    settings = {**FAST, "image_size": 32, "num_cameras": 2, "orbit_deg_s": [-20, 20]}
    record("tabletop", tmp_path / "d", 2, 5, workers=1, sensors=ALL, settings=settings)
    assert verify(tmp_path / "d").ok
    episode = open_dataset(tmp_path / "d").read(0)
    assert {"rgb_1", "depth_1", "world_from_camera_1", "segmentation_1"} <= set(episode.streams)
    world = Tabletop(sensors=ALL, **settings)
    first = world.reset(int(episode.source.split("seed=")[1]))
    lidar = episode.streams["lidar"]
    assert lidar.beams_rad is not None
    assert np.allclose(lidar.beams_rad, world.spec.beams_rad["lidar"])
    assert np.array_equal(lidar.values[0], first.streams["lidar"], equal_nan=True)
    assert episode.streams["world_from_lidar"].kind == "pose"
    world.close()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"azimuth_deg": (10.0, -10.0)}, r"azimuth_deg is \(lowest, highest\) within -360 to 360"),
        ({"azimuth_deg": "wide"}, "azimuth_deg takes a number, or two of them .*, got 'wide'"),
        ({"elevation_deg": [10, 20, 30]}, "elevation_deg takes a number, or two of them"),
        ({"num_cameras": 5}, "num_cameras is 1 to 4, got 5"),
        ({"depth_holes": 1.5}, "depth_holes is 0 to 1, got 1.5"),
        ({"depth_noise": -0.1}, "depth_noise is 0 or more"),
        ({"appearance": "nwe"}, "Did you mean 'new'"),
        ({"appearance": "gray"}, "no appearance of tabletop called 'gray'. Did you mean 'grey'"),
        ({"occluder": "scren"}, "Did you mean 'screen'"),
        ({"lidar_beams": (0, 4)}, "lidar_beams is"),
        ({"shadows": "true"}, "shadows takes true or false"),
        ({"samples": 65}, "samples is 0 to 64, got 65"),
        ({"samples": '4"/><include file="/etc/passwd"/>'}, "samples takes a whole number"),
        ({"samples": -1}, "samples is 0 to 64, got -1"),
        ({"colour": 1}, "There is no setting of tabletop called 'colour'"),
    ],
)
def test_wrong_settings_are_one_sentence(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make_world("tabletop", **settings)
