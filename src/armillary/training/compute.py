"""Compute: how training is computed, which changes memory and speed, not what is learned.

So it is no part of a recipe, and a run may be resumed with other values.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from armillary.core.errors import ConfigError
from armillary.models import JEPA


@dataclass(frozen=True)
class ComputeConfig:
    """Memory and speed of training.

    Attributes:
        parallel: what each of several processes holds. ``ddp``: the whole model. ``fsdp``: a share
            of the parameters, gradients, optimizer state and moving average (torch's FSDP2).
        gradient_accumulation: parts into which a process divides its clips for the encoder. Only
            the activations of one part are in memory; each part is encoded again in the backward
            pass. The losses still compare all clips, so the gradient is that of the whole batch.
        activation_checkpointing: the activations inside a transformer block are computed again in
            the backward pass. Without blocks: those inside the encoder and inside the predictor.
        compile: the same modules are compiled with ``torch.compile``.
    """

    parallel: Literal["ddp", "fsdp"] = "ddp"
    gradient_accumulation: int = 1
    activation_checkpointing: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        if self.gradient_accumulation < 1:
            raise ConfigError(
                "compute.gradient_accumulation must be at least 1, got "
                f"{self.gradient_accumulation}."
            )

    def check(self, batch_size: int, processes: int) -> None:
        """Refuse more parts than a process has clips.

        Raises:
            ConfigError: there are.
        """
        clips = batch_size // processes
        if self.gradient_accumulation > clips:
            raise ConfigError(
                f"compute.gradient_accumulation ({self.gradient_accumulation}) must be at most the "
                f"clips of a step in one process ({clips}). Pass a smaller one, or more "
                "--batch-size."
            )


def blocks_of(module: nn.Module) -> list[nn.Module]:
    """Return the transformer blocks of an encoder or predictor; itself where it has none."""
    blocks = getattr(module, "blocks", None)
    return [module] if blocks is None else list(blocks)


def prepare_blocks(model: JEPA, config: ComputeConfig) -> None:
    """Compile the blocks of a model and recompute their activations, as far as asked for.

    Only their ``forward`` is replaced, so that parameters keep their names.

    Args:
        model: is changed.
        config: what is asked for.
    """
    for block in (*blocks_of(model.encoder), *blocks_of(model.predictor)):
        if config.compile:
            block.forward = torch.compile(block.forward)
        if config.activation_checkpointing:
            block.forward = functools.partial(
                checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False
            )
