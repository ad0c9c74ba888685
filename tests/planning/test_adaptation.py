"""What an episode teaches: a wall that the model does not see, and a hollow in a distance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from armillary.control.model_policy import ModelPolicy
from armillary.core.errors import ConfigError
from armillary.core.rng import torch_generator
from armillary.core.values import ActionBounds, Latent, Observation
from armillary.models import GoalPrior, GoalPriorConfig
from armillary.planning import make_planner
from armillary.planning.adaptation import (
    AdaptedCost,
    AdaptedModel,
    AdaptedValue,
    experienced,
    usual_change,
)
from armillary.planning.experience import AdaptationConfig, Experience, Experiences
from armillary.planning.goal_cost import GoalCost, goal_cost
from armillary.planning.held import HeldActions, held

ONE = torch.ones(2)
CONFIG = AdaptationConfig()


class Walks:
    """Foresees that every action moves by itself: z + the sum of the actions of a model step."""

    def encode(self, batch):
        return Latent(batch.streams["place"][:, :, None].float())

    def start(self, latent, candidates):
        state = latent.tokens[:, -1].flatten(1).repeat_interleave(candidates, 0)
        return state, state.new_zeros(len(state), 0)

    def step(self, state, memory, actions):
        return state + actions.unflatten(-1, (-1, 2)).sum(-2), memory

    def rollout(self, latent, plans):
        batch, candidates = plans.shape[:2]
        state, memory = self.start(latent, candidates)
        later = []
        for actions in plans.flatten(0, 1).unbind(1):
            state, memory = self.step(state, memory, actions)
            later.append(state[:, None])
        return torch.stack(later, 1).unflatten(0, (batch, candidates))


def at(*xy: float) -> torch.Tensor:
    return torch.tensor([[xy]])[None]


def straight(tokens, goal_tokens):
    """The straight distance, in steps of length 1."""
    return (tokens - goal_tokens[:, None]).square().sum((-2, -1)).sqrt()


def known(*of: Experience, config: AdaptationConfig = CONFIG) -> Experiences:
    return Experiences(of, config, ONE)


NONE = Experience.none(1.0, 2, 2)
RIGHT = torch.tensor([1.0, 0.0])
# an action to the right, of which nothing came
STUCK = experienced(known(NONE), Walks(), at(0.0, 0.0), RIGHT, at(0.0, 0.0))


def test_what_was_wrong_once_is_foreseen_there_and_nowhere_else():
    adapted = AdaptedModel(Walks(), known(STUCK))
    plans = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]], [[-1.0, 0.0]]]])
    there = adapted.rollout(Latent(at(0.0, 0.0)), plans)[0, :, 0, 0]
    torch.testing.assert_close(there[0], torch.zeros(2))
    torch.testing.assert_close(there[2], torch.tensor([-1.0, 0.0]), atol=1e-3, rtol=0)
    assert there[1, 1] > 0.97  # another direction is hardly touched by it
    far = adapted.rollout(Latent(at(3.0, 0.0)), plans)[0, :, 0, 0]
    torch.testing.assert_close(far, Walks().rollout(Latent(at(3.0, 0.0)), plans)[0, :, 0, 0])


def test_an_element_of_a_batch_knows_its_own_episode_alone():
    two, plans = Latent(torch.zeros(2, 1, 1, 2)), RIGHT.expand(2, 3, 4, 2)
    both = AdaptedModel(Walks(), known(STUCK, NONE)).rollout(two, plans)
    for place, one in enumerate((STUCK, NONE)):
        alone = AdaptedModel(Walks(), known(one))
        here = Latent(two.tokens[place : place + 1])
        assert torch.equal(alone.rollout(here, plans[:1])[0], both[place])


def _cost(one: Experience, here: torch.Tensor, goal: torch.Tensor) -> AdaptedCost:
    experiences = known(one)
    value = AdaptedValue(straight, experiences)
    model = AdaptedModel(Walks(), experiences)
    cost: GoalCost = goal_cost(model, Latent(here), goal, value=value, value_weight=1.0)
    return AdaptedCost(cost, experiences)


def test_a_step_like_one_that_went_wrong_costs_more_steps():
    cost = _cost(STUCK, at(0.0, 0.0), at(9.0, 0.0)[:, 0])
    plans = torch.stack([RIGHT, -RIGHT])[None, :, None]
    doubts = (cost(plans) - cost.cost(plans))[0]
    torch.testing.assert_close(doubts, torch.tensor([CONFIG.doubt, 0.0]), atol=1e-2, rtol=0)


def test_a_plan_that_comes_to_the_goal_late_costs_more_than_one_that_goes_there():
    cost = _cost(NONE, at(0.0, 0.0), at(2.0, 0.0)[:, 0])
    goes, waits = torch.zeros(4, 2), torch.zeros(4, 2)
    goes[:2], waits[2:] = RIGHT, RIGHT
    early, late = cost(torch.stack([goes, waits])[None])[0]
    assert early < late


def test_a_hill_is_what_the_best_plan_says_and_spares_the_goal():
    goal, stays = at(5.0, 0.0)[:, 0], torch.zeros(1, 4, 2)
    # whatever it does, after each of four steps it still stands here, 5 from the goal
    (hilly,) = _cost(NONE, at(0.0, 0.0), goal).with_hills(stays)
    torch.testing.assert_close(hilly.hills, torch.tensor([1.0]))
    lifted = AdaptedValue(straight, known(hilly))
    there = torch.tensor([[[[0.0, 0.0]], [[3.0, 0.0]], [[5.0, 0.0]]]])
    expected = torch.tensor([6.0, 2.0, 0.0])
    torch.testing.assert_close(lifted(there, goal)[0], expected, atol=1e-3, rtol=0)
    # a way that gets nearer by one each step leaves no hill, nor does the goal
    assert not len(_cost(NONE, at(0.0, 0.0), goal).with_hills(RIGHT.expand(1, 4, 2))[0].hills)
    assert not len(_cost(NONE, at(5.0, 0.0), goal).with_hills(stays)[0].hills)


def test_the_unit_is_the_change_of_an_action_drawn_at_random():
    bounds = ActionBounds(np.full(2, -1.0), np.full(2, 1.0))
    unit = usual_change(Walks(), Latent(at(0.0, 0.0)), bounds, torch_generator("unit", 0))
    assert 1.0 < unit < 2**0.5  # of points in the square, a tenth is farther out than 1.1


def test_held_actions_are_the_same_for_every_world_step():
    plans = torch.tensor([[[[0.5, -1.0]]]])
    assert held(plans, 3).tolist() == [[[[0.5, -1.0] * 3]]]
    foreseen = HeldActions(Walks(), 3).rollout(Latent(at(0.0, 0.0)), plans)
    assert foreseen.flatten().tolist() == [1.5, -3.0]


class Straight(GoalPrior):
    """A prior that has learned the straight distance, and so knows of no wall."""

    def distance(self, tokens, goal_tokens):
        return straight(tokens, goal_tokens)


def _room(x: float, y: float, action: np.ndarray) -> tuple[float, float]:
    """A wall at x = 1 that ends at y = 1.5, of which the model knows nothing."""
    for dx, dy in action.reshape(-1, 2):
        if (x < 1) != (x + dx < 1) and y < 1.5:
            dx = dy = 0.0
        x, y = x + dx, y + dy
    return x, y


def _walk(adapt: AdaptationConfig | None, steps: int = 120) -> tuple[list[float], ModelPolicy]:
    prior = Straight(GoalPriorConfig(2, 4, hidden=8, embedding=16))
    planner = make_planner("icem", length=4, samples=64, iterations=2, std=1.0)
    bounds = ActionBounds(np.full(2, -0.5), np.full(2, 0.5))
    policy = ModelPolicy(
        Walks(), planner, bounds, ("place",), frame_skip=2, summed=False, prior=prior,
        value_weight=10.0, hold=True, adapt=adapt, image_size=None,
    )  # fmt: skip
    goal, (x, y), away = np.array([2.0, 0.0], np.float32), (0.5, 0.0), []
    state = policy.init(Observation({"place": goal}), 0)
    for _ in range(steps):
        seen = Observation({"place": np.array([x, y], np.float32)})
        action, state = policy.act(seen, state)
        x, y = _room(x, y, action)
        away.append(float(np.hypot(x - goal[0], y - goal[1])))
    return away, policy


def test_a_policy_that_adapts_gets_round_a_wall_that_its_model_does_not_see():
    assert min(_walk(None)[0]) > 0.9  # it stands at the wall for ever
    away, _ = _walk(AdaptationConfig(wide=1.0))
    assert min(away) < 0.3


def test_an_episode_that_adapts_repeats_itself_to_the_bit():
    assert _walk(AdaptationConfig(), 20)[0] == _walk(AdaptationConfig(), 20)[0]


@pytest.mark.parametrize("name", ["near", "alike", "wide"])
def test_a_reach_of_nothing_gets_a_sentence(name):
    with pytest.raises(ConfigError, match=f"adaptation.*{name}"):
        AdaptationConfig(**{name: 0.0})
