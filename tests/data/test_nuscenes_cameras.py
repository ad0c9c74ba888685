"""nuScenes with its tables: pictures of its cameras come beside the sweeps, with lens and pose."""

from __future__ import annotations

import json
import random
from pathlib import Path

import cv2
import numpy as np
import pytest
from damage import little_memory, mutated
from scipy.spatial.transform import Rotation
from test_nuscenes_tables import LOG, START, STEPS, drive, matrix, row

from armillary.core.errors import ArmillaryError, ConfigError, FormatError
from armillary.data import IngestOptions, ingest, open_dataset, verify

ROWS, COLUMNS = 36, 64
K = [[50.0, 0.0, 31.25], [0.0, 50.5, 17.75], [0.0, 0.0, 1.0]]
# on the car: forward, and back to the left; x of a camera is right, y down
FORWARD = Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
MOUNTED = {
    "CAM_FRONT": (FORWARD, np.array([1.7, 0.016, 1.51])),
    "CAM_BACK_LEFT": (Rotation.from_euler("z", 110, degrees=True) * FORWARD, np.array([1, 0.5, 1])),
}
EARLY_US = {"CAM_FRONT": 35_491, "CAM_BACK_LEFT": 528}  # of a real keyframe, before the sweep


def picture(step: int, channel: str) -> np.ndarray:
    ramp = np.arange(COLUMNS, dtype=np.uint8) * 3
    blue = np.uint8(9 if channel == "CAM_FRONT" else 200)
    frame = np.stack(np.broadcast_arrays(ramp[None], np.uint8(40 * step), blue), 2)
    return np.ascontiguousarray(np.broadcast_to(frame, (ROWS, COLUMNS, 3)))


def jpeg(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image[..., ::-1])[1].tobytes()


def ego(step: int, early_us: int) -> tuple[Rotation, np.ndarray]:
    """The car of ``drive``, a little before its sweep."""
    at = step - early_us / 500_000
    turn = Rotation.from_euler("z", 10 * at, degrees=True)
    return turn, np.array([1010.0 + 2 * at, 610.0 + 0.5 * at, 0.0])


def log_with_cameras(root: Path) -> np.ndarray:
    """Write pictures and their rows beside the sweeps; return the LiDAR's poses."""
    world_from_lidar = drive(root)
    tables = {
        name: json.loads((root / f"v1.0-mini/{name}.json").read_text())
        for name in ("sample_data", "ego_pose", "calibrated_sensor")
    }
    for channel, mounted in MOUNTED.items():
        (root / f"samples/{channel}").mkdir()
        tables["calibrated_sensor"].append(row(channel, *mounted) | {"camera_intrinsic": K})
        for step in range(STEPS):
            at = START + 500_000 * step - EARLY_US[channel]
            log = LOG.removesuffix("__LIDAR_TOP__")
            name = f"samples/{channel}/{log}__{channel}__{at}.jpg"
            (root / name).write_bytes(jpeg(picture(step, channel)))
            token = f"{channel}{step}"
            tables["ego_pose"].append(row(token, *ego(step, EARLY_US[channel])))
            tokens = {"ego_pose_token": token, "calibrated_sensor_token": channel}
            about = {"token": token, "filename": name, "width": COLUMNS, "height": ROWS}
            tables["sample_data"].append(about | tokens)
    (root / "samples/RADAR_FRONT").mkdir()
    (root / "samples/RADAR_FRONT/0.pcd").write_bytes(b"x")
    for name, rows in tables.items():
        (root / f"v1.0-mini/{name}.json").write_text(json.dumps(rows))
    return world_from_lidar


def changed(root: Path, name: str, change) -> None:
    path = root / f"v1.0-mini/{name}.json"
    path.write_text(json.dumps([change(one) for one in json.loads(path.read_text())]))


@pytest.mark.parametrize("below", ["", "samples", "samples/LIDAR_TOP"])
def test_pictures_arrive_beside_the_sweeps(tmp_path, below):
    world_from_lidar = log_with_cameras(tmp_path / "in")
    summary = ingest(tmp_path / "in" / below, tmp_path / "out", "nuscenes")
    assert (summary.written, summary.frames, summary.skipped) == (1, STEPS, ())
    notes = " ".join(summary.notes)
    assert "cameras: rgb is CAM_FRONT, rgb_1 is CAM_BACK_LEFT" in notes
    assert "the action is the motion of the lidar" in notes
    assert ("left out: RADAR_FRONT" in notes) == (below != "samples/LIDAR_TOP")
    dataset = open_dataset(tmp_path / "out")
    assert (dataset.fps, dict(dataset.cameras)) == (2, {"rgb": "rgb", "rgb_1": "rgb"})
    episode = dataset.read(0)
    assert episode.time_ns.tolist() == [500_000_000 * step for step in range(STEPS)]
    streams = episode.streams
    assert np.allclose(streams["world_from_lidar"].values, world_from_lidar, atol=1e-6)
    for stream, channel in (("rgb", "CAM_FRONT"), ("rgb_1", "CAM_BACK_LEFT")):
        seen = streams[stream]
        files = [np.frombuffer(jpeg(picture(n, channel)), np.uint8) for n in range(STEPS)]
        want = [cv2.imdecode(file, cv2.IMREAD_COLOR_RGB) for file in files]
        assert np.array_equal(seen.values, want)
        assert np.array_equal(seen.intrinsics, K)
    cloud = streams["points"]
    assert (cloud.columns, cloud.frame) == (("x", "y", "z", "intensity", "ring"), "lidar")
    assert np.array_equal(cloud.values[2, 0, :3], [3, 4, 5])
    assert verify(tmp_path / "out").ok


