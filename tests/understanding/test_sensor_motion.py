"""Where a sensor will be: from actions, or from how it moved."""

import numpy as np
import pytest
import torch

from armillary.core.values import Episode, Stream
from armillary.data import Cache
from armillary.data.point_sampling import PointSampling
from armillary.spatial import exp
from armillary.understanding.distance_sensors import distance_sensors
from armillary.understanding.sensor_motion import SensorMotion
from armillary.understanding.stretches import Steps

BEAMS, STEPS, EPISODES = 16, 30, 12


def drive(rng, steady):
    twist = rng.normal(0, 0.3, 6) if steady else rng.normal(0, 0.3, (STEPS - 1, 6))
    twists = np.broadcast_to(twist, (STEPS - 1, 6))
    pose = [np.eye(4)]
    for one in twists:
        pose.append(pose[-1] @ exp(torch.from_numpy(np.array(one))).numpy())
    streams = {
        "points": Stream("points", rng.normal(0, 3, (STEPS, BEAMS, 3)).astype(np.float32), "m",
                         "lidar", columns=("x", "y", "z")),
        "world_from_lidar": Stream("pose", np.stack(pose), "m"),
    }  # fmt: skip
    time_ns = np.arange(STEPS, dtype=np.int64) * 10**8
    return Episode(streams, time_ns, twists.astype(np.float32))


def seen(cache, acts):
    count = STEPS * EPISODES
    before = np.tile(np.arange(STEPS), EPISODES)
    actions = cache.actions if acts else np.zeros((count, 0), np.float32)
    nothing = np.zeros((count, 1), np.float32)
    groups = np.arange(count) // STEPS
    return Steps(torch.zeros(count, 1, 1), nothing, None, actions, np.arange(count), before,
                 STEPS - 1 - before, groups)  # fmt: skip


@pytest.mark.parametrize(("acts", "inputs"), [(True, "actions"), (False, "past")])
def test_the_later_pose_is_known_from_actions_that_are_the_motion_or_from_steady_motion(
    acts, inputs
):
    rng = np.random.default_rng(0)
    cache = Cache.from_episodes(
        [drive(rng, not acts) for _ in range(EPISODES)], 16, points=PointSampling(BEAMS)
    )
    steps = seen(cache, acts)
    sensor = distance_sensors(cache)[0]
    motion = SensorMotion.fit(sensor, steps)
    assert motion.reader.inputs == inputs
    now = steps.windows(1, 4, 1000, 0)
    for ahead in (1, 4):
        expected = sensor.relative(steps.frames[now + ahead], steps.frames[now])
        found = motion.later_from_now(steps, now, ahead)
        assert np.abs(found - expected).max() < 2e-3
