"""Specs name what they are, load what they name, and say what does not fit."""

from dataclasses import replace

import point_world as toy
import pytest

from armillary.core.errors import CheckpointError, ConfigError, ShapeError
from armillary.evaluation import ModelSpec, NoOpSpec, evaluate, make_manifest
from armillary.evaluation.specs import identity_of, observation_streams
from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig, save_model, untrained
from armillary.planning import Planning

CONFIG = JEPAConfig(
    sensors=("rgb",),
    encoder=EncoderConfig(image_size=8, patch=4, patch_hidden=8, hidden=8, tokens=2, width=4),
    predictor=PredictorConfig(memory=8, hidden=8),
    point_stride=2,
)
RULES = make_manifest("point", "reach", 3, 0, world_factory=toy.PointWorld)


@pytest.fixture
def folder(tmp_path):
    save_model(untrained(CONFIG, 0), tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.runs  # processes start: 11 s
def test_a_model_folder_acts_the_same_here_and_in_processes(folder):
    spec = ModelSpec(folder, Planning("icem", {"length": 3, "samples": 16}, history=2))
    here = evaluate(RULES, spec, toy.PointWorld)
    there = evaluate(RULES, spec, toy.PointWorld, workers=2)
    assert here == there and all(record.error == "" for record in here)


def test_the_identity_is_the_models_content_and_settings_not_its_place(folder, tmp_path):
    spec = ModelSpec(folder)
    save_model(untrained(CONFIG, 0), tmp_path / "copy")
    save_model(untrained(CONFIG, 1), tmp_path / "other")
    assert spec.identity() == replace(spec, folder=tmp_path / "copy").identity()
    assert spec.identity() != replace(spec, folder=tmp_path / "other").identity()
    assert spec.identity() != replace(spec, planning=Planning("mppi")).identity()
    assert identity_of(NoOpSpec()) == "noop" and identity_of(toy.breaking_world)


@pytest.mark.runs  # processes start: 6 s
@pytest.mark.parametrize("workers", [1, 2])
def test_a_model_of_another_action_width_stops_the_evaluation(tmp_path, workers):
    save_model(untrained(replace(CONFIG, action_width=3), 0), tmp_path / "model")
    one = replace(RULES, episodes=RULES.episodes[:1])
    with pytest.raises(ShapeError, match="takes 3 action numbers per model step, and this world"):
        evaluate(one, ModelSpec(tmp_path / "model"), toy.PointWorld, workers=workers)


def test_a_missing_model_gets_a_sentence(folder, tmp_path):
    with pytest.raises(ConfigError, match="there is no such folder; a model folder was expected"):
        evaluate(RULES, ModelSpec(tmp_path / "none"), toy.PointWorld)
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="there is no such file"):
        evaluate(RULES, ModelSpec(folder), toy.PointWorld)


def test_a_policy_that_sees_too_little_or_another_world_is_told(folder):
    points = replace(CONFIG, sensors=("rgb", "points"))
    assert observation_streams(points) == ("rgb", "depth", "world_from_camera", "intrinsics")
    save_model(untrained(points, 0), folder.parent / "points")
    with pytest.raises(ConfigError, match="asks for 'depth', which point does not give"):
        evaluate(RULES, ModelSpec(folder.parent / "points"), toy.PointWorld)
