"""Hole filling: what a picture lacks, told by its neighbours of like colour.

Axes: F pictures, H W image.
Source: Kopf et al. 2007, joint bilateral upsampling: a picture that is whole guides one that is
not. Here from the rim of each hole alone, which costs a sixth of a window around each pixel and
was as good (``models/depth_clouds.py``).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

_ALIKE = 20.0  # colours that differ by less, of 255, are mostly of one thing
_DOUBT = 0.01  # weight of what stands alone, where one like pixel beside it weighs up to 1


def fill_holes(
    values: Float[Tensor, "F H W"],
    known: Bool[Tensor, "F H W"],
    rgb: UInt8[Tensor, "F H W 3"],
    alone: float,
) -> Float[Tensor, "F H W"]:
    """Return the values with holes filled from their rims.

    To the left and right, above and below, the nearest pixel that is known tells its value: the
    more, the nearer it is and the liker its colour. What is like none of them lies in the hole
    as a whole.

    Args:
        values: what has holes; heights rather than depth, which changes along what is flat.
        known: where there is a value.
        rgb: the same pictures in colour, whole.
        alone: value of what is like nothing on its rim.

    Returns:
        Values; NaN where nothing in the row and column is known.
    """
    rows, columns = values.shape[1:]
    pixels = rows * columns
    hole = (~known).flatten().nonzero()[:, 0]
    own, first = hole % pixels, hole // pixels * pixels
    near = _rims(known).flatten(1)[:, hole].long()
    there = (near >= 0) & (near < pixels)
    away = (near - own).abs().float()
    away[:2] /= columns
    at = near.clamp_(0, pixels - 1).add_(first).flatten()
    unlike = torch.zeros_like(away)
    for channel in rgb.flatten(0, 2).float().unbind(1):
        difference = channel.index_select(0, at).view_as(away) - channel[hole]
        unlike.addcmul_(difference, difference)
    weight = unlike.mul_(-0.5 / _ALIKE**2).exp_().mul_(there).div_(away)
    told = values.flatten().index_select(0, at).view_as(away)
    told = torch.where(there, told, 0.0).mul_(weight).sum(0) + _DOUBT * alone
    told = (told / (weight.sum(0) + _DOUBT)).masked_fill(~there.any(0), torch.nan)
    filled = values.flatten().clone()
    filled[hole] = told.to(values.dtype)
    return filled.view_as(values)


def _rims(known: Tensor) -> Tensor:
    """Return [4 F H W] the nearest known pixel above, below, left and right, by place in H * W.

    Below 0, or H * W and more, where there is none.
    """
    rows, columns = known.shape[1:]
    place = torch.arange(rows * columns, dtype=torch.int32, device=known.device)
    place = place.view(rows, columns)
    # places grow along rows and columns: the greatest so far is the nearest
    before = torch.where(known, place, -1)
    after = torch.where(known, place, rows * columns).flip(1, 2)
    above, left = (before.cummax(axis)[0] for axis in (1, 2))
    below, right = (after.cummin(axis)[0].flip(1, 2) for axis in (1, 2))
    return torch.stack([above, below, left, right])
