"""Smoothness: latents shall change little from step to step."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from armillary.objectives import smoothness
from armillary.training.terms.encoded_clips import EncodedClips
from armillary.training.terms.term import Term, TermConfig


@dataclass(frozen=True)
class SmoothnessConfig(TermConfig):
    """Weight of smoothness.

    Attributes:
        smoothness: squared change of latent from step to step.
    """

    smoothness: float = 0.0


class Smoothness(Term):
    """The squared change of the latent from step to step.

    Formula: mean((latent_t+1 - latent_t)^2).

    Source: the time-similarity term of PLDM and EB-JEPA.
    """

    name = "smoothness"

    def forward(self, clips: EncodedClips) -> Float[Tensor, ""]:
        """Return the mean squared change."""
        return smoothness(clips.latents)
