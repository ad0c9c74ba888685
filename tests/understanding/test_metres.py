"""Range and depth in metres: what moves with the sensor, and what a model makes of the way."""

import numpy as np
import pytest
import torch

from armillary.core.values import Episode, Latent, Stream
from armillary.data import Cache
from armillary.data.point_sampling import PointSampling
from armillary.understanding.diagnosis import diagnose
from armillary.understanding.evidence import Limits
from armillary.understanding.metres import distance_sensors, metres
from armillary.understanding.stretches import cut

pytestmark = pytest.mark.runs  # whole judgements in metres: 4 to 9 s each

BEAMS, STEPS, SIDE = 64, 24, 32
AZIMUTH = np.linspace(-np.pi, np.pi, BEAMS, endpoint=False) + np.pi / BEAMS
WALLS = np.array([[5.0, -5.0], [4.0, -4.0]])  # x and y of a room
LIMITS = Limits(training_steps=600, held_out_steps=600, windows=160, ranked=8, draws=100)


def ranges(places):
    """Return the distance of the walls of a room from places, along each beam."""
    ways = np.stack([np.cos(AZIMUTH), np.sin(AZIMUTH)])
    found = []
    for axis in range(2):
        for wall in WALLS[axis]:
            with np.errstate(divide="ignore"):
                away = (wall - places[:, axis, None]) / ways[axis]
            found.append(np.where(away > 0, away, np.inf))
    return np.min(found, axis=0)


def episode(number, as_cloud):
    rng = np.random.default_rng(number)
    way = np.cumsum(rng.uniform(-0.4, 0.4, (STEPS, 2)), axis=0).clip(-3, 3)
    pose = np.tile(np.eye(4), (STEPS, 1, 1))
    pose[:, :2, 3] = way
    seen = ranges(way).astype(np.float32)
    beams = np.stack([np.cos(AZIMUTH), np.sin(AZIMUTH), np.zeros(BEAMS)], 1)
    points = (seen[..., None] * beams).astype(np.float32)
    streams = {
        "points": Stream("points", points, "m", "lidar", columns=("x", "y", "z")),
        "lidar": Stream("lidar", seen, "m", "lidar"),
        "world_from_lidar": Stream("pose", pose, "m"),
        "way_xy": Stream("proprio", way.astype(np.float32)),
    }
    del streams["lidar" if as_cloud else "points"]
    time_ns = np.arange(STEPS, dtype=np.int64) * 10**8
    acts = np.diff(way, axis=0).astype(np.float32)
    return Episode(streams, time_ns, acts)


class Guide:
    """Its latent is where the sensor stands; it moves as the actions say."""

    def __init__(self, heeds=True):
        self.heeds = heeds

    def encode(self, batch):
        return Latent(batch.streams["way_xy"][:, :, None].float(), batch.actions)

    def rollout(self, latent, plans):
        now = latent.tokens[:, -1, 0]
        later = now[:, None, None] + self.heeds * torch.as_tensor(plans).float().cumsum(2)
        return later[:, :, :, None]


def evidence(cache, model):
    parts = [cut(cache, np.arange(*some), 1) for some in ((0, 24), (24, 36))]
    return diagnose(model, cache, *parts, 1, ("way_xy",), True, LIMITS).evidence


@pytest.fixture(scope="module", params=[False, True], ids=["laser", "cloud"])
def cache(request):
    episodes = [episode(number, request.param) for number in range(36)]
    return Cache.from_episodes(episodes, SIDE, points=PointSampling(BEAMS))


def test_a_model_that_knows_the_way_beats_copying_and_the_warp_is_near_perfect(cache):
    model = Guide()
    rows = metres(model, evidence(cache, model), cache, LIMITS, AZIMUTH.tolist())
    assert [row["steps"] for row in rows] == [1, 3]
    for row in rows:
        assert row["model"] < 0.7 * row["copy_last"]
        assert row["rigid_warp"] < 0.7 * row["copy_last"]
        assert row["gain_intervals"]["copy_last"][0] > 0
        assert row["copy_last"] < row["mean"]
        occupancy = row["occupancy"]
        assert max(occupancy["model"], occupancy["rigid_warp"]) < 0.8 * occupancy["copy_last"]
        assert occupancy["gain_intervals"]["copy_last"][0] > 0
        assert occupancy["copy_last"] < occupancy["mean"] <= 1
        assert 0.1 < occupancy["shell_m"] < 0.3  # the walls are at most 10 m away
    assert rows[0]["copy_last"] < rows[1]["copy_last"]


