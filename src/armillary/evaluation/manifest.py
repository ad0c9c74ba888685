"""Manifest: the fixed list of evaluation episodes, made before any policy is run.

Its seeds come from a domain of their own, [2^52, 2^53), so that they are exact in JSON and can
never be the small numbers that recordings count with.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from armillary.core.errors import ConfigError, FormatError, WorldError, unknown_name
from armillary.core.files import read_json, write_json
from armillary.core.hashing import canonical_json, json_sha256
from armillary.core.protocols import World
from armillary.core.rng import generator, key
from armillary.core.values import Goal, WorldSpec
from armillary.evaluation.worlds import WorldFactory, WorldSource

FORMAT = "armillary.manifest/1"
_SEED_BITS = 52
# A task whose start solves it this often is not a task.
_DRAWS_PER_EPISODE = 20
_MAX_EPISODES = 1_000_000


@dataclass(frozen=True)
class EpisodeSpec:
    """One evaluation episode.

    Attributes:
        id: its name, unique in the manifest.
        seed: of the world's reset; fixes scene and start.
        goal_seed: of the goal's draw.
    """

    id: str
    seed: int
    goal_seed: int


@dataclass(frozen=True)
class Manifest:
    """What is evaluated, and by which rules.

    Attributes:
        world: name of the world.
        settings: the world's settings.
        task: goal task.
        episodes: in order.
        budget: steps per episode.
        success_distance: solved when the distance is at most this, in ``distance_unit``.
        distance_unit: unit of all distances.
        planner_budget: most model steps that one decision may take; None for no limit.
        decision_limit_s: most seconds that one decision may take, else the episode is a timeout;
            None for no limit (a limit makes outcomes depend on the machine).
        stop_at_hit: end an episode at the first hit. Off by default: the whole budget is run, and
            success is judged at its end.
        reachable: whether every goal is known to be reachable; None where nobody knows. Then a low
            success says less, and the oracle's row is no ceiling.
    """

    world: str
    task: str
    episodes: tuple[EpisodeSpec, ...]
    budget: int
    success_distance: float
    distance_unit: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    planner_budget: int | None = None
    decision_limit_s: float | None = None
    stop_at_hit: bool = False
    reachable: bool | None = True

    def ruled(self, world: WorldSpec) -> WorldSpec:
        """Return what a world promises a policy under these rules: their budget is its deadline."""
        return replace(world, budget=self.budget)

    def __post_init__(self) -> None:
        ids = {episode.id for episode in self.episodes}
        if len(ids) != len(self.episodes):
            raise ConfigError("A manifest's episode ids must be unique; some are repeated.")
        if self.budget < 1 or not self.success_distance > 0:
            raise ConfigError(
                "A manifest needs a budget of at least 1 step and a success distance above 0; "
                f"got {self.budget} and {self.success_distance}."
            )

    @property
    def sha256(self) -> str:
        """Hash of everything in it."""
        return json_sha256(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        value = {"format": FORMAT, **asdict(self), "settings": dict(self.settings)}
        if self.reachable:  # so that a manifest from before this field keeps its hash
            del value["reachable"]
        return value

    def save(self, path: Path) -> None:
        """Write it as JSON, in one step.

        Raises:
            StorageError: the disk is full or not writable.
        """
        write_json(path, self.to_dict())


def load_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        FormatError: not a manifest of this format.
    """
    value = read_json(path)
    try:
        if value.pop("format") != FORMAT or len(value["episodes"]) > _MAX_EPISODES:
            raise ValueError("another format, or too many episodes")
        if not isinstance(value["settings"], dict):
            raise TypeError("its settings are no object")
        canonical_json(value)  # which refuses NaN
        episodes = tuple(EpisodeSpec(**episode) for episode in value.pop("episodes"))
        return Manifest(episodes=episodes, **value)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"{path}: not a manifest of format {FORMAT} ({error}).") from error


