"""Ablation: what is left out is left out, like runs are shared, tests are paired."""

from dataclasses import replace

import pytest

from armillary.control import Record
from armillary.core.errors import ConfigError
from armillary.recipes.ablation import (
    PARTS,
    WHOLE,
    AblationConfig,
    compared,
    run_ablation,
    shortened,
)
from armillary.recipes.acting import ActConfig
from armillary.recipes.changing import changed
from armillary.recipes.two_rooms_eb import EBConfig, two_rooms_eb
from armillary.training.config import SettlingConfig
from armillary.training.prior import PriorConfig


def tiny() -> EBConfig:
    recipe = replace(two_rooms_eb(), steps=2, batch_size=2, clip_length=7)
    recipe = replace(recipe, settling=SettlingConfig(2, batch_size=2, clips=8, rollout_steps=4))
    settings = {"length": 4, "samples": 16, "iterations": 1}
    act = ActConfig(episodes=2, prior=True, replan=4, seed=1, planner_settings=settings)
    prior = PriorConfig(steps=2, batch_size=4, hidden=8)
    return EBConfig(episodes=3, steps=32, recipe=recipe, prior=prior, act=act)


def record(outcome: str) -> Record:
    return Record(
        id="e",
        seed=0,
        goal_seed=0,
        manifest="m",
        policy="p",
        privileged=False,
        outcome=outcome,
        error="",
        success_distance=1.0,
        distances=(0.0,),
        actions=(),
        decisions=(),
    )


@pytest.mark.parametrize("name", PARTS)
def test_every_part_changes_something_that_there_is(name):
    recipe, part = two_rooms_eb(), PARTS[name]
    without = changed(recipe, part.recipe)
    planning = EBConfig().act
    acting = replace(planning, **part.act)
    assert (without != recipe or acting != planning) == (name != WHOLE)


def test_a_tiny_ablation_shares_runs_and_is_used_again(tmp_path):
    config = AblationConfig(tiny(), ("inverse_dynamics", "value"), seeds=(0, 1), workers=1)
    first = run_ablation(tmp_path, config)
    assert {path.name for path in (tmp_path / "0").iterdir()} == {WHOLE, "inverse_dynamics", "act"}
    assert list(first["parts"]) == [WHOLE, "inverse_dynamics", "value"]
    assert first["parts"]["value"]["n"] == 4 and len(first["parts"][WHOLE]["seeds"]) == 2
    assert run_ablation(tmp_path, config)["parts"] == first["parts"]


def test_a_share_shortens_every_training_alike():
    whole = EBConfig()
    half = shortened(whole, 0.5)
    assert 2 * half.recipe.steps == whole.recipe.steps
    assert 2 * half.recipe.settling.steps == whole.recipe.settling.steps
    assert 2 * half.prior.steps == whole.prior.steps
    assert shortened(whole, 1.0) == whole
    with pytest.raises(ConfigError, match="share must be above 0"):
        shortened(whole, 0.0)


def test_a_part_is_tested_against_the_whole_episode_by_episode():
    def run(*solved):
        return [record("success" if one else "failure") for one in solved]

    whole = [run(1, 1, 1, 1, 1), run(1, 1, 1, 1, 0)]
    without = [run(0, 0, 0, 0, 0), run(0, 0, 0, 0, 1)]
    rows = compared({WHOLE: whole, "value": without})
    assert rows["value"]["whole_only"] == 9 and rows["value"]["part_only"] == 1
    # four episodes that both trainings of the whole solve more, a fifth with one each: 2 / 2^4
    assert rows["value"]["p"] == pytest.approx(1 / 8)
    assert rows["value"]["seeds"] == [0.0, 0.2] and rows[WHOLE]["success"] == 0.9
    assert "p" in rows[WHOLE] and "p_holm" not in rows[WHOLE]


def test_unknown_parts_get_a_sentence():
    with pytest.raises(ConfigError, match="parts of: rollout, inverse_dynamics"):
        AblationConfig(parts=("magic",))
