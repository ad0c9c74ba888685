"""Coloured noise: random plans that are smooth in time, with power falling as 1 / frequency^color.

Each frequency of a plan gets a random cosine and a random sine, so that the variance is one at
every step. Axes: B batch, S plans, L plan length, A action width.
Source: Timmer & Koenig 1995; as used by Pinneri et al. 2020 (2008.06389).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.planning.candidates import normal


def colored_noise(
    rngs: Sequence[torch.Generator], samples: int, length: int, width: int, color: float
) -> Float[Tensor, "B S L A"]:
    """Return noise of mean 0 and variance 1 whose power falls as 1 / frequency^color along L."""
    basis = _basis(length, float(color))
    white = normal(rngs, samples, width, len(basis))
    # One product per element: its shape, and with it its last bits, does not depend on B.
    return torch.stack([element @ basis for element in white]).transpose(2, 3).contiguous()


@lru_cache(maxsize=64)
def _basis(length: int, color: float) -> Float[Tensor, "F L"]:
    step = torch.arange(length, dtype=torch.float64)
    # The constant has no frequency; it gets the power of the slowest wave (as the source does).
    rows = [torch.ones(length, dtype=torch.float64)]
    for wave in range(1, length // 2 + 1):
        angle = 2 * math.pi * wave * step / length
        power = wave ** (-color / 2)
        rows += [power * angle.cos(), power * angle.sin()]
    basis = torch.stack(rows)
    return (basis / basis.square().sum(dim=0).sqrt()).float()
