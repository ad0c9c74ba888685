"""A laser with odometry, from the recipe ``world`` to a table in metres."""

from pathlib import Path

import numpy as np
import pytest

from armillary.cli.diagnose import metres_lines
from armillary.core.changing import changed
from armillary.core.files import read_json
from armillary.core.values import Episode, Stream
from armillary.data.writer import DatasetWriter
from armillary.recipes.recipe import train_recipe
from armillary.recipes.world import world
from armillary.services.diagnose.diagnosing import diagnose_model

BEAMS, STEPS = 32, 20
SMALL = {
    "steps": 2,
    "batch_size": 4,
    "threads": 1,
    "held_out": 0.3,
    "finetune.steps": 2,
    "finetune.batch_size": 4,
    "model.encoder.image_size": 16,
    "model.encoder.hidden": 16,
    "model.predictor.memory": 8,
    "model.predictor.hidden": 8,
}


def episode(number: int, steps: int = STEPS) -> Episode:
    """Return a drive towards a wall that a laser sees under all its beams."""
    rng = np.random.default_rng(number)
    moves = rng.uniform(0, 4 / steps, steps - 1).astype(np.float32)
    way = np.concatenate([[0], np.cumsum(moves)])
    azimuth = np.linspace(-1, 1, BEAMS)
    pose = np.tile(np.eye(4), (steps, 1, 1))
    pose[:, 0, 3] = way
    ranges = ((8 - way)[:, None] / np.cos(azimuth)).astype(np.float32)
    streams = {
        "lidar": Stream(
            "lidar", ranges, "m", "lidar", beams_rad=np.stack([azimuth, 0 * azimuth], 1)
        ),
        "world_from_lidar": Stream("pose", pose, "m", "world"),
    }
    return Episode(streams, np.arange(steps, dtype=np.int64) * 10**8, moves[:, None])


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
    assert len(lines) == 8 and "error" in lines[4] and "1 - IoU" in lines[4]  # then of occupancy


@pytest.mark.parametrize(("steps", "share"), [(300, 0.3), (300, 0.0), (120, 0.3)])
def test_the_end_of_a_recording_that_is_one_episode_is_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int, share: float
) -> None:
    monkeypatch.setenv("ARMILLARY_CACHE", str(tmp_path / "cache"))
    writer = DatasetWriter(tmp_path / "data", 10)
    writer.write(0, episode(0, steps))
    writer.finalize()
    recipe = changed(world(), {**SMALL, "held_out": share})
    summary = train_recipe(recipe, tmp_path / "data", tmp_path / "run")
    told, known = " ".join(summary.warnings), read_json(tmp_path / "run" / "data.json")
    found = read_json(tmp_path / "run" / "diagnose.json")
    again = diagnose_model(tmp_path / "run", tmp_path / "data")
    if steps == 300 and share > 0:
        assert "its last 9 s are held out. --held-out 0 trains on all of it." in told
        assert (known["training_episodes"], known["held_out_from"]) == ([0], 210)
        assert found["n"]["judged_on"].startswith("the end of the only episode")
        assert (
            again["n"]["judged_on"] == "the last 30% of the only episode, held out of the training"
        )
        assert again["warning"] == ""
    else:  # nothing was to be held out, or the end is too short to judge
        assert "held out" not in told
        assert "held_out_from" not in known
        assert "judging" not in found
        assert "trained on all episodes" in again["warning"]
