"""The goal cost is the formula in its docstring, and it has a gradient."""

import numpy as np
import pytest
import torch

from armillary.core.errors import ConfigError, ShapeError
from armillary.core.rng import torch_generator
from armillary.core.values import ActionBounds, Latent
from armillary.planning import goal_cost, make_planner


class Adds:
    """Foresees that action d is added to latent dimension d of every token."""

    def encode(self, batch):
        raise NotImplementedError

    def rollout(self, latent, plans):
        return latent.tokens[:, None, None, -1] + plans.cumsum(dim=2)[..., None, :]


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch_generator("goal-cost", seed))


def test_it_is_the_formula():
    tokens, goal, plans, scale = draw(2, 3, 4, 2), draw(2, 4, 2), draw(2, 5, 6, 2), draw(2).exp()
    costs = goal_cost(Adds(), Latent(tokens), goal, 0.9, scale)(plans)
    foreseen = Adds().rollout(Latent(tokens), plans).numpy()
    apart = (foreseen - goal.numpy()[:, None, None]) ** 2 * scale.numpy()
    wanted = (apart.mean((-2, -1)) * 0.9 ** np.arange(6)).sum(-1)
    np.testing.assert_allclose(costs.numpy(), wanted, rtol=1e-5)


def test_without_weights_it_is_the_plain_sum():
    tokens, goal, plans = draw(1, 1, 4, 2), draw(1, 4, 2), draw(1, 5, 6, 2)
    plain = goal_cost(Adds(), Latent(tokens), goal)(plans)
    ones = goal_cost(Adds(), Latent(tokens), goal, 1.0, torch.ones(2))(plans)
    np.testing.assert_allclose(plain.numpy(), ones.numpy(), rtol=1e-6)


def test_the_last_state_alone_counts_as_much_as_all_of_them_would():
    tokens, goal, plans = draw(2, 1, 4, 2), draw(2, 4, 2), draw(2, 5, 6, 2)
    cost = goal_cost(Adds(), Latent(tokens), goal, summed=False)
    last = Adds().rollout(Latent(tokens), plans)[:, :, -1].numpy()
    wanted = 6 * ((last - goal.numpy()[:, None]) ** 2).mean((-2, -1))
    np.testing.assert_allclose(cost(plans).numpy(), wanted, rtol=1e-5)


def test_its_steps_and_distances_add_up_to_it():
    tokens, goal, plans, scale = draw(2, 3, 4, 2), draw(2, 4, 2), draw(2, 5, 6, 2), draw(2).exp()
    cost = goal_cost(Adds(), Latent(tokens), goal, 0.9, scale)
    states = [cost.start()[:, None, None].expand(-1, 5, 1, -1, -1)]
    for action in plans.split(1, dim=2):
        states.append(cost.step(states[-1], action))
    walked = torch.cat(states[1:], dim=2)
    np.testing.assert_allclose(walked.numpy(), cost.foresee(plans).numpy(), rtol=1e-5, atol=1e-6)
    added = cost.distance(walked).sum(dim=-1)
    np.testing.assert_allclose(added.numpy(), cost(plans).numpy(), rtol=1e-5)


@pytest.mark.parametrize("name", ["cem", "icem", "mppi", "gradient", "collocation"])
def test_planners_reach_the_goal_through_it(name):
    planner = make_planner(name, length=4)
    bounds = ActionBounds(np.full(2, -1.0), np.full(2, 1.0))
    goal = torch.tensor([[[0.5, -0.7]]])
    cost = goal_cost(Adds(), Latent(torch.zeros(1, 1, 1, 2)), goal)
    plan, _ = planner.plan(cost, planner.init(bounds, 1), [torch_generator("reach")])
    np.testing.assert_allclose(plan.actions[0, 0], goal[0, 0], atol=0.2)


def test_wrong_arguments_get_a_sentence():
    latent = Latent(draw(1, 2, 4, 3))
    with pytest.raises(ShapeError, match=r"must have shape \(1, 4, 3\) like the present's; got"):
        goal_cost(Adds(), latent, draw(1, 5, 3))
    with pytest.raises(ShapeError, match="one weight per dimension, 3; got 2"):
        goal_cost(Adds(), latent, draw(1, 4, 3), 1.0, draw(2))
    with pytest.raises(ConfigError, match="discount must be above 0"):
        goal_cost(Adds(), latent, draw(1, 4, 3), 0.0)
