"""Tokenizer of a trunk: its features of places, through a fixed projection, and one linear layer.

The projection is that of principal components over training pictures. So a feature is stored in 64
numbers, and the directions that vary little in this recording are left out.

Axes: F frames, P places, C features of the trunk, K kept numbers, X features per patch.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from armillary.core.errors import CheckpointError
from armillary.core.rng import torch_generator
from armillary.models.trunks.opening import open_trunk
from armillary.models.trunks.trunk import Trunk

_LEAST_SPREAD = 1e-6
_AGREES = 1e-2  # of the unit spread; other versions of a library differ by 1e-4


class TrunkTokenizer(nn.Module):
    """What a trunk sees at each place.

    Args:
        name: of the trunk, with its digest.
        channels: C.
        kept: K, principal components that are kept.
        cells: places a side.
        width: X.

    Attributes:
        facts: what is known of the trunk, as plain values; None until it was opened.
    """

    mean: Tensor
    projection: Tensor
    golden: Tensor

    def __init__(self, name: str, channels: int, kept: int, cells: int, width: int) -> None:
        super().__init__()
        self.name, self.cells = name, cells
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("projection", torch.zeros(channels, kept))
        self.register_buffer("golden", torch.zeros(kept))
        self.embed = nn.Linear(kept, width)
        self.facts: dict[str, Any] | None = None
        self._compared = False

    def forward(self, features: Float[Tensor, "F P K"]) -> Float[Tensor, "F P X"]:
        """Return the features of every patch.

        Args:
            features: projected, as ``features`` returns them.
        """
        return self.embed(features.to(self.embed.weight.dtype))

    def trunk(self) -> Trunk:
        """Return the trunk, and note what is known of it.

        Raises:
            CheckpointError: it is not on this machine, or has other weights.
        """
        trunk = open_trunk(self.name)
        self.facts = asdict(trunk.facts)
        return trunk

    @torch.no_grad()
    def features(self, rgb: UInt8[Tensor, "F H W 3"]) -> Float[Tensor, "F P K"]:
        """Return what the trunk sees in pictures, projected.

        Raises:
            CheckpointError: the trunk is not on this machine, or gives other features than when
                the projection was fitted.
        """
        trunk = self.trunk()
        if not self._compared:
            self._compare(trunk)
        return self._projected(trunk, rgb)

    @torch.no_grad()
    def fit(self, rgb: UInt8[Tensor, "F H W 3"]) -> None:
        """Fit the projection: principal components, divided by the spread of the first.

        Args:
            rgb: training pictures.

        Source: PCA of frozen features, as TC-WM (2605.25620) makes their latent compact.
        """
        trunk = self.trunk()
        seen = trunk(rgb, self.cells).flatten(0, 1).double()
        mean = seen.mean(0)
        centred = seen - mean
        values, axes = torch.linalg.eigh(centred.T @ centred / len(centred))
        kept = self.projection.shape[1]
        order = values.argsort(descending=True)[:kept]
        # by the root of the mean variance, so that what varies most counts most
        scale = values[order].clamp_min(0).mean().sqrt().clamp_min(_LEAST_SPREAD)
        self.mean.copy_(mean)
        # a sign of an axis is free: its largest number is above 0
        axes = axes[:, order]
        largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
        self.projection.copy_(axes * largest.sign() / scale)
        self.golden.copy_(self._golden(trunk))
        self._compared = True

    def _compare(self, trunk: Trunk) -> None:
        """Refuse a trunk that sees a known picture in another way: its scales may be wrong."""
        apart = float((self._golden(trunk) - self.golden).abs().max())
        if not apart < _AGREES:
            raise CheckpointError(
                f"The trunk {self.name.partition('@')[0]!r} gives other features than in training "
                f"({apart:.2g} apart), although its weights are the same. Is another version of "
                "its library installed?"
            )
        self._compared = True

    def _golden(self, trunk: Trunk) -> Tensor:
        side = trunk.facts.image_size
        rng = torch_generator("trunk.golden", 0)
        picture = torch.randint(0, 256, (1, side, side, 3), generator=rng, dtype=torch.uint8)
        return self._projected(trunk, picture.to(self.mean.device)).mean((0, 1))

    def _projected(self, trunk: Trunk, rgb: Tensor) -> Tensor:
        return (trunk(rgb, self.cells) - self.mean) @ self.projection
