"""A goal policy learns the way there where latents tell it, and goals are what was reached."""

import numpy as np
import pytest
import torch

from armillary.core.errors import ConfigError, TrainingError
from armillary.core.rng import generator
from armillary.training.encoded_episodes import EncodedEpisodes
from armillary.training.goal_policy import (
    GoalPolicyTraining,
    fit_goal_policy,
    hindsight,
    judge_goal_policy,
)

WIDTH = 8


def walks(
    episodes: int = 60, length: int = 21, skip: int = 1, seed: int = 0, apart: float = 0.0
) -> EncodedEpisodes:
    """Return random walks: the first two numbers of a latent are the place, actions move it.

    Walks begin up to ``apart`` from the middle.
    """
    rng = np.random.default_rng(seed)
    moves = rng.uniform(-1, 1, (episodes, length, 2)).astype(np.float32)
    places = np.cumsum(np.concatenate([np.zeros((episodes, 1, 2)), moves[:, :-1]], 1), 1)
    latents = np.zeros((episodes, length, WIDTH), np.float32)
    latents[..., :2] = places + rng.uniform(-apart, apart, (episodes, 1, 2))
    latents[..., 2:] = rng.normal(0, 0.01, latents[..., 2:].shape)
    rows = np.arange(episodes * length)
    padded = np.concatenate([moves, np.zeros((episodes, skip, 2), np.float32)], 1)
    actions = np.stack([padded[:, k : k + length] for k in range(skip)], 2)
    begin = rows - rows % length
    return EncodedEpisodes(
        torch.from_numpy(latents.reshape(-1, WIDTH)),
        torch.from_numpy(actions.reshape(len(rows), -1)),
        torch.from_numpy(begin),
        torch.from_numpy(begin + length - 1),
        skip,
    )


@pytest.mark.parametrize("skip", [1, 3])
def test_goals_are_states_that_the_episode_reached_within_reach(skip):
    encoded = walks(skip=skip)
    found = hindsight(encoded, 5000, 4, generator("t", 0))
    gap = found.goal - found.here
    assert bool((gap >= 1).all()) and bool((gap <= 4 * skip).all())
    assert bool((found.goal <= encoded.end[found.here]).all())
    assert torch.equal(found.steps, gap.float() / skip)
    again = hindsight(encoded, 5000, 4, generator("t", 0))
    assert torch.equal(found.here, again.here) and torch.equal(found.goal, again.goal)


def test_small_steps_in_a_large_room_are_learned():
    # a step is a twentieth of the spread of places: noise on each place of its own would hide it
    encoded = walks(200, apart=20.0)
    policy = fit_goal_policy(encoded, GoalPolicyTraining(steps=300, hidden=64, layers=2))
    assert judge_goal_policy(policy, walks(20, seed=1, apart=20.0)) > 0.95


def test_the_logarithm_of_the_gap_is_uniform():
    found = hindsight(walks(20, 500), 20_000, 16, generator("t", 1))
    octave = found.steps.log2().floor()
    shares = [float((octave == one).float().mean()) for one in range(4)]
    # of 17 whole numbers, the first octave holds log 2 / log 17 of the draws, and so do the others
    assert np.allclose(shares, np.log(2) / np.log(17), atol=0.03)


def test_it_goes_straight_where_actions_are_the_way():
    made = fit_goal_policy(walks(200), GoalPolicyTraining(steps=300, hidden=64, layers=2))
    assert judge_goal_policy(made, walks(seed=1)) > 0.9
    here = torch.zeros(2, WIDTH)
    goal = torch.zeros(2, WIDTH)
    goal[0, 0], goal[1, 1] = 0.8, -0.8
    with torch.no_grad():
        soon, late = made.act(here, goal, 1.0), made.act(here, goal, 8.0)
    assert torch.allclose(soon, goal[:, :2], atol=0.2)
    # with eight steps to get there, one may go slowly
    assert bool((late.norm(dim=1) < 0.6 * soon.norm(dim=1)).all())


def test_the_same_seed_gives_the_same_policy():
    config = GoalPolicyTraining(steps=5, hidden=16, layers=1)
    one, two = fit_goal_policy(walks(), config), fit_goal_policy(walks(), config)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_what_cannot_be_learned_from_gets_a_sentence():
    broken = walks()
    broken.latents[3] = float("nan")
    with pytest.raises(TrainingError, match="The latents of 1 of 1,260 recorded frames"):
        fit_goal_policy(broken)
    with pytest.raises(ConfigError, match="policy: steps must be above 0, got 0"):
        GoalPolicyTraining(steps=0)
    with pytest.raises(ConfigError, match="policy: weight_decay is 0 or more"):
        GoalPolicyTraining(weight_decay=-1.0)
