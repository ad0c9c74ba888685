"""Every planner keeps the contract; the contract notices those that do not."""

import numpy as np
import pytest
import torch

from armillary.core.errors import CheckFailedError, ConfigError, ShapeError
from armillary.core.rng import torch_generator
from armillary.core.values import ActionBounds, Plan
from armillary.planning import (
    CEM,
    ICEM,
    PLANNERS,
    CEMConfig,
    ICEMConfig,
    check_planner,
    make_planner,
)

BOX = ActionBounds(np.array([-0.1, -1.0]), np.array([0.3, 1.0]))


def decide(planner, cost, seed=0):
    return planner.plan(cost, planner.init(BOX, 1), [torch_generator("test", seed)])


class Quadratic:
    """Squared distance of actions to 0.2; ``changed`` spoils it."""

    def __init__(self, changed=lambda plans, costs: costs):
        self.changed = changed

    def __call__(self, plans):
        return self.changed(plans, (plans - 0.2).square().sum(dim=(-2, -1)))


quadratic = Quadratic()


@pytest.mark.parametrize("name", PLANNERS)
@pytest.mark.parametrize("length", [1, 5, 8, 12])
def test_every_planner_keeps_the_contract(name, length):
    check_planner(lambda: make_planner(name, length=length))


@pytest.mark.parametrize("name", ["cem", "icem", "mppi"])
def test_the_mean_can_be_what_is_returned(name):
    check_planner(lambda: make_planner(name, returns="mean"))


class Counting(Quadratic):
    """Counts what a model would be asked; a call under gradient counts for the way back, too."""

    def __init__(self):
        super().__init__()
        self.steps = 0

    def __call__(self, plans):
        self.steps += plans.shape[1] * plans.shape[2] * (3 if plans.requires_grad else 1)
        return super().__call__(plans)


@pytest.mark.parametrize("name", PLANNERS)
def test_model_steps_are_those_that_the_cost_saw(name):
    planner, cost = make_planner(name), Counting()
    plan, _ = decide(planner, cost)
    assert plan.model_steps == planner.config.model_steps == cost.steps


@pytest.mark.parametrize("name", PLANNERS)
def test_a_plan_whose_cost_is_nan_is_never_chosen(name):
    def half_nan(plans, costs):
        return torch.where(plans[..., 0, 0] > 0.1, torch.nan, costs)

    plan, _ = decide(make_planner(name), Quadratic(half_nan))
    assert plan.costs.isfinite().all() and plan.actions[0, 0, 0] <= 0.1


@pytest.mark.parametrize("name", PLANNERS)
def test_nothing_but_nan_is_one_sentence(name):
    with pytest.raises(ShapeError, match=r"The cost is NaN for all \d+ candidate plans"):
        decide(make_planner(name), Quadratic(lambda plans, costs: costs * torch.nan))


@pytest.mark.parametrize("name", PLANNERS)
def test_infinite_costs_are_survived(name):
    cost = Quadratic(lambda plans, costs: costs * 0 + torch.inf)
    plan, _ = decide(make_planner(name), cost)
    assert plan.actions.isfinite().all()


def test_a_cost_of_the_wrong_shape_is_one_sentence():
    with pytest.raises(ShapeError, match=r"one number per plan, shape \(1, 64\); got shape \(1, 6"):
        decide(CEM(), lambda plans: plans[..., 0])


def test_a_generator_per_batch_element_is_wanted():
    planner = CEM()
    with pytest.raises(ShapeError, match="2 elements, 1 generators came"):
        planner.plan(quadratic, planner.init(BOX, 2), [torch_generator("test")])


def test_a_planner_that_needs_a_gradient_says_so():
    cost = Quadratic(lambda plans, costs: costs.detach())
    with pytest.raises(ConfigError, match="The gradient planner needs a cost that torch can diff"):
        decide(make_planner("gradient"), cost)


def test_the_straight_way_to_the_wall_is_a_local_optimum():
    # Descent alone, from starts that hardly differ, passes the disc and stays before the wall.
    with pytest.raises(CheckFailedError, match=r"wall: after 10 decisions the path ends 2\."):
        check_planner(lambda: make_planner("gradient", std=0.01))


