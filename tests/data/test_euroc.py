"""EuRoC MAV arrives with the poses of its cameras, without distortion; what is missing is said."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import scene
from damage import ingest_damaged
from scipy.spatial.transform import Rotation

from armillary.core.errors import FormatError
from armillary.data import IngestOptions, ingest, open_dataset, verify
from armillary.data.sources import euroc

STEPS = 6
START = 1403636579763555584
PERIOD = 50_000_000
BENT = (-0.28340811, 0.07395907, 0.00019359, 1.76187114e-05)  # of EuRoC's cam0
# how EuRoC's cam0 is mounted, with its digits
BODY_FROM_CAMERA = np.array(
    [
        [0.0148655429818, -0.999880929698, 0.00414029679422, -0.0216401454975],
        [0.999557249008, 0.0149672133247, 0.025715529948, -0.064676986768],
        [-0.0257744366974, 0.00375618835797, 0.999660727178, 0.00981073058949],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
FIRST_FROM_SECOND = np.eye(4)
FIRST_FROM_SECOND[0, 3] = 0.11
STREAMS = ("rgb", "rgb_1")


def bent_rays() -> np.ndarray:
    """Rays of the pixels of the lens with distortion, by OpenCV."""
    v, u = np.mgrid[: scene.ROWS, : scene.COLUMNS].astype(np.float64)
    pixels = np.stack([u, v], -1).reshape(-1, 1, 2)
    straight = cv2.undistortPoints(pixels, scene.K, np.array(BENT))
    return np.dstack(
        [straight.reshape(scene.ROWS, scene.COLUMNS, 2), np.ones(scene.rays().shape[:2])]
    )


def camera_pose(step: int, camera: int) -> np.ndarray:
    return scene.pose(step) @ (FIRST_FROM_SECOND if camera else np.eye(4))


def grey(step: int, camera: int = 0, rays: np.ndarray | None = None) -> np.ndarray:
    """A picture of the scene with a finer pattern, through the lens with distortion."""
    rays, pose = bent_rays() if rays is None else rays, camera_pose(step, camera)
    points = rays * scene.depth_along(pose, rays)[..., None] @ pose[:3, :3].T + pose[:3, 3]
    shade = np.sin(5 * points[..., 0]) * np.cos(4 * (points[..., 1] + points[..., 2]))
    return (128 + 100 * shade).round().astype(np.uint8)


def yaml(body_from_camera: np.ndarray) -> str:
    data = ",\n         ".join(
        ", ".join(f"{n!r}" for n in row) for row in body_from_camera.tolist()
    )
    return f"""# General sensor definitions.
sensor_type: camera
comment: VI-Sensor cam0 (MT9M034)

# Sensor extrinsics wrt. the body-frame.
T_BS:
  cols: 4
  rows: 4
  data: [{data}]

