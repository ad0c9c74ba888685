"""Rollout prediction: what was foreseen several steps ahead against what came, in latent space.

Axes: B clips, R starts, K steps ahead, Z latent width.
Source: Dual-WM, TD-MPC2: several steps with decaying weights.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def decaying_weights(steps: int, decay: float) -> Float[Tensor, " K"]:
    """Return weights 1, decay, decay**2, ... that sum to one."""
    weights = decay ** torch.arange(steps, dtype=torch.float32)
    return weights / weights.sum()


def rollout_loss(
    foreseen: Float[Tensor, "B R K Z"],
    came: Float[Tensor, "B R K Z"],
    weights: Float[Tensor, " K"],
) -> Float[Tensor, ""]:
    """Return the weighted mean squared error over steps ahead.

    Args:
        foreseen: latents foreseen from start r, k+1 steps later.
        came: the encoder's latents of those steps.
        weights: weight of each step ahead, summing to one.
    """
    per_step = (foreseen.float() - came.float()).square().mean((0, 1, 3))
    return (per_step * weights.to(per_step.device)).sum()
