"""Player: the package's own policy and solver, driven for one episode of one world.

``WorldModelPolicy`` and ``CEMSolver`` are used as they come: normalisation, optimisation, buffer of
actions and when to plan again are theirs. They are told of an environment with one copy of the
world; the solver's chance is named by the episode, so that an episode repeats alone.

Imported only where ``stable-worldmodel`` is installed.

Axes: H W image, A action.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import torch
from jaxtyping import UInt8

from armillary.benchmark.ground.clips import IMAGENET_MEAN, IMAGENET_STD, ActionScale
from armillary.benchmark.ground.settings import FRAME_SKIP, PeerPlanning
from armillary.data.resize import as_size, resized

# Picture [H W 3] -> action [A] in the world's units, not yet clipped. It remembers its plan.
Player = Callable[[np.ndarray], np.ndarray]


def play(
    model: Any,
    scale: ActionScale,
    planning: PeerPlanning,
    size: int,
    goal: UInt8[np.ndarray, "H W 3"],
    seed: int,
) -> Player:
    """Return who plays one episode towards a goal picture.

    Args:
        model: a world model of the package, in evaluation mode.
        scale: of the actions that it was trained on.
        planning: the solver's settings.
        size: H = W that the model was trained on; pictures are brought to it as in training.
        goal: picture of the goal.
        seed: names the solver's chance.
    """
    policy = _policy(model, scale, planning, size, seed)
    width = len(scale.mean)
    shown = resized(goal, as_size(size), average=True)

    def act(picture: np.ndarray) -> np.ndarray:
        info = {
            "pixels": resized(picture, as_size(size), average=True)[None, None],
            "goal": shown[None, None],
            "action": np.zeros((1, 1, width), np.float32),
        }
        with _quietly(planning.bfloat16):
            return policy.get_action(info).reshape(width)

    return act


def _policy(model: Any, scale: ActionScale, planning: PeerPlanning, size: int, seed: int) -> Any:
    from stable_worldmodel.policy import PlanConfig, WorldModelPolicy  # pyrefly: ignore
    from stable_worldmodel.solver import CEMSolver  # pyrefly: ignore

    solver = CEMSolver(
        model,
        batch_size=1,
        num_samples=planning.samples,
        var_scale=planning.std,
        n_steps=planning.iterations,
        topk=planning.elites,
        device="cpu",
        seed=seed,
    )
    config = PlanConfig(
        horizon=planning.horizon,
        receding_horizon=planning.executed,
        history_len=1,
        action_block=FRAME_SKIP,
    )
    transform = _transform(size)
    policy = WorldModelPolicy(
        solver,
        config,
        process={"action": scale},
        transform={"pixels": transform, "goal": transform},
    )
    policy.set_env(_one_world(len(scale.mean)))
    return policy


def _transform(size: int) -> Any:
    """Return the picture transform of their evaluation script."""
    from torchvision.transforms import v2  # pyrefly: ignore

    return v2.Compose(
        [
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean=IMAGENET_MEAN, std=IMAGENET_STD),
            v2.Resize(size=size),
        ]
    )


def _one_world(width: int) -> Any:
    """Return what their policy asks of an environment; their solver does not look at the bounds."""

    def box(*shape: int) -> Any:
        return gymnasium.spaces.Box(-np.inf, np.inf, shape, np.float32)

    return SimpleNamespace(num_envs=1, action_space=box(1, width), single_action_space=box(width))


@contextlib.contextmanager
def _quietly(bfloat16: bool) -> Iterator[None]:
    # their solvers print after every decision
    with (
        contextlib.redirect_stdout(io.StringIO()),
        torch.autocast("cpu", torch.bfloat16, enabled=bfloat16),
    ):
        yield