def test_points_fall_on_the_pixels_of_the_formula(tmp_path):
    """From the LiDAR to the car then, to the map, to the car at the picture's time, to the camera.

    These are the four steps of ``map_pointcloud_to_image`` of the development kit.
    """
    log_with_cameras(tmp_path / "in")
    ingest(tmp_path / "in", tmp_path / "out")
    streams = open_dataset(tmp_path / "out").read(0).streams
    lidar_on_car = matrix(Rotation.from_euler("z", -90, degrees=True), [0.94, 0.0, 1.84])
    points = np.array([[-2.0, 9.0, 0.5, 1.0], [3.0, 12.0, -1.0, 1.0], [0.0, 20.0, 2.0, 1.0]])
    for stream, pose, channel in (
        ("rgb", "world_from_camera", "CAM_FRONT"),
        ("rgb_1", "world_from_camera_1", "CAM_BACK_LEFT"),
    ):
        for step in range(STEPS):
            in_map = matrix(*ego(step, 0)) @ lidar_on_car @ points.T
            in_car = np.linalg.inv(matrix(*ego(step, EARLY_US[channel]))) @ in_map
            want = K @ (np.linalg.inv(matrix(*MOUNTED[channel])) @ in_car)[:3]
            in_world = streams["world_from_lidar"].values[step] @ points.T
            in_camera = np.linalg.inv(streams[pose].values[step]) @ in_world
            found = streams[stream].intrinsics @ in_camera[:3]
            if channel == "CAM_FRONT":
                assert (want[2] > 1).all()  # in front of it
            assert np.abs(found[:2] / found[2] - want[:2] / want[2]).max() < 1e-4


def test_a_sweep_without_a_picture_of_each_camera_is_left_out(tmp_path):
    log_with_cameras(tmp_path / "in")
    sorted((tmp_path / "in/samples/CAM_BACK_LEFT").iterdir())[0].unlink()
    summary = ingest(tmp_path / "in", tmp_path / "out")
    assert summary.frames == STEPS - 1
    assert "1 of 4 steps (first: step 0) lack" in summary.left_out[0][1]


def test_pictures_that_no_table_names_are_left_out_and_said(tmp_path):
    log_with_cameras(tmp_path / "in")
    changed(
        tmp_path / "in", "sample_data",
        lambda r: r | ({"filename": "x.jpg"} if "CAM_BACK" in r["filename"] else {}),
    )  # fmt: skip
    summary = ingest(tmp_path / "in", tmp_path / "out")
    assert dict(open_dataset(tmp_path / "out").cameras) == {"rgb": "rgb"}
    assert "left out: CAM_BACK_LEFT, RADAR_FRONT" in " ".join(summary.notes)


def test_without_tables_options_about_pictures_are_refused(tmp_path):
    log_with_cameras(tmp_path / "in")
    ingest(tmp_path / "in", tmp_path / "small", options=IngestOptions(max_side=32))
    [rgb] = [c for n, c in open_dataset(tmp_path / "small").read(0).streams.items() if n == "rgb"]
    assert rgb.values.shape[1:3] == (18, 32)
    (tmp_path / "in/v1.0-mini/ego_pose.json").unlink()
    with pytest.raises(ConfigError, match=r"--max-side means nothing for .*no pictures are read"):
        ingest(tmp_path / "in", tmp_path / "out", options=IngestOptions(max_side=32))


@pytest.mark.parametrize(
    "lens", [None, [], [[1, 0, 0]], [[1, 0], [0, 1], [0, 0]], [[1e999] * 3] * 3, [[0] * 3] * 3]
)
def test_a_lens_that_is_none_is_said(tmp_path, lens):
    log_with_cameras(tmp_path / "in")
    changed(tmp_path / "in", "calibrated_sensor", lambda r: r | {"camera_intrinsic": lens})
    with pytest.raises(FormatError, match=r"calibrated_sensor\.json: the row 'CAM_FRONT'"):
        ingest(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_camera_of_another_time_is_said(tmp_path):
    log_with_cameras(tmp_path / "in")
    for file in (tmp_path / "in/samples/CAM_FRONT").iterdir():
        stem, _, micros = file.stem.rpartition("__")
        late = f"{stem}__{int(micros) + 250_000}.jpg"
        name = file.name
        changed(
            tmp_path / "in", "sample_data",
            lambda r, name=name, late=late: r | {"filename": r["filename"].replace(name, late)},
        )  # fmt: skip
        file.rename(file.with_name(late))
    with pytest.raises(FormatError, match=r"CAM_FRONT: no pictures within 0\.05 s of any sweep"):
        ingest(tmp_path / "in", tmp_path / "out")


@pytest.mark.runs  # hundreds of damaged recordings: 5 s a seed
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_damage_anywhere_is_an_error_in_words_or_none(tmp_path, seed):
    log_with_cameras(tmp_path / "in")
    chance = random.Random(seed)
    files = [f for f in sorted((tmp_path / "in").rglob("*")) if f.suffix in (".json", ".jpg")]
    for number in range(30):
        file = chance.choice(files)
        whole = file.read_bytes()
        file.write_bytes(mutated(whole, chance))
        try:
            with little_memory():
                ingest(tmp_path / "in", tmp_path / f"out{number}")
        except ArmillaryError as error:
            assert str(error).strip() and "\n" not in str(error)
        file.write_bytes(whole)
