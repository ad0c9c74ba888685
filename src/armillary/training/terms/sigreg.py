"""SIGReg as a term: the latents of a batch shall be distributed as an isotropic Gaussian."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from armillary.models import JEPAConfig
from armillary.objectives import sigreg
from armillary.training.terms.encoded_clips import EncodedClips
from armillary.training.terms.term import Term, TermConfig


@dataclass(frozen=True)
class SIGRegConfig(TermConfig):
    """Weight and settings of SIGReg.

    Attributes:
        sigreg: distance of the latents from an isotropic Gaussian.
        sigreg_directions: random directions per step.
    """

    sigreg: float = 0.0
    sigreg_directions: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(1, "sigreg_directions")


class SIGReg(Term):
    """Distance of the latents from an isotropic Gaussian, along random directions.

    Formula: mean over directions of the Epps-Pulley statistic (``objectives/sigreg.py``).

    Source: Balestriero & LeCun 2025, "LeJEPA" (2511.08544).
    """

    name = "sigreg"

    def __init__(self, model: JEPAConfig, config: SIGRegConfig) -> None:
        super().__init__(model, config)
        self.directions = config.sigreg_directions

    def forward(self, clips: EncodedClips) -> Float[Tensor, ""]:
        """Return the statistic for this step's directions."""
        rng = clips.generator(self.name)
        return sigreg(clips.latents.flatten(0, 1), self.directions, rng)
