"""The goal cost is the formula in its docstring, and it has a gradient."""

import numpy as np
import pytest
import torch

from armillary.core.errors import ConfigError, ShapeError
from armillary.core.rng import torch_generator
from armillary.core.values import ActionBounds, Latent
from armillary.planning import PLANNERS, goal_cost, make_planner


class Adds:
    """Predicts that action d is added to latent dimension d of every token."""

    def encode(self, batch):
        raise NotImplementedError

    def rollout(self, latent, plans):
        return latent.tokens[:, None, None, -1] + plans.cumsum(dim=2)[..., None, :]


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch_generator("goal-cost", seed))


def test_it_is_the_formula():
    tokens, goal, plans = draw(2, 3, 4, 2), draw(2, 4, 2), draw(2, 5, 6, 2)
    costs = goal_cost(Adds(), Latent(tokens), goal)(plans)
    predicted = Adds().rollout(Latent(tokens), plans).numpy()
    apart = (predicted - goal.numpy()[:, None, None]) ** 2
    np.testing.assert_allclose(costs.numpy(), apart.mean((-2, -1)).sum(-1), rtol=1e-5)


@pytest.mark.parametrize(
    ("horizon", "counted"), [(1, [0]), (2, [0, 1]), (5, [2, 3, 4]), (9, [3, 4, 5])]
)
def test_with_a_horizon_it_counts_the_last_three_steps_before_it(horizon, counted):
    tokens, goal, plans = draw(2, 3, 4, 2), draw(2, 4, 2), draw(2, 5, 6, 2)
    costs = goal_cost(Adds(), Latent(tokens), goal, horizon)(plans)
    predicted = Adds().rollout(Latent(tokens), plans).numpy()
    apart = ((predicted - goal.numpy()[:, None, None]) ** 2).mean((-2, -1))
    np.testing.assert_allclose(costs.numpy(), apart[..., counted].mean(-1), rtol=1e-5)


def test_a_horizon_of_nothing_gets_a_sentence():
    with pytest.raises(ConfigError, match="must be at least 1 model step; got 0"):
        goal_cost(Adds(), Latent(draw(1, 2, 4, 3)), draw(1, 4, 3), 0)


@pytest.mark.parametrize("name", PLANNERS)
def test_planners_reach_the_goal_through_it(name):
    planner = make_planner(name, length=4)
    bounds = ActionBounds(np.full(2, -1.0), np.full(2, 1.0))
    goal = torch.tensor([[[0.5, -0.7]]])
    cost = goal_cost(Adds(), Latent(torch.zeros(1, 1, 1, 2)), goal)
    plan, _ = planner.plan(cost, planner.init(bounds, 1), [torch_generator("reach")])
    np.testing.assert_allclose(plan.actions[0, 0], goal[0, 0], atol=0.2)


def test_a_goal_of_another_shape_gets_a_sentence():
    latent = Latent(draw(1, 2, 4, 3))
    with pytest.raises(ShapeError, match=r"must have shape \(1, 4, 3\) like the present's; got"):
        goal_cost(Adds(), latent, draw(1, 5, 3))
