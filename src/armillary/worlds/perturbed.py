"""Perturbed: another world in which one thing goes wrong in each episode, for testing guards.

    teleport   an object is suddenly elsewhere
    stuck      the actuator ignores every action from then on
    camera     the camera is knocked, while the pose that it reports stays

When and how much is drawn from the episode's seed alone. Everything before the event is as in the
world itself, to the bit. A test bench: it reaches for hooks of the simulator that no robot has.

Axes: A action.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from armillary.core.errors import ConfigError, unknown_name
from armillary.core.protocols import World
from armillary.core.rng import generator
from armillary.core.values import Goal, Observation, WorldSpec
from armillary.worlds.actions import validate_action

KINDS = ("teleport", "stuck", "camera")
LEAST_JUMP_M = 0.08
_SHIFT_M = (0.01, 0.04)
_TURN_DEG = (1.0, 5.0)


@runtime_checkable
class Teleports(Protocol):
    """A world whose object can be put elsewhere."""

    def teleport_away(self, rng: np.random.Generator, least_m: float) -> tuple[Observation, float]:
        """Put it at least so far away; return what is seen and how far it jumped, metres."""
        ...


@runtime_checkable
class MovesCamera(Protocol):
    """A world whose camera can be knocked."""

    def nudge_camera(self, shift_m: np.ndarray, turn_rad: np.ndarray) -> Observation:
        """Move the camera in its own axes and return what is seen; its reported pose stays."""
        ...


@dataclass(frozen=True)
class Event:
    """What goes wrong in an episode.

    Attributes:
        kind: of ``KINDS``.
        step: index of the first observation under it (0 is the start). A stuck actuator ignores
            ``actions[step - 1]`` and all later ones.
        size: by name and unit, e.g. ``{"jump_m": 0.12}``; a teleport's is known once it happened.
    """

    kind: str
    step: int
    size: Mapping[str, float] = field(default_factory=dict)


class Perturbed:
    """A world with one event per episode.

    Args:
        base: the world; it is closed with this one.
        kind: what goes wrong, of ``KINDS``.
        earliest: first observation that may show it; 2 leaves one normal step before.
        latest: last observation that may be the first to show it.

    Raises:
        ConfigError: an unknown kind, a base that does not offer what it needs, or no such steps.
    """

    def __init__(self, base: World, kind: str, earliest: int = 2, latest: int = 12) -> None:
        if kind not in KINDS:
            raise unknown_name("perturbation", kind, KINDS)
        if not 1 <= earliest <= latest:
            raise ConfigError(
                f"perturbed: 1 <= earliest <= latest was expected, got {earliest} and {latest}."
            )
        if kind not in possible_kinds(base):
            raise ConfigError(
                f"perturbed: {base.spec.name} cannot show {kind!r}; possible in it: "
                f"{', '.join(possible_kinds(base)) or 'nothing'}."
            )
        self._base, self._kind, self._steps = base, kind, (earliest, latest)

    @property
    def spec(self) -> WorldSpec:
        """What the base world promises."""
        return replace(self._base.spec, name=f"{self._base.spec.name} ({self._kind})")

    @property
    def ended(self) -> bool:
        """Whether the base world has ended the episode; some never do."""
        return getattr(self._base, "ended", False)

    @property
    def event(self) -> Event:
        """What goes wrong in the present episode."""
        return self._event

    def reset(self, seed: int) -> Observation:
        """Start the base world's episode and draw from its seed what will go wrong."""
        self._rng = generator(f"perturbed.{self._kind}", seed)
        self._event = Event(self._kind, int(self._rng.integers(self._steps[0], self._steps[1] + 1)))
        self._step = 0
        return self._base.reset(seed)

    def step(self, action: Any) -> Observation:
        """Step the base world; at its step, the event."""
        self._step += 1
        if self._kind == "stuck" and self._step >= self._event.step:
            bounds = self._base.spec.bounds
            still = np.zeros_like(validate_action(self._base.spec, action))
            return self._base.step(np.clip(still, bounds.low, bounds.high))
        observation = self._base.step(action)
        if self._kind in _HAPPENS and self._step == self._event.step:
            observation, size = _HAPPENS[self._kind](self._base, self._rng)
            self._event = replace(self._event, size=size)
        return observation

    def truth(self) -> Mapping[str, np.ndarray]:
        """Return the base world's state."""
        return self._base.truth()

    def draw_goal(self, task: str, rng: np.random.Generator) -> Goal:
        """Draw a goal of the base world."""
        return self._base.draw_goal(task, rng)

    def distance(self, goal: Goal) -> float:
        """Return how far the present state is from the goal."""
        return self._base.distance(goal)

    def expert(self, goal: Goal | None, rng: np.random.Generator) -> Float[np.ndarray, " A"]:
        """Return the base world's scripted action, which knows nothing of the event."""
        return self._base.expert(goal, rng)

    def close(self) -> None:
        """Close the base world."""
        self._base.close()


def possible_kinds(world: World) -> tuple[str, ...]:
    """Return the kinds of ``KINDS`` that a world can show."""
    needs: dict[str, type] = {"teleport": Teleports, "camera": MovesCamera}
    # Where actions are choices, each of them does something: none stands for no action.
    lacks = {"stuck"} if getattr(world, "discrete", False) else set()
    return tuple(
        kind for kind in KINDS if isinstance(world, needs.get(kind, object)) and kind not in lacks
    )


def _teleport(world: Any, rng: np.random.Generator) -> tuple[Observation, dict[str, float]]:
    observation, jump_m = world.teleport_away(rng, LEAST_JUMP_M)
    return observation, {"jump_m": jump_m}


def _camera(world: Any, rng: np.random.Generator) -> tuple[Observation, dict[str, float]]:
    shift_m, turn_deg = rng.uniform(*_SHIFT_M), rng.uniform(*_TURN_DEG)
    shift, turn = shift_m * _direction(rng), np.radians(turn_deg) * _direction(rng)
    return world.nudge_camera(shift, turn), {"shift_m": shift_m, "turn_deg": turn_deg}


_HAPPENS: dict[str, Callable[[Any, np.random.Generator], tuple[Observation, dict[str, float]]]] = {
    "teleport": _teleport,
    "camera": _camera,
}


def _direction(rng: np.random.Generator) -> np.ndarray:
    vector = rng.normal(size=3)
    return vector / np.linalg.norm(vector)
