"""Unit latent: the same model, whose predictor takes latents of mean 0 and mean variance 1.

The recipe keeps the spread of latents small (``recipes/world.py``). Weights that take numbers of a
twentieth must be large, and an optimizer with steps of equal size is long in making them so. The
first and last layers of the flat predictor are linear in the latent. So a change of its origin and
its unit is absorbed exactly: the predictor says the same as before.

Axes: Z flattened latent.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from armillary.models.predictor import Predictor

_LEAST = 1e-9


@dataclass(frozen=True)
class Unit:
    """A change of the latent's origin and unit: z' = (z - mean) / scale.

    Attributes:
        mean: [Z].
        scale: above 0.
    """

    mean: Float[Tensor, " Z"]
    scale: float

    @classmethod
    def of_latents(cls, latents: Float[Tensor, "B T Z"]) -> Unit:
        """Return that in which latents have mean 0 and mean variance 1.

        Args:
            latents: flattened, of training clips.
        """
        flat = latents.flatten(0, 1)
        mean = flat.double().mean(0)
        variance = float(flat.double().sub_(mean).square_().mean())
        return cls(mean.to(latents.dtype), max(variance, _LEAST**2) ** 0.5)

    def back(self) -> Unit:
        """Return the change that undoes this one."""
        return Unit(-self.mean / self.scale, 1 / self.scale)

    def of(self, latents: Float[Tensor, "*B Z"]) -> Float[Tensor, "*B Z"]:
        """Return latents in the new unit."""
        return (latents - self.mean) / self.scale


@torch.no_grad()
def change_predictor(predictor: Predictor, to: Unit) -> None:
    """Let a predictor take latents in a new unit and predict in it, in place.

    Args:
        predictor: says the same as before.
        to: the new unit.
    """
    if predictor.memory is not None:
        _take(predictor.memory.weight_ih, predictor.memory.bias_ih, 0, to)
    first, last = predictor.change[0], predictor.change[-1]
    assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
    _take(first.weight, first.bias, predictor.config.memory, to)
    # it predicts a change, which has no origin
    last.weight.div_(to.scale)
    last.bias.div_(to.scale)


def _take(weight: Tensor, bias: Tensor, at: int, to: Unit) -> None:
    """Let columns ``at`` and on of a layer take the new unit: z = scale z' + mean."""
    columns = weight[:, at : at + len(to.mean)]
    bias.add_(columns @ to.mean)
    columns.mul_(to.scale)
