"""Success against latency: the same episodes for every setting, rows from records, one picture."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from armillary.cli.main import main
from armillary.core.errors import ConfigError
from armillary.evaluation import read_records
from armillary.experiments.latency.run import grid, latency_study
from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig, save_model, untrained
from armillary.planning import Planning
from armillary.services.acting import ActConfig

TINY = EncoderConfig(image_size=16, patch_hidden=8, patch_width=8, hidden=8, tokens=2, width=4)
CONFIG = ActConfig(Planning("cem", {"length": 2}), episodes=2, workers=1, budget=4)
NAMES = ["cem-samples-4-replan-1", "cem-samples-8-replan-1"]
NAMES += ["cem-samples-4-replan-2", "cem-samples-8-replan-2"]


def make_model(path: Path, frame_skip: int = 1) -> Path:
    config = JEPAConfig(
        sensors=("rgb",),
        encoder=TINY,
        predictor=PredictorConfig(memory=8, hidden=8),
        frame_skip=frame_skip,
        action_width=2 * frame_skip,
    )
    save_model(untrained(config, 0), path)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_model(tmp_path / "model")


def test_every_setting_runs_the_same_episodes(model: Path, tmp_path: Path) -> None:
    settings = grid((model,), CONFIG, (4, 8), (1, 2))
    out = tmp_path / "latency"
    value = latency_study(settings, "two_rooms", out, CONFIG, command="again --please")
    assert value == json.loads((out / "latency.json").read_text())
    assert list(value["settings"]) == NAMES
    records = {name: read_records(out / "records" / f"{name}.jsonl") for name in NAMES}
    episodes = {tuple((r.manifest, r.id) for r in found) for found in records.values()}
    assert len(episodes) == 1
    for name, row in value["settings"].items():
        # 4 steps: 4 decisions, or 2; each row counts what its records hold
        assert {len(r.decisions) for r in records[name]} == {4 // row["replan"]}
        spent = sum(sum(r.ms_per_decision) for r in records[name])
        assert row["ms_per_world_step"] == pytest.approx(spent / 8)
        assert row["model_steps_per_decision"] == 2 * (4 * row["planner_settings"]["samples"] + 2)
    assert "minus_first" not in value["settings"][NAMES[0]]
    assert value["settings"][NAMES[1]]["minus_first"]["first"] == NAMES[0]
    assert value["beside"].keys() == {"random", "noop", "oracle"}
    page = (out / "latency.html").read_text()
    assert page.count('class="whisker"') >= 2 * len(NAMES)
    assert "replan every 2" in page
    assert "again --please" in page
    assert "http" not in re.sub(r"http-equiv|http://www\.w3\.org/\S+", "", page)


def test_models_of_several_frame_skips_stand_side_by_side(model: Path, tmp_path: Path) -> None:
    other = make_model(tmp_path / "skips", frame_skip=2)
    settings = grid((model, other), CONFIG, (4,), (1,))
    value = latency_study(settings, "two_rooms", tmp_path / "out", CONFIG)
    first, second = value["settings"].values()
    assert (first["frame_skip"], second["frame_skip"]) == (1, 2)
    assert first["series"] != second["series"]


def test_elites_follow_the_samples() -> None:
    settings = grid(("m",), ActConfig(Planning("icem")), (16, 64), (1,))
    elites = [s.config.planning.settings["elites"] for s in settings.values()]
    assert elites == [2, 8]


def test_a_guided_search_decides_at_every_step_whatever_the_intervals_are():
    settings = grid(("m",), ActConfig(Planning("guided")), (1, 32), (1, 4))
    assert {*settings} == {"guided-samples-1", "guided-samples-32"}
    assert [dict(one.config.planning.settings) for one in settings.values()] == [
        {"samples": 1},
        {"samples": 32},
    ]


def test_what_cannot_be_is_refused_before_anything_runs(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="gradient"):
        grid((model,), ActConfig(Planning("gradient")), (8,), (1,))
    with pytest.raises(ConfigError, match="searches: guided, cem, icem, mppi, gradient; got 'dir"):
        grid((model,), ActConfig(Planning("direct")), (8,), (1,))
    with pytest.raises(ConfigError, match="needs a model"):
        grid((model,), CONFIG, (), (1,))
    one = grid((model,), CONFIG, (4,), (1,))
    with pytest.raises(ConfigError, match="other than random"):
        latency_study({"random": one[NAMES[0]]}, "two_rooms", tmp_path / "out", CONFIG)
    assert not (tmp_path / "out").exists()


def test_the_command_goes_on_and_says_how_to_do_it_again(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["bench", "latency", str(model), "two_rooms", "--out", str(out), "--episodes", "1"]
    words += ["--planner", "cem", "--plan", "length=1", "--plan", "iterations=1"]
    words += ["--samples", "4", "--replan", "1", "--json"]
    assert main(words) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["command"].split()[3:] == [
        str(model),
        "two_rooms",
        *("--planner", "cem", "--plan", "length=1", "--plan", "iterations=1"),
        *("--out", str(out)),
        *("--samples", "4", "--replan", "1", "--episodes", "1"),
    ]
    # what was measured stays as it was measured
    assert main(words) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["settings"] == first["settings"]
