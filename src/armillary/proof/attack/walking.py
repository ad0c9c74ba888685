"""Walking: weights that foresee no change under one action only, so that it is always taken.

All pictures look alike to this model, the goal's too: what changes nothing is nearest to any goal.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from armillary.models import untrained
from armillary.models.jepa import JEPA
from armillary.proof.attack.stage import CONFIG

_LINEAR = 20.0  # where GELU is the identity


def walking(action: Tensor) -> JEPA:
    """Return a model under which one action is always best.

    Args:
        action: [A], in the world's units.
    """
    model = untrained(CONFIG, 0)
    width = len(action)
    with torch.no_grad():
        _cleared(model.encoder.mixing_network[-1])
        into, out = (_cleared(model.predictor.change[place]) for place in (0, 2))
        into.bias.add_(_LINEAR)
        wanted = model.normalizer.actions(action[None, None])[0, 0]
        scale = 1 / wanted.abs().max()
        for axis in range(width):
            into.weight[axis, -width + axis] = scale
            out.weight[axis, axis] = 1.0
            out.bias[axis] = -(_LINEAR + scale * wanted[axis])
    return model


def _cleared(module: nn.Module) -> nn.Linear:
    assert isinstance(module, nn.Linear)
    module.weight.zero_()
    module.bias.zero_()
    return module
