"""Goal cost: how far the foreseen latents stay from the goal's latent, summed over the plan.

cost(plan) = sum_t discount^t * mean_{N,D} scale_D * (foreseen_t - goal)^2. The sum over the plan
beats the last state alone (EB-JEPA: 97 against 89 %), and squares beat absolute values (jepa-wms).

Latents that are near may be far to walk (behind a wall). A learned distance, where there is one,
adds what is left to go when the plan ends: + L * value_weight * value(foreseen_L, goal). The factor
L keeps the two parts in proportion for any length of plan.
Axes: B batch, S candidate plans, L plan length, N tokens, D latent width, A action width.
Source: terminal value as in TD-MPC2 (2310.16828), learned distances as in 2601.00844.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from armillary.core.errors import ConfigError, ShapeError
from armillary.core.protocols import WorldModel
from armillary.core.values import Latent


@runtime_checkable
class Value(Protocol):
    """A learned distance to a goal."""

    def __call__(
        self, tokens: Float[Tensor, "B S N D"], goal_tokens: Float[Tensor, "B N D"]
    ) -> Float[Tensor, "B S"]:
        """Return how far each state is from its batch element's goal; 0 or more."""
        ...


@dataclass(frozen=True)
class GoalCost:
    """A cost bound to a model, a present and a goal; see ``goal_cost``."""

    model: WorldModel
    latent: Latent
    goal_tokens: Float[Tensor, "B N D"]
    discount: float = 1.0
    scale: Float[Tensor, " D"] | None = None
    value: Value | None = None
    value_weight: float = 0.0
    summed: bool = True

    def __call__(self, plans: Float[Tensor, "B S L A"]) -> Float[Tensor, "B S"]:
        """Return the cost of every plan from one batched rollout."""
        return self.distance(self.foresee(plans)).sum(dim=-1)

    def start(self) -> Float[Tensor, "B N D"]:
        """Return the present latent."""
        return self.latent.tokens[:, -1]

    def foresee(self, plans: Float[Tensor, "B S L A"]) -> Float[Tensor, "B S L N D"]:
        """Return the latents that every plan leads to, from one batched rollout."""
        return self.model.rollout(self.latent, plans)

    def step(
        self, states: Float[Tensor, "B S K N D"], actions: Float[Tensor, "B S K A"]
    ) -> Float[Tensor, "B S K N D"]:
        """Return one step of foresight from each state, all in one batch and without memory."""
        present = Latent(states.flatten(0, 2)[:, None])
        foreseen = self.model.rollout(present, actions.flatten(0, 2)[:, None, None])
        return foreseen[:, 0, 0].unflatten(0, states.shape[:3])

    def distance(self, states: Float[Tensor, "B S K N D"]) -> Float[Tensor, "B S K"]:
        """Return the weighted distance to the goal of the state after each action."""
        apart = (states - self.goal_tokens[:, None, None]).square()
        if self.scale is not None:
            apart = apart * self.scale
        distance = apart.mean(dim=(-2, -1))
        length = distance.shape[-1]
        if not self.summed:
            distance = length * nn.functional.pad(distance[..., -1:], (length - 1, 0))
        if self.discount != 1.0:
            distance = distance * self.discount ** torch.arange(length)
        if self.value is None or not self.value_weight:
            return distance
        left = length * self.value_weight * self.value(states[:, :, -1], self.goal_tokens)
        return torch.cat([distance[..., :-1], distance[..., -1:] + left[..., None]], dim=-1)


def goal_cost(
    model: WorldModel,
    latent: Latent,
    goal_tokens: Float[Tensor, "B N D"],
    discount: float = 1.0,
    scale: Float[Tensor, " _"] | None = None,
    value: Value | None = None,
    value_weight: float = 0.0,
    summed: bool = True,
) -> GoalCost:
    """Return the cost that leads to a goal.

    Args:
        model: what foresees.
        latent: the present, with its memory.
        goal_tokens: [B N D], the goal's latent.
        discount: weight of step t is ``discount ** t``; above 1 the end of the plan weighs more.
        scale: [D], weight of each latent dimension; None weighs them all the same.
        value: how far states are from the goal; None for the latent distance alone.
        value_weight: cost of one unit of ``value`` per step of the plan.
        summed: sum the distances of all states; False counts that of the last one L times.

    Raises:
        ShapeError: goal and present differ in batch, tokens or width, or the scale in width.
        ConfigError: a discount that is not above zero, or a weight below zero.
    """
    B, _, N, D = latent.tokens.shape
    if tuple(goal_tokens.shape) != (B, N, D):
        raise ShapeError(
            f"The goal's latent must have shape {(B, N, D)} like the present's; "
            f"got {tuple(goal_tokens.shape)}. Encode both with the same model."
        )
    if scale is not None and tuple(scale.shape) != (D,):
        raise ShapeError(f"scale must have one weight per dimension, {D}; got {len(scale)}.")
    if not discount > 0:
        raise ConfigError(f"discount must be above 0; got {discount}.")
    if not value_weight >= 0:
        raise ConfigError(f"value_weight must be at least 0; got {value_weight}.")
    return GoalCost(model, latent, goal_tokens, discount, scale, value, value_weight, summed)
