"""EB-JEPA's protocol: its numbers are in pixels of its picture, and nothing leaves the bound."""

from dataclasses import replace

import numpy as np

from armillary.recipes.acting import ActConfig
from armillary.recipes.two_rooms_eb import (
    MAX_NORM_PX,
    MAX_STEP_M,
    PIXEL_M,
    EBConfig,
    run_two_rooms_eb,
)
from armillary.recipes.world import world
from armillary.training.config import SettlingConfig
from armillary.training.prior import PriorConfig
from armillary.worlds import make_world


def test_the_box_of_actions_lies_inside_the_norm():
    assert np.hypot(MAX_STEP_M, MAX_STEP_M) / PIXEL_M < MAX_NORM_PX
    world = make_world("two_rooms", max_step_m=MAX_STEP_M, image_size=65)
    assert world.reset(0).streams["rgb"].shape == (65, 65, 3)


def test_a_tiny_run_is_judged_by_the_protocol_and_used_again(tmp_path):
    recipe = replace(world(), steps=2, batch_size=2, clip_length=8)
    recipe = replace(recipe, settling=SettlingConfig(2, batch_size=2, clips=8, rollout_steps=4))
    act = ActConfig(
        episodes=2, workers=1, replan=4, prior=True, planner_settings={"length": 4, "samples": 16}
    )
    prior = PriorConfig(steps=2, batch_size=4, hidden=8)
    config = EBConfig(episodes=3, steps=32, recipe=recipe, prior=prior, act=act)
    first = run_two_rooms_eb(tmp_path, config)
    assert first["n"] == 2 and first["max_action_norm"] <= MAX_NORM_PX
    assert first["seconds_per_episode"] > 0
    assert first["floors"]["oracle"]["success"] == 1
    again = run_two_rooms_eb(tmp_path, config)
    assert again["success"] == first["success"] and again["manifest"] == first["manifest"]
    assert (tmp_path / "result.json").is_file()
