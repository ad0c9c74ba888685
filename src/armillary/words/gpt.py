"""GPT: a small decoder-only transformer over a closed vocabulary, with a cache for decoding.

Pre-normalised blocks, learned positions, tied embeddings. Where texts repeat a form of so many
tokens, a token's place in the form is embedded too: attention then finds the same field of an
earlier step at once. With the default shape it has 0.83 million parameters.

Axes: R rows, K tokens, V vocabulary.
Source: Radford et al. 2019 (GPT-2); the shape is that of TinyStories-size models.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from armillary.core.errors import ConfigError, ShapeError


@dataclass(frozen=True)
class GPTConfig:
    """Shape of a model.

    Attributes:
        vocabulary: tokens.
        context: most tokens that it sees at once.
        period: tokens after which the form of a text repeats; 1 for none.
        width: of a token.
        layers: blocks.
        heads: of attention; they divide the width.
    """

    vocabulary: int
    context: int = 256
    period: int = 1
    width: int = 128
    layers: int = 4
    heads: int = 4

    def __post_init__(self) -> None:
        sizes = (self.vocabulary, self.context, self.period, self.width, self.layers, self.heads)
        if min(sizes) < 1:
            raise ConfigError("A GPT needs sizes of at least 1.")
        if self.width % self.heads:
            raise ConfigError(
                f"A GPT's heads must divide its width; got {self.heads} heads and {self.width}."
            )


class Cache:
    """Keys and values of what was read already, for rows of equal length.

    Attributes:
        length: tokens that were read.
    """

    def __init__(self, config: GPTConfig, rows: int) -> None:
        shape = (config.layers, 2, rows, config.heads, config.context, config.width // config.heads)
        self._held = torch.zeros(shape)
        self.length = 0

    def expanded(self, times: int) -> Cache:
        """Return a copy in which each row stands ``times`` times, side by side."""
        copy = object.__new__(Cache)
        copy._held = self._held.repeat_interleave(times, 2)
        copy.length = self.length
        return copy

    def put(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write the keys and values of the next tokens and return all so far."""
        end = self.length + keys.shape[2]
        self._held[layer, 0, :, :, self.length : end] = keys
        self._held[layer, 1, :, :, self.length : end] = values
        return self._held[layer, 0, :, :, :end], self._held[layer, 1, :, :, :end]


class Block(nn.Module):
    """Attention and a two-layer network, each added to its input."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.layer, self.heads = layer, config.heads
        self.before_attention = nn.LayerNorm(config.width)
        self.queries_keys_values = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.before_network = nn.LayerNorm(config.width)
        self.network = nn.Sequential(
            nn.Linear(config.width, 4 * config.width),
            nn.GELU(approximate="tanh"),
            nn.Linear(4 * config.width, config.width),
        )

    def forward(self, hidden: Tensor, cache: Cache | None) -> Tensor:
        """Return the tokens after this block; with a cache they follow what it holds."""
        R, K, D = hidden.shape
        split = self.queries_keys_values(self.before_attention(hidden)).split(D, dim=2)
        queries, keys, values = (part.view(R, K, self.heads, -1).transpose(1, 2) for part in split)
        if cache is None or cache.length == 0:
            if cache is not None:
                cache.put(self.layer, keys, values)
            seen = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        else:
            keys, values = cache.put(self.layer, keys, values)
            mask = None
            if K > 1:
                mask = torch.ones(K, keys.shape[2], dtype=torch.bool).tril(cache.length)
            seen = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        hidden = hidden + self.out(seen.transpose(1, 2).reshape(R, K, D))
        return hidden + self.network(self.before_network(hidden))


class GPT(nn.Module):
    """The language model.

    Args:
        config: its shape.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocabulary, config.width)
        self.places = nn.Embedding(config.context, config.width)
        self.fields = nn.Embedding(config.period, config.width)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.layers))
        self.last = nn.LayerNorm(config.width)
        for name, weights in self.named_parameters():
            if weights.ndim == 2:
                residual = name.endswith(("out.weight", "network.2.weight"))
                spread = 0.02 / (2 * config.layers) ** 0.5 if residual else 0.02
                nn.init.normal_(weights, std=spread)

    def forward(
        self, tokens: Int[Tensor, "R K"], cache: Cache | None = None
    ) -> Float[Tensor, "R K V"]:
        """Return the scores of every next token.

        Args:
            tokens: what is read; with a cache it follows what was read before.
            cache: is written to, if given.

        Raises:
            ShapeError: more tokens than the context holds.
        """
        start = 0 if cache is None else cache.length
        end = start + tokens.shape[1]
        if end > self.config.context:
            raise ShapeError(
                f"The language model reads {self.config.context} tokens at most, got {end}."
            )
        fields = self.fields(torch.arange(start, end) % self.config.period)
        hidden = self.tokens(tokens) + self.places.weight[start:end] + fields
        for block in self.blocks:
            hidden = block(hidden, cache)
        if cache is not None:
            cache.length = end
        return functional.linear(self.last(hidden), self.tokens.weight)
