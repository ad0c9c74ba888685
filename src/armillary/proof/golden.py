"""Golden vectors: what known seeds must look like, so that another implementation is noticed.

A vector holds the hash of the start and of the goal that two seeds draw. Pictures are compared to
the bit, but for worlds whose pictures come from a graphics driver: of these the truth is compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from armillary.core.errors import ArmillaryError, CheckFailedError, FormatError
from armillary.core.protocols import World
from armillary.evaluation.manifest import EpisodeSpec, draw_goal
from armillary.evaluation.worlds import WorldFactory
from armillary.proof.code import DRAWN_BY_A_DRIVER


@dataclass(frozen=True)
class Golden:
    """One vector.

    Attributes:
        task: name of the suite's task.
        seed: of the world's reset.
        goal_seed: of the goal's draw.
        start: hash of the first observation, where it is this package that draws it, and of the
            simulator's truth.
        goal: hash of the goal's.
    """

    task: str
    seed: int
    goal_seed: int
    start: str
    goal: str

    def to_dict(self) -> dict[str, str]:
        """Return it as JSON values; seeds are hexadecimal."""
        seeds = {"seed": f"{self.seed:014x}", "goal_seed": f"{self.goal_seed:014x}"}
        return {"task": self.task, **seeds, "start": self.start, "goal": self.goal}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Golden:
        """Return the vector of checked JSON values."""
        seeds = {name: int(value[name], 16) for name in ("seed", "goal_seed")}
        return cls(value["task"], **seeds, start=value["start"], goal=value["goal"])


def arrays_digest(arrays: Mapping[str, Any]) -> str:
    """Return the hash of named arrays: names, types, shapes and bytes (little-endian)."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        values = np.ascontiguousarray(arrays[name])
        values = values.astype(values.dtype.newbyteorder("<"), copy=False)
        found.update(f"{name}|{values.dtype.str}|{values.shape}|".encode())
        found.update(values.tobytes())
    return found.hexdigest()


def moment_digest(streams: Mapping[str, Any], truth: Mapping[str, Any]) -> str:
    """Return the hash of what is seen and what is true at one moment of a world."""
    seen = {f"seen.{name}": value for name, value in streams.items()}
    return arrays_digest({**seen, **{f"true.{name}": value for name, value in truth.items()}})


def make_golden(
    world: World, name: str, goal_task: str, episode: EpisodeSpec, seen: bool = True
) -> Golden:
    """Draw one vector.

    Args:
        world: any state; it is reset.
        name: of the suite's task.
        goal_task: of the world.
        episode: the two seeds.
        seen: whether pictures count, beside the truth.
    """
    first = world.reset(episode.seed).streams
    start = moment_digest(first if seen else {}, world.truth())
    goal = draw_goal(world, goal_task, episode)
    drawn = moment_digest(goal.observation.streams if seen else {}, goal.truth)
    return Golden(name, episode.seed, episode.goal_seed, start, drawn)


def check_golden(
    golden: tuple[Golden, ...], worlds: Mapping[str, tuple[WorldFactory, str]]
) -> None:
    """Draw every vector again.

    Args:
        golden: the vectors.
        worlds: factory and goal task by the name of the suite's task.

    Raises:
        CheckFailedError: this installation draws something else.
        FormatError: the suite's settings make no world.
    """
    for name, (factory, goal_task) in worlds.items():
        world, seen = _made(factory, name), factory.name not in DRAWN_BY_A_DRIVER
        try:
            for one in (one for one in golden if one.task == name):
                episode = EpisodeSpec("", one.seed, one.goal_seed)
                if make_golden(world, name, goal_task, episode, seen) != one:
                    raise CheckFailedError(
                        f"Task {name}: seed {one.seed:014x} draws another start or goal here than "
                        "the suite's golden vector; this installation is not the suite's world."
                    )
        finally:
            world.close()


def _made(factory: WorldFactory, name: str) -> World:
    """Return a world of settings that came from a file."""
    try:
        return factory()
    except ArmillaryError:
        raise
    except (TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"Task {name}: its settings make no world ({error}).") from error