def make_manifest(
    world_name: str,
    task: str | None,
    episodes: int,
    seed: int,
    settings: Mapping[str, Any] | None = None,
    budget: int | None = None,
    success_distance: float | None = None,
    planner_budget: int | None = None,
    world_factory: WorldSource | None = None,
) -> Manifest:
    """Draw a manifest. Episodes that are solved at their start are left out and replaced.

    Args:
        world_name: name of the world.
        task: goal task; None for the world's first.
        episodes: how many.
        seed: names the list.
        settings: the world's settings.
        budget: steps per episode; None for the world's own.
        success_distance: None for the world's own.
        planner_budget: see ``Manifest``.
        world_factory: makes the world; None for ``worlds.make_world``.

    Raises:
        ConfigError: an unknown task, or fewer than one episode.
        WorldError: nearly every episode is solved at its start.
    """
    if not 1 <= episodes <= _MAX_EPISODES:
        raise ConfigError(f"A manifest has 1 to {_MAX_EPISODES} episodes; got {episodes}.")
    # As it reads back from a file.
    settings_read: dict[str, Any] = json.loads(canonical_json(dict(settings or {})))
    world = (world_factory or WorldFactory(world_name, settings_read))()
    try:
        spec = world.spec
        task = _known_task(spec, task)
        limit = success_distance
        if limit is None:
            limit = _per_task(spec, "success_distance", task, spec.success_distance)
        if budget is None:
            budget = int(_per_task(spec, "budget", task, spec.budget))
        drawn = draw_episodes(world, task, episodes, limit, _candidates(task, seed))
    finally:
        world.close()
    return Manifest(
        world=world_name,
        task=task,
        episodes=drawn,
        budget=budget,
        success_distance=float(limit),
        distance_unit=spec.distance_unit,
        settings=settings_read,
        planner_budget=planner_budget,
        reachable=spec.extra.get("reachable", {}).get(task, True),
    )


def draw_goal(world: World, task: str, episode: EpisodeSpec) -> Goal:
    """Return the goal of an episode, after ``world.reset(episode.seed)``."""
    return world.draw_goal(task, generator("evaluation.goal", episode.goal_seed))


def draw_episodes(
    world: World, task: str, episodes: int, limit: float, candidate: Callable[[int], EpisodeSpec]
) -> tuple[EpisodeSpec, ...]:
    """Return the first episodes of a list of candidates that are not solved at their start.

    Args:
        world: any state; it is reset.
        task: its goal task.
        episodes: how many.
        limit: solved within this distance.
        candidate: the list: an episode for every number from 0.

    Raises:
        ConfigError: fewer than one episode, or too many.
        WorldError: nearly every candidate is solved at its start.
    """
    if not 1 <= episodes <= _MAX_EPISODES:
        raise ConfigError(f"A manifest has 1 to {_MAX_EPISODES} episodes; got {episodes}.")
    found: list[EpisodeSpec] = []
    for index in range(episodes * _DRAWS_PER_EPISODE):
        episode = candidate(index)
        world.reset(episode.seed)
        distance = world.distance(draw_goal(world, task, episode))
        if np.isfinite(distance) and distance > limit:
            found.append(episode)
        if len(found) == episodes:
            return tuple(found)
    raise WorldError(
        f"{world.spec.name}: of {episodes * _DRAWS_PER_EPISODE} {task} episodes only "
        f"{len(found)} were not solved at the start; use a smaller success distance."
    )


def _candidates(task: str, seed: int) -> Callable[[int], EpisodeSpec]:
    def candidate(index: int) -> EpisodeSpec:
        return EpisodeSpec(
            id=f"{task}-{index:05d}",
            seed=_seed("evaluation.start", seed, index),
            goal_seed=_seed("evaluation.target", seed, index),
        )

    return candidate


def _seed(purpose: str, seed: int, index: int) -> int:
    return (1 << _SEED_BITS) | (key(purpose, seed, index) >> (128 - _SEED_BITS))


def _known_task(spec: WorldSpec, task: str | None) -> str:
    if not spec.tasks:
        raise ConfigError(f"{spec.name} has no goal tasks, so nothing can be evaluated in it.")
    if task is not None and task not in spec.tasks:
        raise unknown_name(f"task of {spec.name}", task, spec.tasks)
    return task or spec.tasks[0]


def _per_task(spec: WorldSpec, name: str, task: str, default: int | float) -> int | float:
    """Return a world's value for one task (``spec.extra[name][task]``), else its only one."""
    return spec.extra.get(name, {}).get(task, default)
