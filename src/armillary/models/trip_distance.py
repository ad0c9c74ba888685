"""Trip distance: how many model steps a good trip from a state to a goal took in recordings.

A network of both places together, so that what lies between them (a wall, its door) can count,
where a distance between two embeddings has to lay every such scene out flat first. It is taught a
low quantile of the steps that recorded trips took; it joins no recordings, as a quasimetric does.

Axes: Z flattened latent, K kept directions of it.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

_KEPT = 64
_FARTHEST_STD = 6.0  # farther out than anything it was taught
_LEAST_SHARE = 1e-5  # of the largest variance: directions below are noise


class TripDistance(nn.Module):
    """Steps from here to a goal.

    Args:
        latent_width: Z.
        hidden: width of the hidden layers.
    """

    mean: Tensor
    whiten: Tensor

    def __init__(self, latent_width: int, hidden: int) -> None:
        super().__init__()
        kept = min(_KEPT, latent_width)
        self.register_buffer("mean", torch.zeros(latent_width))
        self.register_buffer("whiten", torch.eye(latent_width, kept))
        layers: list[nn.Module] = []
        for width in (2 * kept, hidden, hidden):
            layers += [nn.Linear(width, hidden), nn.LayerNorm(hidden), nn.GELU(approximate="tanh")]
        self.network = nn.Sequential(*layers, nn.Linear(hidden, 1))

    def forward(
        self, here: Float[Tensor, "*B Z"], goal: Float[Tensor, "*B Z"]
    ) -> Float[Tensor, "*B"]:
        """Return model steps from each state to its goal, 0 or more."""
        both = torch.cat([self.seen(here), self.seen(goal)], -1)
        return nn.functional.softplus(self.network(both)[..., 0])

    def seen(self, latents: Float[Tensor, "*B Z"]) -> Float[Tensor, "*B K"]:
        """Return the directions in which latents differ most, each in standard deviations."""
        return ((latents - self.mean) @ self.whiten).clamp(-_FARTHEST_STD, _FARTHEST_STD)

    @torch.no_grad()
    def fit_scale(self, latents: Float[Tensor, "F Z"]) -> None:
        """Take mean and main directions from recorded latents."""
        self.mean.copy_(latents.mean(0))
        spread, std = latents - self.mean, latents.std(0).clamp(min=1e-6)
        variances, directions = torch.linalg.eigh((spread / std).T @ (spread / std) / len(latents))
        kept = self.whiten.shape[1]
        least = variances[-1] * _LEAST_SHARE
        scale = variances[-kept:].clamp(min=float(least)).rsqrt()
        self.whiten.copy_(directions[:, -kept:] * scale / std[:, None])


def trip_loss(
    foreseen: Float[Tensor, " B"], took: Float[Tensor, " B"], quantile: float
) -> Float[Tensor, ""]:
    """Return the pinball loss of log(1 + steps): least where ``quantile`` of trips were shorter.

    Args:
        foreseen: what the network says.
        took: steps of recorded trips.
        quantile: 0..1.

    Source: Koenker and Bassett 1978.
    """
    over = torch.log1p(took) - torch.log1p(foreseen)
    return torch.maximum(quantile * over, (quantile - 1) * over).mean()
