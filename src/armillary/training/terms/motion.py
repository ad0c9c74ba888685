"""Motion variance and covariance: two terms that ask for what changes within a clip.

Without them, variance over the batch can be met by what never changes in a clip (the slow-feature
collapse).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from armillary.models import JEPAConfig
from armillary.objectives import motion_variance_covariance
from armillary.training.terms.encoded_clips import EncodedClips
from armillary.training.terms.term import Term, TermConfig


@dataclass(frozen=True)
class MotionConfig(TermConfig):
    """Weights and settings of the two terms.

    Attributes:
        motion_variance: the hinge on latents minus their clip's mean.
        motion_covariance: the covariances of the same.
        motion_margin: standard deviation within a clip that motion_variance asks for.
        motion_share: share of the state tokens that it is asked of, or of each token's numbers
            where a token is a place; the others may hold what rests.
    """

    motion_variance: float = 0.0
    motion_covariance: float = 0.0
    motion_margin: float = 0.5
    motion_share: float = 0.5


class _Motion(Term):
    """Both terms, which share one covariance matrix; each returns its part."""

    part: ClassVar[int]

    def __init__(self, model: JEPAConfig, config: MotionConfig) -> None:
        super().__init__(model, config)
        encoder = model.encoder
        if encoder.depth:  # a token is a place: half of them would be the upper half of a picture
            self.asked = encoder.tokens, max(1, round(config.motion_share * encoder.width))
        else:
            self.asked = max(1, round(config.motion_share * encoder.tokens)), encoder.width
        self.shape = encoder.tokens, encoder.width
        self.margin = config.motion_margin

    def forward(self, clips: EncodedClips) -> Float[Tensor, ""]:
        """Return this term's part of the pair."""
        return clips.shared("motion", lambda: self._both(clips))[self.part]

    def _both(self, clips: EncodedClips) -> tuple[Tensor, Tensor]:
        tokens, width = self.asked
        asked = clips.latents.unflatten(-1, self.shape)[..., :tokens, :width].flatten(-2)
        return motion_variance_covariance(asked, self.margin)


class MotionVariance(_Motion):
    """Hinge on the standard deviation of latents minus their clip's mean, for a share of tokens.

    Formula: mean over dimensions of max(0, margin - sqrt(var(latent - clip mean) + 1e-4)).

    Source: the variance term of VICReg (2105.04906), applied within clips.
    """

    name = "motion_variance"
    part = 0


class MotionCovariance(_Motion):
    """Squared covariances between dimensions of latents minus their clip's mean.

    Formula: sum over i != j of cov_ij^2, divided by the number of dimensions.

    Source: the covariance term of VICReg (2105.04906), applied within clips.
    """

    name = "motion_covariance"
    part = 1
