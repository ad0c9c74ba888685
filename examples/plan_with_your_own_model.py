"""Plan with a world model of your own: any class with ``encode`` and ``rollout``.

    python examples/plan_with_your_own_model.py

The model here is written by hand, without a single weight: it finds the orange dot of the world
``two_rooms`` in the picture, and predicts that an action moves it, unless the wall is in the way.
Put your own network in its place; nothing else has to change. It takes a few seconds.

Axes: B batch, T time, N tokens, D latent width, S candidate plans, L plan length, A action width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from armillary.core.values import Batch, Latent, WorldSpec
from armillary.evaluation import ModelPolicy, RandomSpec, evaluate, make_manifest, summarise
from armillary.models import check_model
from armillary.planning import ICEM, ICEMConfig

ARENA_M = 0.64  # the picture shows a square of this side
AGENT_RGB, WALL_RGB = (226.0, 84.0, 44.0), (62.0, 74.0, 94.0)
REACH_M = 0.035  # half the wall, and the agent's radius: nearer than this it does not come
EPISODES = 16


class DotModel:
    """A world model of two numbers: where the dot is. A second token holds where the wall is.

    armillary asks for nothing but these two methods. It never looks inside the tokens.
    """

    def encode(self, batch: Batch) -> Latent:
        """See: turn pictures [B T H W 3] into tokens [B T N D], here N = 2 and D = 2."""
        rgb = batch.streams["rgb"].float()
        dot = (centre_of(rgb, AGENT_RGB) * ARENA_M).clamp(0, ARENA_M)
        # What never changes in an episode cancels in the distance to the goal; the rollout may
        # use it all the same.
        wall = self._wall(rgb)
        return Latent(torch.stack([dot, wall], dim=-2), batch.actions)

    def rollout(self, latent: Latent, plans: Tensor) -> Tensor:
        """Predict: from the last step of ``latent``, follow plans [B S L A] to [B S L N D].

        All candidates at once: a planner's time is this function's time.
        """
        batch, candidates = plans.shape[:2]
        now = latent.tokens[:, -1, None].expand(batch, candidates, 2, 2)  # [B S N D]
        xy, wall_x = now[:, :, 0], now[:, :, 1, 0]
        path = []
        for action in plans.unbind(dim=2):  # actions are in the world's units: metres
            there = xy + action
            left = xy[..., 0] < wall_x  # the dot stays in its room: this model knows no doors
            x = torch.where(
                left,
                torch.minimum(there[..., 0], wall_x - REACH_M),
                torch.maximum(there[..., 0], wall_x + REACH_M),
            )
            xy = torch.stack([x, there[..., 1]], dim=-1)
            path.append(torch.stack([xy, now[:, :, 1]], dim=-2))
        return torch.stack(path, dim=2)

    def _wall(self, rgb: Tensor) -> Tensor:
        """Return (x of the wall, 0): the column in the middle of the picture that is darkest."""
        dark = ((rgb - rgb.new_tensor(WALL_RGB)).abs().sum(-1) < 30).float()
        columns = dark.mean(dim=-2)  # [B T W]
        side = columns.shape[-1]
        inner = columns[..., side // 5 : -side // 5]
        weight = (inner > 0.5 * inner.amax(-1, keepdim=True)).float() + 1e-9
        place = torch.arange(side // 5, side // 5 + inner.shape[-1]) + 0.5
        x = (weight * place).sum(-1) / weight.sum(-1) / side * ARENA_M
        return torch.stack([x, torch.zeros_like(x)], dim=-1)


def centre_of(rgb: Tensor, colour: tuple[float, float, float]) -> Tensor:
    """Return the middle (x right, y up) of a colour's pixels [B T 2], as a share of the picture."""
    near = (-((rgb - rgb.new_tensor(colour)) / 40).square().sum(-1)).exp()
    near = near * (near > 0.1) + 1e-9  # [B T H W]
    share = near / near.sum(dim=(-2, -1), keepdim=True)
    side = (torch.arange(rgb.shape[-2]) + 0.5) / rgb.shape[-2]
    x = (share.sum(dim=-2) * side).sum(-1)
    y = (share.sum(dim=-1) * (1 - side)).sum(-1)  # row 0 is the top
    return torch.stack([x, y], dim=-1)


@dataclass(frozen=True)
class DotSpec:
    """Makes the policy. ``evaluate`` calls it with what the world promises: its action bounds."""

    def __call__(self, world: WorldSpec) -> ModelPolicy:
        """Put the model, a planner and the bounds together."""
        planner = ICEM(ICEMConfig(length=12, samples=48, iterations=4))
        # replan=2: two actions are executed per decision, which halves the time of planning
        return ModelPolicy(DotModel(), planner, world.bounds, observes=("rgb",), replan=2)

    def identity(self) -> str:
        """Name it for the records."""
        return "the dot model"


def check() -> None:
    """Ask armillary whether the model keeps the contract; what does not hold is one sentence."""
    chance = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (3, 4, 64, 64, 3), dtype=torch.uint8, generator=chance)
    clips = Batch(
        streams={"rgb": noise},
        actions=torch.zeros(3, 3, 2),
        valid=torch.ones(3, 4, dtype=torch.bool),
    )
    plans = 0.02 * torch.randn(3, 5, 6, 2, generator=chance)
    check_model(lambda: (DotModel(), clips, plans))


def main() -> dict[str, float]:
    """Check the model, let it act, and put random actions beside it on the same episodes."""
    check()
    # The list of episodes is made before anything acts: layouts that are held out, and the start
    # and the goal of each. The policy sees the goal as a picture.
    manifest = make_manifest("two_rooms", "reach", EPISODES, 0, settings={"split": "held_out"})
    found = {}
    for name, policy in (("dot model", DotSpec()), ("random", RandomSpec())):
        row = summarise(evaluate(manifest, policy))
        low, high = row.wilson95
        found[name] = row.success
        print(
            f"{name:10} {100 * row.success:3.0f} % at the goal at the end "
            f"(95 % interval {100 * low:.0f} to {100 * high:.0f} %, n = {row.n}), "
            f"{row.ms_per_decision:.1f} ms per decision"
        )
    # It solves the goals in its own room. The others are behind a wall whose door it does not know.
    assert found["dot model"] > found["random"], "planning should beat chance"
    return found


if __name__ == "__main__":
    main()
