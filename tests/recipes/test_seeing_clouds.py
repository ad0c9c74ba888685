"""A model that learned from clouds is asked with the clouds that it learned from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from armillary.core.rng import generator
from armillary.core.values import Episode, Stream
from armillary.data import DatasetWriter
from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig
from armillary.recipes.asking import probe_model, surprise_clip
from armillary.recipes.prior import add_prior
from armillary.recipes.recipe import Recipe, train_recipe
from armillary.training import ObjectiveConfig
from armillary.training.prior import PriorConfig

STEPS = 12
RECIPE = Recipe(
    steps=2,
    batch_size=4,
    clip_length=3,
    threads=1,
    precision="float32",
    objective=ObjectiveConfig(rollout_steps=1),
    model=JEPAConfig(
        sensors=("rgb", "cloud"),
        encoder=EncoderConfig(16, 8, 8, 4, 8, 0, 2, 4),
        predictor=PredictorConfig(memory=4, hidden=4),
        cloud_tokens=4,
        cloud_near=2,
        cloud_points=8,
    ),
)


def episode(index: int) -> Episode:
    rng = generator("test-clouds", index)
    place = np.cumsum(rng.normal(0, 0.1, (STEPS, 2)), 0).astype(np.float32)
    points = rng.normal(0, 1, (STEPS, 10, 3)).astype(np.float32)
    points[..., :2] += place[:, None]
    rgb = rng.integers(0, 255, (STEPS, 16, 16, 3), dtype=np.uint8)
    return Episode(
        streams={
            "rgb": Stream("rgb", rgb),
            "points": Stream("points", points, "m", "world", columns=("x", "y", "z")),
            "thing_xy": Stream("truth", place, "m", "world"),
        },
        time_ns=np.arange(STEPS) * 100_000_000,
        actions=np.diff(place, axis=0),
    )


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("ARMILLARY_CACHE", str(tmp_path / "cache"))
    writer = DatasetWriter(tmp_path / "set", 10)
    for index in range(4):
        writer.write(index, episode(index))
    writer.finalize()
    return tmp_path / "set"


def test_it_is_trained_probed_surprised_and_given_a_prior(data, tmp_path):
    run = tmp_path / "run"
    train_recipe(RECIPE, data, run)
    assert len(surprise_clip(run, f"{data}:1").surprise) == STEPS - 1
    assert len(surprise_clip(run, f"{data}:1", normal=data).surprise) == STEPS - 1
    assert {*probe_model(run, data)} == {"thing_xy"}
    assert add_prior(run, data, replace(PriorConfig(), steps=2)).file.is_file()
