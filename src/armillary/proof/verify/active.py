"""Active: on which of an agent's parameters a decision depends.

A model that holds several models and picks one of them by what it sees (a router) uses other
parameters for other scenes. It is not a lie, so it is exposed, not refuted: of the parameters that
any decision depends on, which share do all of them depend on?

Source: a parameter counts where the gradient of the foreseen latents is not zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from armillary.control.model_policy import ModelPolicy
from armillary.core.values import Latent, Observation
from armillary.data import batch_from_observations


def active_parameters(
    policy: ModelPolicy,
    seen: Observation,
    goal: Observation,
    plan: Float[Tensor, "L A"],
) -> Bool[np.ndarray, " P"]:
    """Return which parameters the latents of present and goal, and what is foreseen, depend on.

    Args:
        policy: whose model is asked.
        seen: the present.
        goal: where it wants to go.
        plan: that was decided.
    """
    model = policy.model
    assert isinstance(model, nn.Module)
    wanted = [(one, one.requires_grad) for one in model.parameters()]
    try:
        model.requires_grad_(True)
        model.zero_grad(set_to_none=True)
        with torch.enable_grad():
            batch = batch_from_observations([seen, goal], size=policy.image_size)
            tokens = policy.model.encode(batch).tokens
            foreseen = policy.model.rollout(Latent(tokens[:, :1], None), plan.detach()[None, None])
            (foreseen.square().sum() + tokens.square().sum()).backward()
        parts = [_nonzero(one) for one in model.parameters()]
    finally:
        model.zero_grad(set_to_none=True)
        for one, before in wanted:
            one.requires_grad_(before)
    return np.concatenate(parts)


def shared_share(masks: Sequence[Bool[np.ndarray, " P"]]) -> tuple[float, float]:
    """Return which share of the parameters in use is used by every decision, and by the mean one.

    Args:
        masks: of several decisions.
    """
    together = np.stack(masks)
    used = int(together.any(0).sum())
    if not used:
        return 1.0, 1.0
    return float(together.all(0).sum() / used), float(together.sum(1).mean() / used)


def _nonzero(parameter: nn.Parameter) -> np.ndarray:
    if parameter.grad is None:
        return np.zeros(parameter.numel(), bool)
    return (parameter.grad != 0).flatten().numpy()