def test_actions_that_are_the_motion_tell_as_much_as_the_recorded_poses(cache):
    model = Guide(heeds=False)
    for row in metres(model, evidence(cache, model), cache, LIMITS, AZIMUTH.tolist()):
        assert row["no_latent"] < 1.05 * row["rigid_warp"]
        assert row["model"] < 1.05 * row["no_latent"]


def door(number):
    """A sensor at rest before a door that is told how far to open."""
    will = np.random.default_rng(number).uniform(1, 4, STEPS).astype(np.float32)
    seen = np.stack([np.full(STEPS, 2.0, np.float32), will], 1).repeat(BEAMS // 2, axis=1)
    streams = {
        "lidar": Stream("lidar", seen, "m", "lidar"),
        "way_xy": Stream("proprio", will[:, None]),
    }
    return Episode(streams, np.arange(STEPS, dtype=np.int64) * 10**8, will[1:, None])


class Porter(Guide):
    """Its latent is how far the door is open; it does as it is told, or guesses."""

    def rollout(self, latent, plans):
        told = torch.as_tensor(plans).float()[:, :, :, None]
        return told if self.heeds else 2.5 + torch.randn(told.shape)


def rows_of_doors(heeds, count, judged):
    cache = Cache.from_episodes([door(number) for number in range(count)], SIDE)
    parts = [
        cut(cache, np.arange(*some), 1) for some in ((0, count - judged), (count - judged, count))
    ]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Porter(heeds)
        found = diagnose(model, cache, *parts, 1, ("way_xy",), True, LIMITS).evidence
        return metres(model, found, cache, LIMITS)


@pytest.mark.parametrize("heeds", [True, False])
def test_a_latent_has_the_weight_that_helps_in_the_other_half(heeds):
    for row in rows_of_doors(heeds, 48, 24):
        if heeds:
            assert row["latent_weight"] == [1.0, 1.0]
            assert row["model"] < 0.5 * row["no_latent"]
            assert row["gain_intervals"]["no_latent"][0] > 0
        else:
            assert row["latent_weight"] == [0.0, 0.0]
            assert row["model"] == row["no_latent"]


def test_with_fewer_than_eight_judged_groups_no_latent_has_weight():
    assert rows_of_doors(True, 30, 2)[0]["latent_weight"] == [0.0, 0.0]


def test_a_sensor_that_was_out_is_judged_where_it_measured():
    episodes = [door(number) for number in range(48)]
    for number, one in enumerate(episodes):
        if number % 3:
            one.streams["lidar"].values[:] = np.nan
    cache = Cache.from_episodes(episodes, SIDE)
    parts = [cut(cache, np.arange(*some), 1) for some in ((0, 24), (24, 48))]
    model = Porter()
    found = diagnose(model, cache, *parts, 1, ("way_xy",), True, LIMITS).evidence
    rows = metres(model, found, cache, LIMITS)
    assert [row["steps"] for row in rows] == [1, 3]
    assert all(np.isfinite(row["model"]) and row["n"] < 160 for row in rows)
    for one in episodes:
        one.streams["lidar"].values[:] = np.nan
    cache = Cache.from_episodes(episodes, SIDE)
    assert metres(model, found, cache, LIMITS) == []


def test_depth_is_warped_by_pose_and_lens():
    """A camera that walks towards a wall sees it nearer by as much."""
    steps = 6
    pose = np.tile(np.eye(4), (steps, 1, 1))
    pose[:, 2, 3] = 0.1 * np.arange(steps)
    depth = np.broadcast_to(3 - pose[:, 2, 3][:, None, None], (steps, SIDE, SIDE))
    lens = np.array([[24.0, 0, 15.5], [0, 24.0, 15.5], [0, 0, 1]])
    streams = {
        "depth": Stream("depth", depth.astype(np.float32), "m", "camera", lens),
        "world_from_camera": Stream("pose", pose, "m"),
    }
    time_ns = np.arange(steps, dtype=np.int64) * 10**8
    cache = Cache.from_episodes([Episode(streams, time_ns)], SIDE)
    (sensor,) = distance_sensors(cache)
    assert np.allclose(sensor.maps(np.array([0, 5])), [[3.0], [2.5]], atol=2e-3)
    now, later = np.array([0]), np.array([5])
    moved = sensor.moved(now, sensor.relative(later, now))
    assert np.allclose(moved.mean, 2.5, atol=2e-3)
    assert np.array_equal(np.isfinite(moved.nearest), moved.count > 0)
