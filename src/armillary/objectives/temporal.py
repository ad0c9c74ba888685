"""Temporal terms: what moves must be in the latent, and it must move smoothly.

Without them a recipe can satisfy every other term with what never changes in a clip (the
slow-feature collapse).

Axes: B clips, T steps, Z latent width.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from armillary.objectives.variance_covariance import variance_covariance


def motion_variance_covariance(
    latents: Float[Tensor, "B T Z"], margin: float
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return variance and covariance terms of latents minus their clip's mean.

    Args:
        latents: clips of latents.
        margin: the standard deviation within a clip below which a dimension is penalised.
    """
    moving = latents - latents.mean(1, keepdim=True)
    return variance_covariance(moving.flatten(0, 1), margin)


def smoothness(latents: Float[Tensor, "B T Z"]) -> Float[Tensor, ""]:
    """Return the mean squared change of latent from step to step.

    Source: the time-similarity term of PLDM and EB-JEPA.
    """
    return (latents[:, 1:] - latents[:, :-1]).float().square().mean()
