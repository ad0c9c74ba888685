"""Picture view: where things of each kind stand out in the picture."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.models import JEPAConfig
from armillary.objectives import BIRD_VIEW_KINDS, bird_view_loss, picture_view
from armillary.training.terms.bird_view import BirdViewConfig
from armillary.training.terms.encoded_clips import EncodedClips
from armillary.training.terms.term import Term, mlp_head

_PIXEL = 2  # at every second pixel


@dataclass(frozen=True)
class PictureViewConfig(BirdViewConfig):
    """Weight and settings of the view of the picture, on the grid of ``bird_view_cells``.

    Attributes:
        picture_view: the same for what stands out where in the picture itself.
        picture_view_every: of a clip's frames, every how manyth has its picture viewed, and its
            things.
    """

    picture_view: float = 0.0
    picture_view_every: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(1, "picture_view_every")


class PictureView(Term):
    """Where things of each kind stand out in the picture, read from the latent by a head.

    Formula: squared error divided by the target's variance over frames, of a density map
    (``objectives/bird_view.py``).

    Source: as ``bird_view``, for pictures without depth.
    """

    name = "picture_view"

    def __init__(self, model: JEPAConfig, config: PictureViewConfig) -> None:
        super().__init__(model, config)
        self.cells, self.every = config.bird_view_cells, config.picture_view_every
        # not linear: what a wall with a door looks like is no sum of where each of them is, and
        # a linear head blurs it (two_rooms: the door was 2.3 px off in the latent)
        self.head = mlp_head(model.latent_width, BIRD_VIEW_KINDS * self.cells**2)

    @classmethod
    def streams(cls, model: JEPAConfig) -> tuple[str, ...]:
        """Return colour."""
        return ("rgb",)

    def forward(self, clips: EncodedClips) -> Float[Tensor, ""]:
        """Return the unexplained share."""
        predicted = self.head(clips.latents[:, :: self.every].flatten(0, 1))
        with torch.no_grad(), torch.autocast(clips.latents.device.type, enabled=False):
            rgb = clips.stream("rgb")[:, :: self.every, ::_PIXEL, ::_PIXEL]
            target = picture_view(rgb.flatten(0, 1).float() / 255, self.cells)
        return bird_view_loss(predicted, target, self.cells)
