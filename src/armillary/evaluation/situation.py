"""Situation: all that decisions depend on, so that they can be made alone, together, or again.

Axes: B decisions, T history, N tokens, D latent width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.errors import ConfigError
from armillary.core.rng import torch_generator
from armillary.core.values import Latent
from armillary.planning import PlannerState


@dataclass(frozen=True)
class Situation:
    """One decision, or B of them side by side.

    Attributes:
        latent: what is remembered, with the present.
        goal_tokens: [B N D].
        planner: the planner's state for B.
        seeds: name the chance of each episode.
        step: world step, the same for all.
    """

    latent: Latent
    goal_tokens: Float[Tensor, "B N D"]
    planner: Any
    seeds: tuple[int, ...]
    step: int

    @classmethod
    def of(cls, parts: Sequence[Situation]) -> Situation:
        """Return several situations as one.

        Raises:
            ConfigError: they are not at the same step with as much memory, or their planner's
                state is not a ``PlannerState``.
        """
        if len(parts) == 1:
            return parts[0]
        if len({(one.step, one.latent.tokens.shape[1]) for one in parts}) > 1:
            raise ConfigError("Batched decisions must be at the same step.")
        actions = [one.latent.actions for one in parts if one.latent.actions is not None]
        return cls(
            Latent(
                torch.cat([one.latent.tokens for one in parts]),
                torch.cat(actions) if actions else None,
            ),
            torch.cat([one.goal_tokens for one in parts]),
            _stacked([one.planner for one in parts]),
            tuple(seed for one in parts for seed in one.seeds),
            parts[0].step,
        )

    def generators(self, purpose: str) -> list[torch.Generator]:
        """Return one generator per decision, the same whatever it is decided together with."""
        return [torch_generator(purpose, seed, self.step) for seed in self.seeds]


def steps_left(deadline: int | None, step: int, frame_skip: int) -> float:
    """Return the model steps that are left, at least 1.

    Args:
        deadline: world steps in which the goal is to be reached; None for as soon as possible.
        step: world steps that were taken.
        frame_skip: world steps per model step.
    """
    return 1.0 if deadline is None else max((deadline - step) / frame_skip, 1.0)


def element(planner: Any, place: int, batch: int) -> Any:
    """Return the state of a planner for one of B decisions; of one decision it is the state."""
    if batch == 1:
        return planner
    one = slice(place, place + 1)
    return replace(planner, mean=planner.mean[one], kept=planner.kept[one])


def _stacked(states: Sequence[Any]) -> PlannerState:
    for state in states:
        if not isinstance(state, PlannerState):
            raise ConfigError(
                "Batched decisions need a planner whose state is a PlannerState, not "
                f"{type(state).__name__}. Set batch to 1."
            )
    kept = min(state.kept.shape[1] for state in states)
    return replace(
        states[0],
        mean=torch.cat([state.mean for state in states]),
        kept=torch.cat([state.kept[:, :kept] for state in states]),
    )
