"""A guided search takes the sampled way that ends nearest to the goal, and counts its steps."""

import math

import numpy as np
import pytest
import torch

from armillary.core.errors import ConfigError
from armillary.core.values import ActionBounds, Latent
from armillary.planning.guided import GuidedConfig, guided_plan
from armillary.planning.state import box_of

BOX = ActionBounds(np.array([-0.1, -1.0]), np.array([0.3, 0.7]))
WIDE = ActionBounds(-np.ones(2), np.ones(2))


class Adds:
    """Its latent is a place [2] that actions are added to. Counts its steps."""

    def __init__(self):
        self.steps = 0

    def start(self, latent, candidates):
        here = latent.tokens[:, -1].flatten(1).repeat_interleave(candidates, 0)
        return here, torch.zeros(len(here), 1)

    def step(self, state, memory, actions):
        self.steps += len(state)
        return state + actions, memory


class Slow(Adds):
    """Moves by a quarter of what is asked for: a policy that takes it for another comes short."""

    def step(self, state, memory, actions):
        return super().step(state, memory, actions / 4)


class Towards:
    """Goes straight for the goal, in the time that it is told, with noise on all but the first."""

    def __init__(self, noise=0.1, off=0.0):
        self.noise, self.off, self.told = noise, off, []

    def goal_time(self, steps_left):
        return max(steps_left / 2, 1.0)

    def sample(self, latents, goals, steps, rng):
        self.told.append(steps)
        noise = torch.randn(latents.shape, generator=rng)
        noise[0] = 0
        return (goals - latents) / steps + self.off + self.noise * noise


def planned(model, policy, steps, bounds=WIDE, goal=(0.8, -0.4), seed=0, **settings):
    rng = torch.Generator().manual_seed(seed)
    here, there = Latent(torch.zeros(1, 1, 1, 2)), torch.tensor(goal)
    return guided_plan(
        model, policy, here, there, float(steps), box_of(bounds), GuidedConfig(**settings), rng
    )


def test_a_policy_that_is_right_stands():
    found = planned(Adds(), Towards(), 1)
    torch.testing.assert_close(found.actions, torch.tensor([[[0.8, -0.4]]]))


def test_a_policy_that_is_wrong_is_mended_by_what_the_model_knows():
    own = planned(Slow(), Towards(), 3, samples=1)
    better = planned(Slow(), Towards(noise=0.5), 3, samples=64)
    assert float(better.costs) < 0.7 * float(own.costs)


def test_the_cost_is_taken_at_the_time_of_the_goal_over_the_last_three_steps():
    model, policy = Adds(), Towards(noise=0.0)
    found = planned(model, policy, 5, samples=2)
    places = found.actions[0].cumsum(0)
    apart = (places - torch.tensor([0.8, -0.4])).square().mean(-1)
    torch.testing.assert_close(found.costs, apart[-3:].mean()[None])
    assert policy.told == [5, 4, 3, 2, 1]


def test_the_policys_own_way_stands_unless_another_is_better_by_the_margin():
    own = planned(Adds(), Towards(off=0.1), 4, samples=1)
    free = planned(Adds(), Towards(off=0.1), 4)
    gain = float(own.costs - free.costs)
    assert gain > 0
    held = planned(Adds(), Towards(off=0.1), 4, margin=2 * gain)
    torch.testing.assert_close(held.actions, own.actions)
    moved = planned(Adds(), Towards(off=0.1), 4, margin=gain / 2)
    torch.testing.assert_close(moved.actions, free.actions)


def test_a_sample_whose_cost_is_not_a_number_is_not_taken():
    class Breaks(Slow):
        """Predicts nothing for the first and the last sample."""

        def step(self, state, memory, actions):
            state, memory = super().step(state, memory, actions)
            state[[0, -1]] = math.nan
            return state, memory

    found = planned(Breaks(), Towards(noise=0.5), 3, samples=8)
    whole = planned(Slow(), Towards(noise=0.5), 3, samples=8)
    own = planned(Slow(), Towards(noise=0.5), 3, samples=1)
    assert found.costs.isfinite() and found.actions.isfinite().all()
    assert not torch.equal(found.actions, own.actions)
    assert float(found.costs) >= float(whole.costs)


def test_plans_never_leave_the_bounds_and_repeat():
    found = planned(Adds(), Towards(noise=3.0), 2.5, BOX)
    values = found.actions.double().numpy()
    assert values.shape == (1, 3, 2)
    assert (values >= BOX.low).all() and (values <= BOX.high).all()
    first, again, other = (planned(Slow(), Towards(), 2.5, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.actions, again.actions)
    assert not torch.equal(first.actions, other.actions)


@pytest.mark.parametrize(("steps", "samples"), [(1.0, 5), (0.5, 3), (2.5, 4), (12.0, 32)])
def test_model_steps_are_those_that_the_model_took(steps, samples):
    model = Adds()
    found = planned(model, Towards(), steps, samples=samples)
    assert found.model_steps == model.steps == samples * max(math.ceil(steps), 1)
    assert found.model_steps <= GuidedConfig(samples=samples).model_steps


@pytest.mark.parametrize(("steps", "ways"), [(1, 8), (5, 8), (7, 5), (20, 2), (40, 1)])
def test_of_long_ways_fewer_are_tried_so_that_the_budget_holds(steps, ways):
    model = Adds()
    found = planned(model, Towards(), steps, samples=8, budget=40)
    assert found.model_steps == model.steps == ways * steps <= 40


def test_what_cannot_be_gets_a_sentence():
    with pytest.raises(ConfigError, match=r"at most 40 model steps ahead; got 40\.5"):
        planned(Adds(), Towards(), 40.5)
    with pytest.raises(ConfigError, match="guided: samples must be at least 1; got 0"):
        GuidedConfig(samples=0)
    with pytest.raises(ConfigError, match="guided: budget must be at least 12; got 11"):
        GuidedConfig(longest=12, budget=11)
    with pytest.raises(ConfigError, match="guided: margin must be at least 0; got -1"):
        GuidedConfig(margin=-1.0)
