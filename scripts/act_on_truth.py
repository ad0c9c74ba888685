r"""What imitation could do with perfect sight: the goal policy, trained and acting on true states.

    armillary bench worlds dm_reacher --ways direct direct_search --out out/worlds
    python scripts/act_on_truth.py dm_reacher out/worlds/dm_reacher/recording --episodes 40

The recorded truth takes the place of the latent. Recording, policy, training and goals are those of
``bench worlds``. If this reaches most goals and the model few, sight is what the model lacks. If
both reach few, more or other recordings or another policy are needed. Privileged: no number of it
is one of a model.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from armillary.data import Cache, open_dataset
from armillary.evaluation import make_manifest
from armillary.evaluation.manifest import draw_goal
from armillary.evaluation.worlds import WorldFactory
from armillary.experiments.worlds.run import ENVIRONMENTS
from armillary.recipes.recipe import prepared
from armillary.recipes.world import adapted, world
from armillary.training.encoded_episodes import EncodedEpisodes
from armillary.training.goal_policy import GoalPolicyTraining, fit_goal_policy, judge_goal_policy

HELD_OUT = 0.1  # of the episodes, to judge the policy on
NOISE = 0.01  # of the policy's training; numbers of a true state are few, and each is exact


def main() -> int:
    """Train a policy on true states, act, and print how many goals were reached."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=sorted(ENVIRONMENTS))
    parser.add_argument("data", type=Path, help="its recording")
    parser.add_argument("--episodes", type=int, default=60)
    parser.add_argument("--farthest", type=int, default=40, help="most model steps to a goal")
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    torch.set_num_threads(1)
    dataset = open_dataset(given.data)
    model = adapted(world(), dataset).model
    cache = prepared(dataset, model)
    names = [name for name, kind in cache.kinds.items() if kind == "truth"]
    scale = {name: max(float(np.abs(cache.arrays[name]).max()), 1e-6) for name in names}
    states = numbers({name: np.asarray(cache.arrays[name]) for name in names}, scale)
    learned = int((1 - HELD_OUT) * len(cache.lengths))
    parts = (
        encoded(states, cache, slice(0, learned), model.frame_skip),
        encoded(states, cache, slice(learned, None), model.frame_skip),
    )
    policy = fit_goal_policy(parts[0], GoalPolicyTraining(noise=NOISE, farthest=given.farthest))
    sys.stdout.write(f"R2 of held-out actions: {judge_goal_policy(policy, parts[1]):.2f}\n")
    environment = ENVIRONMENTS[given.name]
    judged = {key: v for key, v in environment.judged.items() if key != "world_settings"}
    settings = environment.judged.get("world_settings", {}) | environment.settings
    factory = WorldFactory(environment.world, settings)
    task = next(iter(environment.tasks.values()))
    rules = make_manifest(
        environment.world, task, given.episodes, given.seed, settings, world_factory=factory,
        **judged,
    )  # fmt: skip
    place, reached = factory(), 0
    for episode in rules.episodes:
        place.reset(episode.seed)
        goal = draw_goal(place, task, episode)
        wanted = numbers({name: goal.truth[name] for name in names}, scale)[None]
        for step in range(rules.budget):
            here = numbers({name: place.truth()[name] for name in names}, scale)[None]
            with torch.no_grad():
                meant = policy.act(here, wanted, (rules.budget - step) / model.frame_skip)[0]
            bounds = place.spec.bounds
            place.step(np.clip(meant[: bounds.width].double().numpy(), bounds.low, bounds.high))
        reached += place.distance(goal) <= rules.success_distance
    place.close()
    sys.stdout.write(f"{given.name}, {task}: {reached} of {len(rules.episodes)} at the end\n")
    return 0


def numbers(truth: Mapping[str, Any], scale: Mapping[str, float]) -> Tensor:
    """Return true states as numbers of order one [... X]; angles as cosine and sine."""
    parts = []
    for name in sorted(truth):
        values = np.asarray(truth[name], np.float64)
        angle = name.endswith("angle")
        parts += [np.cos(values), np.sin(values)] if angle else [values / scale[name]]
    return torch.from_numpy(np.concatenate(parts, -1)).float()


def encoded(states: Tensor, cache: Cache, episodes: slice, skip: int) -> EncodedEpisodes:
    """Return the true states of some episodes, which stand one after another, as latents."""
    ends = np.cumsum(cache.lengths)
    begins, ends = (ends - cache.lengths)[episodes], ends[episodes]
    rows = np.arange(begins[0], ends[-1])
    actions = np.asarray(cache.actions)
    own = np.minimum(rows[:, None] + np.arange(skip), len(actions) - 1)
    lengths = cache.lengths[episodes]
    return EncodedEpisodes(
        latents=states[rows],
        actions=torch.from_numpy(actions[own].reshape(len(rows), -1)),
        begin=torch.from_numpy(np.repeat(begins - begins[0], lengths)),
        end=torch.from_numpy(np.repeat(ends - 1 - begins[0], lengths)),
        skip=skip,
    )


if __name__ == "__main__":
    raise SystemExit(main())
