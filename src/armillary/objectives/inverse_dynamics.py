"""Inverse dynamics: the action must be readable from the two latents it lies between.

It forces into the latent what the agent controls, where a static layout would be easier to encode.
Source: Pathak et al. 2017 (1705.05363); EB-JEPA's ablation (97 % with it, 1 % without).
"""

from __future__ import annotations

import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor


def inverse_dynamics_loss(
    guessed: Float[Tensor, "*B A"], actions: Float[Tensor, "*B A"], delta: float = 0.0
) -> Float[Tensor, ""]:
    """Return the mean error e of guessed actions, both normalised to unit spread.

    Args:
        guessed: by a head.
        actions: that were done.
        delta: e is squared up to it, and counts 2 delta |e| - delta^2 beyond. 0: always squared.

    Source: Huber 1964, times 2.
    """
    if not delta:
        return (guessed.float() - actions).square().mean()
    return 2 * functional.huber_loss(guessed.float(), actions, delta=delta)
