"""Bird's view: where in the world things of each kind stand, seen from above.

A target made of sensor geometry alone (depth, camera, pose, colour), for a head on the latent: it
grounds the latent in metres, because where things stand must be read from it. No label is involved.

Every kind is a distribution over places, whatever the size, number and lighting of its things: a
map of heights and colours, not normalised, lets a linear read-out find the tabletop's object with
R2 0.86 at best; this one with 0.98 (ridge on the target itself, 2,900 episodes).

Axes: F frames, P points, G grid places (a square number), K = 4 kinds.
Source: bird's-eye targets as in AD-L-JEPA (2501.04969), here as densities from an RGB-D view.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from armillary.objectives.moments import some_rows
from armillary.objectives.visual_words import word_map, word_map_loss

BIRD_VIEW_KINDS = 4  # what stands and has no hue, and by share what is reddish, greenish and bluish
_GROUND = 0.15  # lower than this share of the tallest is ground and noise
_COLOURED = 0.1  # colour that differs less than this from grey has no hue
_USUAL = 32  # pictures that a median is taken of, about: more cost time and change little


def bird_view(
    points: Float[Tensor, "F P 3"],
    colours: Float[Tensor, "F P 3"],
    valid: Bool[Tensor, "F P"],
    cells: int,
) -> Float[Tensor, "F C"]:
    """Return for each kind of thing what share of it stands around each grid place.

    Every point is shared among the four places around it, in proportion to nearness, so that the
    sum of places times shares is where the kind stands on average, exactly: a linear function of
    the map, and moving a thing by a little changes the map by a little.

    Args:
        points: scene coordinates; the grid spans x and y in -1..1, height is 0 on the ground.
        colours: red, green, blue of the same points, in 0..1.
        valid: which points count.
        cells: grid places a side.

    Returns:
        [F cells*cells*K] shares, place by place (rows of y first); a kind sums to 1 over places
        where it is seen, and is 0 everywhere where it is not.
    """
    inside = valid & (points[..., :2].abs() <= 1).all(-1)
    kinds = _kinds(points[..., 2:], colours) * inside[..., None]
    return word_map(points[..., :2], kinds, cells)


def picture_view(rgb: Float[Tensor, "F H W 3"], cells: int) -> Float[Tensor, "F C"]:
    """Return for each kind of thing what share of it stands out around each place of the picture.

    ``bird_view`` where there is no depth: x and y are those of the picture, and what stands is what
    differs from the median of the pictures given (those of all processes), which are many and of
    different moments.

    Args:
        rgb: pictures, 0..1.
        cells: grid places a side.

    Returns:
        [F cells*cells*K], as ``bird_view``.
    """
    _, rows, columns, _ = rgb.shape
    y = torch.linspace(-1, 1, rows, device=rgb.device)
    x = torch.linspace(-1, 1, columns, device=rgb.device)
    down, right = torch.meshgrid(y, x, indexing="ij")
    contrast = _contrast(rgb)
    points = torch.stack([right.expand_as(contrast), down.expand_as(contrast), contrast], -1)
    points, colours = points.flatten(1, 2), rgb.flatten(1, 2)
    return bird_view(points, colours, torch.ones_like(points[..., 0], dtype=torch.bool), cells)


def kinds_that_stand_out(rgb: Float[Tensor, "F H W 3"]) -> Float[Tensor, "F H W K"]:
    """Return how far each pixel stands out and is grey, reddish, greenish and bluish, 0..1.

    Args:
        rgb: pictures, 0..1, as for ``picture_view``.
    """
    return _kinds(_contrast(rgb)[..., None], rgb)


def _contrast(rgb: Tensor) -> Tensor:
    """Return by how much each pixel differs from the median picture, summed over colours."""
    usual = some_rows(rgb, _USUAL).median(0).values
    return (rgb - usual).abs().sum(-1)


def _kinds(height: Tensor, colours: Tensor) -> Tensor:
    """Return how far each point belongs to each kind: [F P K], 0..1, summing to 1 where it stands.

    Convention: redness is what red exceeds the mean of the three by, at least 0; grey has none.
    """
    stands = (height > _GROUND).to(height.dtype)
    hues = (colours - colours.mean(-1, keepdim=True)).relu()
    strength = hues.sum(-1, keepdim=True)
    coloured = (strength > _COLOURED).to(height.dtype)
    shares = hues / strength.clamp_min(_COLOURED) * coloured
    return stands * torch.cat([1 - coloured, shares], -1)


def bird_view_loss(
    guessed: Float[Tensor, "F C"], shares: Float[Tensor, "F C"], cells: int
) -> Float[Tensor, ""]:
    """Return the share of the view's variance over frames that is not explained.

    The mean of two shares: of the map itself, and of its first moments (where each kind stands on
    average), which a sum over places would drown.

    Args:
        guessed: what a head reads from the latent.
        shares: what ``bird_view`` returns.
        cells: grid places a side.

    Convention: 1 for a head that says the mean of the batch, 0 for a perfect one.
    """
    return word_map_loss(guessed, shares, cells)
