"""A guard study on a tiny scale: it goes on where it stopped, and workers change nothing."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from armillary.core.errors import ConfigError
from armillary.evaluation import ModelSpec, WorldFactory, load_manifest, read_records, replay
from armillary.models import (
    EncoderConfig,
    JEPAConfig,
    PredictorConfig,
    load_model,
    save_model,
    untrained,
)
from armillary.models.goal_policy import GoalPolicyConfig, untrained_goal_policy
from armillary.models.goal_policy_file import save_goal_policy
from armillary.monitoring import load_guard
from armillary.monitoring.rewatch import Eyes, watch_exploring
from armillary.planning import Planning
from armillary.services.guarding import GuardConfig, guard_study

TINY = EncoderConfig(image_size=16, patch_hidden=8, patch_width=8, hidden=8, tokens=2, width=4)
CONFIG = GuardConfig(
    episodes=3,
    calibration=5,
    exploring=6,
    latest=4,
    planning=Planning("cem", {"length": 2, "samples": 4, "elites": 2, "iterations": 1}),
    budget=6,
    workers=1,
    seed=3,
    false_alarms=None,
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("guarding") / "model"
    predictor = PredictorConfig(memory=8, hidden=8)
    save_model(untrained(JEPAConfig(("rgb",), TINY, predictor), 0), path)
    return path


def facts(value: dict) -> dict:
    """Leave out what tells time: the machine, the date, milliseconds."""
    kept = {
        name: found for name, found in value.items() if name not in ("machine", "date", "commit")
    }
    calm = {n: v for n, v in value["normal"].items() if not n.startswith("ms_per_decision")}
    return {**kept, "normal": calm}


def test_a_study_on_the_tabletop(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "guard"
    value = guard_study(model, "tabletop", out, CONFIG, command="again")
    assert value == json.loads((out / "results.json").read_text())
    assert value["rows"].keys() == {"guard", "surprise", "copy_last", "pixel_difference"}
    for row in value["rows"].values():
        assert row.keys() == {"normal", "teleport", "stuck", "camera"}
        assert row["normal"]["n"] == row["teleport"]["n"] == row["camera"]["n"] == 3
        assert row["stuck"]["n"] + row["stuck"]["never_shown"] == 3
    assert value["false_stops_at_most"] == pytest.approx(1 / 6)
    assert value["sizes"]["teleport"]["jump_m"]["least"] >= 0.08
    guard = load_guard(out / "guard.json")
    assert guard.episodes == 5 and guard.policy == value["policy"]
    for name in ("calibration", "normal", "stuck"):
        manifest = load_manifest(out / name / "manifest.json")
        records = read_records(out / name / "records.jsonl")
        assert all(replay(record, manifest).ok for record in records)
    seeds = [
        {episode.seed for episode in load_manifest(out / name / "manifest.json").episodes}
        for name in ("calibration", "normal", "stuck")
    ]
    assert not seeds[0] & seeds[1] and not (seeds[0] | seeds[1]) & seeds[2]
    before = (out / "stuck" / "records.jsonl").read_bytes()
    assert facts(guard_study(model, "tabletop", out, CONFIG, command="again")) == facts(value)
    assert (out / "stuck" / "records.jsonl").read_bytes() == before
    with pytest.raises(ConfigError, match="contains a study with another world"):
        guard_study(model, "tabletop", out, replace(CONFIG, seed=4))


def test_a_world_shows_what_it_can(model: Path, tmp_path: Path) -> None:
    value = guard_study(model, "two_rooms", tmp_path, CONFIG)
    assert value["rows"]["guard"].keys() == {"normal", "stuck"}
    # in layouts that no training saw, unless asked for others
    for name in ("calibration", "normal", "stuck"):
        assert load_manifest(tmp_path / name / "manifest.json").settings["split"] == "held_out"
    asked = replace(CONFIG, world_settings={"split": "train"})
    guard_study(model, "two_rooms", tmp_path / "asked", asked)
    manifest = load_manifest(tmp_path / "asked" / "normal" / "manifest.json")
    assert manifest.settings["split"] == "train"


def test_a_model_that_follows_its_goal_policy_is_guarded(model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model, tmp_path / "model")
    shape = GoalPolicyConfig(load_model(folder).config.latent_width, 2, hidden=8, layers=1)
    save_goal_policy(untrained_goal_policy(shape, 0), folder)
    value = guard_study(folder, "tabletop", tmp_path / "out", replace(CONFIG, planning=Planning()))
    records = read_records(tmp_path / "out" / "normal" / "records.jsonl")
    assert value["rows"]["guard"]["normal"]["n"] == len(records) == 3
    assert all(record.error == "" and record.model_steps for record in records)  # it searches


@pytest.mark.slow  # 15 s
def test_what_is_seen_does_not_depend_on_the_number_of_workers(model: Path) -> None:
    world = WorldFactory("two_rooms", {"image_size": 16})
    eyes = Eyes(world, ModelSpec(model, CONFIG.planning), history=4)
    one, two = (watch_exploring(eyes, 3, 5, seed=1, workers=workers) for workers in (1, 2))
    for ours, theirs in zip(one, two, strict=True):
        np.testing.assert_array_equal(ours.actions, theirs.actions)
        np.testing.assert_array_equal(ours.seen.states, theirs.seen.states)
        residuals = ours.seen.differences.residual, theirs.seen.differences.residual
        np.testing.assert_array_equal(*residuals)


def test_too_few_calibration_episodes_for_the_promise_are_refused(
    model: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="needs at least 99 normal episodes; got 5"):
        guard_study(model, "two_rooms", tmp_path / "out", replace(CONFIG, false_alarms=0.01))
    assert not (tmp_path / "out").exists()
