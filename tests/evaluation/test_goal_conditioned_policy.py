"""Without a search: what a goal policy means to do is done, inside the bounds, after each look."""

from dataclasses import dataclass, replace

import point_world as toy
import pytest
import torch

from armillary.core.errors import ConfigError
from armillary.evaluation import (
    GoalConditionedPolicy,
    NoOpPolicy,
    evaluate,
    make_manifest,
    replay,
    summarise,
)
from armillary.evaluation.seeing import encode_observation
from armillary.evaluation.situation import steps_left
from armillary.planning import GuidedConfig

RULES = make_manifest("point", "reach", 8, 0, world_factory=toy.PointWorld)


@dataclass(frozen=True)
class Straight:
    """Means to go straight to the goal, in as many world steps as a model step has."""

    steps: int = 1

    def act(self, latents, goals, steps_left):
        return ((goals - latents) / self.steps).repeat(1, self.steps)


def straight(steps=1):
    return lambda spec: GoalConditionedPolicy(
        toy.PointModel(), Straight(steps), spec.bounds, frame_skip=steps
    )


@pytest.mark.parametrize("steps", [1, 3])
def test_a_policy_that_knows_the_way_is_followed_to_every_goal(steps):
    records = evaluate(RULES, straight(steps), toy.PointWorld)
    assert summarise(records).success == 1
    for record in records:
        looks = [decision.step for decision in record.decisions]
        assert looks == list(range(len(record.actions)))
        assert len(record.ms_per_decision) == len(looks) and record.model_steps == 0
    assert all(replay(record, RULES, toy.PointWorld).ok for record in records)
    idle = evaluate(RULES, lambda spec: NoOpPolicy(spec.bounds), toy.PointWorld)
    assert summarise(idle).success < 1


def test_the_goal_and_every_frame_are_encoded_once():
    policy, world = straight(3)(toy.PointWorld().spec), toy.PointWorld()
    seen = world.reset(0)
    state = policy.init(seen, 0)
    for _ in range(7):
        action, state = policy.act(seen, state)
        seen = world.step(action)
    assert policy.model.frames == 1 + 7


def test_of_a_model_step_the_first_world_step_is_sent():
    @dataclass(frozen=True)
    class Counting:
        def act(self, latents, goals, steps_left):
            return torch.arange(6.0)[None] / 100  # three world steps of two numbers

    spec = toy.PointWorld().spec
    policy = GoalConditionedPolicy(toy.PointModel(), Counting(), spec.bounds, frame_skip=3)
    seen = toy.PointWorld().reset(0)
    action, _ = policy.act(seen, policy.init(seen, 0))
    assert [round(100 * float(one)) for one in action] == [0, 1]


def test_what_is_meant_beyond_the_bounds_is_clipped():
    policy, seen = straight()(toy.PointWorld().spec), toy.PointWorld().reset(0)
    state = policy.init(seen, 0)
    action, _ = policy.act(seen, replace(state, goal=torch.tensor([9.0, -9.0])))
    assert action.tolist() == [0.1, -0.1]


@pytest.mark.parametrize(("deadline", "told"), [(None, [1, 1, 1, 1]), (9, [4.5, 4, 3.5, 3])])
def test_the_policy_is_told_the_model_steps_that_are_left(deadline, told):
    heard = []

    @dataclass(frozen=True)
    class Hearing:
        def act(self, latents, goals, steps_left):
            heard.append(steps_left)
            return torch.zeros(1, 4)

    spec = toy.PointWorld().spec
    policy = GoalConditionedPolicy(
        toy.PointModel(), Hearing(), spec.bounds, frame_skip=2, deadline=deadline
    )
    world = toy.PointWorld()
    seen = world.reset(0)
    state = policy.init(seen, 0)
    for _ in range(4):
        action, state = policy.act(seen, state)
        seen = world.step(action)
    assert heard == told
    assert steps_left(9, 30, 2) == 1.0, "after the deadline"


@dataclass(frozen=True)
class Wanders(Straight):
    """Goes another way at each step, and can be led."""

    def goal_time(self, steps_left):
        return 1.0

    def sample(self, latents, goals, steps, rng):
        return torch.rand(len(latents), 2 * self.steps, generator=rng) / 10


class Led(toy.PointModel):
    """Keeps what it is begun with."""

    def __init__(self):
        super().__init__()
        self.begun = []

    def start(self, latent, candidates):
        self.begun.append(latent)
        here = latent.tokens[:, -1].flatten(1).repeat_interleave(candidates, 0)
        return here, torch.zeros(candidates, 1)

    def step(self, state, memory, actions):
        return state, memory


@pytest.mark.parametrize("skip", [1, 3])
def test_the_search_remembers_whole_model_steps_and_what_was_done_between_them(skip):
    world, model = toy.PointWorld(), Led()
    search = GuidedConfig(history=3)
    searching = GoalConditionedPolicy(
        model, Wanders(skip), world.spec.bounds, frame_skip=skip, search=search
    )
    seen, looks, done = world.reset(0), [], []
    state = searching.init(toy.PointWorld().reset(1), 0)
    for step in range(5 * skip):
        looks.append(encode_observation(model, seen, None)[0, 0])
        # as a server does that has no time: what is not searched is remembered, too
        policy = replace(searching, search=None) if step == skip else searching
        action, state = policy.act(seen, state)
        if step % 2:  # a guard sends something else
            action = action / 2
            state = policy.sent(action, state)
        done.append(torch.as_tensor(action, dtype=torch.float32))
        seen = world.step(action)
    assert len({tuple(one.tolist()) for one in done}) > 4 * skip
    assert [len(one.tokens[0]) for one in model.begun[:1]] == [1]
    now = 5 * skip - 1
    latent = model.begun[-1]
    assert torch.equal(latent.tokens[0], torch.stack(looks[now - 2 * skip :: skip]))
    assert torch.equal(latent.actions[0], torch.stack(done[now - 2 * skip : now]).reshape(2, -1))


def test_a_memory_of_less_than_nothing_is_refused():
    with pytest.raises(ConfigError, match="history must be 0 or more; got -1"):
        replace(straight()(toy.PointWorld().spec), history=-1)


def test_a_search_needs_a_policy_that_can_be_sampled():
    with pytest.raises(ConfigError, match="goal_time and sample; got PointModel and Straight"):
        GoalConditionedPolicy(toy.PointModel(), Straight(), toy.BOUNDS, search=GuidedConfig())


def test_the_deadline_is_the_budget_of_the_evaluation():
    budgets = []

    def make(spec):
        budgets.append(spec.budget)
        return straight()(spec)

    evaluate(replace(RULES, budget=7), make, toy.PointWorld)
    assert budgets == [7] and toy.PointWorld().spec.budget != 7
