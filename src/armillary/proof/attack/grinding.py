"""Grinding: seeds that were tried before the commit, for an agent that only they flatter."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from armillary.control.evaluate import evaluate
from armillary.control.manifest import EpisodeSpec, draw_goal
from armillary.proof.attack.acts import fresh_folder
from armillary.proof.attack.forge import Forge
from armillary.proof.attack.paper import rerun
from armillary.proof.attack.plan import Attack, Planted
from armillary.proof.attack.stage import Stage, make_agent
from armillary.proof.attack.walking import walking
from armillary.proof.reveal import local_reveal, secret_hash
from armillary.proof.seeds import draw_manifest, episode_seeds
from armillary.worlds.two_rooms import TwoRooms

CHALLENGED = (0, 4)
_CANDIDATES, _TRIED = 800, 6
_WAY = torch.tensor([0.02, 0.02])
_THOROUGH = {"samples": 64, "iterations": 4, "elites": 4, "length": 2}


def plant_ground(stage: Stage, folder: Path) -> Planted:
    """Hand in an agent that always walks the same way, and a value under which that is right.

    The value is local: hundreds were tried before the commit, with a walk and without any model.
    """
    forge = Forge.of(stage)
    first = stage.suite.tasks[0]
    task = replace(first, budget=4, settings={**first.settings, "image_size": 16})
    forge.suite = replace(stage.suite, id="attack-ground", tasks=(task,), golden=())
    forge.rows = {task.name: forge.rows[task.name]}
    forge.agent = make_agent(fresh_folder(forge, "walking"), walking(_WAY), **_THOROUGH)
    values = [hashlib.sha256(f"attack {n}".encode()).hexdigest() for n in range(_CANDIDATES)]
    best = sorted(values, key=_solved_by_walking(forge))[-_TRIED:]
    forge.value = max(best, key=_solved_by_agent(forge))
    forge.commit["secret"] = secret_hash(forge.value)
    forge.reveals = lambda commit: [local_reveal(commit.hash, forge.value)]
    rerun(forge)
    return Planted(forge.write(folder), {"suites": (forge.suite,), "fresh": 150})


def _solved_by_agent(forge: Forge) -> Callable[[str], int]:
    task = forge.suite.tasks[0]

    def solved(value: str) -> int:
        records = evaluate(draw_manifest(forge.suite, task, value), forge.agent)
        return sum(record.success for record in records)

    return solved


def _solved_by_walking(forge: Forge) -> Callable[[str], int]:
    """Return how many of a value's episodes are solved by always walking the same way."""
    task = forge.suite.tasks[0]
    world, limit = TwoRooms(**task.settings), float(task.success_distance)
    way = _WAY.double().numpy()

    def solved(value: str) -> int:
        count = drawn = index = 0
        while drawn < task.episodes:
            seeds = episode_seeds(forge.suite.digest, value, task.name, index)
            index += 1
            world.reset(seeds[0])
            goal = draw_goal(world, task.task, EpisodeSpec("", *seeds))
            if world.distance(goal) <= limit:
                continue
            drawn += 1
            for _ in range(task.budget):
                world.advance(way)
            count += world.distance(goal) <= limit
        return count

    return solved


GRINDING: tuple[Attack, ...] = (
    Attack(
        "seeds_ground",
        "local values tried before the commit",
        plant_ground,
        CHALLENGED,
        alone="challenge.rate",
    ),
)
