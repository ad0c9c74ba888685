"""nuScenes tables: poses are those of the schema's formula, and damage is told in a sentence."""

import json

import numpy as np
import pytest
from damage import little_memory
from scipy.spatial.transform import Rotation

from armillary.core.errors import ArmillaryError, FormatError
from armillary.core.rng import generator
from armillary.data import IngestOptions, ingest, open_dataset
from armillary.data.sources import nuscenes_tables

LOG = "n015-2018-07-24-11-22-45+0800__LIDAR_TOP__"
START = 1_532_402_927_647_951
POINTS = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [-1.0, 0.5, 0.0]], np.float32)
STEPS = 4


def row(token: str, turn: Rotation, place) -> dict:
    x, y, z, w = turn.as_quat()
    return {"token": token, "rotation": [w, x, y, z], "translation": [float(v) for v in place]}


def matrix(turn: Rotation, place) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turn.as_matrix(), place
    return pose


def drive(root, moves=True):
    """Write a drive that turns left, kilometres from the map's origin; return the LiDAR's poses."""
    mounted = Rotation.from_euler("z", -90, degrees=True), np.array([0.94, 0.0, 1.84])
    (root / "v1.0-mini").mkdir(parents=True)
    (root / "samples/LIDAR_TOP").mkdir(parents=True)
    data, egos, poses = [], [], []
    for step in range(STEPS):
        name = f"samples/LIDAR_TOP/{LOG}{START + 500_000 * step}.pcd.bin"
        columns = [POINTS + step, np.full((3, 1), 7.0), np.zeros((3, 1))]
        np.concatenate(columns, 1).astype("<f4").tofile(root / name)
        far = 1 if moves else 0
        ego = (
            Rotation.from_euler("z", 10 * step * far, degrees=True),
            np.array([1010.0 + 2 * step * far, 610.0 + 0.5 * step * far, 0.0]),
        )
        egos.append(row(f"ego{step}", *ego))
        tokens = {"ego_pose_token": f"ego{step}", "calibrated_sensor_token": "lidar"}
        data.append({"token": f"d{step}", "filename": name, **tokens})
        poses.append(matrix(*ego) @ matrix(*mounted))
    tables = {"sample_data": data, "ego_pose": egos, "calibrated_sensor": [row("lidar", *mounted)]}
    for name, rows in tables.items():
        (root / f"v1.0-mini/{name}.json").write_text(json.dumps(rows))
    return np.linalg.inv(poses[0]) @ np.stack(poses)


@pytest.mark.parametrize("below", ["", "samples", "samples/LIDAR_TOP"])
def test_poses_are_those_of_the_formula_from_the_first_sweep_on(tmp_path, below):
    wanted = drive(tmp_path / "in")
    summary = ingest(tmp_path / "in" / below, tmp_path / "out", "nuscenes")
    episode = open_dataset(tmp_path / "out").read(0)
    found = episode.streams["world_from_lidar"].values
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert episode.actions.shape == (STEPS - 1, 6)
    turned = Rotation.from_matrix(wanted[1][:3, :3])
    np.testing.assert_allclose(episode.actions[0, 3:], turned.as_rotvec(), atol=1e-5)
    assert "the action is the motion of the lidar" in summary.notes[0]


def test_a_car_that_stands_or_a_user_that_asks_not_to_has_no_action(tmp_path):
    drive(tmp_path / "still", moves=False)
    ingest(tmp_path / "still", tmp_path / "out")
    assert open_dataset(tmp_path / "out").read(0).actions is None
    drive(tmp_path / "in")
    ingest(tmp_path / "in", tmp_path / "asked", options=IngestOptions(ego_motion=False))
    episode = open_dataset(tmp_path / "asked").read(0)
    assert episode.actions is None and "world_from_lidar" in episode.streams


