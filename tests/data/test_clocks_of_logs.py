"""Clocks of logs: another one is refused, a slower sensor sets the rate, counted pictures are not
seconds."""

from __future__ import annotations

import numpy as np
import pytest
import scene
from test_rgbd_folders import tum
from test_robot_logs import (
    PERIOD_NS,
    STEPS,
    command,
    header,
    odometry,
    record,
    record_mounted,
    transform,
)

from armillary.core.errors import FormatError
from armillary.data import IngestOptions, ingest, open_dataset

pytest.importorskip("rosbags")
HOUR_NS = 3_600_000_000_000


def test_commands_of_a_clock_that_is_behind_are_refused(tmp_path):
    """The last of them would hold at every picture."""

    def extra(log, step, now):
        command(log, step, now - HOUR_NS)

    record(tmp_path / "a.bag", "bag", extra=extra)
    options = IngestOptions(action_topic="/cmd_vel")
    with pytest.raises(FormatError, match=r"no commands within .* Both must be of one clock"):
        ingest(tmp_path / "a.bag", tmp_path / "out", options=options)


def test_a_sensor_slower_than_the_camera_sets_the_rate(tmp_path):
    """Odometry at every second picture: five pictures a second are whole, and no gap cuts them."""

    def extra(log, step, now):
        if step % 2 == 0:
            odometry(log, step, now)

    record(tmp_path / "a.bag", "bag", extra=extra)
    summary = ingest(tmp_path / "a.bag", tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert (summary.written, summary.frames, dataset.fps) == (1, STEPS // 2, 5)
    assert np.array_equal(dataset.read(0).time_ns, np.arange(STEPS // 2) * 2 * PERIOD_NS)
    with pytest.raises(FormatError, match="has 5 steps per second, fewer than --fps 10"):
        ingest(tmp_path / "a.bag", tmp_path / "other", options=IngestOptions(fps=10.0))


def test_poses_five_times_slower_than_pictures_are_one_episode(tmp_path):
    folder = tum(tmp_path / "in", steps=16)
    lines = (folder / "groundtruth.txt").read_text().split("\n")
    (folder / "groundtruth.txt").write_text("\n".join([lines[0], *lines[1::5]]) + "\n")
    summary = ingest(folder, tmp_path / "out")
    assert (summary.written, summary.frames, open_dataset(tmp_path / "out").fps) == (1, 4, 6)


def test_odometry_that_tf_has_no_room_for_is_named(tmp_path):
    """A static transform places the robot's base, so what odometry says of it is not used."""

    def extra(log, step, now):
        odometry(log, step, now)
        base = transform(log, now, "footprint", "base_link", np.eye(4))
        log.put("/tf_static", "tf2_msgs/msg/TFMessage", now, transforms=[base])

    record_mounted(tmp_path / "log", "base_link", extra=extra)
    said = [why for _, why in ingest(tmp_path / "log", tmp_path / "out").left_out]
    assert any(
        "/odom does not place 'base_link', as a static transform does" in why for why in said
    )
    assert any("world_from_camera stands still in 'footprint'" in why for why in said)


def test_pictures_that_are_counted_are_not_a_second_apart(tmp_path):
    """As in ICL-NUIM's associations.txt."""
    folder = tum(tmp_path / "in")
    (folder / "rgb.txt").unlink()
    lines = []
    for step in range(STEPS):
        scene.save_rgb(folder / f"rgb/{step}.png", scene.rgb(step))
        scene.save_depth(folder / f"depth/{step}.png", scene.depth_m(step), 5000)
        lines.append(f"{step} depth/{step}.png {step} rgb/{step}.png")
    (folder / "associations.txt").write_text("\n".join(lines))
    with pytest.raises(FormatError, match=r"count pictures \(0, 1, 2\) where stamps in seconds"):
        ingest(folder, tmp_path / "out")


def test_a_lens_with_a_thin_prism_is_refused(tmp_path):
    def extra(log, step, now):
        told = {"height": 48, "width": 64, "k": scene.K.reshape(-1), "d": [0.0] * 8 + [0.3] * 4}
        told |= {"distortion_model": "rational_polynomial", "header": header(log, now, "optical")}
        log.put("/camera/color/camera_info", "sensor_msgs/msg/CameraInfo", now, **told)

    record(tmp_path / "a.bag", "bag", extra=extra, info=False)
    with pytest.raises(FormatError, match=r"a lens of 12 coefficients \(thin prism, tilt\)"):
        ingest(tmp_path / "a.bag", tmp_path / "out")