def test_advance_shifts_and_lets_the_last_action_go_on():
    planner = make_planner("icem", length=5)
    plan, state = decide(planner, quadratic)
    moved = planner.advance(state, 2)
    assert torch.equal(moved.mean[:, :3], state.mean[:, 2:])
    assert torch.equal(moved.mean[:, 3:], state.mean[:, -1:].expand(-1, 2, -1))
    assert torch.equal(moved.kept[:, 0, :3], plan.actions[:, 2:])
    with pytest.raises(ConfigError, match="advances by 0 or more steps; got -1"):
        planner.advance(state, -1)


class Forgets(ICEM):
    def advance(self, state, steps):
        return self.init(BOX, len(state.mean))


class Stays(ICEM):
    def advance(self, state, steps):
        return state


class MovesBack(ICEM):
    def advance(self, state, steps):
        back = (torch.arange(state.mean.shape[1]) - steps).clamp(min=0)
        return state.carry(state.mean[:, back], state.kept[:, :, back])


@pytest.mark.parametrize("kind", [Forgets, Stays, MovesBack])
def test_a_warm_start_that_is_none_is_found(kind):
    with pytest.raises(CheckFailedError, match="the plan must move up by one step"):
        check_planner(lambda: kind(ICEMConfig(length=12, samples=64, iterations=4)))


def test_a_decision_leaves_its_arguments_alone():
    planner = CEM()
    state = planner.init(BOX, 1)
    before = state.mean.clone()
    planner.plan(quadratic, state, [torch_generator("test")])
    assert torch.equal(state.mean, before) and state.kept.shape[1] == 0


def test_names_and_fields_get_a_suggestion():
    with pytest.raises(ConfigError, match=r"no planner called 'cme'. Did you mean 'cem'\?"):
        make_planner("cme")
    with pytest.raises(ConfigError, match=r"no setting of the cem planner called 'sample'. Did y"):
        make_planner("cem", sample=3)


@pytest.mark.parametrize(
    ("name", "field", "value", "sentence"),
    [
        ("cem", "elites", 64, "elites must be fewer than samples; got 64 of 64"),
        ("cem", "std", 0.0, "std must be above 0"),
        ("icem", "decay", 0.5, "decay must be at least 1"),
        ("icem", "kept", 62, r"icem: samples must be more than kept \+ 2; got 64 and 62"),
        ("mppi", "temperature", float("nan"), "temperature must be above 0; got nan"),
        ("gradient", "starts", 2, "starts must be at least 4; got 2"),
    ],
)
def test_settings_out_of_range_get_a_sentence(name, field, value, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make_planner(name, **{field: value})


@pytest.mark.parametrize("low", [[np.nan, 0.0], [-np.inf, 0.0], [1.0, 0.0]])
def test_bounds_must_be_a_finite_box(low):
    with pytest.raises(ConfigError, match="Action bounds must be finite with low <= high"):
        CEM().init(ActionBounds(np.array(low), np.ones(2) * 0.5), 1)


class Wrong(CEM):
    """A planner with one fault."""

    def __init__(self, fault):
        super().__init__(CEMConfig())
        self.fault, self.calls = fault, 0

    def plan(self, cost, state, rngs):
        self.calls += 1
        if self.fault == "shared generator":
            rngs = [rngs[0]] * len(rngs)
        plan, later = super().plan(cost, state, rngs)
        actions, steps = plan.actions, plan.model_steps
        if self.fault == "out of bounds":
            actions = actions * 1.5
        if self.fault == "remembers calls":
            actions = state.clip(actions + 1e-4 * self.calls)
        if self.fault == "uncounted":
            steps = 0
        if self.fault == "lazy":
            actions, later = state.mean, state
        return Plan(actions, cost(actions[:, None])[:, 0], steps), later


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("shared generator", "batch: a decision alone differs"),
        ("out of bounds", "bounds: a plan left the action bounds"),
        ("remembers calls", "batch: a decision alone differs"),
        ("uncounted", "budget: model_steps must be counted"),
        ("lazy", "quadratic: after 10 decisions the cost is 0.25"),
    ],
)
def test_the_contract_notices(fault, sentence):
    with pytest.raises(CheckFailedError, match=sentence):
        check_planner(lambda: Wrong(fault))