def test_without_all_of_the_tables_there_are_no_poses_and_it_is_said(tmp_path, monkeypatch):
    root = tmp_path / "in"
    drive(root)
    path = root / "v1.0-mini/sample_data.json"
    rows = json.loads(path.read_text())

    def said(number: int) -> str:
        summary = ingest(root, tmp_path / f"out{number}")
        assert "world_from_lidar" not in open_dataset(summary.out).read(0).streams
        return " ".join(summary.notes)

    path.write_text(json.dumps(rows[:-1]))
    assert "does not name all sweeps of in/samples/LIDAR_TOP" in said(0)
    path.write_text(json.dumps(rows))
    monkeypatch.setattr(nuscenes_tables, "_MOST_BYTES", 10)
    assert "has more than 0 MB, so poses are not read; keep the rows" in said(1)
    monkeypatch.undo()
    (root / "v1.0-mini/ego_pose.json").unlink()
    assert "ego_pose.json is missing, so poses are not read" in said(2)


def test_of_several_tables_those_that_name_the_sweeps_are_taken_also_behind_a_link(tmp_path):
    root = tmp_path / "in"
    wanted = drive(root)
    other = root / "v1.0-another"
    other.mkdir()
    for path in (root / "v1.0-mini").iterdir():
        (other / path.name).write_text("[]")
    (root / "samples").rename(tmp_path / "disk")
    (root / "samples").symlink_to(tmp_path / "disk")
    summary = ingest(root / "samples/LIDAR_TOP", tmp_path / "out")
    assert len(summary.notes) == 1, "of the motion, and none of tables"
    found = open_dataset(tmp_path / "out").read(0).streams["world_from_lidar"].values
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("table", "change", "sentence"),
    [
        ("ego_pose", lambda rows: rows[1:], "the row 'ego0' is missing; sample_data.json names it"),
        ("ego_pose", lambda rows: {"rows": rows}, "a list of rows was expected"),
        ("ego_pose", lambda rows: [*rows, 3], "a list of rows was expected"),
        ("ego_pose", lambda rows: [r | {"rotation": [0, 0, 0, 0]} for r in rows], "of 4 numbers"),
        ("ego_pose", lambda rows: [r | {"rotation": [1, 0, 0]} for r in rows], "of 4 numbers"),
        ("ego_pose", lambda rows: [r | {"rotation": [1e200, 1e200, 0, 0]} for r in rows], "of 4"),
        ("ego_pose", lambda rows: [r | {"translation": [1e39] * 3} for r in rows], "of 3"),
        ("ego_pose", lambda rows: [r | {"translation": [1e999] * 3} for r in rows], "of 3"),
        ("ego_pose", lambda rows: [r | {"translation": [10**400] * 3} for r in rows], "of 3"),
        ("calibrated_sensor", lambda rows: [r | {"translation": "here"} for r in rows], "of 3"),
        ("calibrated_sensor", lambda rows: [r | {"rotation": [True] * 4} for r in rows], "of 4"),
    ],
    ids=[
        *("gone", "mapping", "number", "zero", "three", "long", "far", "infinite", "huge"),
        *("text", "truth"),
    ],
)
def test_a_damaged_table_is_named(tmp_path, table, change, sentence):
    drive(tmp_path / "in")
    path = tmp_path / f"in/v1.0-mini/{table}.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(FormatError, match=sentence) as caught:
        ingest(tmp_path / "in", tmp_path / "out")
    assert f"{table}.json" in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("seed", range(60))
def test_damage_anywhere_is_an_error_in_words_or_none(tmp_path, seed):
    drive(tmp_path / "in")
    rng = generator("nuscenes tables", seed)
    name = ("sample_data", "ego_pose", "calibrated_sensor")[seed % 3]
    path = tmp_path / f"in/v1.0-mini/{name}.json"
    raw = bytearray(path.read_bytes())
    for at in rng.integers(0, len(raw), 1 + seed % 4):
        raw[at] = rng.integers(0, 256)
    path.write_bytes(raw[: len(raw) - seed % 7])
    try:
        with little_memory():
            ingest(tmp_path / "in", tmp_path / "out")
    except ArmillaryError as error:
        assert str(error) and "\n" not in str(error)
