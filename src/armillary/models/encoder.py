"""Encoder of the size tiny: from features of patches to N state tokens, in large products only.

A patch network sees the features of each patch alone, a mixing network sees them all. Colour may
come to the patches through convolutions (``tokenizers.py``). There is no attention: on a CPU this
trains several times faster at 64x64 (docs/reproducing.md, ``armillary bench train``), and position
is kept exactly by the flattening.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from armillary.core.errors import ConfigError
from armillary.models.tokens import Tokens, joined

MOST_DEPTH = 64  # a configuration that was read must not make a model without end
_UNSEEN = -1e9  # finite, so that a frame of no tokens has no NaN


@dataclass(frozen=True)
class EncoderConfig:
    """Shape of the encoder: a flat network of ``depth`` 0, or a vision transformer.

    Attributes:
        image_size: side of the square image in pixels.
        patch: side of a patch in pixels; divides image_size.
        depth: blocks of a vision transformer (``vit.py``), which needs no patch_width, hidden,
            keypoints and reads; 0 for the flat network.
        heads: of the attention in each block.
        patch_hidden: hidden features per patch; the width of a block.
        patch_width: features per patch that reach the mixing network.
        hidden: hidden width of the mixing network.
        keypoints: places in the scene that the encoder attends to; 0 for none.
        tokens: N, number of state tokens; of a vision transformer, the cells of a square grid.
        width: D, width of a state token.
        reads: how patches of a picture are read: ``grid``, each with weights for its place in the
            picture; ``places``, all alike, so that only where they lie in the scene counts.
        stem: how colour becomes features of patches: ``patches``, each alone; ``convolutions``,
            which overlap.
        colours: in which numbers colour is read: ``fixed``, alike for all recordings, or
            ``whitened``, of mean 0 and unit covariance over the pixels of the training clips.
    """

    image_size: int = 64
    patch: int = 8
    patch_hidden: int = 128
    patch_width: int = 32
    hidden: int = 512
    keypoints: int = 24
    tokens: int = 4
    width: int = 32
    reads: Literal["grid", "places"] = "grid"
    stem: Literal["patches", "convolutions"] = "patches"
    colours: Literal["fixed", "whitened"] = "fixed"
    depth: int = 0
    heads: int = 6

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
        if self.stem == "convolutions" and (self.patch < 4 or self.patch & (self.patch - 1)):
            raise ConfigError(
                "With encoder.stem=convolutions, encoder.patch must be a power of two of at least "
                f"4, got {self.patch}."
            )
        if self.depth:
            self._check_blocks()

    def _check_blocks(self) -> None:
        check_blocks("encoder", self.depth, self.heads)
        side, cells = self.image_size // self.patch, math.isqrt(self.tokens)
        if self.patch_hidden % (4 * self.heads) or cells**2 != self.tokens or cells > side:
            raise ConfigError(
                "With encoder.depth, encoder.patch_hidden must be a multiple of 4 encoder.heads, "
                "and encoder.tokens a square of at most the number of patches, got "
                f"{self.patch_hidden}, {self.heads} and {self.tokens} of {self.num_patches}."
            )

    @property
    def num_patches(self) -> int:
        """Number of patches in an image."""
        return (self.image_size // self.patch) ** 2


def check_blocks(part: str, depth: int, heads: int) -> None:
    """Refuse blocks that cannot be.

    Raises:
        ConfigError: they are too many, or have no heads.
    """
    if not 1 <= depth <= MOST_DEPTH or heads < 1:
        raise ConfigError(
            f"{part}.depth must be 0 to {MOST_DEPTH} and {part}.heads at least 1, got {depth} and "
            f"{heads}."
        )


class Encoder(nn.Module):
    """Patch network, keypoints, then mixing network.

    Args:
        config: its shape.
        grid: whether there are patches of a picture.
        loose: whether there are tokens in no order.
        cameras: how many pictures have patches, one after another.
    """

    def __init__(
        self, config: EncoderConfig, grid: bool = True, loose: bool = False, cameras: int = 1
    ) -> None:
        super().__init__()
        self.config = config
        # ReLU: this is the widest activation of all, and its backward is a tenth of GELU's
        self.patch_network = nn.Sequential(
            nn.ReLU(),
            nn.Linear(config.patch_hidden, config.patch_width),
            nn.GELU(approximate="tanh"),
        )
        self._by_order = config.reads == "grid"
        if grid and self._by_order:
            patches = cameras * config.num_patches
            self.look = nn.Linear(patches * config.patch_width, config.hidden)
        if config.keypoints:
            self.keypoints = Keypoints(config.keypoints, config.patch_width, config.hidden)
        if loose or (grid and not self._by_order):
            self.pool = Pool(config.patch_width, config.hidden)
        self.mixing_network = nn.Sequential(
            nn.LayerNorm(config.hidden),
            nn.GELU(approximate="tanh"),
            nn.Linear(config.hidden, config.hidden),
            nn.GELU(approximate="tanh"),
            nn.Linear(config.hidden, config.tokens * config.width),
        )

    def forward(self, grid: Tokens | None, loose: Tokens | None = None) -> Float[Tensor, "F N D"]:
        """Return state tokens.

        Args:
            grid: patches of a picture with the summed features of the sensors that share them, or
                None without such a sensor.
            loose: tokens in no order, or None without. One of the two there must be.
        """
        grid, loose = self._seen(grid), self._seen(loose)
        parts = [part for part in (grid, loose) if part is not None]
        terms, pooled = [], parts
        if self._by_order:
            pooled = [] if loose is None else [loose]
            if grid is not None:
                terms.append(_where_present(self.look(grid.features.flatten(1)), grid))
        if self.config.keypoints:
            terms.append(self.keypoints(joined(parts)))
        if pooled:
            terms.append(self.pool(joined(pooled)))
        state = sum(terms[1:], start=terms[0])
        return self.mixing_network(state).unflatten(-1, (self.config.tokens, self.config.width))

    def _seen(self, part: Tokens | None) -> Tokens | None:
        return None if part is None else replace(part, features=self.patch_network(part.features))


class Pool(nn.Module):
    """What there is on the whole, whatever its order: mean and maximum over tokens.

    Source: Deep Sets (1703.06114), PointNet (1612.00593).

    Args:
        patch_width: features per token.
        width: width of what is returned.
    """

    _WIDTH = 128  # it is paid for every token: at 536 the whole training step took twice as long

    def __init__(self, patch_width: int, width: int) -> None:
        super().__init__()
        self.spread = nn.Linear(patch_width, self._WIDTH)
        self.read = nn.Linear(2 * self._WIDTH, width)

    def forward(self, seen: Tokens) -> Float[Tensor, "F Z"]:
        """Return what is seen, in one vector; zeros for a frame of no tokens."""
        told = self.spread(seen.features).relu()
        count: Tensor | int = told.shape[1]
        if seen.present is not None:
            told = told * seen.present[..., None]  # at least 0, so the maximum does not see it
            count = seen.present.sum(1, keepdim=True).clamp_min(1)
        said = self.read(torch.cat([told.sum(1) / count, told.amax(1)], -1))
        return _where_present(said, seen)


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

    def forward(self, tokens: Tokens) -> Float[Tensor, "F Z"]:
        """Return what all keypoints say, in one vector."""
        seen = tokens.features
        score = self.score(seen).mT.contiguous().float()  # [F K P]: reductions along memory
        # the mean over patches need not be taken off: a softmax does not see it
        spread = _variance(score, tokens.present).add(1e-6).sqrt()
        score = score * (self.sharpness[:, None] / spread)
        if tokens.present is not None:
            score = score.masked_fill(~tokens.present[:, None], _UNSEEN)
        attention = score.softmax(-1).to(seen.dtype)
        if tokens.present is not None:
            attention = attention * tokens.present[:, None]  # zeros for a frame of no tokens
        told = torch.cat([self.value(seen), tokens.places.to(seen.dtype)], -1)
        return self.read((attention @ told).flatten(1))


def _variance(score: Tensor, present: Bool[Tensor, "F P"] | None) -> Tensor:
    """Return the variance of scores [F K P] over the tokens that are there: [F K 1]."""
    if present is None:
        return score.var(-1, keepdim=True, correction=0)
    there = present[:, None]
    count = there.sum(-1, keepdim=True).clamp_min(1)
    mean = (score * there).sum(-1, keepdim=True) / count
    return ((score - mean).square() * there).sum(-1, keepdim=True) / count


def _where_present(said: Tensor, tokens: Tokens) -> Tensor:
    anything = tokens.anything
    return said if anything is None else said * anything
