"""The policy encodes each frame at most once, remembers, replans, and keeps its budget."""

from dataclasses import replace

import numpy as np
import point_world as toy
import pytest

from armillary.core.errors import ConfigError, ShapeError
from armillary.core.values import Observation
from armillary.evaluation import ModelPolicy, evaluate, make_manifest
from armillary.evaluation.specs import check_action_width
from armillary.planning import PLANNERS, make_planner


def walk(policy, steps=9):
    world = toy.PointWorld()
    seen = world.reset(1)
    goal = Observation({"rgb": toy.picture(np.array([0.3, -0.2]))})
    state, states = policy.init(goal, seed=5), []
    for _ in range(steps):
        action, state = policy.act(seen, state)
        seen = world.step(action)
        states.append(state)
    return world, states


@pytest.mark.parametrize("planner", PLANNERS)
def test_every_planner_gets_there_and_then_holds_still(planner):
    world, _ = walk(toy.PointModelSpec(planner=planner)(toy.PointWorld().spec), 20)
    before = world.xy
    assert np.linalg.norm(before - [0.3, -0.2]) < 0.02


def test_the_goal_and_every_frame_are_encoded_once():
    policy = toy.PointModelSpec()(toy.PointWorld().spec)
    walk(policy, 9)
    assert policy.model.frames == 1 + 9


def test_frames_that_no_decision_needs_are_not_encoded():
    policy = toy.PointModelSpec(history=2, replan=4)(toy.PointWorld().spec)
    _, states = walk(policy, 9)
    # Decisions at 0, 4, 8; before each but the first one earlier frame as memory.
    assert policy.model.frames == 1 + 5
    assert [state.decision.step for state in states] == [0] * 4 + [4] * 4 + [8]
    assert set(policy.model.memories[:5]) == {1} and set(policy.model.memories[5:]) == {2}


def test_memory_holds_the_last_latents_and_the_actions_between_them():
    policy = toy.PointModelSpec(history=3)(toy.PointWorld().spec)
    _, states = walk(policy, 6)
    latent = policy.latent(states[-1])
    assert latent.tokens.shape == (1, 3, 1, 2) and latent.actions.shape == (1, 2, 2)
    moved = latent.tokens[0, 1:, 0] - latent.tokens[0, :-1, 0]
    np.testing.assert_allclose(moved, latent.actions[0], atol=1e-4)


@pytest.mark.parametrize("skip", [1, 2])
def test_it_minds_what_was_sent_in_place_of_its_action(skip):
    policy = toy.PointModelSpec(history=3, replan=2, frame_skip=skip)(toy.PointWorld().spec)
    world = toy.PointWorld()
    seen, state = world.reset(1), policy.init(Observation({"rgb": toy.picture(np.ones(2))}), seed=5)
    for _ in range(6):
        action, state = policy.act(seen, state)
        state = policy.sent(action / 4, state)
        seen = world.step(action / 4)
    latent = policy.latent(state)
    moved = latent.tokens[0, 1:, 0] - latent.tokens[0, :-1, 0]
    went = latent.actions[0].unflatten(1, (skip, 2)).sum(1)
    np.testing.assert_allclose(moved, went, atol=1e-4)


def test_one_model_step_can_be_several_world_steps():
    policy = toy.PointModelSpec(frame_skip=2)(toy.PointWorld().spec)
    world, states = walk(policy, 20)
    assert policy.model.frames == 1 + 10
    assert [state.decision.step for state in states[:4]] == [0, 0, 2, 2]
    assert np.linalg.norm(world.xy - [0.3, -0.2]) < 0.02


@pytest.mark.parametrize(
    ("skip", "at_steps"), [(1, {0: 10, 1: 10, 10: 5, 18: 1, 19: 1, 30: 1}), (2, {0: 5, 18: 1})]
)
def test_the_goal_is_due_in_half_of_the_time_that_is_left(skip, at_steps):
    policy = toy.PointModelSpec(frame_skip=skip)(toy.PointWorld().spec)
    assert policy.horizon(0) is None
    due = replace(policy, deadline=20)
    assert {step: due.horizon(step) for step in at_steps} == at_steps


def test_with_a_deadline_it_is_at_the_goal_by_then_and_stays():
    policy = replace(toy.PointModelSpec(planner="icem")(toy.PointWorld().spec), deadline=20)
    world, _ = walk(policy, 20)
    assert np.linalg.norm(world.xy - [0.3, -0.2]) < 0.02


def test_actions_never_leave_bounds_that_float32_cannot_hold():
    rules = make_manifest("point", "reach", 3, 0, world_factory=toy.PointWorld)
    records = evaluate(rules, toy.PointModelSpec(), toy.PointWorld)
    actions = np.array([record.actions for record in records])
    assert actions.min() >= -0.1 and actions.max() <= 0.1 and actions.max() > 0.0999


def test_a_budget_that_the_planner_cannot_keep_is_refused_at_once():
    with pytest.raises(
        ConfigError, match="takes 1032 model steps per decision, and its budget is 500"
    ):
        ModelPolicy(
            toy.PointModel(), make_planner("cem", length=4), toy.BOUNDS, budget_model_steps=500
        )


def test_settings_are_checked():
    policy = toy.PointModelSpec()(toy.PointWorld().spec)
    with pytest.raises(ConfigError, match="must be at least 1; got history 0, replan 1"):
        replace(policy, history=0)
    with pytest.raises(
        ConfigError, match="replan must be at most the length of the plan; got 5 and 4"
    ):
        replace(policy, replan=5)


def test_a_model_of_another_action_width_is_refused():
    class Config:
        action_width = 3

    class Model:
        config = Config

    with pytest.raises(ShapeError, match="takes 3 action numbers per model step, and this world"):
        check_action_width(Model, toy.BOUNDS, 1)
