"""Local contrast: how a picture differs from the surround of each pixel.

Axes: F frames, C channels, H rows, W columns.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

_SURROUND = 0.2  # side of the box whose mean is the surround, as a share of the picture


def local_contrast(pictures: Float[Tensor, "F C H W"]) -> Float[Tensor, "F C H W"]:
    """Return the difference from the mean over a box around each pixel.

    Args:
        pictures: any channels, in their units.
    """
    radius = max(1, round(_SURROUND * min(pictures.shape[2:]) / 2))
    side = 2 * radius + 1
    rows = functional.avg_pool2d(pictures, (side, 1), 1, (radius, 0), count_include_pad=False)
    surround = functional.avg_pool2d(rows, (1, side), 1, (0, radius), count_include_pad=False)
    return pictures - surround
