"""Scene: pictures of the one scene that is played in, taken before it is played in.

The world is begun again from the same seed, and driven elsewhere each time. In every other episode
actions are held at the edge of their box, as a person holds a key.

Axes: A action.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from armillary.core.progress import Progress, silent
from armillary.core.protocols import World
from armillary.core.values import ActionBounds, Episode, Goal, Observation, WorldSpec
from armillary.worlds.policies import explore_policy
from armillary.worlds.recording import record_episode

EPISODES, STEPS = 16, 40
_LEAST_HELD, _MOST_HELD = 4, 16  # steps


def scene_episodes(
    world: World,
    seed: int,
    episodes: int = EPISODES,
    steps: int = STEPS,
    progress: Progress = silent,
    note: Callable[[], None] | None = None,
) -> list[Episode]:
    """Return episodes that all begin where ``world.reset(seed)`` does.

    Args:
        world: is left somewhere else.
        seed: of the scene.
        episodes: how many.
        steps: of each; fewer where the world ends it.
        progress: called after each.
        note: called at each step of each episode, in their order, where the world is at it.

    Raises:
        WorldError: the world raised.
    """
    same, found = _SameScene(world, seed, note or _nothing), []
    for number in range(episodes):
        policy = explore_policy if number % 2 else _held_policy
        found.append(record_episode(same, policy, number, steps, seed))
        progress(number + 1, episodes)
    return found


class _SameScene:
    """A world that always begins with one seed, whatever it is asked for."""

    def __init__(self, world: World, seed: int, note: Callable[[], None]) -> None:
        self._world, self._seed, self._note = world, seed, note

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)

    @property
    def spec(self) -> WorldSpec:
        return self._world.spec

    def reset(self, seed: int) -> Observation:
        seen = self._world.reset(self._seed)
        self._note()
        return seen

    def step(self, action: Float[np.ndarray, " A"]) -> Observation:
        seen = self._world.step(action)
        self._note()
        return seen

    def truth(self) -> Mapping[str, np.ndarray]:
        return self._world.truth()

    def draw_goal(self, task: str, rng: np.random.Generator) -> Goal:
        return self._world.draw_goal(task, rng)

    def distance(self, goal: Goal) -> float:
        return self._world.distance(goal)

    def expert(self, goal: Goal | None, rng: np.random.Generator) -> Float[np.ndarray, " A"]:
        return self._world.expert(goal, rng)

    def close(self) -> None:
        self._world.close()


def _nothing() -> None:
    """Note nothing."""


@dataclass(frozen=True)
class _Held:
    """An action [A] that is held for some more steps."""

    action: np.ndarray
    steps_left: int


def _held_policy(
    world: World, rng: np.random.Generator, state: _Held | None
) -> tuple[np.ndarray, _Held]:
    if state is None or state.steps_left == 0:
        steps = int(rng.integers(_LEAST_HELD, _MOST_HELD))
        state = _Held(_edge_action(world.spec.bounds, rng), steps)
    return state.action, replace(state, steps_left=state.steps_left - 1)


def _edge_action(bounds: ActionBounds, rng: np.random.Generator) -> Float[np.ndarray, " A"]:
    """Return an action whose numbers are each lowest, in the middle or highest, or nearly so."""
    middle, half = (bounds.high + bounds.low) / 2, (bounds.high - bounds.low) / 2
    return middle + half * rng.integers(-1, 2, bounds.width) * rng.uniform(0.5, 1.0)
