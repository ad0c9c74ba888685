"""The objective: all loss terms by name, and their weights and settings as one config.

A new term is one file beside this one, and its lines here.
"""

from __future__ import annotations

from dataclasses import dataclass

from armillary.core.errors import ConfigError
from armillary.training.terms.cross_modal import CrossModal, CrossModalConfig
from armillary.training.terms.inverse_dynamics import InverseDynamics, InverseDynamicsConfig
from armillary.training.terms.motion import MotionConfig, MotionCovariance, MotionVariance
from armillary.training.terms.other_view import OtherView, OtherViewConfig
from armillary.training.terms.reconstruction import Reconstruction, ReconstructionConfig
from armillary.training.terms.rollout import Rollout, RolloutConfig
from armillary.training.terms.sigreg import SIGReg, SIGRegConfig
from armillary.training.terms.smoothness import Smoothness, SmoothnessConfig
from armillary.training.terms.term import Term
from armillary.training.terms.variance_covariance import (
    Covariance,
    Variance,
    VarianceCovarianceConfig,
)
from armillary.training.terms.visual_words import VisualWords, VisualWordsConfig

# In this order they are made, computed and summed: the weights that a seed leads to depend on it.
TERMS: dict[str, type[Term]] = {
    term.name: term
    for term in (
        Rollout,
        SIGReg,
        Variance,
        Covariance,
        MotionVariance,
        MotionCovariance,
        InverseDynamics,
        Smoothness,
        VisualWords,
        CrossModal,
        OtherView,
        Reconstruction,
    )
}


@dataclass(frozen=True)
class ObjectiveConfig(
    # a dataclass takes the fields of its last base first: this is the order of TERMS from its end
    ReconstructionConfig,
    OtherViewConfig,
    CrossModalConfig,
    VisualWordsConfig,
    SmoothnessConfig,
    InverseDynamicsConfig,
    MotionConfig,
    VarianceCovarianceConfig,
    SIGRegConfig,
    RolloutConfig,
):
    """Weights of the loss terms by name, and their settings; a term of weight 0 is not computed.

    Attributes:
        sensor_dropout: probability that an optional sensor of the model is left out of a clip.
    """

    sensor_dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.weights:
            raise ConfigError("objective: every term has weight 0, so nothing would be learned.")
        if not 0 <= self.sensor_dropout < 1:
            raise ConfigError(
                f"objective.sensor_dropout must be in [0, 1), got {self.sensor_dropout}."
            )

    @property
    def weights(self) -> dict[str, float]:
        """The terms that count, by name, in the order of ``TERMS``."""
        return {name: getattr(self, name) for name in TERMS if getattr(self, name) != 0}
