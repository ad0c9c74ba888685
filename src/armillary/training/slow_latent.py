"""Slow latent: the same model in coordinates in which slow features count as much as fast ones.

The last layer of the encoder, and the first and last layers of the predictor, are linear in the
latent. So a change of its coordinates is absorbed exactly: the model says the same as before, and
squared distances of latents, in the predictor's loss and in a planner's cost, are those of the
metric of ``objectives/slow_features.py``.

Axes: B clips, T steps, Z flattened latent.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from armillary.models import JEPA
from armillary.objectives.slow_features import root_of, slow_metric


@torch.no_grad()
def to_slow_latent(
    model: JEPA, latents: Float[Tensor, "B T Z"], plain: float
) -> Float[Tensor, "B T Z"]:
    """Change the coordinates of a model's latent in place; return the latents in the new ones.

    The new latents have mean 0 and mean variance 1 over dimensions, as far as ``latents`` tell.

    Args:
        model: whose encoder and predictor are changed, and say the same as before.
        latents: flattened, of training clips.
        plain: weight of fast features beside slow ones (``slow_metric``).
    """
    root, inverse = root_of(slow_metric(latents, plain))
    mean = latents.flatten(0, 1).double().mean(0)
    spread = ((latents.double() - mean) @ root).square().mean().sqrt().clamp_min(1e-9)
    root, inverse = root / spread, inverse * spread
    last = model.encoder.mixing_network[-1]
    assert isinstance(last, nn.Linear)
    weight, bias = last.weight.double(), last.bias.double()
    last.weight.copy_(root @ weight)
    last.bias.copy_(root @ (bias - mean))
    _change_predictor(model, root, inverse, mean)
    return ((latents.double() - mean) @ root).to(latents.dtype)


def _change_predictor(model: JEPA, root: Tensor, inverse: Tensor, mean: Tensor) -> None:
    """Let the predictor take latents in new coordinates, and return its change in them."""
    predictor, width = model.predictor, len(mean)
    memory = predictor.config.memory
    if predictor.memory is not None:
        _take(predictor.memory.weight_ih, predictor.memory.bias_ih, 0, inverse, mean)
    first, last = predictor.change[0], predictor.change[-1]
    assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
    _take(first.weight, first.bias, memory, inverse, mean)
    last.weight.copy_(root @ last.weight.double())
    last.bias.copy_(root @ last.bias.double())
    assert last.weight.shape[0] == width


def _take(weight: Tensor, bias: Tensor, at: int, inverse: Tensor, mean: Tensor) -> None:
    """Let columns ``at`` and on of a layer take new coordinates: z = inverse z' + mean."""
    columns = slice(at, at + len(mean))
    old = weight[:, columns].double()
    weight[:, columns] = (old @ inverse).to(weight.dtype)
    bias.copy_(bias.double() + old @ mean)
