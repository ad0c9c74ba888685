"""Goal cost: how far the predicted latents are from the goal's latent.

    cost(plan) = mean over the last three of its first H steps of mean_{N,D} (predicted_t - goal)^2

H, the horizon, is when the goal is to be reached. So a plan may lead away from the goal first, as
every push does. Without a horizon the squares are summed over the whole plan: the sooner there, the
better. That holds one goal in forty of pushing on the tabletop, where a horizon holds half
(docs/concepts/planning.md, "Search without a goal policy").

Source: the sum over the plan, EB-JEPA (97 against 89 % for the last state alone); squares and not
absolute values, jepa-wms.

Axes: B batch, S candidate plans, L plan length, N tokens, D latent width, A action width.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from armillary.core.errors import ConfigError, ShapeError
from armillary.core.protocols import WorldModel
from armillary.core.values import Latent

ENDS = 3  # last steps over which a cost at the time of the goal is averaged: to stay counts more


@dataclass(frozen=True)
class GoalCost:
    """A cost bound to a model, a present, a goal and perhaps a horizon; see ``goal_cost``."""

    model: WorldModel
    latent: Latent
    goal_tokens: Float[Tensor, "B N D"]
    horizon: int | None = None

    def __call__(self, plans: Float[Tensor, "B S L A"]) -> Float[Tensor, "B S"]:
        """Return the cost of every plan from one batched rollout, which ends at the horizon."""
        predicted = self.model.rollout(self.latent, plans[:, :, : self.horizon])
        apart = (predicted - self.goal_tokens[:, None, None]).square().mean(dim=(-2, -1))
        return apart.sum(-1) if self.horizon is None else apart[..., -ENDS:].mean(-1)


def goal_cost(
    model: WorldModel,
    latent: Latent,
    goal_tokens: Float[Tensor, "B N D"],
    horizon: int | None = None,
) -> GoalCost:
    """Return the cost that leads to a goal.

    Args:
        model: predicts.
        latent: the present, with its memory.
        goal_tokens: [B N D], the goal's latent.
        horizon: model steps in which the goal is to be reached, at least 1; what a plan does after
            them costs nothing. None for as soon as possible.

    Raises:
        ConfigError: a horizon below 1.
        ShapeError: goal and present differ in batch, tokens or width.
    """
    B, _, N, D = latent.tokens.shape
    if tuple(goal_tokens.shape) != (B, N, D):
        raise ShapeError(
            f"The goal's latent must have shape {(B, N, D)} like the present's; "
            f"got {tuple(goal_tokens.shape)}. Encode both with the same model."
        )
    if horizon is not None and horizon < 1:
        raise ConfigError(f"The horizon of a goal must be at least 1 model step; got {horizon}.")
    return GoalCost(model, latent, goal_tokens, horizon)
