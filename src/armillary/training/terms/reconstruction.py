"""Reconstruction: a small picture of what stands out, drawn from the latent by convolutions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from armillary.core.errors import ConfigError
from armillary.models import JEPAConfig
from armillary.objectives.local_contrast import local_contrast
from armillary.objectives.visual_words import unexplained
from armillary.training.terms.encoded_clips import EncodedClips
from armillary.training.terms.term import Term, TermConfig
from armillary.training.terms.views import (
    EVERY,
    further_pictures,
    picture,
    picture_channels,
    streams_of,
    view_of,
)

_SIDE = 32  # pixels of what is drawn
_FIRST = 4  # pixels before it is doubled three times
_WIDTHS = (96, 48, 24)


@dataclass(frozen=True)
class ReconstructionConfig(TermConfig):
    """Weight of the reconstruction.

    Attributes:
        reconstruction: unexplained share of a small picture of what stands out.
    """

    reconstruction: float = 0.0


class Reconstruction(Term):
    """A small picture of what stands out, drawn from the latent by transposed convolutions.

    Visual words say where a kind of appearance is. They hardly say how a thing is turned. A picture
    does. Its pixels are differences from the surround, in the colours that the model sees, so that
    light and large surfaces do not drown what is small. The pictures of several cameras are drawn
    as channels of one.

    Formula: squared error divided by the target's variance over frames. What never changes has no
    variance and costs nothing.

    Source: Hinton and Salakhutdinov 2006 for latents that are learned by reconstruction; the target
    is normalised locally, as in masked autoencoders (2111.06377, section 4.1).

    Raises:
        ConfigError: the model has no view of a picture (``views.py``).
    """

    name = "reconstruction"

    def __init__(self, model: JEPAConfig, config: ReconstructionConfig) -> None:
        super().__init__(model, config)
        if view_of(model) != "picture":
            raise ConfigError(
                "objective.reconstruction needs a model that sees colour or depth in a picture and "
                f"nothing from above, and this one sees {', '.join(model.sensors)}. Set it to 0."
            )
        wide, middle, narrow = _WIDTHS
        self.spread = nn.Linear(model.latent_width, wide * _FIRST**2)
        self.layers = nn.Sequential(
            nn.GELU(approximate="tanh"),
            nn.ConvTranspose2d(wide, middle, 4, 2, 1),
            nn.GELU(approximate="tanh"),
            nn.ConvTranspose2d(middle, narrow, 4, 2, 1),
            nn.GELU(approximate="tanh"),
            nn.ConvTranspose2d(narrow, picture_channels(model) + 3 * len(model.cameras), 4, 2, 1),
        )

    @classmethod
    def streams(cls, model: JEPAConfig) -> tuple[str, ...]:
        """Return the streams that the picture is made of."""
        return streams_of(model)

    def forward(self, clips: EncodedClips) -> Float[Tensor, ""]:
        """Return the unexplained share."""
        seen = clips.latents[:, ::EVERY].flatten(0, 1)
        with torch.no_grad(), torch.autocast(seen.device.type, enabled=False):
            target = self._target(clips)
        drawn = self.layers(self.spread(seen).unflatten(1, (_WIDTHS[0], _FIRST, _FIRST)))
        return unexplained(drawn.float().flatten(1), target)

    def _target(self, clips: EncodedClips) -> Float[Tensor, "F X"]:
        scales, channels = clips.model.normalizer, []
        colours, depth_m = picture(clips)
        if colours is not None:
            channels.append((colours - scales.colour_mean) @ scales.colour_whitening)
        if depth_m is not None:
            channels.append(depth_m[..., None] / scales.camera_scale_m)
        channels += [
            (one - scales.colour_mean) @ scales.colour_whitening for one in further_pictures(clips)
        ]
        seen = torch.cat(channels, -1).permute(0, 3, 1, 2)
        return local_contrast(functional.adaptive_avg_pool2d(seen, _SIDE)).flatten(1)
