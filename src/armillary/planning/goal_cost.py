"""Goal cost: how far the predicted latents stay from the goal's latent, summed over the plan.

    cost(plan) = sum_t mean_{N,D} (predicted_t - goal)^2

The sum over the plan beats the last state alone (EB-JEPA: 97 against 89 %), and squares beat
absolute values (jepa-wms).

Axes: B batch, S candidate plans, L plan length, N tokens, D latent width, A action width.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from armillary.core.errors import ShapeError
from armillary.core.protocols import WorldModel
from armillary.core.values import Latent


@dataclass(frozen=True)
class GoalCost:
    """A cost bound to a model, a present and a goal; see ``goal_cost``."""

    model: WorldModel
    latent: Latent
    goal_tokens: Float[Tensor, "B N D"]

    def __call__(self, plans: Float[Tensor, "B S L A"]) -> Float[Tensor, "B S"]:
        """Return the cost of every plan from one batched rollout."""
        predicted = self.model.rollout(self.latent, plans)
        apart = (predicted - self.goal_tokens[:, None, None]).square()
        return apart.mean(dim=(-2, -1)).sum(dim=-1)


def goal_cost(model: WorldModel, latent: Latent, goal_tokens: Float[Tensor, "B N D"]) -> GoalCost:
    """Return the cost that leads to a goal.

    Args:
        model: predicts.
        latent: the present, with its memory.
        goal_tokens: [B N D], the goal's latent.

    Raises:
        ShapeError: goal and present differ in batch, tokens or width.
    """
    B, _, N, D = latent.tokens.shape
    if tuple(goal_tokens.shape) != (B, N, D):
        raise ShapeError(
            f"The goal's latent must have shape {(B, N, D)} like the present's; "
            f"got {tuple(goal_tokens.shape)}. Encode both with the same model."
        )
    return GoalCost(model, latent, goal_tokens)
