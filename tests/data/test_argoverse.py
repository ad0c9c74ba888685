"""Logs of Argoverse 2 arrive with the poses of car and camera; small files cannot fill memory."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pytest
import scene
from damage import ingest_damaged
from scipy.spatial.transform import Rotation

from armillary.core.errors import FormatError
from armillary.data import IngestOptions, ingest, open_dataset, verify
from armillary.data.sources import argoverse, arrow_file

STEPS = 5
START = 315966265259836000
PERIOD = 100_000_000  # of sweeps; pictures are twice as many
CITY = np.array([5172.668216028519, 2419.102799750701, 66.92979846582436])  # as in a real log
SHUTTER = 12_000_003  # pictures are so much later than sweeps
CAR_FROM_CAMERA = np.eye(4)
CAR_FROM_CAMERA[:3, :3] = Rotation.from_quat(
    [0.5016454083, -0.4986199246, 0.5010700093, -0.4986570973], scalar_first=True
).as_matrix()
CAR_FROM_CAMERA[:3, 3] = [1.635, 0.0027, 1.398]
FRONT = "sensors/cameras/ring_front_center"
POSES, MOUNTS, LENSES = (
    "city_SE3_egovehicle.feather",
    "calibration/egovehicle_SE3_sensor.feather",
    "calibration/intrinsics.feather",
)


def car_pose(time_ns: int) -> np.ndarray:
    """city_from_car at a time: the camera is where the scene's is, far away in the city."""
    pose = scene.pose((time_ns - START) / PERIOD) @ np.linalg.inv(CAR_FROM_CAMERA)
    pose[:3, 3] += CITY
    return pose


def points(step: int) -> np.ndarray:
    """Points of the sweep in the car's frame, all on the planes of the scene, as float16."""
    world = np.random.default_rng(step).uniform([-3, 0, 0], [3, 3, 2], (40 + step, 3))
    world[::2, 2], world[1::2, 1] = 0, scene.WALL_Y
    car = car_pose(START + step * PERIOD)
    return ((world + CITY - car[:3, 3]) @ car[:3, :3]).astype(np.float16)


def written(path: Path, compression: str = "zstd", **columns) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    feather.write_feather(pa.table(columns), path, compression=compression, chunksize=30)


def write_poses(path: Path, times: list[int], poses: list[np.ndarray], **first) -> None:
    names = ("qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m")
    quaternions = [Rotation.from_matrix(p[:3, :3]).as_quat(scalar_first=True) for p in poses]
    rows = np.array([[*q, *p[:3, 3]] for q, p in zip(quaternions, poses, strict=True)])
    keys = first or {"timestamp_ns": np.array(times)}
    written(path, **keys, **{name: rows[:, at] for at, name in enumerate(names)})


