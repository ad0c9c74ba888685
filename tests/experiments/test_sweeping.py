"""Sweep: all attempts count, the best is chosen on held-out episodes and judged once on others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_recipe import SMALL

from armillary.cli.main import main
from armillary.core.changing import changed
from armillary.core.errors import ConfigError, TrainingError
from armillary.experiments.sweep import run as sweeping
from armillary.experiments.sweep.run import SweepConfig, best, larger_is_better, run_sweep
from armillary.recipes.world import world
from armillary.worlds import record

GRID = {"optimizer.lr": (1e-3, 1e-2), "objective.variance": (1.0, 4.0)}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    out = tmp_path_factory.mktemp("sweep")
    for seed, episodes in enumerate((8, 24)):  # of the second a tenth judges
        record("tabletop", out / str(seed), episodes, 12, workers=1, seed=seed)
    return out / "0", out / "1"


def config(data: tuple[Path, Path], **more: Any) -> SweepConfig:
    recipe = changed(world(), SMALL)
    return SweepConfig(data[0], **{"grid": GRID, "recipe": recipe, "workers": 1, **more})


def test_a_tiny_sweep_tries_all_and_judges_one(
    data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = sweeping.diagnose_model, []

    def diagnosed(run: Path, folder: Path) -> Any:
        asked.append((run.parent.name, folder))
        return real(run, folder)

    monkeypatch.setattr(sweeping, "diagnose_model", diagnosed)
    found = run_sweep(tmp_path, config(data, judged=data[1]))
    assert (found["attempts"], found["failed"]) == (4, 0)
    tried = [one["settings"] for one in found["combinations"].values()]
    assert [tuple(one.values()) for one in tried] == [(1e-3, 1), (1e-3, 4), (1e-2, 1), (1e-2, 4)]
    values = {name: one["mean"]["features_4"] for name, one in found["combinations"].items()}
    assert values[found["chosen"]] == min(values.values())
    assert [name for name, folder in asked if folder == data[1]] == [found["chosen"]]
    assert found["judged"]["0"]["features_4"] > 0
    assert json.loads((tmp_path / "result.json").read_text())["chosen"] == found["chosen"]
    asked.clear()
    again = run_sweep(tmp_path, config(data))
    assert again["combinations"] == found["combinations"]
    assert not asked and again["judged"] is None
    with pytest.raises(ConfigError, match="contains a run with other settings"):
        run_sweep(tmp_path, config(data, recipe=changed(world(), SMALL | {"steps": 3})))


@pytest.mark.slow  # 15 s, three trainings
def test_a_training_that_fails_is_an_attempt_and_never_the_best(
    data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverged(recipe: Any, *_: Any, **__: Any) -> None:
        raise TrainingError(f"Training with {recipe.optimizer.lr} stopped: not a number.")

    monkeypatch.setattr(sweeping, "train_recipe", diverged)
    with pytest.raises(
        TrainingError, match=r"In every combination .* Training with 0\.001 stopped"
    ):
        run_sweep(tmp_path, config(data, grid={"optimizer.lr": (1e-3, 1e-2)}))
    monkeypatch.undo()
    found = run_sweep(tmp_path, config(data, grid={"optimizer.lr": (1e-3, 3e-3)}))
    assert (found["attempts"], found["failed"]) == (2, 1)
    assert found["combinations"][found["chosen"]]["settings"] == {"optimizer.lr": 3e-3}


def rows(**means: Any) -> dict[str, Any]:
    return {name: {"mean": mean, "seeds": {}} for name, mean in means.items()}


def test_the_best_has_the_least_error_or_the_most_of_what_is_good() -> None:
    found = rows(a={"latent_4": 0.3, "r2_xy": 0.2}, b={"latent_4": 0.4, "r2_xy": 0.9}, c=None)
    assert best(found, "latent_4") == "a"
    assert best(found, "r2_xy") == "b"
    with pytest.raises(ConfigError, match=r"No measure 'r3' here; there are latent_4, r2_xy\."):
        best(found, "r3")


@pytest.mark.parametrize(
    ("measure", "larger"),
    [
        ("features_4", False),
        ("latent_1", False),
        ("false_motion", False),
        ("r2_object_xy", True),
        ("moved_skill_4", True),
        ("action_top1", True),
        ("spearman", True),
    ],
)
def test_errors_shall_be_small_and_all_else_large(measure: str, larger: bool) -> None:
    assert larger_is_better(measure) is larger


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"grid": {}}, "at least one setting"),
        ({"grid": {"optimizer.lr": ()}}, "a value for each"),
        ({"grid": {"optimizer.rate": (1,)}}, "rate"),
        ({"grid": {"optimizer.lr": ("much",)}}, "takes a number"),
        ({"grid": {"steps": range(1, 1002)}}, "1,001 trainings; the most are 1,000"),
        ({"seeds": (1, 1)}, "seeds, each once"),
        ({"measure": "loss"}, "No measure 'loss'; they are features_K"),
        ({"workers": 0}, "workers must be at least 1"),
        ({"judged": Path("here")}, "cannot judge what was chosen on it"),
        ({"on": "slurm"}, "--on takes ray"),
    ],
)
def test_what_cannot_be_swept_is_one_sentence(
    more: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        run_sweep(tmp_path / "out", config((Path("here"), Path()), **more))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow  # 15 s, a second sweep
def test_the_command_says_what_was_chosen(
    data: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sweep", "--data", str(data[0]), "--out", str(tmp_path), "--steps", "2"]
    words += ["--workers", "1", "--grid", "held_out=0.3", "--grid", "optimizer.lr=1e-3,2e-3"]
    assert main(words) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "2 trainings; all rows in" in said
    assert "chosen by features_4: --held_out 0.3 --optimizer.lr" in said
    assert "not judged on other episodes" in said
    assert main([*words, "--grid", "optimizer.lr=1"]) == 2
    assert "--grid takes NAME=VALUE,VALUE, each name once" in capsys.readouterr().err
