"""Predictor: foresees the next latent from the present one, the action and a memory.

A gated recurrent unit: the cheapest model per planning step that remembers. The latent moves by
what the memory says, so that "nothing changes" is where learning starts.

Source: Cho et al. 2014 (GRU). One predictor step is the unit of a planning budget.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from armillary.core.errors import ConfigError


@dataclass(frozen=True)
class PredictorConfig:
    """Shape of the predictor.

    Attributes:
        memory: width of the recurrent memory.
        hidden: hidden width of the network that turns memory into a change of latent.
    """

    memory: int = 256
    hidden: int = 256

    def __post_init__(self) -> None:
        if min(self.memory, self.hidden) < 1:
            raise ConfigError(
                "predictor.memory and predictor.hidden must be at least 1, got "
                f"{self.memory} and {self.hidden}."
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
        self.memory = nn.GRUCell(latent_width + action_width, config.memory)
        self.change = nn.Sequential(
            nn.Linear(config.memory + latent_width + action_width, config.hidden),
            nn.GELU(approximate="tanh"),
            nn.Linear(config.hidden, latent_width),
        )

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
        memory = self.memory(seen, memory)
        return latent + self.change(torch.cat([memory.to(seen.dtype), seen], -1)), memory

    def remember(
        self,
        latent: Float[Tensor, "B Z"],
        action: Float[Tensor, "B A"],
        memory: Float[Tensor, "B M"],
    ) -> Float[Tensor, "B M"]:
        """Return the memory after a step that was seen, without foreseeing anything."""
        return self.memory(torch.cat([latent, action.to(latent.dtype)], -1), memory)
