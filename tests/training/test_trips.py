"""The trip distance knows detours in scenes of which every episode has its own."""

from __future__ import annotations

from dataclasses import replace

import maze
import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from armillary.core.errors import ConfigError
from armillary.core.rng import generator
from armillary.models.trip_distance import TripDistance, trip_loss
from armillary.training.prior import PriorConfig, fit_prior
from armillary.training.trails import GoalShares, Trails

QUICK = PriorConfig(
    steps=1000,
    batch_size=256,
    lr=2e-3,
    hidden=64,
    distance="trips",
    goals=GoalShares(later=0.75, same_episode=0.25),
)


def tripping(episodes: int = 300, steps: int = 40) -> Trails:
    """Episodes of trips to drawn places, through the middle of the door where they must."""
    rng = generator("maze-trips")
    places = rng.uniform(0.1, 1, (episodes, 3, 2)) * rng.choice([-1, 1], (episodes, 3, 2))
    xy, target = torch.tensor(places[:, 0]), torch.tensor(places[:, 1])
    door = torch.tensor([0.0, sum(maze.DOOR) / 2])
    seen, actions = [xy], []
    for step in range(steps):
        if step == steps // 2:
            target = torch.tensor(places[:, 2])
        across = xy[:, :1].sign() != target[:, :1].sign()
        beside = door + xy[:, :1].sign() * torch.tensor([0.15, 0.0])
        at_door = (xy - beside).norm(dim=1, keepdim=True) < 0.1
        gate = torch.where(at_door, door - xy.sign() * torch.tensor([0.15, 0.0]), beside)
        wanted = torch.where(across, gate, target) - xy
        noise = torch.tensor(rng.normal(0, 0.01, (episodes, 2)))
        actions.append((wanted + noise).clamp(-maze.STEP, maze.STEP))
        xy = maze.moved(xy, actions[-1])
        seen.append(xy)
    return maze.trails(torch.stack(seen[:-1], 1), torch.stack(actions, 1))


@pytest.fixture(scope="module")
def prior():
    return fit_prior(tripping(), QUICK)


def test_across_the_wall_it_orders_states_by_the_way_through_the_door(prior):
    rng = generator("maze-pairs")
    here, goal = rng.uniform(0.1, 1, (2, 1000, 2)) * rng.choice([-1, 1], (2, 1000, 2))
    across = np.sign(here[:, 0]) != np.sign(goal[:, 0])
    here, goal = here[across], goal[across]
    walk = maze.steps_to_walk(here, goal)
    places = (torch.as_tensor(x, dtype=torch.float32) for x in (here, goal))
    with torch.no_grad():
        learned = spearmanr(prior.steps(*places).numpy(), walk)[0]
    straight = spearmanr(np.linalg.norm(here - goal, axis=-1), walk)[0]
    assert learned > 0.6 and learned > straight + 0.3


def test_batches_without_a_trip_leave_all_weights_finite():
    apart = GoalShares(later=0.0, same_episode=0.0)
    few = fit_prior(tripping(4, 10), replace(QUICK, steps=3, batch_size=2, goals=apart))
    assert all(bool(weights.isfinite().all()) for weights in few.parameters())


def test_candidates_are_told_what_single_states_are_told(prior):
    tokens, goals = torch.randn(2, 5, 1, 2, generator=torch.Generator().manual_seed(0)).split(4, 1)
    with torch.no_grad():
        each = prior.distance(tokens, goals[:, 0])
        one = prior.steps(tokens[1, 3].flatten(), goals[1].flatten())
    torch.testing.assert_close(each[1, 3], one)


@pytest.mark.parametrize("quantile", [0.2, 0.5, 0.8])
def test_its_loss_is_least_at_the_quantile(quantile):
    took = torch.linspace(1, 101, 101)
    losses = [float(trip_loss(torch.full((101,), float(d)), took, quantile)) for d in range(1, 102)]
    assert abs(int(np.argmin(losses)) - 100 * quantile) <= 1


def test_it_sees_what_moves_and_what_tells_episodes_apart_and_no_noise():
    rng = torch.Generator().manual_seed(0)
    episodes = torch.arange(100).repeat_interleave(40)
    moves = torch.randn(4000, 2, generator=rng) @ torch.tensor([[3.0, 1.0], [0.0, 2.0]])
    scene = 0.01 * torch.randn(100, 1, generator=rng)[episodes]  # little, but it is what differs
    latents = torch.cat([moves, scene, torch.ones(4000, 1)], 1)
    distance = TripDistance(4, 8)
    distance.fit_scale(latents, episodes)
    seen = distance.seen(latents)
    assert seen.std(0).max() < 1.5
    # both are there to be read off: the way, and the scene that it is in
    centred = latents[:, :3] - latents[:, :3].mean(0)
    told = seen @ torch.linalg.pinv(seen, rtol=1e-4) @ centred
    torch.testing.assert_close(told, centred, atol=0.05, rtol=0)
    of_scene = torch.corrcoef(torch.cat([seen, scene], 1).T)[-1, :-1].nan_to_num()
    assert of_scene.abs().max() > 0.99


def test_one_episode_and_what_never_changes_are_seen_without_being_blown_up():
    latents = torch.cat([torch.randn(500, 3), torch.ones(500, 1)], 1)
    distance = TripDistance(4, 8)
    distance.fit_scale(latents, torch.zeros(500, dtype=torch.long))
    assert distance.seen(latents).std(0).max() < 1.1


def test_a_quantile_out_of_range_gets_a_sentence():
    with pytest.raises(ConfigError, match="quantile must lie between 0 and 1, got 1"):
        PriorConfig(quantile=1.0)
