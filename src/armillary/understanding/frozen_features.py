"""Frozen features: what a picture shows, in numbers that no model was trained on.

A prediction error in a model's own latent can be flattered: a latent that says nothing is easy to
predict. These features are the same for every model: random filters of fixed seed over locally
normalised pictures at three scales, rectified and pooled to 8 x 8 places. They need no download.

How sure: random rectified filters keep where edges are and of which colour and direction, and
local normalisation takes away light and contrast. They know no objects, and small things weigh
little. They rank models of one dataset against baselines of the same dataset; a value does not
compare across datasets.

Axes: F frames, H W image, X features.
Source: Jarrett et al. 2009, "What is the best multi-stage architecture for object recognition?"
(random filters, rectification, local contrast normalisation).
"""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from armillary.core.rng import torch_generator

# (side of the picture in pixels, stride of the filters)
_SCALES = ((64, 2), (32, 1), (16, 1))
_FILTERS = 16
_FILTER_SIDE = 5
_NEIGHBOURHOOD = 9  # side of the box whose mean and spread are taken away, in pixels
_LEAST_SPREAD = 0.05  # of 0..1: keeps the noise of empty walls small
PLACES = 8


@torch.no_grad()
def frozen_features(rgb: UInt8[Tensor, "F H W 3"]) -> Float[Tensor, "F X"]:
    """Return the features of pictures, float32; X is 3072.

    Args:
        rgb: pictures of any size; they are averaged or enlarged to 64 x 64, 32 x 32 and 16 x 16.
    """
    pictures = rgb.permute(0, 3, 1, 2).float() / 255
    parts = []
    for side, stride in _SCALES:
        small = _normalised(functional.adaptive_avg_pool2d(pictures, side))
        filters = _filters(side)
        answers = functional.conv2d(small, filters, stride=stride, padding=_FILTER_SIDE // 2)
        parts.append(functional.adaptive_avg_pool2d(answers.relu(), PLACES).flatten(1))
    return torch.cat(parts, dim=1)


def _normalised(pictures: Tensor) -> Tensor:
    """Return pictures [F 3 H W] minus their local mean, over their local spread."""
    away = pictures - _box(pictures)
    spread = _box(away.square().mean(1, keepdim=True)).sqrt()
    return away / (spread + _LEAST_SPREAD)


def _box(pictures: Tensor) -> Tensor:
    """Return the mean of a box around every pixel; rows first, then columns: four times faster."""
    side, half = _NEIGHBOURHOOD, _NEIGHBOURHOOD // 2
    for size, pad in (((side, 1), (half, 0)), ((1, side), (0, half))):
        pictures = functional.avg_pool2d(pictures, size, 1, pad, count_include_pad=False)
    return pictures


def _filters(side: int) -> Tensor:
    """Return random filters without a mean, of length 1: [filters 3 5 5]."""
    shape = (_FILTERS, 3, _FILTER_SIDE, _FILTER_SIDE)
    drawn = torch.randn(shape, generator=torch_generator("frozen features", side))
    drawn -= drawn.mean((2, 3), keepdim=True)
    return drawn / drawn.flatten(1).norm(dim=1)[:, None, None, None]
