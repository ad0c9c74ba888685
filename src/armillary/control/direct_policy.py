"""Direct policy: act as a model's goal policy says, without a search. It takes no predictor step.

It looks at every world step and takes the first of the actions that are meant for a model step. The
goal policy is told how much time is left, so that it can go a long way round where that is needed.

Axes: B batch, Z flattened latent, A action width; of a model step in what the policy returns.
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
from armillary.control.situation import steps_left
from armillary.core.protocols import WorldModel
from armillary.core.values import ActionBounds, Observation


@runtime_checkable
class GoalConditioned(Protocol):
    """A goal-conditioned policy on latents (``GoalPolicy``)."""

    def act(
        self, latents: Float[Tensor, "B Z"], goals: Float[Tensor, "B Z"], steps_left: float
    ) -> Float[Tensor, "B A"]:
        """Return the actions of a model step, in the world's units; bounds are not its concern.

        Args:
            latents: where each is.
            goals: where each shall be.
            steps_left: model steps until then, at least 1.
        """
        ...


@dataclass(frozen=True)
class DirectState:
    """What the policy remembers within an episode.

    Attributes:
        step: world step of the next action.
        goal: the goal's latent, flattened.
        decision: when the last action was chosen, for the record.
    """

    step: int
    goal: Float[Tensor, " Z"]
    decision: Decision | None = None


@dataclass(frozen=True)
class DirectPolicy:
    """Follows a goal policy.

    Attributes:
        model: encodes.
        policy: acts, on the model's latents.
        bounds: the world's box of actions, which what it means to do is clipped to.
        observes: observation streams that the model needs.
        frame_skip: world steps per model step.
        image_size: pictures are brought to this size, pixels; None leaves them as they come.
        deadline: world steps in which the goal is to be reached; None for as soon as possible.
    """

    model: WorldModel
    policy: GoalConditioned
    bounds: ActionBounds
    observes: tuple[str, ...] = ("rgb",)
    frame_skip: int = 1
    image_size: int | None = None
    deadline: int | None = None

    def init(self, goal: Observation, seed: int) -> DirectState:
        """Return the state at the start of an episode; the goal is encoded here, once."""
        return DirectState(0, self._encode(goal))

    def act(
        self, observation: Observation, state: DirectState
    ) -> tuple[Float[np.ndarray, " A"], DirectState]:
        """Return the next action, after a look."""
        with torch.no_grad():
            remaining = steps_left(self.deadline, state.step, self.frame_skip)
            meant = self.policy.act(self._encode(observation)[None], state.goal[None], remaining)[0]
        action = meant[: self.bounds.width].double().numpy()
        chosen = Decision(state.step, model_steps=0, cost=None, carry={})
        within = np.clip(action, self.bounds.low, self.bounds.high)
        return within, replace(state, step=state.step + 1, decision=chosen)

    def _encode(self, observation: Observation) -> Float[Tensor, " Z"]:
        return encode_observation(self.model, observation, self.image_size).flatten()
