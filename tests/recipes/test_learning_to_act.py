"""A training ends with a goal policy where somebody acted, and loses nothing where that fails."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from armillary.cli.learn import policy_said
from armillary.core.errors import ConfigError, TrainingError
from armillary.models import load_model
from armillary.models.goal_policy_file import POLICY_FILE, load_goal_policy
from armillary.recipes import goal_policy
from armillary.recipes.adding_policy import learn_goal_policy
from armillary.recipes.goal_policy import SUMMARY
from armillary.recipes.recipe import train_recipe
from armillary.recipes.recipe_config import shortened
from armillary.recipes.world import world
from armillary.worlds import record
from armillary.zoo.finding import find_model

pytestmark = pytest.mark.runs


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("acted") / "data"
    record("tabletop", out, 24, 10, seed=3)
    return out


@pytest.fixture(scope="module")
def run(data, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("acted") / "run"
    summary = train_recipe(tiny(), data, out, diagnosed=False)
    assert not [said for said in summary.warnings if "goal policy" in said]
    return out


def tiny():
    return replace(shortened(world(), 3), threads=1)


def test_it_is_in_the_models_folder_and_its_summary_in_the_runs(run):
    folder = find_model(run)
    assert load_goal_policy(folder, load_model(folder)) is not None
    told = json.loads((run / SUMMARY).read_text())
    assert told["file"] == f"model/{POLICY_FILE}" and told["steps"] == 100  # the least
    assert np.isfinite(told["r2"]) and not told["warnings"]
    assert "R2" in " ".join(policy_said(told))
    assert "nothing tells how good" in " ".join(policy_said(told | {"r2": None}))


def test_a_resumed_training_ends_with_a_policy_for_the_model_as_it_is_then(run, data):
    train_recipe(tiny(), data, run, resume=True, diagnosed=False)
    assert load_goal_policy(run / "model", load_model(run / "model")) is not None


def test_what_goes_wrong_does_not_cost_the_training(data, tmp_path, monkeypatch):
    def fails(*args, **named):
        raise TrainingError("The goal policy came to nothing.")

    monkeypatch.setattr(goal_policy, "add_goal_policy", fails)
    summary = train_recipe(tiny(), data, tmp_path / "run", diagnosed=False)
    (said,) = [one for one in summary.warnings if "goal policy" in one]
    assert "came to nothing" in said and f"armillary policy {tmp_path / 'run'} DATASET" in said
    assert load_model(tmp_path / "run" / "model") is not None
    assert not (tmp_path / "run" / SUMMARY).exists()


def test_it_can_be_left_out_and_trained_later_and_says_what_was_not_held_out(data, tmp_path):
    run = tmp_path / "run"
    train_recipe(tiny(), data, run, diagnosed=False, acting=False)
    assert not (run / "model" / POLICY_FILE).exists()
    found = learn_goal_policy(run, data, steps=2)
    assert found.file.is_file() and not found.warnings
    alone = tmp_path / "alone"
    (run / "model").rename(alone)
    found = learn_goal_policy(alone, data, steps=2)
    assert "episodes were held out anew" in found.warnings[0]
    assert not (tmp_path / SUMMARY).exists()  # only a run gets a summary beside its model
    with pytest.raises(ConfigError, match="steps must be above 0, got 0"):
        learn_goal_policy(alone, data, steps=0)
    with pytest.raises(ConfigError, match="is not a folder, and the policy is stored"):
        learn_goal_policy("user/name", data)


def test_few_episodes_are_drawn_where_latents_would_fill_the_memory(
    run, data, tmp_path, monkeypatch
):
    run = shutil.copytree(run, tmp_path / "run")  # others read the summary of this one
    monkeypatch.setattr(goal_policy, "_MOST_BYTES", 4 * 256 * 35)
    seen = []
    real = goal_policy.encode_episodes

    def counted(model, windows, appearances=None):
        seen.append(len(windows))
        return real(model, windows, appearances)

    monkeypatch.setattr(goal_policy, "encode_episodes", counted)
    learn_goal_policy(run, data, steps=2)
    assert max(seen) <= 35
