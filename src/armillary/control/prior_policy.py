"""Prior policy: act as a goal prior's policy says, without a search. It takes no predictor step.

What was learned by imitation in hindsight is followed as it is. Where a model foresees less well
than recordings were acted, as in pushing things, a search through it only leads astray.

Axes: Z flattened latent, F world steps of a model step, A action width.
Source: Ghosh et al. 2019 (1912.06088), goal-conditioned supervised learning.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from armillary.control.carry import Decision
from armillary.control.seeing import encode_observation
from armillary.core.errors import ConfigError
from armillary.core.protocols import WorldModel
from armillary.core.rng import torch_generator
from armillary.core.values import ActionBounds, Observation


@runtime_checkable
class Intends(Protocol):
    """A goal-conditioned policy on latents (``GoalPrior``)."""

    def intent(
        self, latent: Float[Tensor, " Z"], goal: Float[Tensor, " Z"], rng: torch.Generator
    ) -> Float[Tensor, " A"]:
        """Return the action of a model step, in the world's units; bounds are not its concern."""
        ...


@dataclass(frozen=True)
class PriorState:
    """What the policy remembers within an episode.

    Attributes:
        seed: names the chance of this episode.
        step: world step of the next action.
        goal: the goal's latent, flattened.
        actions: of the model step that goes on; empty before the first.
        decision: when these were chosen, for the record.
    """

    seed: int
    step: int
    goal: Float[Tensor, " Z"]
    actions: Float[Tensor, "F A"]
    decision: Decision | None = None


@dataclass(frozen=True)
class PriorPolicy:
    """Follows the policy of a goal prior.

    Attributes:
        model: encodes.
        prior: acts, on the model's latents.
        bounds: the world's box of actions, which what it means to do is clipped to.
        observes: observation streams that the model needs.
        frame_skip: world steps per model step.
        image_size: pictures are brought to this size, pixels; None leaves them as they come.
        executed: world steps of what is meant for a model step that are taken before the next look;
            None for all. Where a push or a torque decides within a fraction of a model step, a
            look at every step pays.
    """

    model: WorldModel
    prior: Intends
    bounds: ActionBounds
    observes: tuple[str, ...] = ("rgb",)
    frame_skip: int = 1
    image_size: int | None = None
    executed: int | None = None

    def __post_init__(self) -> None:
        if self.frame_skip < 1:
            raise ConfigError(f"frame_skip must be at least 1; got {self.frame_skip}.")
        if self.executed is not None and not 1 <= self.executed <= self.frame_skip:
            raise ConfigError(
                f"executed is 1 to {self.frame_skip}, the world steps of a model step; got "
                f"{self.executed}."
            )

    def looks(self, state: PriorState) -> bool:
        """Tell whether the next step is the first after a new look."""
        return state.step % self._every == 0

    def init(self, goal: Observation, seed: int) -> PriorState:
        """Return the state at the start of an episode; the goal is encoded here, once."""
        return PriorState(seed, 0, self._encode(goal), torch.empty(0, self.bounds.width))

    def act(
        self, observation: Observation, state: PriorState
    ) -> tuple[Float[np.ndarray, " A"], PriorState]:
        """Return the next action of what is meant, after a new look where one is due."""
        if self.looks(state):
            chosen = Decision(state.step, model_steps=0, cost=None, carry={})
            state = replace(state, actions=self._meant(observation, state), decision=chosen)
        action = state.actions[state.step % self._every].double().numpy()
        within = np.clip(action, self.bounds.low, self.bounds.high)
        return within, replace(state, step=state.step + 1)

    @property
    def _every(self) -> int:
        """World steps from one look to the next."""
        return self.executed or self.frame_skip

    @torch.no_grad()
    def _meant(self, observation: Observation, state: PriorState) -> Float[Tensor, "F A"]:
        rng = torch_generator("policy.prior", state.seed, state.step)
        meant = self.prior.intent(self._encode(observation), state.goal, rng)
        return meant.unflatten(0, (self.frame_skip, -1))

    def _encode(self, observation: Observation) -> Float[Tensor, " Z"]:
        return encode_observation(self.model, observation, self.image_size).flatten()
