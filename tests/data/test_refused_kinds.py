"""What was once refused from people's own recordings: each kind is read, or a sentence helps.

In a trial from outside, 84 of 176 ingests of public recordings were refused, of the kinds below.
Each kind has a small sample in its own layout, made by the builders of the other tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import scene
import test_e57
import test_hdf5
import test_kitti_raw
import test_logs_without_a_camera as laser_logs
import test_rgbd_folders
import test_rlds
from cloud_files import POINTS, copc, ply_ascii
from scipy.spatial.transform import Rotation

from armillary.core.errors import ArmillaryError
from armillary.data import IngestOptions, ingest, open_dataset

UTM = 'PROJCS["WGS 84 / UTM",GEOGCS["g",UNIT["degree",0.0174532925199433]],UNIT["metre",1]]'
GEOCENTRIC = 'GEOCCS["WGS 84",DATUM["d",SPHEROID["s",6378137,298.257]],UNIT["metre",1]]'
LENS = test_rgbd_folders.LENS


@dataclass(frozen=True)
class Kind:
    """A kind of recording that was refused.

    Attributes:
        make: writes a sample below a folder, and returns what a user would pass.
        streams: what is read, sensors only; empty where it is refused.
        frames: steps that are read.
        acts: width of the actions; 0 for none.
        sentence: that refuses it; empty where it is read.
        options: that are passed.
    """

    make: Callable[[Path], Path]
    streams: tuple[str, ...] = ()
    frames: int = 0
    acts: int = 0
    sentence: str = ""
    options: IngestOptions | None = None


def slambook(folder: Path) -> Path:
    """Colour as PNG, depth as PGM, and all poses in one text: ``tx ty tz qx qy qz qw`` a line."""
    lines = []
    for step in range(5):
        scene.save_rgb(folder / f"color/{step + 1}.png", scene.rgb(step))
        scene.save_depth(folder / f"depth/{step + 1}.pgm", scene.depth_m(step), 1000)
        turn = Rotation.from_matrix(scene.pose(step)[:3, :3]).as_quat()
        lines.append(" ".join(f"{n:.6f}" for n in (*scene.pose(step)[:3, 3], *turn)))
    (folder / "pose.txt").write_text("\n".join(lines) + "\n")
    return folder


def text_as_video(folder: Path) -> Path:
    (folder / "notes.mp4").write_text("what the robot did on Monday\n" * 40)
    return folder / "notes.mp4"


def vtk(folder: Path) -> Path:
    rows = "".join("{} {} {}\n".format(*row) for row in POINTS)
    head = "# vtk DataFile Version 3.0\npoints\nASCII\nDATASET POLYDATA\n"
    (folder / "scan.vtk").write_text(f"{head}POINTS {len(POINTS)} float\n{rows}")
    return folder


def ascii_cloud(folder: Path) -> Path:
    np.savetxt(folder / "scan.xyz", POINTS, fmt="%.4f")
    return folder


def capitals(folder: Path) -> Path:
    path = ply_ascii(folder / "scan.ply")
    path.write_text(path.read_text().upper())
    return folder


def e57(folder: Path) -> Path:
    return test_e57.written(folder / "site.e57", test_e57.scan(POINTS))


def laser(folder: Path) -> Path:
    return laser_logs.record_laser(folder / "log", "db3", laser_logs.odometry)


LIDAR_POSES = ("points", "world_from_points")
KINDS = {
    "7-Scenes": Kind(
        lambda folder: test_rgbd_folders.seven_scenes(folder / "seq-01"),
        ("rgb", "depth", "world_from_camera"), test_rgbd_folders.STEPS, 6,
        options=IngestOptions(intrinsics=LENS),
    ),
    "7-Scenes without its lens": Kind(
        lambda folder: test_rgbd_folders.seven_scenes(folder / "seq-01"),
        sentence="--intrinsics .*that of 7-Scenes 585, 585, 320, 240",
    ),
    "slambook": Kind(
        slambook, sentence="look like RGB-D with all poses in one text, which is not read; the "
        r"format rgbd reads a 4x4 matrix for each picture in pose/N\.txt",
    ),
    "KITTI raw": Kind(
        test_kitti_raw.drive,
        ("rgb", "rgb_1", "points", "world_from_lidar", "world_from_camera", "world_from_camera_1"),
        test_kitti_raw.STEPS, 6,
    ),
    "RLDS": Kind(
        test_rlds.folder, ("rgb", "wrist", "proprio"), 2 * test_rlds.STEPS, 2,
        options=test_rlds.AT_5,
    ),
    "RLDS without a rate": Kind(test_rlds.folder, sentence="--fps"),
    "HDF5": Kind(
        lambda folder: test_hdf5.robomimic(folder / "low.hdf5"),
        ("rgb", "robot0_eye_in_hand_image", "proprio"), 2 * test_hdf5.STEPS, 7,
    ),
    "LaserScan without a camera": Kind(
        laser, ("lidar", "proprio", "world_from_robot"), laser_logs.STEPS, 6
    ),
    "text as video": Kind(text_as_video, sentence="is text, not a video"),
    "ASCII cloud": Kind(ascii_cloud, LIDAR_POSES, 1),
    "E57": Kind(e57, LIDAR_POSES, 1),
    "VTK": Kind(vtk, sentence="VTK is not read; save its points as PLY in ParaView"),
    "capitals in a header": Kind(capitals, LIDAR_POSES, 1),
    "COPC": Kind(lambda folder: copc(folder / "a.copc.laz", UTM), LIDAR_POSES, 1),
    "COPC with GEOCCS": Kind(
        lambda folder: copc(folder / "a.copc.laz", GEOCENTRIC),
        sentence=r"coordinates are geocentric .*so z is not up; project it first, e\.g\. to UTM",
    ),
}  # fmt: skip
CLOUDS = ("ASCII cloud", "E57", "capitals in a header", "COPC")


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_that_was_refused_is_read_or_a_sentence_helps(tmp_path, name):
    kind, out = KINDS[name], tmp_path / "out"
    (tmp_path / "in").mkdir()
    source = kind.make(tmp_path / "in")
    if kind.sentence:
        with pytest.raises(ArmillaryError, match=kind.sentence) as caught:
            ingest(source, out, options=kind.options)
        assert "\n" not in str(caught.value)
        assert not out.exists()
        return
    summary = ingest(source, out, options=kind.options)
    assert (summary.skipped, summary.frames) == ((), kind.frames)
    episode = open_dataset(out).read(0)
    assert {n for n, s in episode.streams.items() if s.kind != "truth"} == set(kind.streams)
    width = 0 if episode.actions is None else episode.actions.shape[1]
    assert width == kind.acts
    _check_values(name, episode.streams)


def _check_values(name: str, streams) -> None:
    """What stands in the recording, also in numbers."""
    if name in CLOUDS:
        cloud, place = streams["points"].values[0], streams["world_from_points"].values[0]
        found = cloud[:, :3] @ place[:3, :3].T + place[:3, 3]
        assert np.abs(found - POINTS).max() < 1e-3
    elif name == "7-Scenes":
        assert np.abs(streams["world_from_camera"].values[2] - scene.pose(2)).max() < 1e-6
    elif name == "KITTI raw":
        assert np.array_equal(streams["rgb"].values[1], test_kitti_raw.image(1, 2))
    elif name == "RLDS":
        sample = np.frombuffer(test_rlds.picture(0, 1, 1), np.uint8)
        assert np.array_equal(streams["rgb"].values[1], cv2.imdecode(sample, cv2.IMREAD_COLOR_RGB))
    elif name == "HDF5":
        assert np.abs(streams["rgb"].values[0].astype(int) - test_hdf5.images(0)[0]).mean() < 5
    else:
        assert name == "LaserScan without a camera"
        assert np.allclose(streams["lidar"].values[:, 0], 1.0 + np.arange(laser_logs.STEPS))
