"""Predictor of the size tiny: foresees the latent from the present one, an action and a memory.

A gated recurrent unit: the cheapest model per planning step that remembers. The latent moves by
what the memory says, so that "nothing changes" is where learning starts. Where one look shows all
there is, it can do without a memory; where much depends on what is in the way, depth pays: in two
rooms three layers of 512 without memory foresee to 0.023 what one of 256 behind a memory foresees
to 0.071 (both on the same latents, that stood still).

Source: Cho et al. 2014 (GRU). One predictor step is the unit of a planning budget.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from armillary.core.errors import ConfigError
from armillary.models.encoder import check_blocks

_MOST_LAYERS = 64  # a configuration that was read must not make a model without end


@dataclass(frozen=True)
class PredictorConfig:
    """Shape of the predictor: a flat network of ``depth`` 0, or blocks over state tokens.

    Attributes:
        memory: width of the recurrent memory, of each token where there are blocks; 0 for a
            predictor that remembers nothing.
        hidden: hidden width of the network that turns memory into a change of latent, or width of
            a block.
        layers: hidden layers of the flat network; from two on, each is normalised.
        depth: blocks of attention (``token_predictor.py``); 0 for the flat network.
        heads: of the attention in each block.
    """

    memory: int = 256
    hidden: int = 256
    layers: int = 1
    depth: int = 0
    heads: int = 4

    def __post_init__(self) -> None:
        if self.memory < 0 or self.hidden < 1 or not 1 <= self.layers <= _MOST_LAYERS:
            raise ConfigError(
                "predictor.memory must be at least 0, predictor.hidden at least 1 and "
                f"predictor.layers 1 to {_MOST_LAYERS}, got {self.memory}, {self.hidden} and "
                f"{self.layers}."
            )
        if self.depth:
            check_blocks("predictor", self.depth, self.heads)
            if self.hidden % self.heads:
                raise ConfigError(
                    "With predictor.depth, predictor.hidden must be a multiple of "
                    f"predictor.heads, got {self.hidden} and {self.heads}."
                )


class Predictor(nn.Module):
    """(latent, action, memory) -> (next latent, next memory), on flattened latents.

    Args:
        config: its shape.
        latent_width: N times D.
        action_width: A; 0 for plain video.
    """

    def __init__(self, config: PredictorConfig, latent_width: int, action_width: int) -> None:
        super().__init__()
        self.config = config
        seen = latent_width + action_width
        self.memory = nn.GRUCell(seen, config.memory) if config.memory else None
        self.change = _change(config, config.memory + seen, latent_width)

    def start(self, latent: Float[Tensor, "B Z"]) -> Float[Tensor, "B M"]:
        """Return the empty memory."""
        return latent.new_zeros(len(latent), self.config.memory)

    def forward(
        self,
        latent: Float[Tensor, "B Z"],
        action: Float[Tensor, "B A"],
        memory: Float[Tensor, "B M"],
    ) -> tuple[Float[Tensor, "B Z"], Float[Tensor, "B M"]]:
        """Return the foreseen latent and the memory after this step (actions normalised)."""
        seen = torch.cat([latent, action.to(latent.dtype)], -1)
        if self.memory is not None:
            memory = self.memory(seen, memory)
        return latent + self.change(torch.cat([memory.to(seen.dtype), seen], -1)), memory

    def remember(
        self,
        latent: Float[Tensor, "B Z"],
        action: Float[Tensor, "B A"],
        memory: Float[Tensor, "B M"],
    ) -> Float[Tensor, "B M"]:
        """Return the memory after a step that was seen, without foreseeing anything."""
        if self.memory is None:
            return memory
        return self.memory(torch.cat([latent, action.to(latent.dtype)], -1), memory)


def _change(config: PredictorConfig, width: int, out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(config.layers):
        layers.append(nn.Linear(width, config.hidden))
        if config.layers > 1:
            layers.append(nn.LayerNorm(config.hidden))
        layers.append(nn.GELU(approximate="tanh"))
        width = config.hidden
    return nn.Sequential(*layers, nn.Linear(width, out))
