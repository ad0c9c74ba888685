"""Landmarks are found for a run, refused where they would mislead, and acted on from then on."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from armillary.cli.main import main
from armillary.core.errors import ConfigError, TrainingError
from armillary.evaluation.sub_goals import SubGoalPolicy, acting_spec
from armillary.models.goal_policy_file import POLICY_FILE
from armillary.models.landmarks import LANDMARKS_FILE
from armillary.planning import Planning
from armillary.recipes import landmarks
from armillary.recipes.landmarks import learn_landmarks
from armillary.recipes.recipe import train_recipe
from armillary.recipes.recipe_config import shortened
from armillary.recipes.world import world
from armillary.services.acting import ActConfig, act, model_spec
from armillary.training import landmarks as fitting
from armillary.worlds import make_world, record

pytestmark = pytest.mark.runs


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("far") / "data"
    record("tabletop", out, 24, 10, seed=3)
    return out


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("far") / "run"
    train_recipe(replace(shortened(world(), 3), threads=1), data, out, diagnosed=False)
    return out


@pytest.fixture
def run(trained, tmp_path) -> Path:
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def many(monkeypatch):
    """As many landmarks as frames allow; for a model that learned next to nothing they are few."""
    monkeypatch.setattr(fitting, "_FRAMES_ON_THE_WAY", 0)
    monkeypatch.setattr(landmarks, "known_share", lambda *given: 0.5)


@pytest.fixture
def mapped(run, data, many, monkeypatch) -> Path:
    """A run with landmarks, though far too little was recorded for ones that help."""
    monkeypatch.setattr(landmarks, "known_share", lambda *given: 0.95)
    found = learn_landmarks(run, data)
    assert found.file == run / "model" / LANDMARKS_FILE and found.landmarks > 1 and found.ways > 0
    assert found.far > 0 and not found.warnings
    return run


def test_landmarks_whose_ways_other_episodes_do_not_take_are_not_written(run, data, many):
    with pytest.raises(TrainingError, match=r"only 50% of the ways in held-out .* 90% are needed"):
        learn_landmarks(run, data)
    assert not (run / "model" / LANDMARKS_FILE).exists()


def test_nothing_tells_whether_ways_are_there_where_no_other_episode_takes_one(run, data):
    with pytest.raises(TrainingError, match="no held-out episode goes from one of the"):
        learn_landmarks(run, data)


def test_a_model_with_landmarks_acts_by_them_and_can_be_told_not_to(mapped, tmp_path):
    folder, spec = mapped / "model", make_world("tabletop").spec
    assert isinstance(acting_spec(folder)(spec), SubGoalPolicy)
    flat = model_spec(folder, ActConfig(sub_goals=False))
    assert not isinstance(flat(spec), SubGoalPolicy)
    assert not isinstance(acting_spec(folder, Planning("icem"))(spec), SubGoalPolicy)
    assert model_spec(folder, ActConfig()).identity() != flat.identity()
    searching = ActConfig(planning=Planning("icem"))
    without = replace(searching, sub_goals=False)
    assert model_spec(folder, searching).identity() == model_spec(folder, without).identity()
    config = ActConfig(episodes=2, workers=1, budget=3)
    found = act(folder, "tabletop", tmp_path / "act", config)
    (once, again) = (act(folder, "tabletop", tmp_path / out, config) for out in ("act", "new"))
    assert found.records["model"] == once.records["model"]
    assert [r.actions for r in once.records["model"]] == [r.actions for r in again.records["model"]]
    one = replace(config, planning=Planning("direct"))
    assert act(folder, "tabletop", tmp_path / "direct", one).rows["model"].n == 2


def test_the_command_says_what_it_found_or_what_is_missing(run, data, many, monkeypatch, capsys):
    assert main(["landmarks", str(run), str(data)]) == 2
    assert "Nothing was written." in capsys.readouterr().err
    monkeypatch.setattr(landmarks, "known_share", lambda *given: 0.95)
    assert main(["landmarks", str(run), str(data)]) == 0
    said = capsys.readouterr().out
    assert "landmarks and" in said and "get sub-goals" in said
    (run / "model" / POLICY_FILE).unlink()
    with pytest.raises(ConfigError, match="has no goal policy that could go from landmark to lan"):
        learn_landmarks(run, data)
    with pytest.raises(ConfigError, match="is not a folder, and landmarks are stored"):
        learn_landmarks("user/name", data)
