"""Proposals: plans that a policy would take, predicted step by step, for a planner to try first.

A planner that draws plans around the last one seldom finds a way that leads away from the goal
before it leads there. A policy that was learned from recordings knows such ways; the planner then
compares and refines them. Each batch element is predicted on its own, so that its proposals do not
depend on its neighbours.

Axes: B batch, P proposals, L plan length, A action width, N tokens, D latent, Z = N*D, M memory.
Source: TD-MPC2 (2310.16828), where 24 of 512 candidates come from a policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.errors import ConfigError
from armillary.core.protocols import WorldModel
from armillary.core.values import Latent
from armillary.planning.state import PlannerState


@runtime_checkable
class StepModel(Protocol):
    """A world model that can be led one step at a time."""

    def start(
        self, latent: Latent, candidates: int
    ) -> tuple[Float[Tensor, "P Z"], Float[Tensor, "P M"]]:
        """Return flattened state and memory after what was seen, once per candidate."""
        ...

    def step(
        self,
        state: Float[Tensor, "P Z"],
        memory: Float[Tensor, "P M"],
        actions: Float[Tensor, "P A"],
    ) -> tuple[Float[Tensor, "P Z"], Float[Tensor, "P M"]]:
        """Return state and memory one step later."""
        ...


@runtime_checkable
class ActionProposer(Protocol):
    """A goal-conditioned policy on latents."""

    def sample(
        self,
        latents: Float[Tensor, "P Z"],
        goal_tokens: Float[Tensor, "N D"],
        steps_left: float,
        rng: torch.Generator,
    ) -> Float[Tensor, "P A"]:
        """Return one action per state, in the world's units; bounds are not its concern.

        Args:
            latents: of P states.
            goal_tokens: the one goal of all.
            steps_left: model steps until the goal is to be reached, at least 1.
            rng: chance.
        """
        ...


@torch.no_grad()
def propose(
    model: WorldModel,
    policy: ActionProposer,
    latent: Latent,
    goal_tokens: Float[Tensor, "B N D"],
    state: PlannerState,
    count: int,
    rngs: Sequence[torch.Generator],
    steps_left: float = 1.0,
) -> Float[Tensor, "B P L A"]:
    """Return the plans that a policy would take in the model, inside the bounds.

    They take ``proposal_steps`` predictor steps per batch element.

    Args:
        model: predicts, step by step (a ``StepModel``).
        policy: acts.
        latent: the present, with its memory.
        goal_tokens: the goal's latent.
        state: of the planner: gives the length of plans and the bounds.
        count: P.
        rngs: one generator per batch element.
        steps_left: model steps until the goal is to be reached.

    Raises:
        ConfigError: a model that cannot be led step by step.
    """
    if not isinstance(model, StepModel):
        raise ConfigError(
            f"Proposals need a model with start and step, which {type(model).__name__} lacks; "
            "use 0 proposals."
        )
    plans = [
        _one(model, policy, _element(latent, b), goal_tokens[b], state, count, rng, steps_left)
        for b, rng in enumerate(rngs)
    ]
    return torch.stack(plans)


def proposal_steps(count: int, length: int) -> int:
    """Return the predictor steps of ``propose`` per batch element: the last action needs none."""
    return count * (length - 1)


def _one(
    model: StepModel,
    policy: ActionProposer,
    latent: Latent,
    goal_tokens: Float[Tensor, "N D"],
    state: PlannerState,
    count: int,
    rng: torch.Generator,
    steps_left: float,
) -> Float[Tensor, "P L A"]:
    here, memory = model.start(latent, count)
    actions = [state.clip(policy.sample(here, goal_tokens, steps_left, rng))]
    for step in range(1, state.mean.shape[1]):
        here, memory = model.step(here, memory, actions[-1])
        actions.append(
            state.clip(policy.sample(here, goal_tokens, max(steps_left - step, 1.0), rng))
        )
    return torch.stack(actions, dim=1)


def _element(latent: Latent, b: int) -> Latent:
    actions = None if latent.actions is None else latent.actions[b : b + 1]
    return Latent(latent.tokens[b : b + 1], actions)
