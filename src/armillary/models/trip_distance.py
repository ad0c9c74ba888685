"""Trip distance: how many model steps a good trip from a state to a goal took in recordings.

A network of both places together, so that what lies between them (a wall, its door) can count,
where a distance between two embeddings has to lay every such scene out flat first. It is taught a
low quantile of the steps that recorded trips took; it joins no recordings, as a quasimetric does.

It sees two kinds of directions of a latent: those in which an episode moves, and those in which
episodes differ while hardly anything in them does (where the wall is). The second kind has little
variance and decides the way: among the 64 main directions of all frames it is drowned (rank
correlation with the true way across the wall of held-out rooms 0.75, against 0.86).

Axes: F frames, Z flattened latent, K kept directions of it.
Source: Rao 1948 for the directions in which groups differ most against their own spread.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

_MOVING, _SCENE = 24, 8  # directions in which an episode moves, and in which episodes differ
_FRAMES = 50_000  # that directions are taken from
_LEAST = 1e-3  # of an episode's spread, in standard deviations squared: less is noise
_FARTHEST_STD = 6.0  # farther out than anything it was taught


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
        kept = min(_MOVING, latent_width) + min(_SCENE, latent_width)
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
        """Return the directions that are looked at, each in standard deviations."""
        return ((latents - self.mean) @ self.whiten).clamp(-_FARTHEST_STD, _FARTHEST_STD)

    @torch.no_grad()
    def fit_scale(self, latents: Float[Tensor, "F Z"], episode: Int64[Tensor, " F"]) -> None:
        """Take mean and directions from recorded latents.

        Args:
            latents: of whole episodes.
            episode: which episode a frame is of (any number that names it).
        """
        every = max(len(latents) // _FRAMES, 1)
        latents, (_, group) = latents[::every], torch.unique(episode[::every], return_inverse=True)
        self.mean.copy_(latents.mean(0))
        std = latents.std(0)
        # what hardly varies is left out
        std = torch.where(std > _LEAST * std.max(), std, torch.inf)
        seen = (latents - self.mean) / std
        means = _means(seen, group)
        moves, scenes = _covariance(seen - means[group]), _covariance(means)
        # directions of the scene are looked for where an episode's own spread counts as 1
        inverse = torch.linalg.inv(torch.linalg.cholesky(moves + _LEAST * torch.eye(len(moves))))
        _, ways = torch.linalg.eigh(moves)
        ratio, places = torch.linalg.eigh(inverse @ scenes @ inverse.T)
        places = places * (ratio > 1)  # else episodes differ no more than within themselves
        moving, scene = (min(most, seen.shape[1]) for most in (_MOVING, _SCENE))
        kept = torch.cat([ways[:, -moving:], (inverse.T @ places)[:, -scene:]], 1)
        kept = kept / kept.norm(dim=0).clamp(min=1e-6)
        spread = (kept * (_covariance(seen) @ kept)).sum(0)
        self.whiten.copy_(kept * spread.clamp(min=_LEAST).rsqrt() / std[:, None])


def _means(seen: Float[Tensor, "F Z"], group: Int64[Tensor, " F"]) -> Float[Tensor, "E Z"]:
    count = torch.bincount(group)[:, None]
    return seen.new_zeros(len(count), seen.shape[1]).index_add_(0, group, seen) / count


def _covariance(rows: Float[Tensor, "R Z"]) -> Float[Tensor, "Z Z"]:
    return rows.T @ rows / len(rows)


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
