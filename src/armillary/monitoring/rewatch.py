"""Rewatch: what a watcher would have seen in episodes that are on record, or that explore.

Records hold the actions, worlds repeat themselves to the bit: no decision is made again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from armillary.core.processes import map_in_processes
from armillary.core.progress import Progress, silent
from armillary.core.protocols import World
from armillary.core.rng import generator, key
from armillary.evaluation.records import Record, actions_of
from armillary.evaluation.specs import ModelSpec
from armillary.evaluation.worlds import WorldFactory
from armillary.monitoring.guard_file import watcher_of
from armillary.monitoring.watching import Seen, Watcher, watch
from armillary.worlds import POLICIES
from armillary.worlds.perturbed import Event


@dataclass(frozen=True)
class Watched:
    """An episode as it was watched, and what went wrong in it.

    Attributes:
        seen: by the watcher.
        actions: float64 [T A], as executed.
        event: of a perturbed world; None in others.
    """

    seen: Seen
    actions: np.ndarray
    event: Event | None


@dataclass(frozen=True)
class Eyes:
    """Opens a world and a model's watcher in any process.

    Attributes:
        world: makes the world.
        policy: whose model sees.
        history: most model steps that it sees.
    """

    world: WorldFactory
    policy: ModelSpec
    history: int

    def open(self) -> tuple[World, Watcher]:
        """Return both."""
        world = self.world()
        return world, watcher_of(self.policy(world.spec), self.history)


def rewatch(
    records: Sequence[Record], eyes: Eyes, workers: int = 1, progress: Progress = silent
) -> list[Watched]:
    """Watch recorded episodes again.

    Args:
        records: of episodes in this world that did not break.
        eyes: who watches.
        workers: processes; what is seen does not depend on it.
        progress: told after each episode.
    """
    light = [replace(record, decisions=()) for record in records]
    return map_in_processes(_Rewatch(eyes), light, workers, progress)


def watch_exploring(
    eyes: Eyes, episodes: int, steps: int, seed: int, workers: int = 1, progress: Progress = silent
) -> list[Watched]:
    """Watch episodes in which the world is explored, as recordings for training do.

    Args:
        eyes: who watches.
        episodes: how many.
        steps: actions of each.
        seed: names scenes and actions; they are none that recordings or manifests draw.
        workers: processes; what is seen does not depend on it.
        progress: told after each episode.
    """
    tasks = [(seed, episode, steps) for episode in range(episodes)]
    return map_in_processes(_Explore(eyes), tasks, workers, progress)


@dataclass(frozen=True)
class _Rewatch:
    eyes: Eyes

    def __call__(self) -> Callable[[Record], Watched]:
        world, watcher = self.eyes.open()

        def run(record: Record) -> Watched:
            actions = actions_of(record)
            seen = [world.reset(record.seed), *(world.step(action) for action in actions)]
            return Watched(watch(watcher, seen, actions), actions, getattr(world, "event", None))

        return run


@dataclass(frozen=True)
class _Explore:
    eyes: Eyes

    def __call__(self) -> Callable[[tuple[int, int, int]], Watched]:
        world, watcher = self.eyes.open()

        def run(task: tuple[int, int, int]) -> Watched:
            seed, episode, steps = task
            seen, actions, state = [world.reset(key("guard.scene", seed, episode) >> 80)], [], None
            for step in range(steps):
                rng = generator("guard.explore", seed, episode, step)
                action, state = POLICIES["explore"](world, rng, state)
                actions.append(np.asarray(action, np.float64))
                seen.append(world.step(action))
            taken = np.stack(actions)
            return Watched(watch(watcher, seen, taken), taken, None)

        return run
