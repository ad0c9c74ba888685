"""Glimpse: what the things of each hue look like in the picture, around where they are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.models import JEPAConfig
from armillary.objectives import GLIMPSE_HUES, GLIMPSE_PIXELS, glimpse_loss, glimpses
from armillary.training.terms.encoded_clips import EncodedClips
from armillary.training.terms.picture_view import PictureViewConfig
from armillary.training.terms.term import Term, mlp_head


@dataclass(frozen=True)
class GlimpseConfig(PictureViewConfig):
    """Weight and settings of the glimpse, of as many frames as ``picture_view_every`` says.

    Attributes:
        glimpse: the same for what things look like, seen from where they are.
        glimpse_pixels: side of what is cut out of the picture; the largest thing should fit.
        glimpse_grey: whether a thing without hue is cut out, too.
    """

    glimpse: float = 0.0
    glimpse_pixels: int = GLIMPSE_PIXELS
    glimpse_grey: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(1, "glimpse_pixels")


class Glimpse(Term):
    """What the things of each hue look like, read from the latent by a head.

    Formula: squared error divided by the target's variance over frames, of crops around the
    middle of each hue (``objectives/glimpse.py``).

    Source: glimpses as in RAM (1406.6247) and AIR (1603.08575), at a centre of mass, not learned.
    """

    name = "glimpse"

    def __init__(self, model: JEPAConfig, config: GlimpseConfig) -> None:
        super().__init__(model, config)
        self.every, self.pixels = config.picture_view_every, config.glimpse_pixels
        self.grey = config.glimpse_grey
        self.head = mlp_head(model.latent_width, (GLIMPSE_HUES + self.grey) * self.pixels**2)

    @classmethod
    def streams(cls, model: JEPAConfig) -> tuple[str, ...]:
        """Return colour."""
        return ("rgb",)

    def forward(self, clips: EncodedClips) -> Float[Tensor, ""]:
        """Return the unexplained share."""
        predicted = self.head(clips.latents[:, :: self.every].flatten(0, 1))
        with torch.no_grad(), torch.autocast(clips.latents.device.type, enabled=False):
            rgb = clips.stream("rgb")[:, :: self.every].flatten(0, 1).float() / 255
            target = glimpses(rgb, self.pixels, self.grey)
        return glimpse_loss(predicted, target)
