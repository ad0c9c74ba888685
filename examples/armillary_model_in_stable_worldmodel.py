"""Plan with an armillary model in another tool's solver: the CEM of ``stable-worldmodel``.

    python examples/armillary_model_in_stable_worldmodel.py [MODEL]

needs one environment that holds both: ``pip install stable-worldmodel`` beside armillary. MODEL is
the folder of a model that sees colour pictures only, e.g. one trained on ``two_rooms``; without one
an untrained model is taken, which can be planned with all the same. It takes a few seconds.

A solver there asks for ``get_cost(info, candidates)`` and ``criterion``. The class below gives it
just that, out of the two methods that every armillary model has: ``encode`` and ``rollout``.

Axes: B environments, S candidate plans, L plan length, A action width, H W image.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from stable_worldmodel.policy import PlanConfig  # pyrefly: ignore
from stable_worldmodel.solver import CEMSolver  # pyrefly: ignore
from torch import Tensor

from armillary.core.protocols import WorldModel
from armillary.core.values import ActionBounds, Batch
from armillary.models import EncoderConfig, JEPAConfig, load_model, untrained
from armillary.planning import GoalCost, goal_cost
from armillary.worlds import make_world

LENGTH, SAMPLES, ELITES, ROUNDS = 8, 64, 8, 6


class CostForSolver:
    """An armillary model as ``stable-worldmodel`` wants it (its protocol ``Costable``).

    Args:
        model: encodes and predicts.
        bounds: the world's box of actions.
    """

    def __init__(self, model: WorldModel, bounds: ActionBounds) -> None:
        self.model = model
        low, high = (torch.tensor(end, dtype=torch.float32) for end in (bounds.low, bounds.high))
        self.low, self.high = low, high

    def get_cost(self, info_dict: dict[str, Any], action_candidates: Tensor) -> Tensor:
        """Return the cost [B S] of candidates [B S L A]; called once per round of the solver."""
        return self.criterion(info_dict, action_candidates)

    def criterion(self, info_dict: dict[str, Any], action_candidates: Tensor) -> Tensor:
        """Return the summed latent distance to the goal; lower is better."""
        # The solver hands the same dict to every round of a decision: encode in the first only.
        if "armillary_cost" not in info_dict:
            info_dict["armillary_cost"] = self.cost(
                info_dict["pixels"][:, 0], info_dict["goal"][:, 0]
            )
        return info_dict["armillary_cost"](self.actions(action_candidates))

    @torch.no_grad()
    def cost(self, pixels: Tensor, goal: Tensor) -> GoalCost:
        """Encode pictures and goals [B T H W 3] once and return the cost of plans between them."""
        now, there = (self.model.encode(as_batch(pictures)) for pictures in (pixels, goal))
        return goal_cost(self.model, now, there.tokens[:, -1])

    def actions(self, candidates: Tensor) -> Tensor:
        """Return candidates in the world's units and inside its bounds.

        The solver draws around 0 with spread 1 and does not clip: 1 becomes the edge of the box.
        """
        middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
        skip = candidates.shape[-1] // len(half)  # a model step can hold several world steps
        return candidates.clamp(-1, 1) * half.repeat(skip) + middle.repeat(skip)


def as_batch(pictures: Tensor) -> Batch:
    """Return pictures [B T H W 3] as armillary's batch."""
    return Batch({"rgb": pictures}, None, torch.ones(pictures.shape[:2], dtype=torch.bool))


def main(folder: str | None = None) -> dict[str, float]:
    """Plan one decision in the world ``two_rooms`` and compare the plan with random ones."""
    model = load_model(Path(folder)) if folder else tiny_model()
    config = model.config
    world = make_world("two_rooms", image_size=config.encoder.image_size)
    picture = world.reset(seed=7).streams["rgb"]
    goal = world.draw_goal("reach", np.random.default_rng(7)).observation.streams["rgb"]
    bounds = world.spec.bounds
    world.close()

    adapter = CostForSolver(model, bounds)
    solver = CEMSolver(adapter, num_samples=SAMPLES, n_steps=ROUNDS, topk=ELITES, seed=0)
    space = Box(-1.0, 1.0, (1, bounds.width), np.float32)
    plan = PlanConfig(horizon=LENGTH, receding_horizon=1, action_block=config.frame_skip)
    solver.configure(action_space=space, n_envs=1, config=plan)
    # one environment, one picture of history: [B T H W 3]
    info = {"pixels": torch.tensor(picture)[None, None], "goal": torch.tensor(goal)[None, None]}
    solved = solver.solve(dict(info))["actions"]  # [B L A], in the solver's units

    cost = adapter.cost(info["pixels"], info["goal"])
    chance = torch.Generator().manual_seed(0)
    drawn = torch.randn(1, SAMPLES * ROUNDS, *solved.shape[1:], generator=chance)
    with torch.no_grad():
        planned = float(cost(adapter.actions(solved[:, None])))
        random = cost(adapter.actions(drawn))
    found = {"plan": planned, "best random": float(random.min()), "random": float(random.mean())}
    print(", ".join(f"{name} {value:.5f}" for name, value in found.items()), "(cost)")
    action = adapter.actions(solved[:, :1])[0, 0, : bounds.width]
    print(f"first action: {action.tolist()} m")
    assert (action >= adapter.low).all() and (action <= adapter.high).all()
    assert found["plan"] < found["best random"], "a search should beat as many random plans"
    return found


def tiny_model() -> Any:
    """Return an untrained model that sees colour; it predicts, though nothing that is true."""
    encoder = EncoderConfig(image_size=64, patch_hidden=32, hidden=64, tokens=2, width=16)
    return untrained(JEPAConfig(sensors=("rgb",), encoder=encoder), seed=0).eval()


if __name__ == "__main__":
    main(*sys.argv[1:2])
