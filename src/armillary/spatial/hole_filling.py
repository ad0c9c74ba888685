"""Hole filling: what a picture lacks, told by its neighbours of like colour.

A hole's rim says what is across it, weighed by nearness and likeness. What is like nothing on its
rim is told by all that has its colour, wherever that is: a dark mark in a pattern is as high as the
other marks, and the top of a thing about as high as its side.

Axes: F pictures, H W image, N holes.
Source: Kopf et al. 2007, joint bilateral upsampling: a picture that is whole guides one that is
not. Here from the rim of each hole and from its colour; a window around each pixel cost six times
as much as the rim and was no better (``models/depth_clouds.py``).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int, Int64, UInt8
from torch import Tensor

_ALIKE = 20.0  # colours that differ by less, of 255, are mostly of one thing
_DOUBT = 0.1  # weight of what has its colour elsewhere; one like pixel beside it weighs up to 1
_LEVELS = 8  # of red, green and blue, that count as one colour elsewhere


def fill_holes(
    values: Float[Tensor, "F H W"],
    known: Bool[Tensor, "F H W"],
    rgb: UInt8[Tensor, "F H W 3"],
    alone: float,
) -> Float[Tensor, "F H W"]:
    """Return the values with holes filled from their rims and by their colour.

    To the left and right, above and below, the nearest pixel that is known tells its value: the
    more, the nearer it is and the liker its colour. So does, a little, the mean of all pixels of
    its colour.

    Args:
        values: what has holes; heights rather than depth, which changes along what is flat.
        known: where there is a value.
        rgb: the same pictures in colour, whole.
        alone: counts as one more pixel of each colour, and decides where there is no other.

    Returns:
        Values; NaN in pictures of which nothing is known.
    """
    pixels = known.shape[1] * known.shape[2]
    hole = (~known).flatten().nonzero()[:, 0]
    near, away = _rims(known, hole)
    there = near >= 0
    at = near.clamp_min(0).add_(hole // pixels * pixels).flatten()
    unlike = torch.zeros_like(away)
    for channel in rgb.flatten(0, 2).float().unbind(1):
        difference = channel.index_select(0, at).view_as(away) - channel[hole]
        unlike.addcmul_(difference, difference)
    weight = unlike.mul_(-0.5 / _ALIKE**2).exp_().mul_(there).div_(away)
    told = values.flatten().index_select(0, at).view_as(away)
    told = torch.where(there, told, 0.0).mul_(weight).sum(0)
    elsewhere = _of_colour(values, known, rgb, alone).flatten()[hole]
    told = (told + _DOUBT * elsewhere) / (weight.sum(0) + _DOUBT)
    filled = values.flatten().clone()
    nothing = ~known.flatten(1).any(1)
    filled[hole] = told.masked_fill(nothing[hole // pixels], torch.nan).to(values.dtype)
    return filled.view_as(values)


def _rims(
    known: Bool[Tensor, "F H W"], hole: Int64[Tensor, " N"]
) -> tuple[Int64[Tensor, "4 N"], Float[Tensor, "4 N"]]:
    """Return the nearest known pixels above, below, left and right of holes, and how far they are.

    Pixels are numbered in their picture; -1 is none.
    """
    rows, columns = known.shape[1:]
    row, column = hole % (rows * columns) // columns, hole % columns
    near, away = [], []
    for axis, own in ((1, row), (2, column)):
        side = known.shape[axis]
        before = _last_known(known, axis).flatten()[hole].long()
        after = side - 1 - _last_known(known.flip(axis), axis).flip(axis).flatten()[hole].long()
        for found in (before, after):
            place = found * columns + column if axis == 1 else row * columns + found
            near.append(place.masked_fill((found < 0) | (found >= side), -1))
            away.append((found - own).abs())
    return torch.stack(near), torch.stack(away).float()


def _last_known(known: Bool[Tensor, "F H W"], axis: int) -> Int[Tensor, "F H W"]:
    """Return where along an axis the last known pixel at or before each is, -1 for none.

    Twice as far back at each turn: three times as fast as ``cummax``.
    """
    side, back = known.shape[axis], 1
    kind = torch.int16 if side <= torch.iinfo(torch.int16).max else torch.int32
    place = torch.arange(side, dtype=kind, device=known.device)
    last = torch.where(known, place[:, None] if axis == 1 else place, -1)
    while back < side:
        before = last.narrow(axis, 0, side - back).clone()
        here = last.narrow(axis, back, side - back)
        torch.maximum(here, before, out=here)
        back *= 2
    return last


def _of_colour(
    values: Float[Tensor, "F H W"],
    known: Bool[Tensor, "F H W"],
    rgb: UInt8[Tensor, "F H W 3"],
    alone: float,
) -> Float[Tensor, "F Q"]:
    """Return for each of Q pixels the mean of what is known of its colour, with ``alone``."""
    red, green, blue = (one.flatten(1).short() // (256 // _LEVELS) for one in rgb.unbind(-1))
    colour = ((red * _LEVELS + green) * _LEVELS + blue).long()
    number = values.new_full((len(colour), _LEVELS**3), 1.0)
    total = values.new_full((len(colour), _LEVELS**3), alone)
    number.scatter_add_(1, colour, known.flatten(1).to(values.dtype))
    total.scatter_add_(1, colour, torch.where(known, values, 0.0).flatten(1))
    return total.div_(number).gather(1, colour)
