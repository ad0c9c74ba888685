"""Folders of clouds become datasets; what cannot be used is named, and nothing is half-written."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest
from cloud_files import (
    COLOURS,
    INTENSITY,
    POINTS,
    US_FOOT_M,
    bare,
    geo_keys,
    las,
    pcd_ascii,
    pcd_binary,
    pcd_compressed,
    ply_ascii,
    ply_binary,
    record,
)

from armillary.cli.main import main
from armillary.core.errors import ConfigError, FormatError
from armillary.data import IngestOptions, ingest, open_dataset, verify

AT_10 = IngestOptions(fps=10.0)
TR = "Tr: 0 -1 0 0 0 0 -1 -0.08 1 0 0 -0.27\n"
FORWARD = "1 0 0 0 0 1 0 0 0 0 1 0\n1 0 0 0 0 1 0 0 0 0 1 5\n1 0 0 0 0 1 0 0 0 0 1 10\n"


def placed_m(episode, step: int) -> np.ndarray:
    """The points of a step in the world, float64."""
    values = episode.streams["points"].values[step]
    values = values[np.isfinite(values[:, 0]), :3].astype(np.float64)
    [pose] = (s.values[step] for n, s in episode.streams.items() if n.startswith("world_from_"))
    return values @ pose[:3, :3].T + pose[:3, 3]


@pytest.mark.parametrize(
    ("suffix", "makers", "fmt"),
    [
        ("ply", [ply_ascii, lambda p: ply_binary(p, "<"), lambda p: ply_binary(p, ">")], "ply"),
        ("pcd", [pcd_ascii, pcd_binary, pcd_compressed], "pcd"),
    ],
)
def test_a_folder_is_one_episode_in_natural_order(tmp_path, suffix, makers, fmt):
    (tmp_path / "in").mkdir()
    for name, make in zip(("scan1", "scan2", "scan10"), makers, strict=True):
        make(tmp_path / f"in/{name}.{suffix}")
    late = POINTS + 1
    (pcd_binary if fmt == "pcd" else ply_ascii)(tmp_path / f"in/scan10.{suffix}", late)
    summary = ingest(tmp_path / "in", tmp_path / "out", options=AT_10)
    assert (summary.written, summary.frames, summary.skipped) == (1, 3, ())
    dataset = open_dataset(tmp_path / "out")
    episode = dataset.read(0)
    assert dataset.fps == 10
    assert episode.time_ns.tolist() == [0, 100_000_000, 200_000_000]
    assert np.abs(placed_m(episode, 1) - POINTS).max() < 1e-3
    assert np.abs(placed_m(episode, 2) - late).max() < 1e-3
    assert np.abs(episode.streams["points"].values[0, :, 4:] - COLOURS / 255).max() < 1e-6
    assert verify(tmp_path / "out").ok
    assert dataset.info["robot_type"] == "lidar"


def test_a_single_file_is_an_episode_of_one_step(tmp_path):
    summary = ingest(
        ply_ascii(tmp_path / "a.ply"), tmp_path / "out", options=IngestOptions(license="CC0")
    )
    assert (summary.written, summary.frames) == (1, 1)
    episode = open_dataset(tmp_path / "out").read(0)
    assert (episode.source, episode.license) == ("a.ply", "CC0")


def test_each_folder_below_is_an_episode(tmp_path):
    for name in ("b", "a", "a/deep"):
        (tmp_path / "in" / name).mkdir(parents=True, exist_ok=True)
        ply_ascii(tmp_path / "in" / name / "0.ply")
        ply_ascii(tmp_path / "in" / name / "1.ply")
    (tmp_path / "in/.hidden").mkdir()
    ply_ascii(tmp_path / "in/.hidden/0.ply")
    summary = ingest(tmp_path / "in", tmp_path / "out", options=IngestOptions(fps=4.0))
    dataset = open_dataset(tmp_path / "out")
    assert (summary.written, summary.frames, dataset.fps) == (3, 6, 4.0)
    assert {dataset.read_low(i).source for i in range(3)} == {"in/a", "in/a/deep", "in/b"}


def test_las_in_feet_becomes_metres_and_keeps_its_place(tmp_path):
    """The trap: unread, this scan would be three times too large, at another place."""
    (tmp_path / "in").mkdir()
    foot = record(34735, geo_keys([(1024, 1), (3076, 9003)]))
    corner = np.array([984_250.0, 200_000.0, 100.0])
    las(tmp_path / "in/0.las", POINTS + corner, [foot])
    las(tmp_path / "in/1.las", POINTS + corner + 30, [foot], offset=(984_000.0, 200_000.0, 0.0))
    ingest(tmp_path / "in", tmp_path / "out", options=AT_10)
    episode = open_dataset(tmp_path / "out").read(0)
    for step in range(2):
        want = (POINTS + corner + 30 * step) * US_FOOT_M
        assert np.abs(placed_m(episode, step) - want).max() < 1e-3
    assert np.abs(episode.streams["points"].values[..., :3]).max() < 100
    poses = episode.streams["world_from_points"].values
    assert np.array_equal(poses[0], poses[1])  # one origin for the whole episode


def kitti(folder, poses: str | None = FORWARD):
    for number in range(3):
        bare(folder / f"velodyne/{number:06d}.bin", POINTS + number, INTENSITY)
    (folder / "times.txt").write_text("0.0\n0.104\n0.207\n")
    (folder / "calib.txt").write_text("P0: 1 2 3\n" + TR)
    if poses is not None:
        (folder / "poses.txt").write_text(poses)


def test_kitti_poses_are_of_camera_0_and_become_the_lidars(tmp_path):
    """Camera 0 goes along its z, so the LiDAR goes along its own x."""
    kitti(tmp_path / "07")
    summary = ingest(tmp_path / "07", tmp_path / "out")
    assert (summary.written, summary.frames) == (1, 3)
    dataset = open_dataset(tmp_path / "out")
    episode = dataset.read(0)
    assert episode.source == "07"
    assert episode.time_ns.tolist() == [0, 104_000_000, 207_000_000]
    assert dataset.fps == pytest.approx(1 / 0.1035, abs=0.01)
    assert np.abs(placed_m(episode, 2) - (POINTS + 2 + np.array([10.0, 0, 0]))).max() < 1e-3
    assert episode.streams["points"].frame == "lidar"


def test_the_motion_of_a_moving_lidar_is_the_action(tmp_path):
    kitti(tmp_path / "07")
    summary = ingest(tmp_path / "07", tmp_path / "out")
    assert "the action is the motion of the lidar from step to step" in summary.notes[0]
    forward = np.array([5.0, 0, 0, 0, 0, 0])
    actions = open_dataset(tmp_path / "out").read(0).actions
    np.testing.assert_allclose(actions, np.stack([forward, forward]), atol=1e-5)
    (tmp_path / "07/velodyne/000001.bin").write_bytes(b"damaged")
    ingest(tmp_path / "07", tmp_path / "gap")
    over = open_dataset(tmp_path / "gap").read(0).actions
    np.testing.assert_allclose(over, 2 * forward[None], atol=1e-5)


def test_a_lidar_that_stands_or_is_asked_not_to_has_no_action(tmp_path):
    kitti(tmp_path / "07")
    asked = ingest(tmp_path / "07", tmp_path / "asked", options=IngestOptions(ego_motion=False))
    still = FORWARD.splitlines(keepends=True)[0] * 3
    kitti(tmp_path / "08", still)
    stood = ingest(tmp_path / "08", tmp_path / "stood")
    for summary in (asked, stood):
        assert not any("motion" in note for note in summary.notes)
        assert open_dataset(summary.out).read(0).actions is None


def test_kitti_as_the_benchmark_has_it(tmp_path):
    for number in ("00", "01"):
        kitti(tmp_path / f"dataset/sequences/{number}", None)
        (tmp_path / "dataset/poses").mkdir(exist_ok=True)
        (tmp_path / f"dataset/poses/{number}.txt").write_text(FORWARD)
    assert ingest(tmp_path / "dataset", tmp_path / "out").written == 2
    assert "world_from_lidar" in open_dataset(tmp_path / "out").read(1).streams
    (tmp_path / "dataset/poses/01.txt").unlink()
    with pytest.raises(FormatError, match="sequence 01 has no poses and others have"):
        ingest(tmp_path / "dataset", tmp_path / "out2")


def test_kitti_without_poses_claims_none_and_says_so(tmp_path):
    kitti(tmp_path / "07", None)
    found = ingest(tmp_path / "07", tmp_path / "out")
    assert found.notes[0].startswith("07: there are no poses; poses.txt, or poses/07.txt beside")
    assert open_dataset(tmp_path / "out").streams == {"points": "points"}


P2 = "P2: 40 0 24 8 0 40 16 0 0 0 1 0\n"  # camera 2 is 0.2 m left of camera 0


def kitti_pictures(folder, count: int = 3, cameras=("image_2", "image_0")):
    for camera in cameras:
        (folder / camera).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            image = np.full((32, 48, 3), 20 * number, np.uint8)
            cv2.imwrite(str(folder / f"{camera}/{number:06d}.png"), image)


def test_pictures_beside_kittis_sweeps_are_said_to_be_left_out(tmp_path):
    kitti(tmp_path / "07")
    kitti_pictures(tmp_path / "07")
    found = ingest(tmp_path / "07", tmp_path / "out")
    assert found.notes[0].startswith("07: the pictures of image_0, image_2 are left out")
    with pytest.raises(ConfigError, match="--max-side means nothing for the format 'kitti'"):
        ingest(tmp_path / "07", tmp_path / "no", options=IngestOptions(max_side=16))


def test_kittis_pictures_are_read_with_their_times_and_poses_where_no_sweep_is(tmp_path):
    """Camera 0 goes along its z, so in the LiDAR's world every camera goes along x."""
    kitti(tmp_path / "07")
    shutil.rmtree(tmp_path / "07/velodyne")
    kitti_pictures(tmp_path / "07")
    (tmp_path / "07/calib.txt").write_text(P2 + TR)
    found = ingest(tmp_path / "07", tmp_path / "out")
    assert [why for _, why in found.left_out] == [
        "image_0: grey cameras are not read where there is colour."
    ]
    episode = open_dataset(found.out).read(0)
    assert episode.time_ns.tolist() == [0, 104_000_000, 207_000_000]
    assert episode.streams["rgb"].values[:, 0, 0, 0].tolist() == [0, 20, 40]
    assert np.array_equal(episode.streams["rgb"].intrinsics, [[40, 0, 24], [0, 40, 16], [0, 0, 1]])
    poses = episode.streams["world_from_camera"].values
    zero_from_lidar = np.array(TR.split()[1:], float).reshape(3, 4)
    turned, shift = zero_from_lidar[:, :3].T, zero_from_lidar[:, 3]
    assert np.allclose(poses[0, :3, 3], turned @ (np.array([-0.2, 0, 0]) - shift), atol=1e-6)
    assert np.allclose(poses[2, :3, 3] - poses[0, :3, 3], [10, 0, 0], atol=1e-6)
    (tmp_path / "07/image_2/000002.png").unlink()
    with pytest.raises(FormatError, match=r"image_2: has 2 pictures, times.txt has 3 times"):
        ingest(tmp_path / "07", tmp_path / "no")
    times = (tmp_path / "07/times.txt").read_text()
    (tmp_path / "07/times.txt").write_text("")
    with pytest.raises(FormatError, match=r"times\.txt: is empty; a line with the seconds of each"):
        ingest(tmp_path / "07", tmp_path / "no")
    (tmp_path / "07/times.txt").write_text(times)
    (tmp_path / "07/calib.txt").unlink()
    shutil.rmtree(tmp_path / "07/image_2")
    grey = ingest(tmp_path / "07", tmp_path / "grey")
    assert [why for _, why in grey.left_out] == [
        "calib.txt is missing, so there are no lenses and no poses."
    ]
    assert dict(open_dataset(grey.out).streams) == {"rgb": "rgb"}


