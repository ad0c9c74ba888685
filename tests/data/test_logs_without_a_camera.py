"""Logs of a laser or of clouds alone: the scans or clouds give the steps."""

from __future__ import annotations

import numpy as np
import pytest
from test_robot_logs import (
    PERIOD_NS,
    START_NS,
    STEPS,
    Log,
    command,
    header,
    image,
    joints,
    odom_from_base,
    odometry,
    scan,
    transform,
)

from armillary.core.errors import FormatError
from armillary.data import IngestOptions, ingest, open_dataset, verify
from armillary.spatial import log as logarithm
from armillary.spatial import relative

pytest.importorskip("rosbags")
torch = pytest.importorskip("torch")


def record_laser(path, kind, *sensors, mounted=None):
    """A robot that carries a laser; ``sensors`` write what else it measures."""
    log = Log(path, kind)
    with log.writer:
        if mounted is not None:
            static = transform(log, START_NS, "base_link", "laser", mounted)
            log.put("/tf_static", "tf2_msgs/msg/TFMessage", START_NS, transforms=[static])
        for step in range(STEPS):
            for sensor in (scan, *sensors):
                sensor(log, step, START_NS + step * PERIOD_NS)
    return path


@pytest.mark.parametrize("kind", ["bag", "db3", "mcap"])
def test_the_scans_are_the_steps_and_commands_the_actions(tmp_path, kind):
    path = tmp_path / ("a.bag" if kind == "bag" else "log")
    record_laser(path, kind, odometry, command, mounted=np.eye(4))
    options = IngestOptions(action_topic="/cmd_vel")
    summary = ingest(path, tmp_path / "out", options=options)
    assert (summary.frames, summary.left_out) == (STEPS, ())
    dataset = open_dataset(tmp_path / "out")
    episode = dataset.read(0)
    assert dataset.fps == 10
    assert np.array_equal(episode.time_ns, np.arange(STEPS) * PERIOD_NS)
    assert set(episode.streams) == {"lidar", "proprio", "world_from_lidar"}
    lidar = episode.streams["lidar"]
    assert np.allclose(lidar.values[:, 0], 1.0 + np.arange(STEPS))
    assert np.isnan(lidar.values[:, 2:4]).all()
    assert np.allclose(lidar.beams_rad[:, 0], [-1.0, -0.5, 0.0, 0.5, 1.0])
    bases = np.stack([odom_from_base(step) for step in range(STEPS)])
    assert np.allclose(episode.streams["world_from_lidar"].values, bases, atol=1e-6)
    assert np.allclose(episode.actions[:, 0], np.arange(STEPS - 1))
    assert verify(tmp_path / "out").ok


@pytest.mark.parametrize("mounted", [None, np.eye(4)])
def test_without_commands_the_motion_is_the_action(tmp_path, mounted):
    """Of the laser, or of the robot where no transform says where on it the laser is."""
    record_laser(tmp_path / "log", "db3", odometry, mounted=mounted)
    summary = ingest(tmp_path / "log", tmp_path / "out")
    sensor = "robot" if mounted is None else "lidar"
    assert f"the action is the motion of the {sensor} from step to step" in summary.notes[0]
    episode = open_dataset(tmp_path / "out").read(0)
    assert f"world_from_{sensor}" in episode.streams
    bases = torch.from_numpy(np.stack([odom_from_base(step) for step in range(STEPS)]))
    assert np.allclose(episode.actions, logarithm(relative(bases[:-1], bases[1:])), atol=1e-5)
    still = IngestOptions(ego_motion=False)
    ingest(tmp_path / "log", tmp_path / "still", options=still)
    assert not open_dataset(tmp_path / "still").has_actions


def test_of_several_scans_the_one_that_is_named_gives_the_steps(tmp_path):
    def slow(log, step, now):
        if step % 2 == 0:
            fields = {"angle_min": 0.0, "angle_increment": 0.1, "range_max": 9.0}
            head = header(log, now + 3_000_000, "rear")
            kind = "sensor_msgs/msg/LaserScan"
            log.put("/rear/scan", kind, now, header=head, ranges=[1.0, 2.0], **fields)

    record_laser(tmp_path / "log", "db3", slow)
    for topics, frames, names in (
        ((), STEPS // 2, {"front_scan", "rear_scan"}),
        (("/rear/scan",), STEPS // 2, {"front_scan", "lidar"}),
    ):
        out = tmp_path / f"out{len(topics)}"
        assert ingest(tmp_path / "log", out, options=IngestOptions(topics=topics)).frames == frames
        assert set(open_dataset(out).streams) == names


def test_scans_that_are_the_steps_and_differ_in_their_angles_are_refused(tmp_path):
    log = Log(tmp_path / "log", "db3")
    with log.writer:
        for step in range(STEPS):
            scan(log, step, START_NS + step * PERIOD_NS, angle_min=-1.0 - step)
    with pytest.raises(FormatError, match="must have beams at the same angles"):
        ingest(tmp_path / "log", tmp_path / "out")


def test_clocks_that_do_not_meet_are_said_in_words_of_scans(tmp_path):
    def late(log, step, now):
        joints(log, step, now + 10**12, list("abc"))

    record_laser(tmp_path / "log", "db3", late)
    [*_, (_, why)] = ingest(tmp_path / "log", tmp_path / "out").left_out
    assert "no messages of /joints within 0.02 s of any scan: scans from 1700000000.003" in why


def test_a_log_without_anything_that_gives_steps_says_what_would(tmp_path):
    def odd(log, step, now):
        fields = image(np.zeros((48, 64, 2), np.uint8), "yuv422")
        log.put("/cam", "sensor_msgs/msg/Image", now, header=header(log, now, "c"), **fields)

    log = Log(tmp_path / "log", "db3")
    with log.writer:
        for step in range(STEPS):
            odometry(log, step, START_NS + step * PERIOD_NS)
            odd(log, step, START_NS + step * PERIOD_NS)
    said = (
        r"no image, laser scan or cloud .*/odom .*/cam \(yuv422\).*The steps of a log are the pict"
    )
    with pytest.raises(FormatError, match=said):
        ingest(tmp_path / "log", tmp_path / "out")
    assert not (tmp_path / "out").exists()