# Camera specific definitions.
rate_hz: 20
resolution: [{scene.COLUMNS}, {scene.ROWS}]
camera_model: pinhole
intrinsics: [60, 62.0, 31.5, 24.0] #fu, fv, cu, cv
distortion_model: radial-tangential
distortion_coefficients: [{", ".join(map(str, BENT))}]
"""


def truth_row(stamp: int, body: np.ndarray) -> str:
    numbers = [*body[:3, 3], *Rotation.from_matrix(body[:3, :3]).as_quat(scalar_first=True)]
    return f"{stamp},{','.join(f'{n:.9f}' for n in numbers)}" + ",0.1" * 9


def sequence(
    folder: Path, *, steps: int = STEPS, cameras: int = 1, truth: range | None = None
) -> Path:
    """A sequence whose ground truth has four poses a picture, each 1 ms after its time.

    Args:
        folder: of the sequence.
        steps: pictures of each camera.
        cameras: 1 or 2.
        truth: quarters of a period at which there is a pose; None for all.
    """
    robot = folder / "mav0"
    for camera in range(cameras):
        lines = ["#timestamp [ns],filename"]
        for step in range(steps):
            stamp = START + step * PERIOD
            path = robot / f"cam{camera}/data/{stamp}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), grey(step, camera))
            lines.append(f"{stamp},{stamp}.png")
        (robot / f"cam{camera}/data.csv").write_bytes(("\r\n".join(lines) + "\r\n").encode())
        mount = BODY_FROM_CAMERA @ (FIRST_FROM_SECOND if camera else np.eye(4))
        (robot / f"cam{camera}/sensor.yaml").write_text(yaml(mount))
    rows = ["#timestamp, p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x [], ..."]
    for quarter in range(4 * steps) if truth is None else truth:
        body = scene.pose(quarter / 4) @ np.linalg.inv(BODY_FROM_CAMERA)
        rows.append(truth_row(START + quarter * PERIOD // 4 + 1_000_000, body))
    (robot / "state_groundtruth_estimate0").mkdir(parents=True)
    (robot / euroc.TRUTH).write_text("\r\n".join(rows) + "\r\n")
    return folder


def said(summary) -> str:
    return " ".join(why for _, why in summary.left_out)


def test_a_sequence_arrives(tmp_path):
    summary = ingest(sequence(tmp_path / "MH_01_easy"), tmp_path / "out")
    assert (summary.written, summary.frames, summary.left_out) == (1, STEPS, ())
    dataset = open_dataset(tmp_path / "out")
    episode = dataset.read(0)
    assert (dataset.fps, episode.source) == (20, "MH_01_easy")
    assert episode.time_ns.tolist() == [PERIOD * step for step in range(STEPS)]
    poses = episode.streams["world_from_camera"]
    assert poses.frame == "world"
    assert np.abs(poses.values - scene.poses(STEPS)).max() < 1e-5
    assert verify(tmp_path / "out").ok


def test_the_quaternion_has_w_first(tmp_path):
    """The same four numbers with w last would be another rotation, by more than a radian."""
    row = truth_row(START, scene.pose(2) @ np.linalg.inv(BODY_FROM_CAMERA)).split(",")
    wxyz = [float(n) for n in row[4:8]]
    right, wrong = (Rotation.from_quat(wxyz, scalar_first=first) for first in (True, False))
    assert (right.inv() * wrong).magnitude() > 1
    ingest(sequence(tmp_path / "in"), tmp_path / "out")
    found = open_dataset(tmp_path / "out").read(0).streams["world_from_camera"].values[2]
    assert np.abs(found[:3, :3] - right.as_matrix() @ BODY_FROM_CAMERA[:3, :3]).max() < 1e-5


def test_distortion_is_undone_as_opencv_does(tmp_path):
    """Left as it was, a twentieth of the pixels would differ by more than 20 grey levels."""
    options = IngestOptions(pictures="encoded")
    ingest(sequence(tmp_path / "in"), tmp_path / "out", options=options)
    seen = open_dataset(tmp_path / "out").read(0).streams["rgb"]
    assert np.array_equal(seen.intrinsics, scene.K)
    for step in range(STEPS):
        straight = cv2.undistort(grey(step), scene.K, np.array(BENT))
        truth = grey(step, rays=scene.rays())
        assert apart(seen.values[step], straight) <= 6  # of H.264
        assert apart(seen.values[step], truth) <= 8
        assert apart(grey(step)[..., None], truth) > 20


def apart(picture: np.ndarray, truth: np.ndarray) -> float:
    """Difference in grey levels that 95 % of the pixels have at most; the edge is not seen."""
    error = np.abs(picture.astype(int) - truth[..., None])[4:-4, 4:-4]
    return float(np.percentile(error, 95))


def test_both_cameras_arrive(tmp_path):
    ingest(sequence(tmp_path / "in", cameras=2), tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert dict(dataset.cameras) == {"rgb": "rgb", "rgb_1": "rgb"}
    streams = dataset.read(0).streams
    for camera, name in enumerate(("world_from_camera", "world_from_camera_1")):
        want = np.stack([camera_pose(step, camera) for step in range(STEPS)])
        assert np.abs(streams[name].values - want).max() < 1e-5
    straight = cv2.undistort(grey(3, 1), scene.K, np.array(BENT))
    assert apart(streams["rgb_1"].values[3], straight) <= 6


def test_a_picture_that_the_second_camera_lacks_is_left_out(tmp_path):
    robot = sequence(tmp_path / "in", cameras=2) / "mav0"
    lines = (robot / "cam1/data.csv").read_text().splitlines()
    (robot / "cam1/data.csv").write_text("\n".join([*lines[:3], *lines[4:]]))
    summary = ingest(tmp_path / "in", tmp_path / "out")
    assert (summary.written, summary.frames) == (1, STEPS - 1)
    assert "1 of 6 steps (first: step 2) lack a picture" in said(summary)


def test_pictures_before_and_after_the_ground_truth_are_left_out(tmp_path):
    summary = ingest(sequence(tmp_path / "in", truth=range(8, 19)), tmp_path / "out")
    assert (summary.written, summary.frames) == (1, 3)
    assert "has no pose for 3 of 6 pictures (2 before it begins, 1 after it ends)" in said(summary)
    episode = open_dataset(tmp_path / "out").read(0)
    want = np.stack([scene.pose(step) for step in (2, 3, 4)])
    assert np.abs(episode.streams["world_from_camera"].values - want).max() < 1e-5


def test_without_ground_truth_there_are_pictures_and_no_poses(tmp_path):
    folder = sequence(tmp_path / "in")
    (folder / "mav0" / euroc.TRUTH).unlink()
    (folder / "mav0/imu0").mkdir()
    summary = ingest(folder, tmp_path / "out")
    assert "is missing, so there are no poses" in said(summary)
    assert "imu0 is not read" in said(summary)
    assert {*open_dataset(tmp_path / "out").read(0).streams} == {"rgb"}


def test_several_sequences_and_the_inner_folder_arrive(tmp_path):
    for name in ("a", "b"):
        sequence(tmp_path / "in" / name)
    assert euroc.detect(tmp_path / "in")
    assert not euroc.detect(tmp_path)
    assert ingest(tmp_path / "in", tmp_path / "both").written == 2
    ingest(tmp_path / "in/a/mav0", tmp_path / "one")
    assert open_dataset(tmp_path / "one").read_low(0).source == "a"


def test_intrinsics_that_are_passed_take_the_place_of_the_lens(tmp_path):
    options = IngestOptions(intrinsics=(50.0, 51.0, 30.0, 23.0))
    ingest(sequence(tmp_path / "in"), tmp_path / "out", options=options)
    seen = open_dataset(tmp_path / "out").read(0).streams["rgb"]
    assert seen.intrinsics.tolist() == [[50, 0, 30], [0, 51, 23], [0, 0, 1]]


TRUTH, YAML, LIST = euroc.TRUTH, "cam0/sensor.yaml", "cam0/data.csv"


@pytest.mark.parametrize(
    ("name", "old", "new", "sentence"),
    [
        (YAML, "T_BS", "T_SB", "T_BS as a list of 16 numbers was expected"),
        (YAML, "0.999557249008", "0.5", "is not orthonormal"),
        (YAML, "0.999557249008", "nan", "T_BS as a list of 16 numbers was expected"),
        (YAML, "radial-tangential", "equidistant", "a lens of the model 'equidistant' is not read"),
        (YAML, "[60, 62.0, 31.5, 24.0]", "[60]", "intrinsics as a list of 4 numbers"),
        (YAML, "[60, 62.0", "[0, 62.0", "intrinsics fx, fy, cx, cy in pixels were expected"),
        (YAML, "resolution: [64, 48]", "resolution: [0, 1e9]", "'resolution: [columns, rows]' in"),
        (YAML, "resolution: [64, 48]", "resolution: [64, 64]", "is 64x48 but its intrinsics are"),
        (LIST, f"{START}.png", "../x.png", "the path '../x.png' is refused"),
        (LIST, f"{START},", "now,", "a time in whole nanoseconds was expected, got 'now'"),
        (LIST, f"{START},", f"{'9' * 19},", "a time in whole nanoseconds was expected"),
        (LIST, f"{START},", f"{START + PERIOD},", "the time of row 2 is not after that of the row"),
        (LIST, f",{START}.png", "", "time in ns, name of the picture was expected"),
        (TRUTH, "14036365", "24036365", "no poses within 0.02 s of any picture"),
        (TRUTH, ",0.1,0.1", "", None),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, name, old, new, sentence):
    file = sequence(tmp_path / "in") / "mav0" / name
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    if sentence is None:  # speeds and biases are not needed
        assert ingest(tmp_path / "in", tmp_path / "out").frames == STEPS
        return
    with pytest.raises(FormatError, match=re.escape(sentence)):
        ingest(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        ([0, 0, 0, 1, 1, 0, 0], "a quaternion of another length than 1"),
        (["nan", 0, 0, 1, 0, 0, 0], "holds NaN"),
        (["x", 0, 0, 1, 0, 0, 0], "quaternion w x y z of length 1"),
        ([0, 0, 0], "quaternion w x y z of length 1 was expected"),
    ],
)
def test_a_pose_that_is_none_is_refused(tmp_path, cells, sentence):
    file = sequence(tmp_path / "in") / "mav0" / TRUTH
    rows = [f"{START + step * PERIOD}," + ",".join(map(str, cells)) for step in range(STEPS)]
    file.write_text("\n".join(rows))
    with pytest.raises(FormatError, match=sentence):
        ingest(tmp_path / "in", tmp_path / "out")


def test_a_sequence_without_a_table_is_told_what_is_missing(tmp_path):
    (sequence(tmp_path / "in") / "mav0/cam0/sensor.yaml").unlink()
    with pytest.raises(FormatError, match=r"like the format euroc, but .*sensor.yaml .* missing"):
        ingest(tmp_path / "in", tmp_path / "out")
    with pytest.raises(FormatError, match=r"has no mav0/cam0/data.csv of EuRoC"):
        ingest(tmp_path / "in", tmp_path / "out", "euroc")


@pytest.mark.runs  # hundreds of damaged recordings: 5 s a seed
@pytest.mark.parametrize(
    "seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)]
)
def test_damage_anywhere_is_an_error_in_words_or_none(tmp_path, seed):
    source = sequence(tmp_path / "in", steps=3, cameras=2)
    ingest_damaged(tmp_path, source, "euroc", seed)
