"""Rollout prediction: latents predicted several steps ahead against their targets.

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
    predicted: Float[Tensor, "B R K Z"],
    targets: Float[Tensor, "B R K Z"],
    weights: Float[Tensor, " K"],
) -> Float[Tensor, ""]:
    """Return the weighted mean squared error over steps ahead.

    Args:
        predicted: latents predicted from start r, k+1 steps later.
        targets: the encoder's latents of these steps.
        weights: weight of each step ahead, summing to one.
    """
    per_step = (predicted.float() - targets.float()).square().mean((0, 1, 3))
    return (per_step * weights.to(per_step.device)).sum()
