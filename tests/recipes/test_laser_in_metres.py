"""A laser with odometry, from the recipe ``world`` to a table in metres."""

from pathlib import Path

import numpy as np
import pytest

from armillary.cli.diagnose import metres_lines
from armillary.core.files import read_json
from armillary.core.values import Episode, Stream
from armillary.data.writer import DatasetWriter
from armillary.recipes.changing import changed
from armillary.recipes.diagnosing import diagnose_model
from armillary.recipes.recipe import train_recipe
from armillary.recipes.world import world

BEAMS, STEPS = 32, 20
SMALL = {
    "steps": 2,
    "batch_size": 4,
    "threads": 1,
    "held_out": 0.3,
    "settling.steps": 2,
    "settling.batch_size": 4,
    "model.encoder.image_size": 16,
    "model.encoder.hidden": 16,
    "model.predictor.memory": 8,
    "model.predictor.hidden": 8,
}


def episode(number: int) -> Episode:
    """Return a drive towards a wall that a laser sees under all its beams."""
    rng = np.random.default_rng(number)
    moves = rng.uniform(0, 0.2, STEPS - 1).astype(np.float32)
    way = np.concatenate([[0], np.cumsum(moves)])
    azimuth = np.linspace(-1, 1, BEAMS)
    pose = np.tile(np.eye(4), (STEPS, 1, 1))
    pose[:, 0, 3] = way
    ranges = ((8 - way)[:, None] / np.cos(azimuth)).astype(np.float32)
    streams = {
        "lidar": Stream(
            "lidar", ranges, "m", "lidar", beams_rad=np.stack([azimuth, 0 * azimuth], 1)
        ),
        "world_from_lidar": Stream("pose", pose, "m", "world"),
    }
    return Episode(streams, np.arange(STEPS, dtype=np.int64) * 10**8, moves[:, None])


def test_training_and_diagnosis_tell_the_range_in_metres(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARMILLARY_CACHE", str(tmp_path / "cache"))
    writer = DatasetWriter(tmp_path / "data", 10)
    for number in range(30):
        writer.write(number, episode(number))
    writer.finalize()
    train_recipe(changed(world(), SMALL), tmp_path / "data", tmp_path / "run")
    assert [row["steps"] for row in read_json(tmp_path / "run" / "diagnose.json")["metres"]] == [
        1,
        3,
    ]
    record = diagnose_model(tmp_path / "run", tmp_path / "data")
    for row in record["metres"]:
        assert row["sensor"] == "lidar"
        # odometry is exact here, and a wall seen from nearer fills other sectors but little
        assert row["rigid_warp"] < row["copy_last"] < row["mean"]
        assert row["model"] < row["copy_last"]
    line = next(line for line in record["lines"] if line["name"].startswith("prediction error of"))
    assert line["name"] == "prediction error of lidar, 3 steps, metres"
    assert line["bar"] == "below copy-last, mean, rigid warp"
    lines = metres_lines(record)
    assert lines[0] == "prediction error of lidar (mean absolute error in metres)"
    assert len(lines) == 4
