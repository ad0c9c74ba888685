"""Ablation: what is left out is left out, runs are used again, and rows are compared by seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_recipe import SMALL

from armillary.cli.bench import Ablation
from armillary.core.changing import changed
from armillary.core.errors import ConfigError
from armillary.experiments.ablation.run import (
    PARTS,
    WHOLE,
    AblationConfig,
    compared,
    measures,
    run_ablation,
)
from armillary.recipes.recipe_config import shortened
from armillary.recipes.world import world
from armillary.worlds import record


@pytest.mark.parametrize("name", PARTS)
def test_every_part_changes_something_that_there_is(name: str) -> None:
    assert (changed(world(), PARTS[name].without) != world()) == (name != WHOLE)


def test_every_term_of_the_recipe_is_left_out_by_some_part() -> None:
    left_out = {term for part in PARTS.values() for term in part.without}
    assert {f"objective.{term}" for term in world().objective.weights} <= left_out


def test_a_tiny_ablation_is_used_again_and_refuses_other_settings(tmp_path: Path) -> None:
    record("tabletop", tmp_path / "data", 8, 12, workers=1)
    recipe = changed(world(), SMALL)
    config = AblationConfig(
        {"table": tmp_path / "data"}, recipe, ("rollout", "finetune"), seeds=(3,), workers=1
    )
    first = run_ablation(tmp_path / "out", config)
    assert list(first["parts"]) == [WHOLE, "rollout", "finetune"]
    row = first["parts"]["rollout"]["datasets"]["table"]
    assert {"r2_object_xy", "latent_1"} <= row["seeds"]["3"].keys() == row["mean"].keys()
    assert not any(first["parts"][WHOLE]["datasets"]["table"]["minus_whole"].values())
    weights = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.safetensors")}
    assert run_ablation(tmp_path / "out", config)["parts"] == first["parts"]
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.safetensors")} == weights
    other = AblationConfig(config.datasets, shortened(recipe, 1), (), seeds=(3,), workers=1)
    with pytest.raises(ConfigError, match="contains a run with other settings"):
        run_ablation(tmp_path / "out", other)


def test_fewer_steps_shorten_both_stages_alike() -> None:
    whole = world()
    half = shortened(whole, whole.steps // 2)
    assert 2 * half.settling.steps == whole.settling.steps
    same = shortened(whole, whole.steps)
    assert (same.steps, same.settling.steps) == (whole.steps, whole.settling.steps)


def test_an_arm_is_compared_with_the_whole_of_its_seed_and_dataset() -> None:
    r2 = {("a", 0, WHOLE): 0.9, ("a", 1, WHOLE): 0.5, ("a", 0, "motion"): 0.8}
    rows = {key: {"r2": value} for key, value in (r2 | {("a", 1, "motion"): 0.6}).items()}
    rows["a", 0, "motion"]["spearman"] = 0.3  # which the others lack
    one = compared(rows)["motion"]["datasets"]["a"]
    assert one["mean"] == pytest.approx({"r2": 0.7})
    assert one["minus_whole"] == pytest.approx({"r2": 0.0})
    assert one["seeds"]["0"] == {"r2": 0.8, "spearman": 0.3}


def test_what_was_not_measured_is_left_out() -> None:
    told: dict[str, Any] = {
        "read_out": {},
        "moved": {"skill": {}, "false_motion": None},
        "prediction": [{"space": "latent", "steps": 4, "model": 0.1, "copy_last": 0.4}],
        "action_rank": {"top1": None},
        "progress": {"spearman": 0.5},
    }
    assert measures(told) == {"latent_4": 0.25, "spearman": 0.5}


@pytest.mark.parametrize("again", [("a={0}", "a={0}"), ("{0}", "{0}"), ("a/b={0}",)])
def test_datasets_need_names_of_their_own(tmp_path: Path, again: tuple[str, ...]) -> None:
    words = tuple(word.format(tmp_path) for word in again)
    with pytest.raises(ConfigError, match="a name of its own"):
        Ablation(datasets=words).run()


def test_unknown_parts_and_no_seeds_get_a_sentence() -> None:
    with pytest.raises(ConfigError, match=r"no part called 'motions'\. Did you mean 'motion'"):
        AblationConfig({"a": Path()}, parts=("motions",))
    with pytest.raises(ConfigError, match="at least one dataset, and seeds"):
        AblationConfig({"a": Path()}, seeds=())
