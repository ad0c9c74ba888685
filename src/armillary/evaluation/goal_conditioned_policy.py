"""Goal-conditioned policy: act as a model's goal policy says, with a guided search or without.

It looks at every world step and takes the first of the actions that are meant for a model step. The
goal policy is told how much time is left, so that it can go a long way round where that is needed.
Without a search it takes no predictor step. With one (``planning/guided.py``), it tries the policy
in the model once the goal is to be reached within the search's reach.

The search begins with a memory of the last model steps, as they were seen and acted. Without it the
model cannot know speeds, which matter where actions are forces (docs/concepts/planning.md).

Axes: B batch, T actions so far, k world steps of a model step, Z flattened latent, A action width;
of a model step in what the goal policy returns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, cast, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.errors import ConfigError
from armillary.core.protocols import WorldModel
from armillary.core.rng import torch_generator
from armillary.core.values import ActionBounds, Latent, Observation
from armillary.evaluation.carry import Decision
from armillary.evaluation.seeing import encode_observation
from armillary.evaluation.situation import steps_left
from armillary.planning import ActionProposer, GuidedConfig, StepModel, guided_plan
from armillary.planning.state import box_of


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
class GoalConditionedState:
    """What the policy remembers within an episode.

    Attributes:
        seed: names the chance of this episode.
        step: world step of the next action.
        goal: the goal's latent, flattened.
        seen: latents of the last world steps, the present last; empty before the first.
        done: actions of the world steps before the next one, in the world's units; as many as the
            search remembers.
        decision: when the last action was chosen, for the record.
    """

    seed: int
    step: int
    goal: Float[Tensor, " Z"]
    seen: tuple[Float[Tensor, "1 1 N D"], ...] = ()
    done: tuple[Float[Tensor, " A"], ...] = ()
    decision: Decision | None = None


@dataclass(frozen=True)
class GoalConditionedPolicy:
    """Follows a goal policy.

    Attributes:
        model: encodes.
        policy: acts, on the model's latents.
        bounds: the world's box of actions, which what it means to do is clipped to.
        observes: observation streams that the model needs.
        frame_skip: world steps per model step.
        image_size: pictures are brought to this size, pixels; None leaves them as they come.
        deadline: world steps in which the goal is to be reached; None for as soon as possible.
        search: settings of a search around what the goal policy does; None for none.
        history: model steps that are remembered, the present included; 0 takes as many as the
            search begins with, or 1 without a search.

    Raises:
        ConfigError: a search with a model or a goal policy that cannot be led step by step, or
            ``history`` is below 0.
    """

    model: WorldModel
    policy: GoalConditioned
    bounds: ActionBounds
    observes: tuple[str, ...] = ("rgb",)
    frame_skip: int = 1
    image_size: int | None = None
    deadline: int | None = None
    search: GuidedConfig | None = None
    history: int = 0

    def __post_init__(self) -> None:
        led = isinstance(self.model, StepModel) and isinstance(self.policy, ActionProposer)
        if self.search is not None and not led:
            raise ConfigError(
                "A guided search needs a model with start and step, and a goal policy with "
                f"goal_time and sample; got {type(self.model).__name__} and "
                f"{type(self.policy).__name__}. Act directly with others."
            )
        if self.history < 0:
            raise ConfigError(f"history must be 0 or more; got {self.history}.")
        if self.history == 0:
            object.__setattr__(self, "history", self.search.history if self.search else 1)

    def init(self, goal: Observation, seed: int) -> GoalConditionedState:
        """Return the state at the start of an episode; the goal is encoded here, once."""
        return GoalConditionedState(seed, 0, self._encode(goal).flatten())

    def act(
        self, observation: Observation, state: GoalConditionedState
    ) -> tuple[Float[np.ndarray, " A"], GoalConditionedState]:
        """Return the next action, after a look."""
        seen = (*state.seen, self._encode(observation))[-self._kept - 1 :]
        state = replace(state, seen=seen)
        within, _, decision = self.decide(state)
        state = replace(state, step=state.step + 1, decision=decision)
        return within, self._did(within, state, state.done)

    def decide(
        self, state: GoalConditionedState
    ) -> tuple[Float[np.ndarray, " A"], Float[Tensor, " kA"], Decision]:
        """Return the next action, the actions of its model step, and the decision for the record.

        Args:
            state: with the present as the last of what was seen. It is all that the decision rests
                on.
        """
        remaining = steps_left(self.deadline, state.step, self.frame_skip)
        with torch.no_grad():
            meant, decision = self._decide(state, remaining)
        action = meant[: self.bounds.width].double().numpy()
        return np.clip(action, self.bounds.low, self.bounds.high), meant, decision

    def state_at(
        self,
        start: GoalConditionedState,
        seen: Sequence[Observation],
        actions: Float[np.ndarray, "T A"],
    ) -> GoalConditionedState:
        """Return the state in which it decides, from all that an episode showed so far.

        Args:
            start: from ``init``.
            seen: every observation, the present last.
            actions: every action between them.
        """
        step = len(seen) - 1
        first = max(step - self._kept, 0)
        tokens = tuple(self._encode(one) for one in seen[first:])
        done = tuple(torch.as_tensor(one, dtype=torch.float32) for one in actions[first:step])
        return replace(start, step=step, seen=tokens, done=done)

    @property
    def decides_every(self) -> int:
        """World steps from one decision to the next."""
        return 1

    def sent(
        self, action: Float[np.ndarray, " A"], state: GoalConditionedState
    ) -> GoalConditionedState:
        """Return the state after an action that was sent in place of the last one it gave."""
        return self._did(action, state, state.done[:-1])

    def remembered(self, state: GoalConditionedState) -> Latent:
        """Return what was seen at whole model steps before the last look, and the actions between.

        Early in an episode there are fewer than ``history``.
        """
        steps = (len(state.seen) - 1) // self.frame_skip
        world_steps = steps * self.frame_skip
        tokens = torch.cat(state.seen[-world_steps - 1 :: self.frame_skip], 1)
        if not steps:
            return Latent(tokens)
        done = torch.stack(state.done[-world_steps:])
        return Latent(tokens, done.reshape(1, steps, -1))

    @property
    def _kept(self) -> int:
        """World steps before the present that are remembered."""
        return (self.history - 1) * self.frame_skip

    def _did(
        self,
        action: Float[np.ndarray, " A"],
        state: GoalConditionedState,
        before: tuple[Float[Tensor, " A"], ...],
    ) -> GoalConditionedState:
        done = (*before, torch.as_tensor(action, dtype=torch.float32))
        return replace(state, done=done[-self._kept :] if self._kept else ())

    def _decide(
        self, state: GoalConditionedState, remaining: float
    ) -> tuple[Float[Tensor, " A"], Decision]:
        """Return the actions of a model step, and the decision for the record."""
        if self.search is not None:
            model, policy = cast("StepModel", self.model), cast("ActionProposer", self.policy)
            steps = policy.goal_time(remaining)
            if steps <= self.search.longest:
                box = box_of(self.bounds, self.frame_skip)
                rng = torch_generator("policy.guided", state.seed, state.step)
                latent = self.remembered(state)
                plan = guided_plan(model, policy, latent, state.goal, steps, box, self.search, rng)
                made = Decision.of(state.step, plan.model_steps, float(plan.costs), None)
                return plan.actions[0, 0], made
        meant = self.policy.act(state.seen[-1].flatten()[None], state.goal[None], remaining)[0]
        return meant, Decision(state.step, model_steps=0, cost=None, carry={})

    def _encode(self, observation: Observation) -> Float[Tensor, "1 1 N D"]:
        return encode_observation(self.model, observation, self.image_size)
