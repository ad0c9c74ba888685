"""Seeds: the episodes of a test follow from the suite and from a value that came after the commit.

    SHA256("wm-test/1" | S | value | task | index), parts joined by "|" as ASCII text

Its first 52 bits are the seed of the world's reset, its next 52 that of the goal, each with bit 52
set: within [2^52, 2^53), where a recording's seeds (48 bits) can never be. The agent's digest is
not in it: agents that share a value are compared on the same episodes.
"""

from __future__ import annotations

import hashlib
import re

from armillary.core.errors import ConfigError
from armillary.evaluation.manifest import EpisodeSpec, Manifest, draw_episodes
from armillary.proof.suite import Suite, Task

TAG = "wm-test/1"
_BITS = 52
_HEX = re.compile("[0-9a-f]{64}")


def episode_seeds(suite: str, value: str, task: str, index: int) -> tuple[int, int]:
    """Return the seed of the start and of the goal of candidate ``index``.

    Args:
        suite: digest S.
        value: that was revealed, 64 hexadecimal digits.
        task: name of the suite's task.
        index: from 0; candidates that are solved at their start are passed over.

    Raises:
        ConfigError: S or value is not what it must be.
    """
    for name, text in (("S", suite), ("value", value)):
        if not _HEX.fullmatch(text):
            raise ConfigError(
                f"{name} must be 64 lower-case hexadecimal digits; got {text[:80]!r}."
            )
    text = "|".join((TAG, suite, value, task, str(index)))
    bits = int.from_bytes(hashlib.sha256(text.encode("ascii")).digest(), "big")
    first, second = bits >> (256 - _BITS), (bits >> (256 - 2 * _BITS)) & ((1 << _BITS) - 1)
    return (1 << _BITS) | first, (1 << _BITS) | second


def draw_manifest(suite: Suite, task: Task, value: str, episodes: int | None = None) -> Manifest:
    """Return the episodes of a task; everybody with the same suite and value gets the same.

    Args:
        suite: whose digest goes into the seeds.
        task: one of its tasks.
        value: that was revealed.
        episodes: how many; None for the task's N. Fewer are the beginning of more.

    Raises:
        ConfigError: S or value is not what it must be.
        WorldError: nearly every episode is solved at its start.
    """
    limit = float(task.success_distance)

    def candidate(index: int) -> EpisodeSpec:
        name = f"{task.name}-{index:05d}"
        return EpisodeSpec(name, *episode_seeds(suite.digest, value, task.name, index))

    world = task.factory()
    try:
        count = task.episodes if episodes is None else episodes
        drawn = draw_episodes(world, task.task, count, limit, candidate)
    finally:
        world.close()
    return Manifest(
        world=task.world,
        task=task.task,
        episodes=drawn,
        budget=task.budget,
        success_distance=limit,
        distance_unit=task.distance_unit,
        settings=task.settings,
        planner_budget=task.planner_budget,
        stop_at_hit=task.stop_at_hit,
        reachable=task.reachable,
    )
