"""Range mixture: what a beam may measure, as several possible surfaces with a chance each.

At an edge a beam meets the near or the far surface, hardly ever the space between. So the foreseen
range is a mixture of Laplace distributions of log range; its median is what costs least in mean
absolute error, and it stays on a surface.

Axes: B scans, K surfaces, P beams.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

NEAREST_M, FARTHEST_M = 0.2, 100.0
_HALVINGS = 24  # of the interval between them: to less than a millionth in log range


@dataclass(frozen=True)
class RangeMixture:
    """Surfaces that each beam may meet.

    Attributes:
        log_weight: [B K P] logarithm of each one's chance; the chances of a beam sum to 1.
        log_range: [B K P] logarithm of its range in metres.
        log_scale: [B K P] logarithm of its spread in log range.
    """

    log_weight: Float[Tensor, "B K P"]
    log_range: Float[Tensor, "B K P"]
    log_scale: Float[Tensor, "B K P"]


def mixture_nll(mixture: RangeMixture, ranges_m: Float[Tensor, "B P"]) -> Float[Tensor, " B"]:
    """Return the mean negative log density of log range, over beams that have a range (not NaN)."""
    held = ranges_m.isfinite()
    truth = torch.where(held, ranges_m, 1.0).clamp(NEAREST_M, FARTHEST_M).log()[:, None]
    away = (truth - mixture.log_range).abs() / mixture.log_scale.exp()
    density = torch.logsumexp(mixture.log_weight - mixture.log_scale - math.log(2) - away, dim=1)
    return -torch.where(held, density, 0.0).sum(-1) / held.sum(-1).clamp(min=1)


def mixture_quantile(mixture: RangeMixture, share: float = 0.5) -> Float[Tensor, "B P"]:
    """Return the range in metres that each beam stays below with a chance of ``share``."""
    low = torch.full_like(mixture.log_range[:, 0], math.log(NEAREST_M))
    high = torch.full_like(low, math.log(FARTHEST_M))
    weight, scale = mixture.log_weight.exp(), mixture.log_scale.exp()
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        away = (middle[:, None] - mixture.log_range) / scale
        tail = 0.5 * (-away.abs()).exp()
        below = (weight * torch.where(away < 0, tail, 1 - tail)).sum(1) < share
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return ((low + high) / 2).exp()
