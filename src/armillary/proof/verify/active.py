"""Active: on which of an agent's parameters a decision depends.

A model that holds several models and picks one of them by what it sees (a router) uses other
parameters for other scenes. It is not a lie, so it is exposed, not refuted: of the parameters that
any decision depends on, which share do all of them depend on? Counted tensor by tensor, so that a
small part that is switched is seen beside a large one that is not.

Source: a parameter counts where the gradient of the predicted latents is not zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from armillary.core.values import Batch, Latent, Observation
from armillary.data import batch_from_observations
from armillary.evaluation.goal_conditioned_policy import GoalConditionedPolicy
from armillary.evaluation.model_policy import ModelPolicy
from armillary.proof.quadruplets.policy import SurprisePolicy
from armillary.proof.quadruplets.world import clip_of

_SMALLEST = 16  # of a tensor's numbers in use; fewer say nothing


def active_parameters(
    policy: ModelPolicy | GoalConditionedPolicy,
    seen: Observation,
    goal: Observation,
    plan: Float[Tensor, "L A"],
) -> dict[str, np.ndarray]:
    """Return on which parameters the latents of present and goal, and those predicted, depend.

    So do the actions of a goal policy, whose parameters are among them.

    Args:
        policy: whose model is asked.
        seen: the present.
        goal: where it wants to go.
        plan: that was decided.

    Returns:
        A mask for each tensor, by its name.
    """
    model = policy.model
    assert isinstance(model, nn.Module)
    named = dict(model.named_parameters())
    if isinstance(policy, GoalConditionedPolicy):
        assert isinstance(policy.policy, nn.Module)
        named |= {f"policy.{name}": one for name, one in policy.policy.named_parameters()}

    def total() -> Tensor:
        batch = batch_from_observations([seen, goal], size=policy.image_size)
        tokens = policy.model.encode(batch).tokens
        predicted = policy.model.rollout(Latent(tokens[:, :1], None), plan.detach()[None, None])
        found = predicted.square().sum() + tokens.square().sum()
        if isinstance(policy, GoalConditionedPolicy):
            here, there = tokens.flatten(2).unbind(1)
            found = found + policy.policy.act(here, there, 1.0).square().sum()
        return found

    return _active(named, total)


def active_judging(policy: SurprisePolicy, seen: Observation) -> dict[str, np.ndarray]:
    """Return on which parameters the surprise at a clip depends.

    Args:
        policy: whose model is asked.
        seen: the clip.

    Returns:
        A mask for each tensor, by its name.
    """
    model, frames = policy.model, clip_of(seen.streams["film"])
    pans = seen.streams["pans"].reshape(-1, 2)
    moves = torch.from_numpy(pans[None]) if model.config.action_width else None
    valid = torch.ones(1, len(frames), dtype=torch.bool)
    batch = Batch({"rgb": torch.from_numpy(frames[None])}, moves, valid)

    def total() -> Tensor:
        latent = model.encode(batch)
        return (latent.tokens[:, 1:] - model.foresee_each(latent)).square().sum()

    return _active(dict(model.named_parameters()), total)


def _active(
    named: Mapping[str, nn.Parameter], total: Callable[[], Tensor]
) -> dict[str, np.ndarray]:
    """Return which numbers of each parameter have a gradient of a total."""
    wanted = [(one, one.requires_grad) for one in named.values()]
    try:
        for one in named.values():
            one.requires_grad_(True)
            one.grad = None
        with torch.enable_grad():
            total().backward()
        return {name: _nonzero(one) for name, one in named.items()}
    finally:
        for one, before in wanted:
            one.grad = None
            one.requires_grad_(before)


def shared_share(masks: Sequence[Mapping[str, np.ndarray]]) -> tuple[float, str]:
    """Return which share of a tensor in use serves every decision, where that is least, and where.

    Args:
        masks: of several decisions, from ``active_parameters``.
    """
    found = [(_shared(np.stack([mask[name] for mask in masks])), name) for name in masks[0]]
    return min(found, default=(1.0, ""))


def _shared(together: Bool[np.ndarray, "M P"]) -> float:
    used = int(together.any(0).sum())
    return float(together.all(0).sum() / used) if used >= _SMALLEST else 1.0


def _nonzero(parameter: nn.Parameter) -> np.ndarray:
    if parameter.grad is None:
        return np.zeros(parameter.numel(), bool)
    return (parameter.grad != 0).flatten().numpy()
