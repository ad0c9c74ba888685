"""A point in a square with a wall and a door, its exact model, and recordings of wandering in it.

The latent is the place. Goals behind the wall lie near and are far to walk.
"""

from __future__ import annotations

import numpy as np
import torch

from armillary.core.rng import generator
from armillary.core.values import ActionBounds, Latent
from armillary.training.encoded_episodes import EncodedEpisodes

STEP, WALL, DOOR = 0.15, 0.08, (0.55, 0.95)
BOUNDS = ActionBounds(np.full(2, -STEP), np.full(2, STEP))


def moved(xy: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    """Where a move ends; one into or through the wall outside the door does not happen."""
    later = (xy + actions).clamp(-1, 1)
    crosses = (later[..., 0].abs() < WALL) | (later[..., 0].sign() != xy[..., 0].sign())
    in_door = [(p[..., 1] > DOOR[0]) & (p[..., 1] < DOOR[1]) for p in (xy, later)]
    blocked = crosses & ~(in_door[0] & in_door[1])
    return torch.where(blocked[..., None], xy, later)


class MazeModel:
    """Predicts exactly. Counts its steps."""

    def __init__(self) -> None:
        self.steps = 0

    def encode(self, batch):
        raise NotImplementedError

    def rollout(self, latent: Latent, plans: torch.Tensor) -> torch.Tensor:
        here = latent.tokens[:, None, -1, 0].expand(-1, plans.shape[1], -1)
        later = []
        for action in plans.unbind(2):
            here = moved(here, action)
            later.append(here)
        return torch.stack(later, 2)[..., None, :]

    def start(self, latent: Latent, candidates: int) -> tuple[torch.Tensor, torch.Tensor]:
        here = latent.tokens[:, -1, 0].repeat_interleave(candidates, 0)
        return here, here.new_zeros(len(here), 1)

    def step(self, state, memory, actions):
        self.steps += len(state)
        return moved(state, actions), memory


def wandering(episodes: int = 200, steps: int = 40, seed: int = 0) -> EncodedEpisodes:
    """Episodes of a walk that keeps its heading for a while; none of them is told of goals."""
    rng = generator("maze", seed)
    xy = torch.from_numpy(rng.uniform(-1, 1, (episodes, 2)))
    xy = torch.where(xy[:, :1].abs() < WALL, xy.sign() * 0.5, xy)
    heading = rng.uniform(-1, 1, (episodes, 2))
    places, actions = [xy], []
    for _ in range(steps - 1):
        turns = rng.random(episodes) < 0.2
        heading = np.where(turns[:, None], rng.uniform(-1, 1, (episodes, 2)), heading)
        noisy = heading + rng.normal(0, 0.2, (episodes, 2))
        actions.append(torch.from_numpy(np.clip(noisy, -1, 1) * STEP))
        places.append(moved(places[-1], actions[-1]))
    actions.append(torch.zeros(episodes, 2))
    return encoded(torch.stack(places, 1), torch.stack(actions, 1))


def encoded(places: torch.Tensor, actions: torch.Tensor, skip: int = 1) -> EncodedEpisodes:
    """Episodes [E T Z] and actions [E T A] end to end."""
    episodes, steps = places.shape[:2]
    first = torch.arange(episodes).repeat_interleave(steps) * steps
    latents, acts = places.flatten(0, 1).float(), actions.flatten(0, 1).float()
    return EncodedEpisodes(latents, acts, first, first + steps - 1, skip)


def steps_to_walk(here: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Moves of the shortest way, through the middle of the door where the wall is between."""
    straight = np.abs(here - goal).max(-1)
    door = np.array([0.0, sum(DOOR) / 2])
    round_ = np.abs(here - door).max(-1) + np.abs(goal - door).max(-1)
    return np.where(np.sign(here[..., 0]) == np.sign(goal[..., 0]), straight, round_) / STEP