def log(folder: Path, *, steps: int = STEPS, late: int = 0, compression: str = "zstd") -> Path:
    """A log with poses at the times of sweeps and pictures, and others between, not in order.

    Args:
        folder: of the log.
        steps: sweeps.
        late: nanoseconds by which the poses are stamped later than what they belong to.
        compression: of the sweeps.
    """
    times = []
    for step in range(steps):
        stamp = START + step * PERIOD
        xyz, count = points(step), len(points(step))
        written(
            folder / f"sensors/lidar/{stamp}.feather",
            compression,
            **{name: xyz[:, at] for at, name in enumerate("xyz")},
            intensity=np.arange(count, dtype=np.uint8),
            laser_number=np.full(count, 31, np.uint8),
            offset_ns=np.arange(count, dtype=np.int32),
        )
        for shutter in (stamp + SHUTTER, stamp + SHUTTER + PERIOD // 2):
            place = (shutter - START) / PERIOD
            path = folder / FRONT / f"{shutter}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(
                str(path), scene.rgb(place)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98]
            )
            times.append(shutter)
        times += [stamp, stamp + PERIOD // 3]
    write_poses(folder / POSES, [time + late for time in times], [car_pose(t) for t in times])
    names = ["ring_rear_left", "ring_front_center"]
    write_poses(folder / MOUNTS, [], [np.eye(4), CAR_FROM_CAMERA], sensor_name=names)
    written(
        folder / LENSES,
        sensor_name=names,
        fx_px=[1.0, 60], fy_px=[1.0, 62], cx_px=[1, 31.5], cy_px=[1.0, 24],
        k1=[-0.2, -0.24], k2=[0.1, -0.21], k3=[0.0, 0.33],
        height_px=np.array([9, scene.ROWS], np.uint16),
        width_px=np.array([9, scene.COLUMNS], np.uint16),
    )  # fmt: skip
    return folder


def said(summary) -> str:
    return " ".join(why for _, why in summary.left_out)


@pytest.mark.parametrize("compression", ["zstd", "lz4", "uncompressed"])
def test_a_log_arrives(tmp_path, compression):
    summary = ingest(log(tmp_path / "in", compression=compression), tmp_path / "out")
    assert (summary.written, summary.frames, summary.left_out) == (1, STEPS, ())
    assert "world_from_lidar is the pose of the car" in " ".join(summary.notes)
    dataset = open_dataset(tmp_path / "out")
    episode = dataset.read(0)
    assert (dataset.fps, episode.source) == (10, "in")
    assert episode.time_ns.tolist() == [PERIOD * step for step in range(STEPS)]
    cloud = episode.streams["points"]
    assert (cloud.columns, cloud.frame) == (("x", "y", "z", "intensity", "ring"), "lidar")
    for step in range(STEPS):
        count = 40 + step
        assert np.array_equal(cloud.values[step, :count, :3], points(step).astype(np.float32))
        assert cloud.values[step, :count, 3].tolist() == list(range(count))
        assert (cloud.values[step, :count, 4] == 31).all()
    assert verify(tmp_path / "out").ok


def test_poses_are_those_of_their_own_times(tmp_path):
    """The sweep's, and for the camera that of the picture, 12 ms later."""
    ingest(log(tmp_path / "in"), tmp_path / "out")
    streams = open_dataset(tmp_path / "out").read(0).streams
    first = car_pose(START)[:3, 3]  # the world begins there
    for step in range(STEPS):
        want = car_pose(START + step * PERIOD)
        want[:3, 3] -= first
        assert np.abs(streams["world_from_lidar"].values[step] - want).max() < 1e-8
        want = car_pose(START + step * PERIOD + SHUTTER) @ CAR_FROM_CAMERA
        want[:3, 3] -= first
        assert np.abs(streams["world_from_camera"].values[step] - want).max() < 1e-8
    assert streams["world_from_lidar"].frame == streams["world_from_camera"].frame == "world"


def test_points_lie_on_the_planes_of_the_world(tmp_path):
    ingest(log(tmp_path / "in"), tmp_path / "out")
    streams = open_dataset(tmp_path / "out").read(0).streams
    for step in range(STEPS):
        pose = streams["world_from_lidar"].values[step]
        xyz = streams["points"].values[step, : 40 + step, :3].astype(np.float64)
        world = xyz @ pose[:3, :3].T + pose[:3, 3] + car_pose(START)[:3, 3] - CITY
        assert scene.off_the_planes(world).max() < 5e-3  # float16 near 5 m


def test_pictures_are_kept_since_they_are_without_distortion(tmp_path):
    """k1 to k3 in the table are those of before."""
    ingest(log(tmp_path / "in"), tmp_path / "out")
    seen = open_dataset(tmp_path / "out").read(0).streams["rgb"]
    assert np.array_equal(seen.intrinsics, scene.K)
    for step in range(STEPS):
        file = tmp_path / "in" / FRONT / f"{START + step * PERIOD + SHUTTER}.jpg"
        error = np.abs(seen.values[step].astype(int) - cv2.imread(str(file))[..., ::-1])
        assert error.max() <= 3  # two decoders of JPEG


@pytest.mark.parametrize(("late", "arrives"), [(4_000_000, True), (-60_000_000, False)])
def test_poses_of_other_times_are_taken_up_to_the_tolerance(tmp_path, late, arrives):
    source = log(tmp_path / "in", late=late)
    table = feather.read_table(source / POSES)
    only = [
        n
        for n, t in enumerate(table["timestamp_ns"].to_pylist())
        if (t - late - START) % PERIOD == 0
    ]
    feather.write_feather(table.take(only), source / POSES)
    for file in (source / FRONT).iterdir():
        file.unlink()
    if arrives:
        ingest(source, tmp_path / "out")
        found = open_dataset(tmp_path / "out").read(0).streams["world_from_lidar"].values
        want = np.stack([car_pose(START + step * PERIOD) for step in range(STEPS)])
        want[:, :3, 3] -= want[0, :3, 3].copy()
        assert np.abs(found - want).max() < 1e-8
    else:
        with pytest.raises(FormatError, match=r"no poses within 0\.02 s of any picture"):
            ingest(source, tmp_path / "out")


def test_a_sweep_without_pose_or_picture_is_left_out(tmp_path):
    source = log(tmp_path / "in", steps=6)
    for shutter in (SHUTTER, SHUTTER - PERIOD // 2):
        (source / FRONT / f"{START + 5 * PERIOD + shutter}.jpg").unlink()
    summary = ingest(source, tmp_path / "out")
    assert (summary.written, summary.frames) == (1, 5)
    table = feather.read_table(source / POSES)
    late = [n for n, t in enumerate(table["timestamp_ns"].to_pylist()) if t > START + 50_000_000]
    feather.write_feather(table.take(late), source / POSES)
    assert ingest(source, tmp_path / "later").frames == 4


def test_several_logs_and_a_folder_of_splits_arrive(tmp_path):
    for name in ("val/a", "val/b", "train/c"):
        log(tmp_path / "in" / name, steps=2)
    for source, count in ((tmp_path / "in", 3), (tmp_path / "in/val", 2)):
        assert argoverse.detect(source)
        assert ingest(source, tmp_path / f"out{count}").written == count


@pytest.mark.parametrize(
    ("missing", "sentence", "streams"),
    [
        (POSES, "is missing, so there are no poses", {"points", "rgb"}),
        (MOUNTS, "so there are no poses of the camera", {"points", "rgb", "world_from_lidar"}),
        (LENSES, "so there is no lens", None),
        (FRONT, "has no file, so there are no pictures", {"points", "world_from_lidar"}),
    ],
)
def test_what_is_missing_is_said(tmp_path, missing, sentence, streams):
    source = log(tmp_path / "in")
    (source / missing).rename(tmp_path / "away")
    (source / "sensors/cameras/stereo_front_left").mkdir(parents=True)
    summary = ingest(source, tmp_path / "out")
    assert sentence in said(summary)
    assert "stereo_front_left: these cameras are not read" in said(summary)
    found = open_dataset(tmp_path / "out").read(0).streams
    if streams is None:
        assert found["rgb"].intrinsics is None
    else:
        assert {*found} == streams


def test_points_that_are_nowhere_are_counted(tmp_path):
    source = log(tmp_path / "in")
    file = source / f"sensors/lidar/{START}.feather"
    x = points(0)[:, 0].copy()
    x.view(np.uint16)[3] = 0x7C01  # a NaN that signals, as damage makes it
    table = feather.read_table(file)
    written(file, **{**{name: table[name] for name in table.column_names}, "x": x})
    summary = ingest(source, tmp_path / "out")
    assert "1 points without a place (NaN or infinite) were left out." in summary.notes


def test_a_damaged_sweep_is_named_and_its_step_left_out(tmp_path):
    source = log(tmp_path / "in")
    file = source / f"sensors/lidar/{START + 4 * PERIOD}.feather"
    file.write_bytes(file.read_bytes()[:-7])
    summary = ingest(source, tmp_path / "out")
    assert (summary.written, summary.frames) == (1, STEPS - 1)
    assert f"{START + 4 * PERIOD}.feather: is cut off, or no Arrow file" in said(summary)


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        (POSES, lambda t: t.rename_columns([n.replace("qw", "w") for n in t.column_names]),
         "has no column 'qw'"),
        (POSES,
         lambda t: t.set_column(0, "timestamp_ns", pa.array([2**64 - 1] * len(t), pa.uint64())),
         "a timestamp_ns in whole nanoseconds were expected"),
        (POSES, lambda t: t.slice(0, 0), "rows with a timestamp_ns in whole nanoseconds"),
        (POSES, lambda t: t.set_column(1, "qw", pa.array([2.0] * len(t))), "is no pose. Expected"),
        (POSES, lambda t: t.set_column(1, "qw", pa.array([None] * len(t), pa.float64())), "gaps"),
        (POSES, lambda t: t.set_column(1, "qw", pa.array(["1"] * len(t))), "expected as numbers"),
        (POSES, lambda t: t.set_column(5, "tx_m", pa.array([np.inf] * len(t))), "is no pose."),
        (LENSES, lambda t: t.set_column(1, "fx_px", pa.array([0.0] * len(t))), "fx, fy, cx, cy in"),
        (LENSES, lambda t: t.set_column(8, "height_px", pa.array([0] * len(t))), "height_px and"),
        (LENSES, lambda t: t.set_column(8, "height_px", pa.array([99] * len(t))), "is 64x48 but"),
        (MOUNTS, lambda t: t.set_column(0, "sensor_name", t["sensor_name"].dictionary_encode()),
         "holds a dictionary, which is not read"),
    ],
)  # fmt: skip
def test_a_table_that_does_not_fit_is_refused(tmp_path, name, change, sentence):
    source = log(tmp_path / "in")
    feather.write_feather(change(feather.read_table(source / name)), source / name)
    with pytest.raises(FormatError, match=re.escape(sentence)):
        ingest(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("sweep", "a name of nanoseconds was expected"), (f"0{START}", "two files of the time")],
)
def test_names_that_tell_no_time_are_refused(tmp_path, name, sentence):
    source = log(tmp_path / "in")
    file = source / f"sensors/lidar/{START}.feather"
    (source / f"sensors/lidar/{name}.feather").write_bytes(file.read_bytes())
    with pytest.raises(FormatError, match=sentence):
        ingest(source, tmp_path / "out")


