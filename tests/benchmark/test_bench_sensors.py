"""Sensors bench: the pictures that are ingested are what they say, and the result is complete."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from armillary.benchmark import SensorsBench, bench_sensors
from armillary.benchmark.sensors import write_tum
from armillary.data import open_dataset
from armillary.data.ingest import ingest
from armillary.models import JEPAConfig
from armillary.models.encoder import EncoderConfig
from armillary.training import ObjectiveConfig, TrainConfig

MODEL = JEPAConfig(encoder=EncoderConfig(image_size=32))
TRAIN = TrainConfig(
    batch_size=4, clip_length=4, objective=ObjectiveConfig(rollout_steps=2, visual_words=1.0)
)
SHORT = SensorsBench(
    repetitions=2, seconds=0.05, points=2000, centres=8, near=8, frames=4, episodes=2, steps=20
)


def test_the_sequence_is_a_wall_about_two_metres_away(tmp_path: Path) -> None:
    write_tum(tmp_path / "in", 3, 0)
    assert ingest(tmp_path / "in", tmp_path / "out").frames == 3
    depth_m = open_dataset(tmp_path / "out").read(0).streams["depth"].values
    assert depth_m.shape == (3, 480, 640)
    assert (np.nanmin(depth_m), np.nanmax(depth_m)) == pytest.approx((1.5, 2.5), abs=0.01)


def test_the_result_says_what_depth_costs(tmp_path: Path) -> None:
    result = bench_sensors(tmp_path, MODEL, TRAIN, SHORT)
    assert json.loads(json.dumps(result, allow_nan=False))
    speed = result["frames_per_s"]
    assert result["ratio"] == pytest.approx(speed["rgb_points"] / speed["rgb"], rel=0.01)
    assert result["patches_ms"] > 0
    assert result["ingest_frames_per_s"] > 1.5 * result["ingest_encoded_frames_per_s"] > 1.5
    assert result["frame_bytes"]["kept"] > 2 * result["frame_bytes"]["encoded"]
    assert {len(values) for values in result["repetitions"].values()} == {2}
