"""Slow latent: the same model in coordinates in which slow features count as much as fast ones.

The first and last layers of the predictor are linear in the latent. So a change of its coordinates
is absorbed exactly: the predictor says the same as before, and a squared error is the error under
the metric of ``objectives/slow_features.py``. The predictor is fine-tuned in these coordinates, and
then the old ones come back.

They come back because of the planner, whose cost is the squared distance of latents. With slow
features in it, a planner that shall reach a picture minds what it moved on its way: 70 % of 60
goals, and 98 % with the same predictor in the old coordinates (tabletop, one training).

Axes: B clips, T steps, Z flattened latent.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from armillary.models.predictor import Predictor
from armillary.objectives.slow_features import root_of, slow_metric


@dataclass(frozen=True)
class Coordinates:
    """A change of the latent's coordinates: z' = root (z - mean).

    Attributes:
        root: [Z Z].
        inverse: of ``root``.
        mean: [Z].
    """

    root: Float[Tensor, "Z Z"]
    inverse: Float[Tensor, "Z Z"]
    mean: Float[Tensor, " Z"]

    @classmethod
    def slow(cls, latents: Float[Tensor, "B T Z"], plain: float) -> Coordinates:
        """Return those in which latents have mean 0 and mean variance 1, and slow features count.

        Args:
            latents: flattened, of training clips.
            plain: weight of fast features beside slow ones (``slow_metric``).
        """
        root, inverse = root_of(slow_metric(latents, plain))
        mean = latents.flatten(0, 1).double().mean(0)
        spread = ((latents.double() - mean) @ root).square().mean().sqrt().clamp_min(1e-9)
        return cls(root / spread, inverse * spread, mean)

    def back(self) -> Coordinates:
        """Return the change that undoes this one."""
        return Coordinates(self.inverse, self.root, -self.root @ self.mean)

    def of(self, latents: Float[Tensor, "*B Z"]) -> Float[Tensor, "*B Z"]:
        """Return latents in the new coordinates."""
        return ((latents.double() - self.mean) @ self.root.T).to(latents.dtype)


@torch.no_grad()
def change_predictor(predictor: Predictor, to: Coordinates) -> None:
    """Let a predictor take latents in new coordinates and predict in them, in place.

    Args:
        predictor: says the same as before.
        to: the new coordinates.
    """
    if predictor.memory is not None:
        _take(predictor.memory.weight_ih, predictor.memory.bias_ih, 0, to)
    first, last = predictor.change[0], predictor.change[-1]
    assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
    _take(first.weight, first.bias, predictor.config.memory, to)
    # it predicts a change, which has no mean
    last.weight.copy_(to.root @ last.weight.double())
    last.bias.copy_(to.root @ last.bias.double())


def _take(weight: Tensor, bias: Tensor, at: int, to: Coordinates) -> None:
    """Let columns ``at`` and on of a layer take new coordinates: z = inverse z' + mean."""
    columns = slice(at, at + len(to.mean))
    old = weight[:, columns].double()
    weight[:, columns] = (old @ to.inverse).to(weight.dtype)
    bias.copy_(bias.double() + old @ to.mean)
