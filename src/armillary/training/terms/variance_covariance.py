"""Variance and covariance: two terms that keep every latent dimension alive and different."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from armillary.objectives import variance_covariance
from armillary.training.terms.encoded_clips import EncodedClips
from armillary.training.terms.term import Term, TermConfig


@dataclass(frozen=True)
class VarianceCovarianceConfig(TermConfig):
    """Weights of the two terms.

    Attributes:
        variance: hinge on each dimension's standard deviation over the batch.
        covariance: squared covariances between dimensions.
    """

    variance: float = 0.0
    covariance: float = 0.0


class Variance(Term):
    """Hinge on the standard deviation of each latent dimension over the batch.

    Formula: mean over dimensions of max(0, 1 - sqrt(var + 1e-4)).

    Source: Bardes, Ponce & LeCun 2022, "VICReg" (2105.04906), eq. 1.
    """

    name = "variance"

    def forward(self, clips: EncodedClips) -> Float[Tensor, ""]:
        """Return the mean hinge."""
        return _both(clips)[0]


class Covariance(Term):
    """Squared covariances between different latent dimensions over the batch.

    Formula: sum over i != j of cov_ij^2, divided by Z.

    Source: Bardes, Ponce & LeCun 2022, "VICReg" (2105.04906), eq. 3-4.
    """

    name = "covariance"

    def forward(self, clips: EncodedClips) -> Float[Tensor, ""]:
        """Return the sum of squares per dimension."""
        return _both(clips)[1]


def _both(clips: EncodedClips) -> tuple[Tensor, Tensor]:
    """Return both terms, which share one covariance matrix."""
    latents = clips.latents
    return clips.shared("variance", lambda: variance_covariance(latents.flatten(0, 1)))
