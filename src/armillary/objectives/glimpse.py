"""Glimpse: what the things of each colour look like, seen from where they are.

A map of places (``picture_view``) says where something stands; what shape it has is a few cells'
worth of such a map, different ones at every place, and a latent trained on it alone does not hold
shapes (39 % of three, which is chance, by a linear read-out of the recipe ``intuition``). Here the
picture is cut out around the middle of each hue and shown at full resolution, so shape and size
stand at the same place wherever the thing is. No label is involved.

Axes: F frames, H W pixels, S pixels a side.
Source: glimpses as in RAM (1406.6247) and AIR (1603.08575), at a centre of mass, not learned.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import grid_sample

from armillary.objectives.bird_view import kinds_that_stand_out
from armillary.objectives.moments import process_count
from armillary.objectives.visual_words import unexplained

GLIMPSE_HUES = 3  # reddish, greenish and bluish
GLIMPSE_PIXELS = 14  # a side; most things of the stage are narrower, the largest has 16 pixels
_LEAST_PIXELS = 4.0  # a hue with less than this many pixels is not there


def glimpses(
    rgb: Float[Tensor, "F H W 3"], pixels: int = GLIMPSE_PIXELS, grey: bool = False
) -> Float[Tensor, "F C"]:
    """Return the surroundings of the middle of each hue of what stands out.

    Args:
        rgb: pictures, 0..1, many and of different moments, as for ``picture_view``.
        pixels: S, a side of what is cut out.
        grey: whether what has no hue counts as one, the first.

    Returns:
        [F 3*S*S], with grey [F 4*S*S]: shares of the hue, 0..1, hue by hue (rows first); 0 where
        it is not to be seen.
    """
    hues = kinds_that_stand_out(rgb)[..., 0 if grey else 1 :].permute(0, 3, 1, 2)
    count = hues.sum((2, 3))
    rows, columns = hues.shape[2:]
    places = []
    for axis, length in ((2, columns), (3, rows)):  # summed over the other axis: x, then y
        index = torch.arange(length, dtype=rgb.dtype, device=rgb.device)
        middle = (hues.sum(axis) * index).sum(2) / count.clamp_min(_LEAST_PIXELS)
        off = torch.arange(pixels, dtype=rgb.dtype, device=rgb.device) - (pixels - 1) / 2
        places.append((2 * (middle[..., None] + off) + 1) / length - 1)
    x, y = places
    square = (-1, -1, pixels, pixels)
    grid = torch.stack([x[:, :, None].expand(square), y[..., None].expand(square)], -1)
    cut = grid_sample(hues.flatten(0, 1)[:, None], grid.flatten(0, 1), align_corners=False)
    there = (count >= _LEAST_PIXELS)[..., None, None]
    return (cut[:, 0].unflatten(0, count.shape) * there).flatten(1)


def glimpse_loss(guessed: Float[Tensor, "F C"], came: Float[Tensor, "F C"]) -> Float[Tensor, ""]:
    """Return the share of the glimpses' variance over frames that is not explained.

    Args:
        guessed: what a head reads from the latent.
        came: what ``glimpses`` returns.

    Convention: 1 for a head that says the mean of the batch, 0 for a perfect one. Where less than a
    pixel a frame differs (nothing of these hues), the plain squared error.
    """
    return unexplained(guessed.float(), came, least=float(len(came) * process_count()))
