"""Cross-modal: one half of the sensors predicts the latent of the other half.

It asks that the latent says what is there, and not how it was sensed.

Axes: B clips, T steps, Z flattened latent.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from armillary.core.errors import ConfigError
from armillary.models import JEPAConfig
from armillary.objectives import agreement_loss
from armillary.training.sensor_dropout import halves, seeing
from armillary.training.terms.encoded_clips import EncodedClips
from armillary.training.terms.term import Term, TermConfig, mlp_head

_EVERY = 4  # of a clip's steps every fourth is asked about: neighbours say nearly the same


@dataclass(frozen=True)
class CrossModalConfig(TermConfig):
    """Weight of the cross-modal term.

    Attributes:
        cross_modal: disagreement of the latent predicted from one half of the sensors with that of
            the other half.
    """

    cross_modal: float = 0.0


class CrossModal(Term):
    """Disagreement of the latents of two random halves of the sensors, each predicting the other.

    Formula: 1 - cos(head(latent of one half), stop-gradient(latent of the other)), mean both ways.

    Source: Concerto (2510.23607); a head on one side as in BYOL (2006.07733).

    Raises:
        ConfigError: the model sees with a single sensor. A camera's pose is none.
    """

    name = "cross_modal"
    without_latents = "it encodes the clips again, with half of the sensors at a time"

    def __init__(self, model: JEPAConfig, config: CrossModalConfig) -> None:
        super().__init__(model, config)
        if len(eyes := seeing(model)) < 2:
            raise ConfigError(
                "objective.cross_modal needs two sensors or more, and the model has "
                f"{''.join(eyes) or 'none'}. Set it to 0, or add to model.sensors."
            )
        self.head = mlp_head(model.latent_width, model.latent_width)

    def forward(self, clips: EncodedClips) -> Float[Tensor, ""]:
        """Return the disagreement, both ways, of this step's halves."""
        model, batch = clips.model, clips.every(_EVERY)
        one, other = (
            model.encode(batch, kept).tokens.flatten(2)
            for kept in halves(model.config, clips.generator(self.name))
        )
        return (agreement_loss(self.head(one), other) + agreement_loss(self.head(other), one)) / 2
