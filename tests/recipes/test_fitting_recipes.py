"""What a recipe asks of its data is checked before anything of the run is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from armillary.core.errors import ConfigError, TrainingError
from armillary.recipes.changing import changed
from armillary.recipes.recipe import train_recipe
from armillary.recipes.two_rooms import two_rooms
from armillary.training import AugmentConfig
from armillary.worlds import record


@pytest.mark.parametrize(
    ("augment", "said"),
    [
        (AugmentConfig(mirror=0.5, mirrored_actions=(3,)), "dimension 3, an action of .* has 2"),
        (AugmentConfig(mirror=0.5, mirror_line="rising"), "say which dimensions of an action"),
        (AugmentConfig(shift_px=64), "shift_px must be below the pictures' 64 px, got 64"),
    ],
)
def test_clips_that_cannot_be_varied_so_leave_no_run_behind(
    tmp_path: Path, augment: AugmentConfig, said: str
) -> None:
    record("two_rooms", tmp_path / "data", 2, 24, workers=1)
    with pytest.raises(ConfigError, match=said):
        recipe = changed(two_rooms(), {"model.frame_skip": 2, "batch_size": 2})
        train_recipe(replace(recipe, augment=augment), tmp_path / "data", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_predictor_that_asks_for_longer_clips_says_how_long_they_can_be(tmp_path: Path) -> None:
    record("two_rooms", tmp_path / "data", 3, 12, workers=1)
    few = {"steps": 1, "batch_size": 2, "clip_length": 8, "threads": 1}
    recipe = changed(two_rooms(), few | {"settling.steps": 1, "settling.clip_length": 40})
    with pytest.raises(TrainingError, match=r"has 12\. Pass --settling\.clip-length 12, or record"):
        train_recipe(recipe, tmp_path / "data", tmp_path / "run")
    assert not (tmp_path / "run").exists()
    recipe = changed(recipe, {"settling.clip_length": 12})
    assert train_recipe(recipe, tmp_path / "data", tmp_path / "run").steps == 1


def test_a_run_that_is_there_is_refused_before_anything_is_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARMILLARY_CACHE", str(tmp_path / "cache"))
    record("two_rooms", tmp_path / "data", 3, 40, workers=1)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.json").write_text("{}")
    recipe = changed(two_rooms(), {"batch_size": 2})
    with pytest.raises(ConfigError, match="holds a training run already"):
        train_recipe(recipe, tmp_path / "data", tmp_path / "run")
    assert not (tmp_path / "cache").exists()
