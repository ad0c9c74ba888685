"""Latent cost: of predicted latents, by their distance to goals, by a function, or by both.

    cost(plan) = sum_t min_g mean_{N,D} (predicted_t - goal_g)^2 + f(predicted)_t

The first part is left out without a goal, the second without a function. With one goal it is the
goal cost (``goal_cost.py``).

Axes: B = 1, S candidate plans, L plan length, G goals, N tokens, D latent width, A action width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from armillary.core.errors import ShapeError
from armillary.core.protocols import WorldModel
from armillary.core.values import Latent

CostOfSteps = Callable[[Float[Tensor, "S L N D"]], Float[Tensor, "S L"]]


@dataclass(frozen=True)
class LatentCost:
    """A cost bound to a model and a present.

    Attributes:
        model: predicts.
        latent: the present, with its memory.
        goals: of which the nearest counts; None for none.
        function: cost after each step; None for none.
    """

    model: WorldModel
    latent: Latent
    goals: Float[Tensor, "G N D"] | None = None
    function: CostOfSteps | None = None

    def __call__(self, plans: Float[Tensor, "1 S L A"]) -> Float[Tensor, "1 S"]:
        """Return the cost of every plan from one batched rollout.

        Raises:
            ShapeError: the function returns another shape.
        """
        return self.steps(self.model.rollout(self.latent, plans)[0]).sum(-1)[None]

    def steps(self, latents: Float[Tensor, "S L N D"]) -> Float[Tensor, "S L"]:
        """Return the cost after each step.

        Raises:
            ShapeError: the function returns another shape.
        """
        total = latents.new_zeros(latents.shape[:2])
        if self.goals is not None:
            total = total + self.nearest(latents)
        if self.function is not None:
            cost = self.function(latents)
            if not isinstance(cost, Tensor) or cost.shape != total.shape:
                got = tuple(cost.shape) if isinstance(cost, Tensor) else type(cost).__name__
                raise ShapeError(
                    "A cost of latents must return one number for each plan and step, shape "
                    f"{tuple(total.shape)}; got {got}."
                )
            total = total + cost
        return total

    def nearest(self, latents: Float[Tensor, "S L N D"]) -> Float[Tensor, "S L"]:
        """Return the mean squared distance to the nearest goal; without one, zeros."""
        if self.goals is None:
            return latents.new_zeros(latents.shape[:2])
        apart = (latents[:, :, None] - self.goals).square().mean((-2, -1))
        return apart.amin(-1)

    def distances(self, latents: Float[Tensor, "L N D"]) -> Float[Tensor, " L"]:
        """Return the root mean square distance to the nearest goal; without one, the cost."""
        if self.goals is None:
            return self.steps(latents[None])[0]
        return self.nearest(latents[None])[0].sqrt()