def test_a_folder_without_a_log_is_refused(tmp_path):
    with pytest.raises(FormatError, match="holds no log of Argoverse 2"):
        ingest(tmp_path, tmp_path / "out", "argoverse")


def test_intrinsics_that_are_passed_take_the_place_of_the_lens(tmp_path):
    options = IngestOptions(intrinsics=(50.0, 51.0, 30.0, 23.0))
    ingest(log(tmp_path / "in"), tmp_path / "out", options=options)
    seen = open_dataset(tmp_path / "out").read(0).streams["rgb"]
    assert seen.intrinsics.tolist() == [[50, 0, 30], [0, 51, 23], [0, 0, 1]]


# --- what a file may take ------------------------------------------------------------------------


@pytest.fixture
def untouched(monkeypatch):
    """Reading a batch, which takes the memory, is an error."""

    def never(*_):
        raise AssertionError("memory was taken")

    monkeypatch.setattr(pa.ipc, "read_record_batch", never)


@pytest.mark.parametrize("declared", [1 << 40, 1 << 62, (256 << 20) + 1])
def test_a_buffer_that_promises_too_much_is_refused_before(tmp_path, untouched, declared):
    file = tmp_path / "a.feather"
    feather.write_feather(pa.table({"x": np.zeros(100_000)}), file, compression="zstd")
    data, said_before = file.read_bytes(), struct.pack("<q", 8 * 65_536)
    assert data.count(said_before) >= 1
    file.write_bytes(data.replace(said_before, struct.pack("<q", declared)))
    with pytest.raises(FormatError, match=r"are refused; 10,000,000 rows and 256 MiB are read"):
        arrow_file.read_arrow(file, ["x"])


