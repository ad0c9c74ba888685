"""Vision transformer: an encoder whose weights are shared over the places of a picture.

The sensors' features of a patch are its token. Blocks are those of timm: normalised before
attention and before the network. Then the tokens are averaged over the cells of a coarser grid and
made narrow, so that the latent stays small for what follows: planner, heads, read-outs.

Axes: F frames, P patches, C width of a block, N cells, D width of a state token.
Source: ViT (2010.11929); sin-cos positions as in MAE (2111.06377).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from armillary.core.errors import ConfigError
from armillary.models.encoder import EncoderConfig
from armillary.models.tokens import Tokens

_WIDER = 4  # the network of a block is so many times as wide
_STD = 0.02


class VisionTransformer(nn.Module):
    """Blocks over patches, then a grid of state tokens.

    Args:
        config: its shape, of ``depth`` 1 or more.
        grid: whether there are patches of a picture.
        loose: whether there are tokens in no order.
        cameras: how many pictures have patches, one after another; tokens of the grid are means
            over all of them.

    Raises:
        ConfigError: there are tokens in no order, or no patches.
    """

    positions: Tensor
    pooling: Tensor

    def __init__(
        self, config: EncoderConfig, grid: bool = True, loose: bool = False, cameras: int = 1
    ) -> None:
        super().__init__()
        if loose or not grid:
            raise ConfigError(
                "A model above the size tiny sees rgb, depth, points, points_camera, pose and "
                "proprio, and no cloud or scan. Name other model.sensors, or take the size tiny."
            )
        self.config = config
        side, cells = config.image_size // config.patch, math.isqrt(config.tokens)
        width = config.patch_hidden
        self.blocks = nn.Sequential(*(Block(width, config.heads) for _ in range(config.depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.narrow = nn.Linear(width, config.width)
        self.register_buffer("positions", sin_cos(side, width).repeat(cameras, 1), persistent=False)
        pooling = area_pooling(side, cells).repeat(1, cameras) / cameras
        self.register_buffer("pooling", pooling, persistent=False)

    def forward(self, grid: Tokens, loose: None = None) -> Float[Tensor, "F N D"]:
        """Return state tokens, rows of the grid first.

        Args:
            grid: patches of a picture with the summed features of the sensors that share them.
            loose: there are none.
        """
        seen = self.blocks(grid.features + self.positions)
        # each is linear, so the order does not matter; narrow ones are averaged faster
        return self.pooling @ self.narrow(self.norm(seen))


class Block(nn.Module):
    """Attention over all tokens, then a network for each.

    Args:
        width: C.
        heads: of the attention; divides ``width``.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.network = network(width)

    def forward(self, tokens: Float[Tensor, "F P C"]) -> Float[Tensor, "F P C"]:
        """Return the tokens after this block."""
        tokens = tokens + self.attention(self.norm1(tokens))
        return tokens + self.network(self.norm2(tokens))


class Attention(nn.Module):
    """Self-attention of several heads.

    Args:
        width: C.
        heads: divides ``width``.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = _linear(width, 3 * width)
        self.out = _linear(width, width)

    def forward(self, tokens: Float[Tensor, "F P C"]) -> Float[Tensor, "F P C"]:
        """Return what every token reads from all of them."""
        parts = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        read = nn.functional.scaled_dot_product_attention(parts[0], parts[1], parts[2])
        return self.out(read.transpose(1, 2).flatten(2))


def network(width: int) -> nn.Sequential:
    """Return the network of a block, for each token alone."""
    return nn.Sequential(
        _linear(width, _WIDER * width), nn.GELU(approximate="tanh"), _linear(_WIDER * width, width)
    )


def _linear(width: int, out: int) -> nn.Linear:
    layer = nn.Linear(width, out)
    nn.init.trunc_normal_(layer.weight, std=_STD)
    nn.init.zeros_(layer.bias)
    return layer


def sin_cos(side: int, width: int) -> Float[Tensor, "P C"]:
    """Return the position of every cell of a square grid, rows first.

    Args:
        side: cells of a row.
        width: C, a multiple of 4.
    """
    rates = 10_000.0 ** -(torch.arange(width // 4) / (width // 4))
    phases = torch.arange(side)[:, None] * rates
    along = torch.cat([phases.sin(), phases.cos()], -1)
    down, right = along[:, None].expand(-1, side, -1), along[None].expand(side, -1, -1)
    return torch.cat([down, right], -1).flatten(0, 1)


def area_pooling(side: int, cells: int) -> Float[Tensor, "N P"]:
    """Return the matrix that averages a square grid over the areas of a coarser one.

    A matrix, because the backward pass of torch's adaptive pooling does not repeat bit for bit on
    a GPU.

    Args:
        side: of the fine grid.
        cells: side of the coarse one.
    """
    edges = torch.arange(cells + 1) * (side / cells)
    places = torch.arange(side)
    upper = torch.minimum(places + 1.0, edges[1:, None])
    overlap = (upper - torch.maximum(places + 0.0, edges[:-1, None])).clamp_min(0)
    share = overlap / overlap.sum(1, keepdim=True)
    return torch.kron(share, share)
