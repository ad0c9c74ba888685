"""Variance and covariance: two terms that keep every latent dimension alive and different."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from armillary.models import JEPAConfig
from armillary.objectives import variance_covariance
from armillary.training.terms.encoded_clips import EncodedClips
from armillary.training.terms.term import Term, TermConfig


@dataclass(frozen=True)
class VarianceCovarianceConfig(TermConfig):
    """Weights of the two terms.

    Attributes:
        variance: hinge on each dimension's standard deviation over the batch.
        covariance: squared covariances between dimensions.
        variance_margin: standard deviation that variance asks for.
    """

    variance: float = 0.0
    covariance: float = 0.0
    variance_margin: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(0, "variance_margin")


class _Spread(Term):
    """Both terms, which share one covariance matrix; each returns its part."""

    part: ClassVar[int]

    def __init__(self, model: JEPAConfig, config: VarianceCovarianceConfig) -> None:
        super().__init__(model, config)
        self.margin = config.variance_margin

    def forward(self, clips: EncodedClips) -> Float[Tensor, ""]:
        """Return this term's part of the pair."""
        return clips.shared("variance", lambda: self._both(clips))[self.part]

    def _both(self, clips: EncodedClips) -> tuple[Tensor, Tensor]:
        return variance_covariance(clips.latents.flatten(0, 1), self.margin)


class Variance(_Spread):
    """Hinge on the standard deviation of each latent dimension over the batch.

    Formula: mean over dimensions of max(0, margin - sqrt(var + 1e-4)).

    Source: Bardes, Ponce & LeCun 2022, "VICReg" (2105.04906), eq. 1.
    """

    name = "variance"
    part = 0


class Covariance(_Spread):
    """Squared covariances between different latent dimensions over the batch.

    Formula: sum over i != j of cov_ij^2, divided by Z.

    Source: Bardes, Ponce & LeCun 2022, "VICReg" (2105.04906), eq. 3-4.
    """

    name = "covariance"
    part = 1