def test_many_rows_in_few_bytes_are_refused_before(tmp_path, untouched, monkeypatch):
    monkeypatch.setattr(arrow_file, "MAX_ROWS", 1000)
    file = tmp_path / "a.feather"
    feather.write_feather(pa.table({"x": np.zeros(1001, np.uint8)}), file)
    with pytest.raises(FormatError, match="1,001 rows of"):
        arrow_file.read_arrow(file, ["x"])


def test_a_large_file_is_refused_before_it_is_read(tmp_path, untouched):
    with (tmp_path / "a.feather").open("wb") as file:
        file.truncate(arrow_file.MAX_FILE_BYTES + 1)
    with pytest.raises(FormatError, match="more than 64 MiB; refused"):
        arrow_file.read_arrow(tmp_path / "a.feather", ["x"])


def test_feather_version_1_is_told(tmp_path):
    (tmp_path / "a.feather").write_bytes(b"FEA1" + bytes(64) + b"FEA1")
    with pytest.raises(FormatError, match="is Feather version 1; write it anew as version 2"):
        arrow_file.read_arrow(tmp_path / "a.feather", ["x"])


@pytest.mark.runs  # hundreds of damaged recordings: 5 s a seed
@pytest.mark.parametrize(
    "seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)]
)
def test_damage_anywhere_is_an_error_in_words_or_none(tmp_path, seed):
    ingest_damaged(tmp_path, log(tmp_path / "in", steps=3), "argoverse", seed)
