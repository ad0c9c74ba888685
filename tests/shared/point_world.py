"""A point in a square, seen as an 8x8 picture that tells its place exactly, and a model of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from armillary.core.rng import generator
from armillary.core.values import ActionBounds, Batch, Goal, Latent, Observation, WorldSpec
from armillary.evaluation import ModelPolicy, RandomPolicy
from armillary.planning import make_planner

BOUNDS = ActionBounds(np.full(2, -0.1), np.full(2, 0.1))
LEVELS = 65535


def picture(xy: np.ndarray) -> np.ndarray:
    """Write (x, y) in [-1, 1] into the first two pixels, 16 bits each."""
    rgb = np.zeros((8, 8, 3), np.uint8)
    code = np.round((xy + 1) / 2 * LEVELS).astype(int)
    rgb[0, :2, 0], rgb[0, :2, 1] = code // 256, code % 256
    return rgb


@dataclass
class PointWorld:
    """Moves by its action. ``break_at``: raises at this step of episodes with an even seed."""

    break_at: int | None = None
    die_at: int | None = None
    xy: np.ndarray = field(default_factory=lambda: np.zeros(2))

    @property
    def spec(self) -> WorldSpec:
        sensors: Any = {"rgb": "rgb", "labels": "segmentation"}
        return WorldSpec("point", BOUNDS, 0.1, ("reach",), 12, 0.05, "m", sensors)

    def reset(self, seed: int) -> Observation:
        self.seed, self.step_index = seed, 0
        self.xy = generator("point", seed).uniform(-0.4, 0.4, 2)
        return self._observe()

    def step(self, action: np.ndarray) -> Observation:
        even = self.seed % 2 == 0
        if even and self.step_index == self.break_at:
            raise ValueError("the table fell over")
        if even and self.step_index == self.die_at:
            os._exit(7)
        self.step_index += 1
        self.xy = np.clip(self.xy + action, -1, 1)
        return self._observe()

    def truth(self) -> Mapping[str, np.ndarray]:
        return {"xy": self.xy.copy()}

    def draw_goal(self, task: str, rng: np.random.Generator) -> Goal:
        xy = rng.uniform(-0.5, 0.5, 2)
        return Goal(task, Observation({"rgb": picture(xy)}), {"xy": xy})

    def distance(self, goal: Goal) -> float:
        return float(np.linalg.norm(self.xy - goal.truth["xy"]))

    def expert(self, goal: Goal | None, rng: np.random.Generator) -> np.ndarray:
        assert goal is not None
        return np.clip(goal.truth["xy"] - self.xy, -0.1, 0.1)

    def close(self) -> None:
        self.step_index = -1

    def _observe(self) -> Observation:
        return Observation({"rgb": picture(self.xy), "labels": np.zeros((8, 8), np.uint8)})


@dataclass
class BlindPointWorld(PointWorld):
    """Can go on without a picture, and counts those that it takes."""

    pictures: int = 0

    def advance(self, action: np.ndarray) -> None:
        super().step(action)
        self.pictures -= 1

    def _observe(self) -> Observation:
        self.pictures += 1
        return super()._observe()


class PointModel:
    """The exact model of ``PointWorld``: its latent is the place. Counts what it encodes."""

    def __init__(self) -> None:
        self.frames = 0
        self.memories: list[int] = []

    def encode(self, batch: Batch) -> Latent:
        rgb = batch.streams["rgb"].float()
        self.frames += rgb.shape[0] * rgb.shape[1]
        code = rgb[:, :, 0, :2, 0] * 256 + rgb[:, :, 0, :2, 1]
        return Latent((code / LEVELS * 2 - 1)[:, :, None], batch.actions)

    def rollout(self, latent: Latent, plans: torch.Tensor) -> torch.Tensor:
        self.memories.append(latent.tokens.shape[1])
        moves = plans.unflatten(-1, (-1, 2)).sum(dim=-2)  # frame skip: actions side by side
        return (latent.tokens[:, None, None, -1, 0] + moves.cumsum(dim=2))[..., None, :]


@dataclass(frozen=True)
class PointModelSpec:
    """A ``ModelPolicy`` on the exact model, as something that can be sent to a process."""

    planner: str = "cem"
    history: int = 2
    replan: int = 1
    frame_skip: int = 1

    def __call__(self, world: WorldSpec) -> ModelPolicy:
        return ModelPolicy(
            PointModel(),
            make_planner(self.planner, length=4),
            world.bounds,
            history=self.history,
            replan=self.replan,
            frame_skip=self.frame_skip,
        )


@dataclass(frozen=True)
class Fixed:
    """Always sends the same; asks to see what it is told to."""

    action: Any
    observes: tuple[str, ...] = ()

    def __call__(self, world: WorldSpec) -> Any:
        return self

    def init(self, goal: Observation, seed: int) -> None:
        return None

    def act(self, observation: Observation, state: None) -> tuple[Any, None]:
        return self.action, None


@dataclass(frozen=True)
class Raising:
    """A random policy that raises at the third step of half of the episodes."""

    def __call__(self, world: WorldSpec) -> Any:
        return self

    observes: tuple[str, ...] = ()

    def init(self, goal: Observation, seed: int) -> Any:
        return RandomPolicy(BOUNDS).init(goal, seed)

    def act(self, observation: Observation, state: Any) -> tuple[Any, Any]:
        if state.step == 2 and state.seed % 2:
            raise ZeroDivisionError("division by zero")
        return RandomPolicy(BOUNDS).act(observation, state)


def breaking_world() -> PointWorld:
    return PointWorld(break_at=3)


def dying_world() -> PointWorld:
    return PointWorld(die_at=3)
