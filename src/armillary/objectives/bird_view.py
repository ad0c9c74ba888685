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

_GROUND = 0.15  # lower than this share of the tallest is ground and noise


def bird_view(
    points: Float[Tensor, "F P 3"],
    colours: Float[Tensor, "F P 3"],
    valid: Bool[Tensor, "F P"],
    cells: int,
) -> tuple[Float[Tensor, "F C"], Float[Tensor, "F G"]]:
    """Return how much stands in each cell and of what colour, and which cells were seen.

    Args:
        points: scene coordinates; the grid spans x and y in -1..1, height is 0 on the ground and
            clipped to 0..1.
        colours: of the same points, of order one.
        valid: which points count.
        cells: cells a side.

    Returns:
        [F 4*cells*cells] means over a cell's points of (height, height times each colour), so that
        empty ground is 0 whatever its colour; and 1 or 0 for cells seen or not [F cells*cells].
    """
    frames = len(points)
    place = ((points[..., :2] + 1) * (cells / 2)).floor().long()
    inside = valid & (place >= 0).all(-1) & (place < cells).all(-1)
    cell = (place[..., 1] * cells + place[..., 0]).clamp(0, cells * cells - 1)
    frame = torch.arange(frames, device=points.device)[:, None] * cells * cells
    height = points[..., 2:].clamp(0, 1)
    height = height * (height > _GROUND)
    told = torch.cat([height, colours * height, torch.ones_like(height)], -1)
    told = told * inside[..., None]
    sums = told.new_zeros(frames * cells * cells, 5)
    sums.index_add_(0, (cell + frame).flatten(), told.flatten(0, 1))
    count = sums[:, 4:]
    means = sums[:, :4] / count.clamp_min(1)
    return means.view(frames, -1), (count > 0).float().view(frames, -1)


def bird_view_loss(
    guessed: Float[Tensor, "F C"], means: Float[Tensor, "F C"], seen: Float[Tensor, "F G"]
) -> Float[Tensor, ""]:
    """Return the share of the view's variance over frames that is not explained, seen cells only.

    Convention: 1 for a head that says the mean of the batch, 0 for a perfect one.
    """
    weight = seen.repeat_interleave(4, 1)
    count = weight.sum(0)
    mean = (means * weight).sum(0) / count.clamp_min(1)
    variance = ((means - mean).square() * weight).sum()
    error = ((guessed.float() - means).square() * weight).sum()
    return error / variance.clamp_min(1e-6)
