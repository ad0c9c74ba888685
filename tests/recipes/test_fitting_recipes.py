"""What a recipe asks of its data is checked before anything of the run is written."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from armillary.core.changing import changed
from armillary.core.errors import ConfigError, DatasetError, TrainingError
from armillary.data import open_dataset
from armillary.models.checkpoint import config_from_dict
from armillary.recipes.clips import clip_frames, too_short
from armillary.recipes.recipe import (
    Recipe,
    check_streams,
    fitted,
    needed_streams,
    prepared,
    train_recipe,
)
from armillary.recipes.world import adapted_to, world
from armillary.training import TERMS, AugmentConfig, ObjectiveConfig
from armillary.training.terms.smoothness import Smoothness
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
        recipe = changed(world(), {"model.frame_skip": 2, "batch_size": 2})
        train_recipe(replace(recipe, augment=augment), tmp_path / "data", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_predictor_that_asks_for_longer_clips_says_how_long_they_can_be(tmp_path: Path) -> None:
    record("two_rooms", tmp_path / "data", 3, 12, workers=1)
    few = {"steps": 1, "batch_size": 2, "clip_length": 8, "threads": 1}
    recipe = changed(world(), few | {"finetune.steps": 1, "finetune.clip_length": 40})
    with pytest.raises(TrainingError, match=r"has 12\. Pass --finetune\.clip-length 12, or record"):
        train_recipe(recipe, tmp_path / "data", tmp_path / "run")
    assert not (tmp_path / "run").exists()
    recipe = changed(recipe, {"finetune.clip_length": 12})
    assert train_recipe(recipe, tmp_path / "data", tmp_path / "run").steps == 1


def test_sensors_that_are_offered_are_sensors_that_work() -> None:
    blind = changed(Recipe(), {"model.sensors": ("rgb",)})
    with pytest.raises(DatasetError, match=r"with some of (.+)\.$") as caught:
        check_streams(blind, {"points", "world_from_points", "depth", "intrinsics"})
    offered = str(caught.value).rpartition("some of ")[2].rstrip(".").split(", ")
    assert offered == ["depth", "points_camera", "cloud"]
    for sensor in offered:
        seeing = changed(Recipe(), {"model.sensors": (sensor,)})
        check_streams(seeing, {"points", "world_from_points", "depth", "intrinsics"})
    with pytest.raises(DatasetError, match=r"lacks rgb\. Record them\.$"):
        check_streams(blind, {"world_from_camera"})


def test_episodes_that_are_too_short_are_named() -> None:
    recipe = changed(Recipe(), {"model.frame_skip": 2, "clip_length": 5})
    assert clip_frames(recipe) == 9
    assert too_short(recipe, np.array([9, 20]), 10) == ""
    said = too_short(recipe, np.array([9, 8, 20, 4]), 10)
    assert "2 of 4 episodes" in said and "left out: 1 (0.8 s), 3 (0.4 s)." in said
    many = too_short(recipe, np.array([4] * 7), 10)
    assert "3 (0.4 s), 4 (0.4 s) and 2 more." in many


def test_a_run_that_is_there_is_refused_before_anything_is_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARMILLARY_CACHE", str(tmp_path / "cache"))
    record("two_rooms", tmp_path / "data", 3, 40, workers=1)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.json").write_text("{}")
    recipe = changed(world(), {"batch_size": 2})
    with pytest.raises(ConfigError, match="holds a training run already"):
        train_recipe(recipe, tmp_path / "data", tmp_path / "run")
    assert not (tmp_path / "cache").exists()


def test_a_loss_that_reads_what_was_not_recorded_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARMILLARY_CACHE", str(tmp_path / "cache"))
    record("two_rooms", tmp_path / "data", 3, 12, workers=1)
    recipe = changed(world(), {"batch_size": 2, "objective.other_view": 1.0})
    said = r"objective\.other_view reads world_from_camera, .* lacks\. .*, or pass --objective\."
    with pytest.raises(DatasetError, match=said + "other-view 0"):
        train_recipe(recipe, tmp_path / "data", tmp_path / "run")
    assert not (tmp_path / "run").exists() and not (tmp_path / "cache").exists()
    # a dataset without actions, for a loss that needs them
    cache = prepared(open_dataset(tmp_path / "data"), world().model)
    with pytest.raises(
        ConfigError, match=r"needs them\. .* or pass --objective\.inverse-dynamics 0"
    ):
        recipe = adapted_to(world(), {"rgb"}, 10, acts=True)
        fitted(recipe, replace(cache, arrays={"rgb": cache.arrays["rgb"]}))


def test_streams_are_what_the_model_and_the_losses_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARMILLARY_CACHE", str(tmp_path / "cache"))
    record("tabletop", tmp_path / "data", 1, 12, workers=1)
    few = {"model.sensors": ("rgb",), "model.frame_skip": 1}
    recipe = changed(Recipe(), few | {"objective.smoothness": 1.0})
    cache = prepared(open_dataset(tmp_path / "data"), recipe.model)
    assert needed_streams(recipe, cache) == ("rgb",)
    elsewhere = changed(recipe, {"objective.other_view": 1.0})
    other_camera = ("rgb", "world_from_camera", "rgb_1", "world_from_camera_1")
    assert needed_streams(elsewhere, cache) == other_camera

    class Deep(Smoothness):
        """Reads depth, and a laser, where they were recorded."""

        optional_streams = classmethod(lambda cls, model: ("depth_m", "lidar"))

    monkeypatch.setitem(TERMS, "smoothness", Deep)
    assert needed_streams(recipe, cache) == ("rgb", "depth")


def test_an_objective_stored_before_a_term_came_is_read_without_that_term() -> None:
    stored = {
        **{name: 0.0 for name in TERMS if name != "visual_words"},
        **{"rollout": 1.0, "rollout_steps": 6, "rollout_decay": 0.7, "sigreg_directions": 64},
        **{"motion_margin": 0.25, "motion_share": 0.5, "sensor_dropout": 0.0},
    }
    read = config_from_dict(ObjectiveConfig, stored, "run.json")
    assert read == ObjectiveConfig(rollout_steps=6, motion_margin=0.25)
    later = {"visual_words": 0.0, "visual_words_cells": 8, "inverse_dynamics_delta": 0.0}
    # terms that were added later stay out
    since = later | {"variance_margin": 1.0, "rollout_starts": 1.0}
    assert asdict(read) == stored | since
