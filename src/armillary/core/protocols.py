"""Protocols: the whole contract between the parts, on one page.

State and chance are arguments everywhere: whoever is called keeps nothing between calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.values import ActionBounds, Batch, Goal, Latent, Observation, Plan, WorldSpec


@runtime_checkable
class WorldModel(Protocol):
    """Sees, remembers and foresees, in latent space."""

    def encode(self, batch: Batch) -> Latent:
        """Return the latent of every step: tokens [B T N D]."""
        ...

    def rollout(
        self, latent: Latent, plans: Float[Tensor, "B S L A"]
    ) -> Float[Tensor, "B S L N D"]:
        """Return the latents that each plan would lead to, from the last step of ``latent``."""
        ...


@runtime_checkable
class Cost(Protocol):
    """All that a planner sees."""

    def __call__(self, plans: Float[Tensor, "B S L A"]) -> Float[Tensor, "B S"]:
        """Return the cost of every candidate plan; lower is better."""
        ...


@runtime_checkable
class Planner(Protocol):
    """Finds a plan of low cost inside the bounds."""

    def init(self, bounds: ActionBounds, batch_size: int) -> Any:
        """Return the state before the first decision."""
        ...

    def plan(self, cost: Cost, state: Any, rngs: Sequence[torch.Generator]) -> tuple[Plan, Any]:
        """Return a plan and the state for the next decision (warm start).

        ``rngs`` holds one generator per batch element, so a decision never depends on its batch.
        """
        ...

    def advance(self, state: Any, steps: int) -> Any:
        """Return the state after ``steps`` actions of the plan were executed."""
        ...


@runtime_checkable
class World(Protocol):
    """A simulator or robot. One episode: ``reset``, then ``step`` as often as wanted."""

    @property
    def spec(self) -> WorldSpec:
        """What this world promises."""
        ...

    def reset(self, seed: int) -> Observation:
        """Draw a scene and a start from the seed alone and return the first observation."""
        ...

    def step(self, action: Float[np.ndarray, " A"]) -> Observation:
        """Apply one action inside the bounds and return what follows."""
        ...

    def truth(self) -> Mapping[str, np.ndarray]:
        """Return the simulator's state by name (``pusher_xy`` ...); for judges and probes only."""
        ...

    def draw_goal(self, task: str, rng: np.random.Generator) -> Goal:
        """Draw a goal for the present scene; the world is left as it was."""
        ...

    def distance(self, goal: Goal) -> float:
        """Return how far the present state is from the goal, in ``spec.distance_unit``."""
        ...

    def expert(self, goal: Goal | None, rng: np.random.Generator) -> Float[np.ndarray, " A"]:
        """Return an action chosen with the simulator's state: towards the goal, or exploring."""
        ...

    def close(self) -> None:
        """Give back what was held (renderers, devices)."""
        ...


@runtime_checkable
class BlindWorld(Protocol):
    """A world that can also go on without a picture being taken, which is most of its time."""

    def advance(self, action: Float[np.ndarray, " A"]) -> None:
        """Apply one action as ``step`` does, and observe nothing."""
        ...


@runtime_checkable
class Policy(Protocol):
    """Acts from observations alone. Its state is handed in and out."""

    @property
    def observes(self) -> tuple[str, ...]:
        """Return the allow-list: names of the streams it may see."""
        ...

    def init(self, goal: Observation, seed: int) -> Any:
        """Return the state at the start of an episode with this goal picture."""
        ...

    def act(self, observation: Observation, state: Any) -> tuple[Float[np.ndarray, " A"], Any]:
        """Return one action and the next state."""
        ...


@runtime_checkable
class GlancingPolicy(Protocol):
    """A policy that knows when it will not look: while it goes on with an earlier plan."""

    def looks(self, state: Any) -> bool:
        """Tell whether the next ``act`` reads its observation; else it is given an empty one."""
        ...


@runtime_checkable
class HeedingPolicy(Protocol):
    """A policy that minds what was sent in place of its action, as by a guard that slows it."""

    def sent(self, action: Float[np.ndarray, " A"], state: Any) -> Any:
        """Return the state that ``act`` gave, with this action in place of the one beside it."""
        ...
