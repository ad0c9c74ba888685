"""Sources of many formats with damage anywhere: words or a dataset, and little memory.

Formats with a trap of their own have such a test beside it: RLDS, HDF5, Zarr, E57, Argoverse 2,
EuRoC, ICL-NUIM, KITTI raw, nuScenes, LeRobot v2 and messages of clouds. With those, more than 2,000
damaged files are read.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cloud_files import POINTS, copc, las, pcd_compressed, ply_ascii
from counting_world import write_counted
from damage import ingest_damaged, little_memory

from armillary.data import IngestOptions

pytest.importorskip("rosbags")

import test_foxglove_logs as foxglove
import test_logs_of_clouds as clouds
import test_robot_logs as robot
from test_cloud_files import METRE_KEYS
from test_cloud_ingest import P2, TR, kitti, kitti_pictures
from test_logs_without_a_camera import record_laser
from test_picture_folders import pictures
from test_refused_kinds import UTM
from test_rgbd_folders import redwood, scannet, seven_scenes, tum

Make = Callable[[Path], Path]
AT_10 = IngestOptions(fps=10)


def messages(folder: Path, encoding: str, packing: str) -> Path:
    """Return a log of Foxglove's messages: a camera, a laser with poses, and clouds."""
    sent = [
        one
        for step in range(3)
        for one in (*foxglove.camera(step, packing == "none"), *foxglove.laser(step, np.eye(4)))
    ]
    sent += [foxglove.cloud(step)[1] for step in range(3)]
    return foxglove.write(folder / "a.mcap", sent, encoding, packing)


def rows(folder: Path) -> Path:
    """Return a text of points, with a header that names its columns."""
    (folder / "a.xyz").write_text("# x y z\n" + "\n".join(" ".join(map(str, r)) for r in POINTS))
    return folder


def drive(folder: Path) -> Path:
    """Return a sequence of KITTI's odometry: sweeps, times and poses."""
    kitti(folder / "07")
    return folder


def seen_drive(folder: Path) -> Path:
    """Return one with pictures in place of sweeps."""
    kitti(folder / "07")
    for sweep in (folder / "07/velodyne").iterdir():
        sweep.unlink()
    (folder / "07/velodyne").rmdir()
    (folder / "07/calib.txt").write_text(P2 + TR)
    kitti_pictures(folder / "07")
    return folder


def several(folder: Path) -> Path:
    """Return clouds of PLY and nothing else."""
    for number in range(3):
        ply_ascii(folder / f"{number}.ply", POINTS + number)
    return folder


SOURCES: dict[str, tuple[str, Make, IngestOptions | None]] = {
    "foxglove json": ("ros", lambda f: messages(f, "json", ""), None),
    "foxglove protobuf": ("ros", lambda f: messages(f, "protobuf", "none"), None),
    "foxglove zstd": ("ros", lambda f: messages(f, "protobuf", "zstd"), None),
    "ros 1": ("ros", lambda f: robot.record(f / "a.bag", "bag"), None),
    "ros 2": ("ros", lambda f: robot.record(f / "log", "mcap"), None),
    "ros 2, scans": ("ros", lambda f: record_laser(f / "log", "db3", robot.odometry), None),
    "ros 2, clouds": (
        "ros",
        lambda f: clouds.record_clouds(
            f / "log", "mcap", lambda step: clouds.cloud(clouds.points(step))
        ),
        None,
    ),
    "tum": ("tum", lambda f: tum(f / "a"), None),
    "scannet": ("rgbd", lambda f: scannet(f / "a"), None),
    "7-scenes": ("rgbd", lambda f: seven_scenes(f / "a"), None),
    "redwood": ("rgbd", lambda f: redwood(f / "a"), None),
    "kitti": ("kitti", drive, None),
    "kitti, pictures": ("kitti", seen_drive, None),
    "lerobot": ("lerobot", lambda f: write_counted(f / "a"), None),
    "pictures": ("pictures", lambda f: pictures(f, [f"{n}.png" for n in range(4)]), AT_10),
    "text": ("ascii", rows, None),
    "las": ("las", lambda f: las(f / "a.las", POINTS, [METRE_KEYS]), None),
    "pcd": ("pcd", lambda f: pcd_compressed(f / "a.pcd"), None),
    "ply": ("ply", several, AT_10),
}


@pytest.mark.runs  # 25 damaged recordings a format: 50 s
@pytest.mark.parametrize("name", SOURCES)
def test_damage_anywhere_is_words_or_a_dataset_and_takes_little_memory(tmp_path, name):
    fmt, make, options = SOURCES[name]
    (tmp_path / "in").mkdir()
    source = make(tmp_path / "in")
    ingest_damaged(tmp_path, source, fmt, seed=11, runs=25, options=options)


def test_packed_points_are_unpacked_elsewhere(tmp_path):
    """That process has a bound of its own, and starts for every file."""
    (tmp_path / "in").mkdir()
    source = copc(tmp_path / "in/a.copc.laz", UTM)
    ingest_damaged(tmp_path, source, "las", seed=11, runs=8)


def test_memory_that_is_taken_is_found():
    with (
        pytest.raises(AssertionError, match=r"MiB were taken, 32 are allowed"),
        little_memory(32 << 20),
    ):
        np.ones(64 << 20).sum()  # so much that memory given back meanwhile cannot hide it
    with little_memory(32 << 20):  # and given back, it is not held against the next
        np.ones(1 << 17).sum()
