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
_LEAST_SEEN = 0.25  # points' worth of a grid place below which it says nothing


def bird_view(
    points: Float[Tensor, "F P 3"],
    colours: Float[Tensor, "F P 3"],
    valid: Bool[Tensor, "F P"],
    cells: int,
) -> tuple[Float[Tensor, "F C"], Float[Tensor, "F G"]]:
    """Return how much stands around each grid place and of what hue, and which places were seen.

    Every point is shared among the four places around it, in proportion to nearness, so that the
    sum of places times what stands there is where it stands, exactly: a linear function of the
    map, and moving a thing by a little changes the map by a little.

    Args:
        points: scene coordinates; the grid spans x and y in -1..1, height is 0 on the ground and
            clipped to 0..1.
        colours: red, green, blue of the same points, in 0..1.
        valid: which points count.
        cells: grid places a side.

    Returns:
        [F 4*cells*cells] means of (height, height times redness, greenness, blueness), so that
        empty ground is 0 whatever its colour; and 1 or 0 for places seen or not [F cells*cells].

    Convention: redness is what red exceeds the mean of the other two by, at least 0; grey has none.
    """
    frames = len(points)
    place = (points[..., :2].clamp(-1, 1) + 1) * ((cells - 1) / 2)
    corner = place.floor().clamp(0, cells - 2)
    part = place - corner
    inside = valid & (points[..., :2].abs() <= 1).all(-1)
    told = _told(points[..., 2:], colours) * inside[..., None]
    first = (corner[..., 1] * cells + corner[..., 0]).long()
    first = first + torch.arange(frames, device=points.device)[:, None] * cells * cells
    sums = told.new_zeros(frames * cells * cells, 5)
    for down in (0, 1):
        for right in (0, 1):
            near = (part[..., 0] if right else 1 - part[..., 0]) * (
                part[..., 1] if down else 1 - part[..., 1]
            )
            index = (first + down * cells + right).flatten()
            sums.index_add_(0, index, (told * near[..., None]).flatten(0, 1))
    seen = sums[:, 4:] > _LEAST_SEEN
    means = sums[:, :4] / sums[:, 4:].clamp_min(_LEAST_SEEN)
    return means.view(frames, -1), seen.float().view(frames, -1)


def _told(height: Tensor, colours: Tensor) -> Tensor:
    """Return what each point tells: height, height times three hues, and that it is there."""
    height = height.clamp(0, 1)
    height = height * (height > _GROUND)
    hues = (1.5 * (colours - colours.mean(-1, keepdim=True))).relu()
    return torch.cat([height, height * hues, torch.ones_like(height)], -1)


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
