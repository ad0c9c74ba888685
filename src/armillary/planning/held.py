"""Held actions: one action of the world for all the world steps of a model step.

A search over held actions has as many numbers fewer as a model step has world steps, and plans that
go far in one direction, which independent actions hardly ever do, are drawn at once.

Axes: B batch, S plans, L plan length, A action of the world, W = A * times, action of the model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.errors import ConfigError
from armillary.core.protocols import WorldModel
from armillary.core.values import Batch, Latent
from armillary.planning.proposals import ActionPrior, StepModel


@dataclass(frozen=True)
class HeldActions:
    """A world model whose actions are held.

    Attributes:
        model: that takes ``times`` actions side by side.
        times: world steps of a model step.
    """

    model: WorldModel
    times: int

    def encode(self, batch: Batch) -> Latent:
        """Return what the model sees."""
        return self.model.encode(batch)

    def rollout(
        self, latent: Latent, plans: Float[Tensor, "B S L A"]
    ) -> Float[Tensor, "B S L N D"]:
        """Return the latents that each plan leads to."""
        return self.model.rollout(latent, held(plans, self.times))

    def start(
        self, latent: Latent, candidates: int
    ) -> tuple[Float[Tensor, "BS Z"], Float[Tensor, "BS M"]]:
        """Return state and memory, once per candidate.

        Raises:
            ConfigError: a model that cannot be led step by step.
        """
        return step_model(self.model).start(latent, candidates)

    def step(
        self,
        state: Float[Tensor, "BS Z"],
        memory: Float[Tensor, "BS M"],
        actions: Float[Tensor, "BS A"],
    ) -> tuple[Float[Tensor, "BS Z"], Float[Tensor, "BS M"]]:
        """Return state and memory one model step later."""
        return step_model(self.model).step(state, memory, held(actions, self.times))


@dataclass(frozen=True)
class HeldPrior:
    """A policy of which the mean over a model step is taken, to be held.

    Attributes:
        prior: gives ``times`` actions side by side.
        times: world steps of a model step.
    """

    prior: ActionPrior
    times: int

    def sample(
        self,
        latents: Float[Tensor, "P Z"],
        goal_tokens: Float[Tensor, "N D"],
        rng: torch.Generator,
    ) -> Float[Tensor, "P A"]:
        """Return one action per state."""
        actions = self.prior.sample(latents, goal_tokens, rng)
        return actions.unflatten(-1, (self.times, -1)).mean(-2)


def held(actions: Float[Tensor, "*B A"], times: int) -> Float[Tensor, "*B W"]:
    """Return actions, each ``times`` side by side."""
    return actions.repeat(*[1] * (actions.ndim - 1), times)


def step_model(model: WorldModel) -> StepModel:
    """Return the model as one that can be led step by step.

    Raises:
        ConfigError: it cannot.
    """
    if not isinstance(model, StepModel):
        raise ConfigError(
            f"This needs a model with start and step, which {type(model).__name__} lacks."
        )
    return model
