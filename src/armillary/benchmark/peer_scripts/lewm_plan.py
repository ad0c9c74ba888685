"""LeWM's planning decision, timed inside the environment where ``stable-worldmodel`` is installed.

Run by the peer's Python, never imported by armillary. It reads one JSON request per line from
stdin and answers each with one JSON line on stdout:

``build``  {size, patch, samples, iterations, elites, horizon, threads} -> {parameters, ...}
``decide`` {count} -> {seconds, model_steps}

Everything that works is the installed package's own: model (as in ``lewm_step.py``), cost,
``CEMSolver``, and ``WorldModelPolicy``, which prepares both pictures and calls the solver. The
picture transform is that of its evaluation script: scale, ImageNet's normalisation, resize. One
environment, float32, inference mode, and the plan is asked for anew in every decision by the
package's own mark of a new episode.

Source: Maes et al. 2026 (LeWorldModel); stable-worldmodel, ``policy.py`` and ``solver/cem.py``.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from lewm_step import ACTION_WIDTH, FRAMESKIP, make_model  # pyrefly: ignore
from stable_worldmodel.policy import PlanConfig, WorldModelPolicy  # pyrefly: ignore
from stable_worldmodel.solver import CEMSolver  # pyrefly: ignore
from torchvision.transforms import v2  # pyrefly: ignore

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Decisions:
    """A policy and two pictures, and how many predictor steps its decisions have taken."""

    def __init__(self, model: Any, policy: WorldModelPolicy, info: dict[str, Any]) -> None:
        self.policy, self.info, self.steps = policy, info, 0
        model.predictor.register_forward_hook(self._count)

    def _count(self, _module: Any, arguments: tuple[Any, ...], _output: Any) -> None:
        self.steps += len(arguments[0])  # one row per candidate

    def decide(self) -> None:
        """Plan once, from pictures to an action."""
        self.policy.get_action(dict(self.info))


made: list[Decisions] = []


def build(
    size: int,
    patch: int,
    samples: int,
    iterations: int,
    elites: int,
    horizon: int,
    threads: int,
) -> dict[str, Any]:
    """Make model, solver and policy for square pictures of ``size`` pixels."""
    torch.set_num_threads(threads)
    torch.manual_seed(3072)
    model = make_model(size, patch).eval()
    solver = CEMSolver(model, num_samples=samples, n_steps=iterations, topk=elites)
    config = PlanConfig(horizon=horizon, receding_horizon=horizon, action_block=FRAMESKIP)
    policy = WorldModelPolicy(solver, config, transform=_transforms(size))
    policy.set_env(_one_environment())
    made[:] = [Decisions(model, policy, _pictures(size))]
    packages = ("stable-worldmodel", "torch", "transformers")
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "dtype": str(solver.dtype).removeprefix("torch."),
        "world_steps_per_decision": policy.flatten_receding_horizon,
        "versions": {package: version(package) for package in packages},
    }


def decide(count: int) -> dict[str, Any]:
    """Time ``count`` decisions; model steps are counted where they happen."""
    decisions = made[0]
    before, begin = decisions.steps, time.perf_counter()
    for _ in range(count):
        decisions.decide()
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "model_steps": (decisions.steps - before) // count}


def _transforms(size: int) -> dict[str, Any]:
    both = v2.Compose(
        [
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
            v2.Resize(size=size),
        ]
    )
    return {"pixels": both, "goal": both}


def _one_environment() -> SimpleNamespace:
    single = Box(-1.0, 1.0, (ACTION_WIDTH,), np.float32)
    batched = Box(-1.0, 1.0, (1, ACTION_WIDTH), np.float32)
    return SimpleNamespace(num_envs=1, action_space=batched, single_action_space=single)


def _pictures(size: int) -> dict[str, Any]:
    """Return what the package's world hands to a policy: one environment, one step of history."""
    rng = np.random.default_rng(0)
    pixels, goal = rng.integers(0, 256, (2, 1, 1, size, size, 3), dtype=np.uint8)
    action = np.zeros((1, 1, FRAMESKIP * ACTION_WIDTH), np.float32)
    new_episode = np.ones(1, bool)
    return {"pixels": pixels, "goal": goal, "action": action, "_needs_flush": new_episode}


def main() -> None:
    """Answer requests until stdin closes; what the package itself prints goes to stderr."""
    answers, sys.stdout = sys.stdout, sys.stderr
    operations = {"build": build, "decide": decide}
    for line in sys.stdin:
        request = json.loads(line)
        answers.write(json.dumps(operations[request.pop("op")](**request)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
