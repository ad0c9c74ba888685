"""Exercise 3, a loss: the contrast of the picture shall be readable from the latent.

Its line in ``TERMS`` (``training/terms/objective.py``) is ``Contrast,``. ``ContrastConfig`` goes to
the bases of ``ObjectiveConfig`` in the same file.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from armillary.models import JEPAConfig
from armillary.training import EncodedClips, Term, TermConfig


@dataclass(frozen=True)
class ContrastConfig(TermConfig):
    """Weight of the contrast.

    Attributes:
        contrast: error of the picture's contrast, read from the latent.
    """

    contrast: float = 0.0


class Contrast(Term):
    """Error of the picture's contrast that a linear head reads from the latent.

    Formula: mean((head(latent_t) - std(rgb_t))^2), the standard deviation over pixels and channels.

    Source: an exercise.
    """

    name = "contrast"

    def __init__(self, model: JEPAConfig, config: TermConfig) -> None:
        super().__init__(model, config)
        self.head = nn.Linear(model.latent_width, 1)

    @classmethod
    def streams(cls, model: JEPAConfig) -> tuple[str, ...]:
        """Return what the target is made of."""
        return ("rgb",)

    def forward(self, clips: EncodedClips) -> Float[Tensor, ""]:
        """Return the mean squared error."""
        pictures = clips.stream("rgb").float().flatten(2) / 255
        target = pictures.std(-1, correction=0)
        return (self.head(clips.latents)[..., 0] - target).square().mean()
