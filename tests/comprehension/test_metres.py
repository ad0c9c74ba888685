"""Range and depth in metres: what moves with the sensor, and what a model makes of the way."""

import numpy as np
import pytest
import torch

from armillary.comprehension.diagnosis import diagnose
from armillary.comprehension.evidence import Limits
from armillary.comprehension.metres import gauges, metres
from armillary.comprehension.stretches import cut
from armillary.core.values import Episode, Latent, Stream
from armillary.data import Cache
from armillary.data.point_sampling import PointSampling

BEAMS, STEPS, SIDE = 64, 24, 32
AZIMUTH = np.linspace(-np.pi, np.pi, BEAMS, endpoint=False) + np.pi / BEAMS
WALLS = np.array([[5.0, -5.0], [4.0, -4.0]])  # x and y of a room
LIMITS = Limits(training_steps=600, held_out_steps=600, windows=400, ranked=8, draws=100)


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
    assert rows[0]["copy_last"] < rows[1]["copy_last"]


def test_a_model_that_stands_still_says_no_more_than_no_latent(cache):
    still = Guide(heeds=False)
    for row in metres(still, evidence(cache, still), cache, LIMITS, AZIMUTH.tolist()):
        assert row["model"] > 0.8 * row["no_latent"]


def test_a_map_is_in_metres_and_a_laser_of_unknown_beams_has_no_warp(cache):
    gauge = gauges(cache, AZIMUTH.tolist())[0]
    maps = gauge.maps(np.arange(5))
    own = ranges(cache.arrays["way_xy"][:5])
    assert np.nanmean(maps) == pytest.approx(own.mean(), rel=0.05)
    assert gauge.pose == "world_from_lidar"
    if gauge.kind == "lidar":
        assert gauges(cache)[0].pose is None
        assert np.isfinite(gauges(cache)[0].maps(np.arange(2))).all()


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
    (gauge,) = gauges(cache)
    assert np.allclose(gauge.maps(np.array([0, 5])), [[3.0], [2.5]], atol=2e-3)
    assert np.allclose(gauge.warped(np.array([0]), np.array([5])), 2.5, atol=2e-3)
