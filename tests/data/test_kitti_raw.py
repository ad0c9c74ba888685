"""Drives of KITTI raw arrive with their poses by the written formula; what is missing is said."""

from __future__ import annotations

import math
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from damage import ingest_damaged

from armillary.core.errors import FormatError
from armillary.data import IngestOptions, ingest, open_dataset, verify
from armillary.data.sources import kitti_raw

STEPS, ROWS, COLUMNS = 4, 24, 80
DRIVE = "2011_09_26/2011_09_26_drive_0001_sync"
# of the size of the calibration of 2011-09-26, with fewer pixels; rotations to all digits
K = np.array([[46.5, 0.0, 39.25], [0.0, 46.5, 11.1], [0.0, 0.0, 1.0]])
SHIFTS = {"02": [0.06, 0.0003, 0.0027], "03": [-0.47, 0.003, 0.0027]}


def turned(roll: float, pitch: float, yaw: float) -> np.ndarray:
    """Multiply Rz Ry Rx out, which the reader does not."""
    (a, b), (c, d), (e, f) = ((math.cos(x), math.sin(x)) for x in (roll, pitch, yaw))
    about_x = np.array([[1, 0, 0], [0, a, -b], [0, b, a]])
    about_y = np.array([[c, 0, d], [0, 1, 0], [-d, 0, c]])
    about_z = np.array([[e, -f, 0], [f, e, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


RECTIFIED = turned(-0.004, 0.007, 0.01)
CAMERA_FROM_LIDAR = np.array([[0, -1.0, 0], [0, 0, -1], [1, 0, 0]]) @ turned(0.01, -0.015, 0.007)
CAMERA_AT = np.array([-0.004, -0.076, -0.272])
LIDAR_FROM_IMU, IMU_AT = turned(0.015, -0.002, 0.0008), np.array([-0.81, 0.32, -0.8])


def words(*arrays) -> str:
    return " ".join(f"{float(x)!r}" for array in arrays for x in np.asarray(array).reshape(-1))


def oxts(step: int) -> list[float]:
    place = [49.01 + 2e-5 * step, 8.43 + 3e-5 * step, 112.8 + 0.1 * step]
    return [*place, 0.03 + 0.01 * step, -0.02, 1.2 + 0.2 * step, *[0.5] * 24]


def times(steps: int = STEPS) -> str:
    return "".join(f"2011-09-26 13:02:{25 + 0.103_5 * n:012.9f}\n" for n in range(steps))


def image(step: int, camera: int) -> np.ndarray:
    ramp = np.arange(COLUMNS, dtype=np.uint8) * 3
    frame = np.stack(
        np.broadcast_arrays(ramp[None], np.uint8(9 * camera), np.uint8(20 * step % 256)), 2
    )
    return np.ascontiguousarray(np.broadcast_to(frame, (ROWS, COLUMNS, 3)))


def points(step: int) -> np.ndarray:
    values = np.random.default_rng(step).uniform(-20, 20, (5 + step, 4))
    return np.column_stack([np.abs(values[:, :1]) + 4, values[:, 1:]]).astype(np.float32)


def written(path: Path, data: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)


def drive(root: Path, steps: int = STEPS, name: str = DRIVE) -> Path:
    folder = root / name
    for step in range(steps):
        stem = f"data/{step:010d}"
        for camera in range(4):
            pixels = cv2.cvtColor(image(step, camera), cv2.COLOR_RGB2BGR)
            pixels = pixels[..., 0] if camera < 2 else pixels
            data = cv2.imencode(".png", pixels)[1].tobytes()
            written(folder / f"image_{camera:02d}/{stem}.png", data)
        written(folder / f"velodyne_points/{stem}.bin", points(step).tobytes())
        written(folder / f"oxts/{stem}.txt", words(oxts(step)) + "\n")
    for part in ("image_00", "image_01", "image_02", "image_03", "velodyne_points", "oxts"):
        written(folder / part / "timestamps.txt", times(steps))
    for part in ("start", "end"):
        written(folder / f"velodyne_points/timestamps_{part}.txt", times(steps))
    day = folder.parent
    lines = ["calib_time: 09-Jan-2012 13:57:47", "corner_dist: 9.95e-02"]
    for number in ("00", "01", "02", "03"):
        shift = SHIFTS.get(number, [0.0, 0.0, 0.0])
        lines += [
            f"S_{number}: 1392 512", f"S_rect_{number}: {COLUMNS:e} {ROWS:e}",
            f"R_rect_{number}: {words(RECTIFIED)}",
            f"P_rect_{number}: {words(np.column_stack([K, K @ shift]))}",
        ]  # fmt: skip
    written(day / "calib_cam_to_cam.txt", "\n".join(lines) + "\n")
    for part, rotation, at in (("velo_to_cam", CAMERA_FROM_LIDAR, CAMERA_AT),
                               ("imu_to_velo", LIDAR_FROM_IMU, IMU_AT)):  # fmt: skip
        text = f"calib_time: 25-May-2012 16:47:16\nR: {words(rotation)}\nT: {words(at)}\n"
        written(day / f"calib_{part}.txt", text)
    return folder


def homogeneous(rotation: np.ndarray, at: np.ndarray) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, at
    return pose


def imu_pose(step: int) -> np.ndarray:
    """Return the pose by the formula of the development kit, in its own words."""
    places = []
    for at in (0, step):
        latitude, longitude, altitude = oxts(at)[:3]
        scale, radius = math.cos(oxts(0)[0] * math.pi / 180), 6378137
        east = scale * longitude * math.pi * radius / 180
        north = scale * radius * math.log(math.tan((90 + latitude) * math.pi / 360))
        places.append(np.array([east, north, altitude]))
    return homogeneous(turned(*oxts(step)[3:6]), places[1] - places[0])


def refused(source: Path, sentence: str) -> None:
    out = source.parent / "no"
    with pytest.raises(FormatError, match=re.escape(sentence)):
        ingest(source, out)
    assert not out.exists()


# --- what arrives ----------------------------------------------------------------------------


def test_a_drive_arrives(tmp_path):
    source = drive(tmp_path)
    found = ingest(source, tmp_path / "out")
    assert (found.written, found.frames, found.skipped) == (1, STEPS, ())
    assert [why for _, why in found.left_out] == [
        "image_00 and image_01: grey cameras are not read."
    ]
    dataset = open_dataset(tmp_path / "out")
    assert dataset.fps == 10
    assert dict(dataset.cameras) == {"rgb": "rgb", "rgb_1": "rgb"}
    episode = dataset.read(0)
    assert episode.source == "2011_09_26_drive_0001_sync"
    assert episode.time_ns.tolist() == [0, 103_500_000, 207_000_000, 310_500_000]
    for camera, stream in ((2, "rgb"), (3, "rgb_1")):
        seen = episode.streams[stream]
        assert np.array_equal(seen.values, [image(step, camera) for step in range(STEPS)])
        assert np.array_equal(seen.intrinsics, K)
    cloud = episode.streams["points"]
    assert (cloud.columns, cloud.frame) == (("x", "y", "z", "intensity"), "lidar")
    for step in range(STEPS):
        assert np.array_equal(cloud.values[step, : 5 + step], points(step))
    assert verify(tmp_path / "out").ok


def test_poses_are_those_of_the_formula(tmp_path):
    ingest(drive(tmp_path), tmp_path / "out")
    streams = open_dataset(tmp_path / "out").read(0).streams
    assert {n for n, s in streams.items() if s.kind == "pose"} == {
        "world_from_lidar", "world_from_camera", "world_from_camera_1"
    }  # fmt: skip
    lidar_from_imu = homogeneous(LIDAR_FROM_IMU, IMU_AT)
    for step in range(STEPS):
        want = imu_pose(step) @ np.linalg.inv(lidar_from_imu)
        assert np.abs(streams["world_from_lidar"].values[step] - want).max() < 1e-8
    assert streams["world_from_lidar"].frame == "world"


@pytest.mark.parametrize(
    ("number", "pose"), [("02", "world_from_camera"), ("03", "world_from_camera_1")]
)
def test_points_are_seen_where_the_calibration_projects_them(tmp_path, number, pose):
    """P_rect R_rect Tr says where a point of the LiDAR is seen; our poses and K say the same."""
    ingest(drive(tmp_path), tmp_path / "out")
    streams = open_dataset(tmp_path / "out").read(0).streams
    xyz1 = np.column_stack([points(2)[:, :3], np.ones(7)]).astype(np.float64)
    chain = homogeneous(RECTIFIED, np.zeros(3)) @ homogeneous(CAMERA_FROM_LIDAR, CAMERA_AT)
    want = np.column_stack([K, K @ SHIFTS[number]]) @ chain @ xyz1.T
    world = streams["world_from_lidar"].values[2] @ xyz1.T
    seen = K @ (np.linalg.inv(streams[pose].values[2]) @ world)[:3]
    assert np.abs(seen[:2] / seen[2] - want[:2] / want[2]).max() < 1e-6


def test_a_day_and_the_folder_of_all_days_arrive(tmp_path):
    drive(tmp_path / "in")
    drive(tmp_path / "in", name="2011_09_26/2011_09_26_drive_0002_sync")
    for source, out in ((tmp_path / "in", "a"), (tmp_path / "in/2011_09_26", "b")):
        assert kitti_raw.detect(source)
        assert ingest(source, tmp_path / out).written == 2


def test_sweeps_in_text_arrive(tmp_path):
    source = drive(tmp_path)
    for step in range(STEPS):
        file = source / f"velodyne_points/data/{step:010d}.bin"
        file.with_suffix(".txt").write_text("\n".join(words(row) for row in points(step)))
        file.unlink()
    ingest(source, tmp_path / "out")
    assert np.array_equal(
        open_dataset(tmp_path / "out").read(0).streams["points"].values[0, :5], points(0)
    )


def test_points_that_are_nowhere_are_counted(tmp_path):
    source = drive(tmp_path)
    values = points(0)
    values[1, 0] = np.nan
    (source / "velodyne_points/data/0000000000.bin").write_bytes(values.tobytes())
    found = ingest(source, tmp_path / "out")
    assert "1 points without a place (NaN or infinite) were left out." in found.notes


# --- what is missing -------------------------------------------------------------------------


def without(folder: Path, *names: str) -> Path:
    for name in names:
        for path in sorted(folder.glob(f"{name}/**/*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    return folder


def said(found) -> str:
    return " ".join(why for _, why in found.left_out)


def test_sweeps_that_are_missing_cut_the_drive(tmp_path):
    """As in drive 0009 of 2011-09-26, where four sweeps in a row were never published."""
    source = drive(tmp_path, steps=12)
    for step in range(4, 8):
        (source / f"velodyne_points/data/{step:010d}.bin").unlink()
    found = ingest(source, tmp_path / "out")
    assert (found.written, found.frames) == (2, 8)
    assert "velodyne_points/data: has no file for 4 of 12 frames (first: 0000000004)" in said(found)
    later = open_dataset(tmp_path / "out").read(1)
    want = imu_pose(8) @ np.linalg.inv(homogeneous(LIDAR_FROM_IMU, IMU_AT))
    assert np.abs(later.streams["world_from_lidar"].values[0] - want).max() < 1e-8
    assert np.array_equal(later.streams["points"].values[0, :13], points(8))


def test_a_drive_without_pictures_has_clouds_and_their_poses(tmp_path):
    source = without(drive(tmp_path), "image_00", "image_01", "image_02", "image_03")
    found = ingest(source, tmp_path / "out")
    assert "image_02/data: has no file, so there are no pictures of the left colour" in said(found)
    streams = open_dataset(tmp_path / "out").read(0).streams
    assert {*streams} == {"points", "world_from_lidar"}


def test_the_right_camera_alone_is_the_one_that_a_model_sees(tmp_path):
    ingest(without(drive(tmp_path), "image_02"), tmp_path / "out")
    streams = open_dataset(tmp_path / "out").read(0).streams
    assert np.array_equal(streams["rgb"].values[1], image(1, 3))
    chain = homogeneous(RECTIFIED, np.zeros(3)) @ homogeneous(CAMERA_FROM_LIDAR, CAMERA_AT)
    camera_from_lidar = homogeneous(np.eye(3), np.array(SHIFTS["03"])) @ chain
    want = streams["world_from_lidar"].values[1] @ np.linalg.inv(camera_from_lidar)
    assert np.abs(streams["world_from_camera"].values[1] - want).max() < 1e-8


def test_a_drive_without_calibration_claims_neither_lens_nor_pose(tmp_path):
    source = drive(tmp_path)
    for file in source.parent.glob("calib_*"):
        file.unlink()
    found = ingest(source, tmp_path / "out")
    assert "calib_cam_to_cam.txt is neither in 2011_09_26_drive_0001_sync nor in 2011_09_26, so "
    assert "there are no lenses and poses of the cameras. KITTI has the calibration" in said(found)
    streams = open_dataset(tmp_path / "out").read(0).streams
    assert {*streams} == {"rgb", "rgb_1", "points"}
    assert streams["rgb"].intrinsics is None
    ingest(source, tmp_path / "two", options=IngestOptions(intrinsics=(46.5, 46.5, 39.25, 11.1)))
    assert np.array_equal(open_dataset(tmp_path / "two").read(0).streams["rgb"].intrinsics, K)


def test_a_drive_without_oxts_has_no_poses(tmp_path):
    found = ingest(without(drive(tmp_path), "oxts"), tmp_path / "out")
    assert "oxts/data: has no file, so there are no poses." in said(found)
    kinds = {s.kind for s in open_dataset(tmp_path / "out").read(0).streams.values()}
    assert kinds == {"rgb", "points"}


def test_a_sweep_that_is_damaged_is_named_and_its_step_left_out(tmp_path):
    source = drive(tmp_path, steps=6)
    (source / "velodyne_points/data/0000000005.bin").write_bytes(b"\0" * 15)
    found = ingest(source, tmp_path / "out")
    assert (found.written, found.frames) == (1, 5)
    assert "0000000005.bin: is cut off or not a KITTI sweep: 15 bytes" in said(found)
    assert verify(tmp_path / "out").ok


# --- what is refused, in words ---------------------------------------------------------------


def test_an_unsynchronised_drive_is_refused(tmp_path):
    source = drive(tmp_path, name="2011_09_26/2011_09_26_drive_0001_extract")
    refused(source, "Take the drive 2011_09_26_drive_0001_sync (synced and rectified)")


def test_a_drive_of_poses_alone_is_refused(tmp_path):
    source = without(drive(tmp_path), "image_02", "image_03", "velodyne_points")
    refused(source, "has neither pictures (image_02/data/*.png) nor sweeps")


DAY = DRIVE.split("/")[0]
EXPECTED = "a time such as 2011-09-26 13:02:25.964389445 was expected"


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        (f"{DRIVE}/image_02/timestamps.txt", None, "nothing else tells when the frames were taken"),
        (f"{DRIVE}/image_02/timestamps.txt", "1\n2\n3\n4\n", f"line 1: {EXPECTED}, got '1'"),
        (f"{DRIVE}/image_02/timestamps.txt", times().replace("09-26", "13-26"), EXPECTED),
        (f"{DRIVE}/image_02/timestamps.txt", times().replace("2011", "9999"), EXPECTED),
        (f"{DRIVE}/image_02/timestamps.txt", times(1) * 4, "two times or more that ascend"),
        (f"{DRIVE}/image_02/timestamps.txt", times(3), "has a frame 3, but the times are those of"),
        (f"{DRIVE}/image_02/data/0.png", "x", "has two files of frame 0: 0.png and 0000000000.png"),
        (f"{DRIVE}/oxts/data/0000000001.txt", "49 8 112\n", "one line of 30 numbers (lat lon alt"),
        (f"{DRIVE}/oxts/data/0000000001.txt", words(oxts(1)).replace("49.", "94."), "one line of"),
        (f"{DRIVE}/oxts/data/0000000001.txt", "nan " * 30, "one line of 30 numbers"),
        (f"{DAY}/calib_cam_to_cam.txt", "P_rect_02: 1 2\n", "a line 'R_rect_00:' with 9 numbers"),
        (f"{DAY}/calib_velo_to_cam.txt", "R: 1 0 0 0 1 0 0 0 1\n", "a line 'T:' with 3 numbers"),
        (f"{DAY}/calib_imu_to_velo.txt", "R: 2 0 0 0 2 0 0 0 2\nT: 0 0 0\n", "not orthonormal"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(tmp_path, name, text, sentence):
    drive(tmp_path)
    (tmp_path / name).unlink() if text is None else written(tmp_path / name, text)
    refused(tmp_path / DRIVE, sentence)


@pytest.mark.parametrize(
    ("line", "numbers", "sentence"),
    [
        ("P_rect_02", "5 1 5 0 0 5 5 0 0 0 1 0", "P_rect is K of a pinhole and a shift"),
        ("P_rect_02", "0 0 5 0 0 5 5 0 0 0 1 0", "P_rect is K of a pinhole and a shift"),
        ("S_rect_02", "0 5", "S_rect columns and rows in pixels"),
        ("S_rect_02", "100 100", "is 80x24 but its intrinsics are for 100x100"),
    ],
)
def test_a_lens_that_is_none_is_refused(tmp_path, line, numbers, sentence):
    source = drive(tmp_path)
    file = source.parent / "calib_cam_to_cam.txt"
    written(file, re.sub(rf"{line}: .*", f"{line}: {numbers}", file.read_text()))
    refused(source, sentence)


@pytest.mark.runs  # hundreds of damaged recordings: 5 s a seed
@pytest.mark.parametrize(
    "seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)]
)
def test_damage_anywhere_is_an_error_in_words_or_none(tmp_path, seed):
    source = drive(tmp_path / "in", steps=3)
    without(source, "image_00", "image_01")
    ingest_damaged(tmp_path, source, "kitti_raw", seed)
