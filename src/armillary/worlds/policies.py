"""Policies for recording: who moves the world while its data are made.

A recording policy sees the world itself (it may use the simulator's state) and keeps nothing: it
is called with its own last state, None at the start of an episode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr

from armillary.core.errors import ConfigError
from armillary.core.protocols import World
from armillary.core.values import ActionBounds, Goal

_OCTAVES = 8

RecordingPolicy = Callable[[World, np.random.Generator, Any], tuple[np.ndarray, Any]]


@dataclass(frozen=True)
class _Hold:
    """An action [A] that is held for some more steps."""

    action: np.ndarray
    steps_left: int


def random_policy(world: World, rng: np.random.Generator, state: Any) -> tuple[np.ndarray, Any]:
    """Draw every action anew, uniformly within the bounds."""
    return rng.uniform(world.spec.bounds.low, world.spec.bounds.high), state


def smooth_policy(
    world: World, rng: np.random.Generator, state: _Hold | None
) -> tuple[np.ndarray, _Hold]:
    """Hold uniformly drawn actions for 2 to 6 steps each."""
    if state is None or state.steps_left == 0:
        action = rng.uniform(world.spec.bounds.low, world.spec.bounds.high)
        state = _Hold(action, int(rng.integers(2, 7)))
    return state.action, replace(state, steps_left=state.steps_left - 1)


def pink_action(
    bounds: ActionBounds, rng: np.random.Generator, state: Float[np.ndarray, "K A"] | None
) -> tuple[Float[np.ndarray, " A"], Float[np.ndarray, "K A"]]:
    """Return an action of pink noise, uniform within its bounds, and the next state.

    Pink noise changes on all scales of time. So a recording holds quick moves and long ways, for a
    slow vehicle as for a quick arm. It is made of K = 8 normal numbers an action. The first is
    drawn anew with probability 1/2 at a step, the next with 1/4, the last with 1/256.

    Args:
        bounds: box of actions.
        rng: of the draws.
        state: what the last call returned; None at the start of an episode.

    Source: Eberhard et al. 2023, "Pink Noise Is All You Need", which recommends it over white noise
    and Ornstein-Uhlenbeck; the sum of octaves is the algorithm of Voss and McCartney.
    """
    drawn = rng.standard_normal((_OCTAVES, bounds.width))
    if state is not None:
        anew = rng.random((_OCTAVES, 1)) < 0.5 ** np.arange(1, _OCTAVES + 1)[:, None]
        drawn = np.where(anew, drawn, state)
    share = ndtr(drawn.sum(0) / np.sqrt(_OCTAVES))
    return bounds.low + share * (bounds.high - bounds.low), drawn


def explore_policy(world: World, rng: np.random.Generator, state: Any) -> tuple[np.ndarray, Any]:
    """Explore in the world's own way where it has an ``explore``; else act by pink noise."""
    explore = getattr(world, "explore", None)
    if explore is None:
        return pink_action(world.spec.bounds, rng, state)
    return explore(rng, state)


def expert_policy(
    world: World, rng: np.random.Generator, state: Goal | None
) -> tuple[np.ndarray, Goal]:
    """Go for goals of the default task, one after another.

    Raises:
        ConfigError: the world has no tasks.
    """
    spec = world.spec
    if not spec.tasks:
        raise ConfigError(f"{spec.name}: has no tasks, so no expert; record with --policy explore.")
    if state is None or world.distance(state) <= spec.success_distance:
        state = world.draw_goal(spec.tasks[0], rng)
    return world.expert(state, rng), state


POLICIES: dict[str, RecordingPolicy] = {
    "explore": explore_policy,
    "smooth": smooth_policy,
    "random": random_policy,
    "expert": expert_policy,
}