def test_nuscenes_says_what_it_lacks_and_leaves_out(tmp_path):
    name = "n015-2018-07-24-11-22-45+0800__{}__1532402927647951{}"
    sweep = tmp_path / "in/samples/LIDAR_TOP" / name.format("LIDAR_TOP", ".pcd.bin")
    bare(sweep, POINTS, INTENSITY, np.arange(4))
    (tmp_path / "in/samples/CAM_FRONT").mkdir()
    picture = tmp_path / "in/samples/CAM_FRONT" / name.format("CAM_FRONT", ".jpg")
    picture.write_bytes(b"x")
    found = ingest(tmp_path / "in", tmp_path / "out")
    assert found.notes[0].startswith("there are no poses; v1.0-*/sample_data.json was looked for")
    assert found.notes[1].endswith("left out: CAM_FRONT")


def test_nuscenes_sweeps_are_cut_where_scenes_change(tmp_path):
    start = 1_532_402_927_647_951
    log = "n015-2018-07-24-11-22-45+0800__LIDAR_TOP__"
    micros = [start, start + 500_000, start + 1_000_000, start + 30_000_000, start + 30_500_000]
    for number, at in enumerate(micros):
        bare(tmp_path / f"LIDAR_TOP/{log}{at}.pcd.bin", POINTS + number, INTENSITY, np.arange(4))
    summary = ingest(tmp_path / "LIDAR_TOP", tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert (summary.written, dataset.lengths.tolist(), dataset.fps) == (2, [3, 2], 2.0)
    episode = dataset.read(1)
    assert episode.time_ns.tolist() == [0, 500_000_000]
    assert episode.streams["points"].columns == ("x", "y", "z", "intensity", "ring")
    assert np.abs(episode.streams["points"].values[1, :, :3] - (POINTS + 4)).max() < 1e-3


def test_what_cannot_be_used_is_named_and_times_stay(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(5):
        ply_ascii(tmp_path / f"in/{number}.ply", POINTS + number)
    (tmp_path / "in/1.ply").write_bytes((tmp_path / "in/1.ply").read_bytes()[:-60])
    ply_ascii(tmp_path / "in/2.ply", np.full((4, 3), np.nan))
    text = (tmp_path / "in/3.ply").read_text().replace("float intensity", "float other")
    (tmp_path / "in/3.ply").write_text(text)
    summary = ingest(tmp_path / "in", tmp_path / "out", options=AT_10)
    reasons = {path.name: reason for path, reason in summary.skipped}
    assert reasons.keys() == {"1.ply", "2.ply", "3.ply"}
    assert "is cut off" in reasons["1.ply"]
    assert "all of its 4 points are NaN" in reasons["2.ply"]
    assert "has the features x y z r g b, the first cloud has x y z intensity" in reasons["3.ply"]
    assert open_dataset(tmp_path / "out").read(0).time_ns.tolist() == [0, 400_000_000]


@pytest.mark.parametrize("fmt", ["ply", "pcd", "las", "kitti", "nuscenes"])
def test_nothing_usable_is_one_sentence_and_leaves_nothing(tmp_path, fmt):
    (tmp_path / "in").mkdir()
    suffix = {"kitti": "bin", "nuscenes": "pcd.bin"}.get(fmt, fmt)
    with pytest.raises(FormatError, match="no such file or folder"):
        ingest(tmp_path / "none", tmp_path / "out", fmt)
    with pytest.raises(FormatError, match="holds no point cloud; looked for"):
        ingest(tmp_path / "in", tmp_path / "out", fmt)
    (tmp_path / f"in/0.{suffix}").write_bytes(b"not a cloud")
    with pytest.raises(
        FormatError, match="no usable point cloud; the first problem was: "
    ) as caught:
        ingest(tmp_path / "in", tmp_path / "out", fmt)
    assert f"in/0.{suffix}: " in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]


def test_a_folder_of_several_formats_is_asked_about(tmp_path):
    (tmp_path / "in").mkdir()
    ply_ascii(tmp_path / "in/0.ply")
    pcd_ascii(tmp_path / "in/0.pcd")
    with pytest.raises(ConfigError, match=r"several formats \(pcd, ply\); say with --format"):
        ingest(tmp_path / "in", tmp_path / "out")
    assert ingest(tmp_path / "in", tmp_path / "out", "pcd").frames == 1


def test_what_lies_in_the_folder_of_a_format_belongs_to_it(tmp_path):
    """Radars are PCD; the same beside loose sweeps of no layout may be anything."""
    name = "n015-2018-07-24-11-22-45+0800__LIDAR_TOP__1532402927647951.pcd.bin"
    bare(tmp_path / "laid/samples/LIDAR_TOP" / name, POINTS, INTENSITY, np.arange(4))
    bare(tmp_path / "loose" / name, POINTS, INTENSITY, np.arange(4))
    (tmp_path / "laid/samples/RADAR_FRONT").mkdir()
    pcd_ascii(tmp_path / "laid/samples/RADAR_FRONT/0.pcd")
    pcd_ascii(tmp_path / "loose/0.pcd")
    for at in ("laid", "laid/samples"):
        found = ingest(tmp_path / at, tmp_path / f"{at}-out")
        assert found.notes[-1].endswith("left out: RADAR_FRONT")
    with pytest.raises(ConfigError, match=r"several formats \(nuscenes, pcd\)"):
        ingest(tmp_path / "loose", tmp_path / "out")
    (tmp_path / "empty/LIDAR_TOP").mkdir(parents=True)
    pcd_ascii(tmp_path / "empty/0.pcd")
    assert ingest(tmp_path / "empty", tmp_path / "pcd").frames == 1


def test_options_that_mean_nothing_are_refused(tmp_path):
    cloud = ply_ascii(tmp_path / "a.ply")
    with pytest.raises(ConfigError, match="--max-side means nothing for the format 'ply'"):
        ingest(cloud, tmp_path / "out", options=IngestOptions(max_side=64))
    with pytest.raises(ConfigError, match="--unit means nothing for the format 'video'"):
        ingest(cloud, tmp_path / "out", "video", options=IngestOptions(unit="m"))
    kitti(tmp_path / "07")
    with pytest.raises(ConfigError, match="--unit means nothing for the format 'kitti'"):
        ingest(tmp_path / "07", tmp_path / "out", options=IngestOptions(unit="ft"))
    for options in (IngestOptions(action_topic="/cmd_vel"), IngestOptions(tolerance_s=0.1)):
        with pytest.raises(ConfigError, match="means nothing for the format 'ply'; leave it out"):
            ingest(cloud, tmp_path / "out", options=options)


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"unit": "inch"}, r"no unit called 'inch'.*Known: ft, m, mm, us-ft"),
        ({"fps": 0.0}, "--fps is steps per second, above 0, got 0"),
        ({"fps": float("nan")}, "--fps is steps per second"),
        ({"max_side": 0}, "--max-side is pixels, 16 or more, got 0"),
        ({"tolerance_s": float("nan")}, "--tolerance-s is seconds of at least 0"),
        ({"intrinsics": (0.0, 1.0, 2.0, 3.0)}, "--intrinsics are fx fy cx cy in pixels, .*0 1 2 3"),
        ({"intrinsics": (1.0, 1.0, float("inf"), 3.0)}, "got 1 1 inf 3"),
    ],
)
def test_options_that_cannot_be_are_said(chosen, sentence):
    with pytest.raises(ConfigError, match=sentence):
        IngestOptions(**chosen)


