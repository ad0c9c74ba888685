"""Inverse dynamics: the action must be readable from the two latents it lies between.

It forces into the latent what the agent controls, where a static layout would be easier to encode.
Source: Pathak et al. 2017 (1705.05363); EB-JEPA's ablation (97 % with it, 1 % without).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def inverse_dynamics_loss(
    guessed: Float[Tensor, "*B A"], actions: Float[Tensor, "*B A"]
) -> Float[Tensor, ""]:
    """Return the mean squared error of guessed actions, both normalised to unit spread."""
    return (guessed.float() - actions).square().mean()
