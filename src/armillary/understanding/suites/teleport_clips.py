"""Impossible clips of the tabletop: object 0 is elsewhere from one step to the next.

Beside them possible ones: the exploring pusher, and a pusher that sweeps at full speed through the
objects, whose pictures change as much as a teleport does. Scenes are drawn from seeds of their own
(purpose "teleport"), which no recording uses. Training cannot import this module: it is a sibling
layer.

World frame, metres. Axes: T steps, A action width (frame skip x 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from armillary.core.errors import WorldError
from armillary.core.rng import generator, key
from armillary.core.values import Batch, Observation
from armillary.data import batch_from_observations
from armillary.worlds import make_world
from armillary.worlds.tabletop.tasks import draw_elsewhere

Kind = Literal["teleport", "explore", "sweep"]
LEAST_JUMP_M = 0.06
_EARLIEST = 5  # steps before the event, so that every event is seen with a full context


@runtime_checkable
class TeleportWorld(Protocol):
    """What these clips need of a world beyond ``World``: a layout, an explorer and a magic hand."""

    def layout(self) -> Any:
        """Return ``pusher_xy`` [2], ``objects_xyz`` [O 3] and ``radii_m``."""
        ...

    def explore(self, rng: np.random.Generator, state: Any) -> tuple[np.ndarray, Any]:
        """Return an exploring action and the explorer's state."""
        ...

    def teleport(self, xy: np.ndarray) -> Observation:
        """Put object 0 elsewhere and return what is seen."""
        ...

    def close(self) -> None:
        """Give back what was held."""
        ...


@dataclass(frozen=True)
class Clip:
    """One clip and what is impossible in it.

    Attributes:
        batch: B = 1, T steps.
        kind: how it was made.
        event: the step at which the object is suddenly elsewhere; None in a possible clip.
        jump_m: how far it jumped.
    """

    batch: Batch
    kind: Kind
    event: int | None = None
    jump_m: float = 0.0


def record_clips(
    kind: Kind,
    count: int,
    steps: int,
    seed: int,
    frame_skip: int = 1,
    settings: Mapping[str, Any] | None = None,
) -> tuple[Clip, ...]:
    """Record clips of one kind from fresh scenes.

    Args:
        kind: ``teleport``: exploring, with one teleport; ``explore``: exploring; ``sweep``:
            full-speed sweeps through the objects.
        count: how many.
        steps: T of each, in model steps.
        seed: with ``kind`` and the clip's number, of scene, policy and event.
        frame_skip: world steps in a model step; their actions are concatenated.
        settings: of the tabletop.

    Raises:
        WorldError: the world cannot teleport.
    """
    world: Any = make_world("tabletop", **(settings or {}))
    if not isinstance(world, TeleportWorld):
        raise WorldError("A teleport needs a world with layout, explore and teleport: tabletop.")
    try:
        return tuple(_record(world, kind, i, steps, seed, frame_skip) for i in range(count))
    finally:
        world.close()


def _record(world: Any, kind: Kind, index: int, steps: int, seed: int, frame_skip: int) -> Clip:
    purpose = f"teleport/{kind}"
    rng = generator(purpose, seed, index)
    seen = [world.reset(key(purpose, seed, index) >> 66)]
    event = int(rng.integers(min(_EARLIEST, steps - 1), steps)) if kind == "teleport" else None
    actions, jump_m, state = [], 0.0, None
    for step in range(1, steps):
        observation, taken, state = _advance(world, kind, rng, state, frame_skip)
        if step == event:
            place = world.layout().objects_xyz[0, :2].copy()
            target = draw_elsewhere(world.layout(), rng, LEAST_JUMP_M)
            jump_m = float(np.linalg.norm(target - place))
            observation = world.teleport(target)
        seen.append(observation)
        actions.append(taken)
    batch = batch_from_observations(seen, np.stack(actions).astype(np.float32))
    return Clip(batch, kind, event, jump_m)


def _advance(
    world: Any, kind: Kind, rng: np.random.Generator, state: Any, frame_skip: int
) -> tuple[Observation, np.ndarray, Any]:
    """Take one model step: ``frame_skip`` actions, what is seen after them, the policy's state."""
    taken, seen = [], []
    for _ in range(frame_skip):
        policy = _sweep(world, rng, state) if kind == "sweep" else world.explore(rng, state)
        action, state = policy
        taken.append(action)
        seen.append(world.step(action))
    return seen[-1], np.concatenate(taken), state


def _sweep(world: Any, rng: np.random.Generator, state: Any) -> tuple[np.ndarray, Any]:
    """Return full speed (0.4 m/s, as the explorer's sweeps) through an object and out again."""
    layout = world.layout()
    velocity, left = state if state is not None else (np.zeros(2), 0)
    if left == 0:
        through = layout.objects_xyz[rng.integers(len(layout.radii_m)), :2]
        gap = through + rng.normal(0, 0.015, 2) - layout.pusher_xy
        velocity = 0.4 * gap / max(float(np.linalg.norm(gap)), 1e-6)
        left = int(rng.integers(3, 7))
    bounds = world.spec.bounds
    return np.clip(velocity, bounds.low, bounds.high), (velocity, left - 1)