def test_steps_too_far_from_the_first_are_named(tmp_path):
    (tmp_path / "in").mkdir()
    ply_ascii(tmp_path / "in/0.ply")
    ply_ascii(tmp_path / "in/1.ply", POINTS + 100_000)
    summary = ingest(tmp_path / "in", tmp_path / "out", options=IngestOptions(unit="m", fps=10.0))
    [(path, reason)] = summary.skipped
    assert path.name == "1.ply"
    assert "km from the origin of its recording" in reason


def test_names_with_dots_stay_inside_and_broken_links_are_no_clouds(tmp_path):
    folder = tmp_path / "in" / "a..b"
    folder.mkdir(parents=True)
    ply_ascii(folder / "a..%2f..%2fetc.ply")
    (folder / "link.ply").symlink_to(tmp_path / "nowhere.ply")
    assert ingest(folder, tmp_path / "out").frames == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out"]


def test_the_command_line_takes_clouds(tmp_path, capsys):
    path = ply_ascii(tmp_path / "a.ply", POINTS * 1000)
    assert main(["ingest", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "say their unit with --unit" in capsys.readouterr().err
    assert main(["ingest", str(path), "--out", str(tmp_path / "out"), "--unit", "mm"]) == 0
    assert main(["data", "show", str(tmp_path / "out")]) == 0
    assert "points" in capsys.readouterr().out
    assert main(["data", "verify", str(tmp_path / "out")]) == 0
