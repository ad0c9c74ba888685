"""A latent cost: the goal cost for one goal, the nearest of several, and what a function adds."""

import pytest
import torch

from armillary.core.errors import ShapeError
from armillary.core.values import Latent
from armillary.planning import goal_cost
from armillary.planning.latent_cost import LatentCost

N, D, L = 2, 3, 4


class Drift:
    """A model whose latents move by the first action, in all numbers."""

    def encode(self, batch):
        raise NotImplementedError

    def rollout(self, latent, plans):
        moved = plans[..., :1].cumsum(2)[..., None].expand(*plans.shape[:3], N, D)
        return latent.tokens[:, -1][:, None, None] + moved


@pytest.fixture
def latent():
    return Latent(torch.zeros(1, 1, N, D))


def plans(*values: float) -> torch.Tensor:
    return torch.tensor(values)[None, :, None, None].expand(1, len(values), L, 2)


def test_with_one_goal_it_is_the_goal_cost(latent):
    goal, some = torch.randn(1, N, D), torch.randn(1, 5, L, 2)
    expected = goal_cost(Drift(), latent, goal)(some)
    assert torch.allclose(LatentCost(Drift(), latent, goal)(some), expected)


def test_of_several_goals_the_nearest_counts_after_each_step(latent):
    goals = torch.stack([torch.ones(N, D), -2 * torch.ones(N, D)])
    found = LatentCost(Drift(), latent, goals)(plans(0.5, -0.5))
    # half a step each: 0.5, 1, 1.5, 2 from one goal at 1; -0.5 to -2 from one at -2, or 1 from -0.5
    assert found[0].tolist() == pytest.approx([0.25 + 0 + 0.25 + 1, 2.25 + 1 + 0.25 + 0])


def test_a_function_adds_its_cost_and_forbids_what_costs_much(latent):
    def wall(latents):
        return 100.0 * (latents[..., 0, 0] > 0.8)

    goal = torch.ones(1, N, D)
    free = LatentCost(Drift(), latent, goal)(plans(0.25, 0.1))
    walled = LatentCost(Drift(), latent, goal, wall)(plans(0.25, 0.1))
    assert free[0, 0] < free[0, 1] and walled[0, 0] > walled[0, 1]
    alone = LatentCost(Drift(), latent, None, lambda latents: latents[..., 0, 0])
    assert alone(plans(0.5)).item() == pytest.approx(0.5 + 1 + 1.5 + 2)
    assert alone.distances(torch.full((3, N, D), 7.0)).tolist() == [7, 7, 7]


@pytest.mark.parametrize(
    "wrong", [lambda latents: latents, lambda latents: 0.0], ids=["latents", "number"]
)
def test_a_function_of_another_shape_gets_a_sentence(latent, wrong):
    with pytest.raises(ShapeError, match=r"one number for each plan and step, shape \(2, 4\); got"):
        LatentCost(Drift(), latent, None, wrong)(plans(0.1, 0.2))
