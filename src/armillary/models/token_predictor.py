"""Token predictor: foresees a grid of state tokens, with attention and a memory at each place.

The action conditions every block, by scales, shifts and gates (AdaLN-zero). Each token has a
memory of its own, with weights shared over places. It is written after the blocks have read it, so
what is remembered can move from place to place. Learning starts where nothing changes.

Axes: B batch, N tokens, D width of a token, Z = N*D, C width of a block, A action, M = N*memory.
Source: AdaLN-zero as in DiT (2212.09748).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from armillary.models.predictor import PredictorConfig
from armillary.models.vit import Attention, network


class TokenPredictor(nn.Module):
    """(latent, action, memory) -> (next latent, next memory), on flattened latents.

    Args:
        config: its shape, of ``depth`` 1 or more.
        tokens: N.
        width: D.
        action_width: A; 0 for plain video.
    """

    def __init__(self, config: PredictorConfig, tokens: int, width: int, action_width: int) -> None:
        super().__init__()
        self.config, self.tokens, hidden = config, tokens, config.hidden
        self.embed = nn.Linear(width + config.memory, hidden)
        self.places = nn.Parameter(torch.zeros(tokens, hidden))
        nn.init.trunc_normal_(self.places, std=0.02)
        self.act = nn.Linear(action_width, hidden) if action_width else None
        self.blocks = nn.ModuleList(
            ConditionedBlock(hidden, config.heads) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(hidden, eps=1e-6)
        self.write = nn.Linear(hidden + config.memory, 2 * config.memory) if config.memory else None
        self.change = _zero(nn.Linear(hidden, width))

    def start(self, latent: Float[Tensor, "B Z"]) -> Float[Tensor, "B M"]:
        """Return the empty memory."""
        return latent.new_zeros(len(latent), self.tokens * self.config.memory)

    def forward(
        self,
        latent: Float[Tensor, "B Z"],
        action: Float[Tensor, "B A"],
        memory: Float[Tensor, "B M"],
    ) -> tuple[Float[Tensor, "B Z"], Float[Tensor, "B M"]]:
        """Return the foreseen latent and the memory after this step (actions normalised)."""
        seen = self._seen(latent, action, memory)
        return latent + self.change(seen).flatten(1), self._written(seen, memory)

    def remember(
        self,
        latent: Float[Tensor, "B Z"],
        action: Float[Tensor, "B A"],
        memory: Float[Tensor, "B M"],
    ) -> Float[Tensor, "B M"]:
        """Return the memory after a step that was seen, without foreseeing anything."""
        if self.write is None:
            return memory
        return self._written(self._seen(latent, action, memory), memory)

    def _seen(self, latent: Tensor, action: Tensor, memory: Tensor) -> Float[Tensor, "B N C"]:
        parts = [part.unflatten(1, (self.tokens, -1)) for part in (latent, memory.to(latent.dtype))]
        tokens = self.embed(torch.cat(parts, -1)) + self.places
        told = tokens.new_zeros(len(tokens), self.config.hidden)
        if self.act is not None:
            told = self.act(action.to(latent.dtype))
        told = nn.functional.silu(told)[:, None]
        for block in self.blocks:
            tokens = block(tokens, told)
        return self.norm(tokens)

    def _written(self, seen: Tensor, memory: Tensor) -> Float[Tensor, "B M"]:
        """Return the memory of every place after a gated update."""
        if self.write is None:
            return memory
        old = memory.unflatten(1, (self.tokens, -1))
        gate, new = self.write(torch.cat([seen, old.to(seen.dtype)], -1)).chunk(2, -1)
        return (old + gate.sigmoid() * (new.tanh() - old)).flatten(1)


class ConditionedBlock(nn.Module):
    """A block of attention and network, scaled, shifted and gated by what it is told.

    Args:
        width: C.
        heads: of the attention; divides ``width``.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.network = network(width)
        self.condition = _zero(nn.Linear(width, 6 * width))

    def forward(
        self, tokens: Float[Tensor, "B N C"], told: Float[Tensor, "B 1 C"]
    ) -> Float[Tensor, "B N C"]:
        """Return the tokens after this block.

        Args:
            tokens: of the grid.
            told: features of the action.
        """
        shift1, scale1, gate1, shift2, scale2, gate2 = self.condition(told).chunk(6, -1)
        tokens = tokens + gate1 * self.attention(self.norm1(tokens) * (1 + scale1) + shift1)
        return tokens + gate2 * self.network(self.norm2(tokens) * (1 + scale2) + shift2)


def _zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
