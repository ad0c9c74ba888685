"""Pushing: recorded, learned and judged in one folder, which is used again."""

from dataclasses import replace

from armillary.models import EncoderConfig
from armillary.recipes.acting import ActConfig
from armillary.recipes.changing import changed
from armillary.recipes.push_bench import PushingConfig, run_pushing
from armillary.recipes.world import world
from armillary.training.prior import PriorConfig
from armillary.training.trails import GoalShares


def test_a_tiny_run_is_judged_beside_its_floors_and_used_again(tmp_path):
    few = {"steps": 2, "batch_size": 2, "clip_length": 5, "settling.steps": 0}
    recipe = changed(world(), few)
    small = EncoderConfig(image_size=16, patch=8, patch_hidden=8, hidden=8, tokens=2, width=4)
    recipe = replace(recipe, model=replace(recipe.model, encoder=small))
    prior = PriorConfig(
        steps=2, batch_size=4, hidden=8, layers=3, gap=True, goals=GoalShares(within=3)
    )
    act = ActConfig(episodes=3, task="push", planner="none", prior=True, workers=1)
    config = PushingConfig(episodes=3, steps=8, recipe=recipe, prior=prior, act=act)
    first = run_pushing(tmp_path, config)
    assert first["n"] == 3 and first["success_distance_m"] == 0.04
    assert set(first["floors"]) == {"random", "noop", "oracle"}
    assert first["floors"]["noop"]["success"] == 0
    assert first["ms_per_decision"] > 0
    again = run_pushing(tmp_path, config)
    assert again["success"] == first["success"] and again["manifest"] == first["manifest"]
    assert (tmp_path / "result.json").is_file()
