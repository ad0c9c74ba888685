"""Decoder: a small network that turns a latent into a picture, for human eyes only.

It is trained afterwards on frozen latents and no part of the model ever sees its gradient, so a
sharp or blurred picture says nothing about how the model plans.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn


class Decoder(nn.Module):
    """Latent -> picture, in three matrix products.

    Args:
        latent_width: Z, the flattened latent.
        image_size: side of the picture in pixels.
        hidden: width of the hidden layers.
    """

    def __init__(self, latent_width: int, image_size: int, hidden: int = 384) -> None:
        super().__init__()
        self.image_size = image_size
        self.network = nn.Sequential(
            nn.Linear(latent_width, hidden),
            nn.GELU(approximate="tanh"),
            nn.Linear(hidden, hidden),
            nn.GELU(approximate="tanh"),
            nn.Linear(hidden, image_size * image_size * 3),
        )

    def forward(self, latents: Float[Tensor, "F Z"]) -> Float[Tensor, "F H W 3"]:
        """Return pictures with colours in about -2..2 (0 is mid-grey)."""
        return self.network(latents).unflatten(-1, (self.image_size, self.image_size, 3))

    @torch.no_grad()
    def pictures(self, latents: Float[Tensor, "F Z"]) -> UInt8[Tensor, "F H W 3"]:
        """Return pictures to look at."""
        return (self(latents) * 64 + 127.5).round().clamp(0, 255).to(torch.uint8)
