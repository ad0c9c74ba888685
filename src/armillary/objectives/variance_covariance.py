"""Variance and covariance: keep every latent dimension alive, and different from the others.

Source: Bardes, Ponce & LeCun 2022, "VICReg" (2105.04906), eq. 1-4.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.objectives.moments import mean_and_covariance

_EPSILON = 1e-4  # VICReg's, inside the square root


def variance_covariance(
    latents: Float[Tensor, "B Z"], margin: float = 1.0
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return the two terms over a batch.

    Args:
        latents: one row a sample.
        margin: the standard deviation below which a dimension is penalised.

    Returns:
        The mean hinge on each dimension's standard deviation, and the sum of squared
        off-diagonal covariances divided by Z.
    """
    _, covariance = mean_and_covariance(latents)
    variances = covariance.diagonal()
    hinge = torch.relu(margin - (variances + _EPSILON).sqrt()).mean()
    off_diagonal = covariance.square().sum() - variances.square().sum()
    return hinge, off_diagonal / latents.shape[1]
