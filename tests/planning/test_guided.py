"""The proposed plan stands unless another is better by the margin, and the search stays near it."""

import numpy as np
import torch

from armillary.core.values import ActionBounds
from armillary.planning.guided import Guided, GuidedConfig

BOUNDS = ActionBounds(-np.ones(2), np.ones(2))


def rngs(count: int = 1) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in range(count)]


def to(goal: float):
    return lambda plans: (plans - goal).square().mean((2, 3))


def proposed(planner: Guided, value: float):
    state = planner.init(BOUNDS, 1)
    return state.with_proposals(torch.full((1, 1, planner.config.length, 2), value))


def test_the_best_plan_is_found_around_what_is_proposed():
    planner = Guided(GuidedConfig(length=4, samples=64, iterations=4))
    plan, later = planner.plan(to(0.3), proposed(planner, 0.2), rngs())
    assert float(plan.costs) < 0.25 * 0.01
    assert torch.equal(later.mean, plan.actions) and torch.equal(later.kept[:, 0], plan.actions)


def test_a_plan_that_is_hardly_better_does_not_replace_the_proposed_one():
    planner = Guided(GuidedConfig(length=4, margin=0.02))
    plan, _ = planner.plan(to(0.3), proposed(planner, 0.2), rngs())  # at most 0.01 to gain
    assert torch.equal(plan.actions, torch.full((1, 4, 2), 0.2))
    moved, _ = planner.plan(to(0.6), proposed(planner, 0.2), rngs())
    assert float(moved.costs) < 0.16 - 0.02


def test_it_stays_where_it_is_led_though_another_optimum_is_deeper():
    def two_wells(plans):
        near = (plans - 0.5).square().mean((2, 3))
        far = (plans + 0.9).square().mean((2, 3)) - 0.01
        return torch.minimum(near, far)

    planner = Guided(GuidedConfig(length=8, std=0.1))
    plan, _ = planner.plan(two_wells, proposed(planner, 0.5), rngs())
    assert bool((plan.actions > 0).all())


def test_model_steps_are_those_that_the_cost_was_asked_for():
    planner, asked = Guided(GuidedConfig(length=4)), []

    def counted(plans):
        asked.append(plans.shape[1] * plans.shape[2])
        return to(0.0)(plans)

    plan, _ = planner.plan(counted, proposed(planner, 0.2), rngs())
    assert plan.model_steps == planner.config.model_steps == sum(asked)
    asked.clear()
    alone, _ = planner.plan(counted, planner.init(BOUNDS, 1), rngs())
    assert alone.model_steps == sum(asked) < planner.config.model_steps
