"""Encoder: from patch features to N state tokens, in large matrix products only.

A patch network sees each patch alone, a mixing network sees them all. No convolution, no
attention: on a CPU this trains several times faster than either at 64x64
(docs/reproducing.md, ``armillary bench train``), and position is kept exactly by the flattening.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from armillary.core.errors import ConfigError


@dataclass(frozen=True)
class EncoderConfig:
    """Shape of the encoder.

    Attributes:
        image_size: side of the square image in pixels.
        patch: side of a patch in pixels; divides image_size.
        patch_hidden: hidden features per patch.
        patch_width: features per patch that reach the mixing network.
        hidden: hidden width of the mixing network.
        keypoints: places in the scene that the encoder attends to; 0 for none.
        tokens: N, number of state tokens.
        width: D, width of a state token.
    """

    image_size: int = 64
    patch: int = 8
    patch_hidden: int = 128
    patch_width: int = 32
    hidden: int = 512
    keypoints: int = 24
    tokens: int = 4
    width: int = 32

    def __post_init__(self) -> None:
        if self.patch < 1 or self.image_size < 1 or self.image_size % self.patch:
            raise ConfigError(
                f"encoder.patch must divide encoder.image_size, got {self.patch} and "
                f"{self.image_size}."
            )
        smallest = min(self.patch_hidden, self.patch_width, self.hidden, self.tokens, self.width)
        if smallest < 1 or self.keypoints < 0:
            raise ConfigError(
                "Every width of the encoder must be at least 1, keypoints at least 0."
            )

    @property
    def num_patches(self) -> int:
        """Number of patches in an image."""
        return (self.image_size // self.patch) ** 2


class Encoder(nn.Module):
    """Patch network, keypoints, then mixing network.

    Args:
        config: its shape.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        # ReLU: this is the widest activation of all, and its backward is a tenth of GELU's
        self.patch_network = nn.Sequential(
            nn.ReLU(),
            nn.Linear(config.patch_hidden, config.patch_width),
            nn.GELU(approximate="tanh"),
        )
        self.look = nn.Linear(config.num_patches * config.patch_width, config.hidden)
        if config.keypoints:
            self.keypoints = Keypoints(config.keypoints, config.patch_width, config.hidden)
        self.mixing_network = nn.Sequential(
            nn.LayerNorm(config.hidden),
            nn.GELU(approximate="tanh"),
            nn.Linear(config.hidden, config.hidden),
            nn.GELU(approximate="tanh"),
            nn.Linear(config.hidden, config.tokens * config.width),
        )

    def forward(
        self, features: Float[Tensor, "F P C"], places: Float[Tensor, "F P 3"]
    ) -> Float[Tensor, "F N D"]:
        """Return state tokens.

        Args:
            features: summed features of all sensors, per patch.
            places: where each patch lies in the scene, of order one.
        """
        seen = self.patch_network(features)
        state = self.look(seen.flatten(1))
        if self.config.keypoints:
            state = state + self.keypoints(seen, places)
        return self.mixing_network(state).unflatten(-1, (self.config.tokens, self.config.width))


class Keypoints(nn.Module):
    """Attends to a few places and says where they are and what is there.

    Each keypoint is a softmax over patches; its place is the mean of the patches' places under it,
    so that where a thing is enters the latent as a number and need not be learned as a code.
    Scores are standardised over the patches of a frame: attention then is sharp from the first
    step, where a plain softmax starts uniform and hardly learns (tried: no gain in 0.5 M frames).

    Source: spatial softmax, Levine et al. 2016 (1504.00702), here over places in the world.

    Args:
        count: number of keypoints.
        patch_width: features per patch.
        width: width of what is returned.
    """

    _VALUES = 8
    _SHARPNESS = 4.0

    def __init__(self, count: int, patch_width: int, width: int) -> None:
        super().__init__()
        self.score = nn.Linear(patch_width, count, bias=False)
        self.sharpness = nn.Parameter(torch.full((count,), self._SHARPNESS))
        self.value = nn.Linear(patch_width, self._VALUES)
        self.read = nn.Linear(count * (self._VALUES + 3), width)

    def forward(
        self, seen: Float[Tensor, "F P C"], places: Float[Tensor, "F P 3"]
    ) -> Float[Tensor, "F Z"]:
        """Return what all keypoints say, in one vector."""
        score = self.score(seen).mT.contiguous().float()  # [F K P]: reductions along memory
        # the mean over patches need not be taken off: a softmax does not see it
        spread = score.var(-1, keepdim=True, correction=0).add(1e-6).sqrt()
        attention = (score * (self.sharpness[:, None] / spread)).softmax(-1).to(seen.dtype)
        told = torch.cat([self.value(seen), places.to(seen.dtype)], -1)
        return self.read((attention @ told).flatten(1))
