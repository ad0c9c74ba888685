"""Bird's view: how high and what colour the scene is over a grid of places in the world.

A target made of sensor geometry alone (depth, camera, pose), for a head on the latent: it grounds
the latent in metres, because what stands somewhere must be read from it. No label is involved.

Axes: F frames, P points, G grid cells a side.
Source: bird's-eye targets as in AD-L-JEPA (2501.04969), here heights and colours of an RGB-D view.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def bird_view(
    points: Float[Tensor, "F P 3"],
    colours: Float[Tensor, "F P 3"],
    valid: Bool[Tensor, "F P"],
    cells: int,
) -> tuple[Float[Tensor, "F C"], Float[Tensor, "F G"]]:
    """Return mean height and colour per cell, and which cells were seen.

    Args:
        points: scene coordinates; the grid spans x and y in -1..1, heights are clipped to -1..1.
        colours: of the same points, of order one.
        valid: which points count.
        cells: cells a side.

    Returns:
        [F 4*cells*cells] means (height, three colours; 0 where nothing was seen), and the share
        of seen cells as 0 or 1 [F cells*cells].
    """
    frames = len(points)
    place = ((points[..., :2] + 1) * (cells / 2)).floor().long()
    inside = valid & (place >= 0).all(-1) & (place < cells).all(-1)
    cell = (place[..., 1] * cells + place[..., 0]).clamp(0, cells * cells - 1)
    frame = torch.arange(frames, device=points.device)[:, None] * cells * cells
    told = torch.cat([points[..., 2:].clamp(-1, 1), colours, torch.ones_like(points[..., :1])], -1)
    told = told * inside[..., None]
    sums = told.new_zeros(frames * cells * cells, 5)
    sums.index_add_(0, (cell + frame).flatten(), told.flatten(0, 1))
    count = sums[:, 4:]
    means = sums[:, :4] / count.clamp_min(1)
    return means.view(frames, -1), (count > 0).float().view(frames, -1)


def bird_view_loss(
    guessed: Float[Tensor, "F C"], means: Float[Tensor, "F C"], seen: Float[Tensor, "F G"]
) -> Float[Tensor, ""]:
    """Return the mean squared error over seen cells, all four channels weighted alike."""
    weight = seen.repeat_interleave(4, 1)
    return ((guessed.float() - means).square() * weight).sum() / weight.sum().clamp_min(1)
