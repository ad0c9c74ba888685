"""A model that learned from clouds is asked with the clouds that it learned from."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from armillary.core.files import read_json, write_json
from armillary.core.rng import generator
from armillary.core.values import Episode, Stream
from armillary.data import DatasetWriter
from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig
from armillary.recipes.adding_policy import learn_goal_policy
from armillary.recipes.recipe import Recipe, train_recipe
from armillary.services.asking import probe_model, surprise_clip
from armillary.training import ObjectiveConfig
from armillary.training.encoded_episodes import encode_episodes

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


def test_it_is_trained_probed_surprised_and_learns_to_act(data, tmp_path):
    run = tmp_path / "run"
    train_recipe(RECIPE, data, run)
    assert len(surprise_clip(run, f"{data}:1").surprise) == STEPS - 1
    assert len(surprise_clip(run, f"{data}:1", normal=data).surprise) == STEPS - 1
    assert {*probe_model(run, data)} == {"thing_xy"}
    assert learn_goal_policy(run, data, steps=2).file.is_file()


def test_a_model_without_pictures_is_surprised_too(tmp_path, monkeypatch):
    monkeypatch.setenv("ARMILLARY_CACHE", str(tmp_path / "cache"))
    writer = DatasetWriter(tmp_path / "set", 10)
    for index in range(3):
        whole = episode(index)
        streams = {name: stream for name, stream in whole.streams.items() if name != "rgb"}
        writer.write(index, replace(whole, streams=streams))
    writer.finalize()
    blind = replace(RECIPE, model=replace(RECIPE.model, sensors=("cloud",)))
    train_recipe(blind, tmp_path / "set", tmp_path / "run")
    found = surprise_clip(tmp_path / "run", f"{tmp_path / 'set'}:1", tmp_path / "said")
    assert len(found.surprise) == STEPS - 1 and found.pixel_difference == []
    assert read_json(tmp_path / "said" / "surprise.json")["surprise"] == found.surprise


def test_what_judged_the_model_teaches_its_policy_nothing(data, tmp_path, monkeypatch):
    """The policy's seed would split otherwise; the run says what was held out."""
    run, taught = tmp_path / "run", []

    def listening(model, windows, appearances=None):
        taught.append({*windows.cache.episodes[windows.episodes].tolist()})
        return encode_episodes(model, windows)

    monkeypatch.setattr("armillary.recipes.goal_policy.encode_episodes", listening)
    train_recipe(replace(RECIPE, seed=1, held_out=0.5), data, run)
    known = read_json(run / "data.json")
    for seed in (0, 1, 2):
        learn_goal_policy(run, data, steps=1, seed=seed)
        assert [sorted(some) for some in taught[-2:]] == [
            known["training_episodes"],
            known["held_out_episodes"],
        ]
    # of a model alone nobody knows what it was trained on
    moved = shutil.copytree(run / "model", tmp_path / "alone" / "model")
    (said,) = learn_goal_policy(moved, data, steps=1).warnings
    assert f"{tmp_path / 'alone' / 'data.json'}: does not tell how this recording was split" in said
    assert sum(map(len, taught[-2:])) in (3, 4)


@pytest.mark.parametrize("kept", ["identity", "dataset", "nothing"])
def test_a_recording_is_known_by_its_content_and_else_by_its_folder(
    data, tmp_path, monkeypatch, kept
):
    run = tmp_path / "run"
    train_recipe(replace(RECIPE, seed=1, held_out=0.5), data, run)
    known = read_json(run / "data.json")
    if kept != "dataset":  # as on another machine, where nothing was prepared yet
        data = data.rename(tmp_path / "moved")
        monkeypatch.setenv("ARMILLARY_CACHE", str(tmp_path / "another"))
    if kept != "identity":  # as runs of before it was written down, and of recordings added to
        write_json(run / "data.json", {n: v for n, v in known.items() if n != "identity"})
    judged = []

    def listening(policy, encoded, seed):
        judged.append(len(encoded.latents) // STEPS)
        return 0.5

    monkeypatch.setattr("armillary.recipes.goal_policy.judge_goal_policy", listening)
    found = learn_goal_policy(run, data, steps=1)
    assert judged == [1 if kept == "nothing" else len(known["held_out_episodes"])]
    assert bool(found.warnings) == (kept == "nothing")
