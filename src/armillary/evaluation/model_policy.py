"""Model policy: encode what is seen, plan in latent space, act, and plan again.

Each frame is encoded once and only if a decision will need it; all candidates of a decision are
one batch; the planner starts from what it decided last. One model step is ``frame_skip`` world
steps, with their actions side by side. Decisions are made at model steps.

Where episodes run side by side, one call of the planner can decide for ``batch`` of them.

Axes: B = 1 batch, T history, N tokens, D latent width, L plan length, A action width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.errors import ConfigError
from armillary.core.protocols import Planner, WorldModel
from armillary.core.values import ActionBounds, Latent, Observation
from armillary.evaluation.carry import Decision
from armillary.evaluation.model_state import ModelState
from armillary.evaluation.seeing import encode_observation
from armillary.evaluation.situation import Situation, element, steps_left
from armillary.models.goal_policy import SHARE
from armillary.planning import goal_cost


@dataclass(frozen=True)
class ModelPolicy:
    """Plans through a world model towards a goal picture.

    Attributes:
        model: encodes and foresees.
        planner: minimises the cost.
        bounds: the world's box of actions.
        observes: observation streams that the model needs.
        history: model steps of latents and actions that the predictor gets as memory.
        replan: model steps that are executed before the next decision.
        frame_skip: world steps per model step.
        deadline: world steps in which the goal is to be reached; None for as soon as possible. It
            is to be reached in half of the time that is left, as a goal policy has it, or at the
            end of the plan if that is sooner.
        budget_model_steps: most predictor steps per decision; None for no limit.
        image_size: pictures are brought to this size, pixels; None leaves them as they come.
        batch: decisions that are made at once, where several episodes run side by side; one that is
            made alone is then made as a batch of this size, too.
    """

    model: WorldModel
    planner: Planner
    bounds: ActionBounds
    observes: tuple[str, ...] = ("rgb",)
    history: int = 1
    replan: int = 1
    frame_skip: int = 1
    deadline: int | None = None
    budget_model_steps: int | None = None
    image_size: int | None = None
    batch: int = 1

    def __post_init__(self) -> None:
        counts = "history", "replan", "frame_skip", "batch"
        given = {name: getattr(self, name) for name in counts}
        if min(given.values()) < 1:
            got = ", ".join(f"{name} {value}" for name, value in given.items())
            raise ConfigError(f"The counts of a policy must be at least 1; got {got}.")
        settings = getattr(self.planner, "config", None)
        if self.replan > getattr(settings, "length", self.replan):
            raise ConfigError(
                f"replan must be at most the length of the plan; got {self.replan} and "
                f"{getattr(settings, 'length', 0)}."
            )
        check_budget(getattr(settings, "model_steps", 0), self.budget_model_steps)

    @property
    def decides_every(self) -> int:
        """World steps from one decision to the next."""
        return self.replan * self.frame_skip

    def horizon(self, step: int) -> int | None:
        """Return the model steps in which the goal is to be reached; None without a deadline.

        Args:
            step: world steps that were taken.
        """
        if self.deadline is None:
            return None
        return max(math.ceil(SHARE * steps_left(self.deadline, step, self.frame_skip)), 1)

    def looks(self, state: ModelState) -> bool:
        """Tell whether the next step is one whose picture a decision will need."""
        model_step, within = divmod(state.step, self.frame_skip)
        return within == 0 and -model_step % self.replan < self.history

    def init(self, goal: Observation, seed: int) -> ModelState:
        """Return the state at the start of an episode; the goal is encoded here."""
        planner = self.planner.init(self._model_bounds(), 1)
        tokens = self.encode(goal)[:, 0]
        return ModelState(seed, 0, tokens, (), (), planner, torch.empty(0, 0))

    def act(
        self, observation: Observation, state: ModelState
    ) -> tuple[Float[np.ndarray, " A"], ModelState]:
        """Return the next action of the plan, after a new decision where one is due.

        Raises:
            ConfigError: the planner used more model steps than its budget.
            ShapeError: the model or its cost broke the contract.
        """
        return self.act_together([observation], [state])[0]

    def act_together(
        self, observations: Sequence[Observation], states: Sequence[ModelState]
    ) -> list[tuple[Float[np.ndarray, " A"], ModelState]]:
        """Return what ``act`` returns for several episodes that are at the same step.

        Each episode sees for itself; decisions are made in one call of the planner.

        Raises:
            ConfigError: as ``act``, or the planner cannot decide for several at once.
            ShapeError: as ``act``.
        """
        model_step, within = divmod(states[0].step, self.frame_skip)
        if within == 0:
            seen = zip(observations, states, strict=True)
            states = [self._see(observation, state, model_step) for observation, state in seen]
            if model_step % self.replan == 0:
                states = self._decide(states)
        place = model_step % self.replan
        rows = [state.plan[place].reshape(self.frame_skip, -1)[within] for state in states]
        return [
            (row.numpy().copy(), replace(state, step=state.step + 1))
            for row, state in zip(rows, states, strict=True)
        ]

    def sent(self, action: Float[np.ndarray, " A"], state: ModelState) -> ModelState:
        """Return the state after an action that was sent in place of the last one it gave."""
        model_step, within = divmod(state.step - 1, self.frame_skip)
        plan = state.plan.clone()
        row = plan[model_step % self.replan].view(self.frame_skip, -1)
        row[within] = torch.as_tensor(action, dtype=plan.dtype)
        return replace(state, plan=plan)

    def latent(self, state: ModelState) -> Latent:
        """Return the remembered looks and the actions between them."""
        actions = torch.stack(state.actions)[None] if state.actions else None
        return Latent(torch.cat(state.tokens, dim=1), actions)

    def decide(
        self,
        latent: Latent,
        goal_tokens: Float[Tensor, "1 N D"],
        planner: Any,
        seed: int,
        step: int,
    ) -> tuple[Float[Tensor, "L A"], Decision, Any]:
        """Return a plan, the decision for the record and the planner's next state.

        All that a decision depends on is in the arguments, so that it can be recomputed alone.

        Args:
            latent: the remembered looks, with the actions between them.
            goal_tokens: the goal's latent.
            planner: the planner's state.
            seed: names the chance of the episode.
            step: world step.
        """
        return self._decided([Situation(latent, goal_tokens, planner, (seed,), step)])[0]

    def _decided(
        self, situations: Sequence[Situation]
    ) -> list[tuple[Float[Tensor, "L A"], Decision, Any]]:
        # The last one stands in for those that are missing: the shape of a batch, on which the
        # last bits of a product depend, is the same while episodes of a batch end one by one.
        missing = [situations[-1]] * max(self.batch - len(situations), 0)
        every = Situation.of([*situations, *missing])
        horizon = self.horizon(every.step)
        cost = goal_cost(self.model, every.latent, every.goal_tokens, horizon)
        plan, later = self.planner.plan(cost, every.planner, every.generators("policy.planner"))
        check_budget(plan.model_steps, self.budget_model_steps)
        made = [
            Decision.of(one.step, plan.model_steps, paid, one.planner)
            for one, paid in zip(situations, plan.costs.tolist(), strict=False)
        ]
        return [
            (plan.actions[place], decision, element(later, place, len(every.seeds)))
            for place, decision in enumerate(made)
        ]

    def _see(self, observation: Observation, state: ModelState, model_step: int) -> ModelState:
        if not self.looks(state):
            return replace(state, tokens=(), actions=())
        keep, actions = self.history, state.actions
        if state.tokens:
            actions = (*actions, state.plan[(model_step - 1) % self.replan])
        kept = actions[-(keep - 1) :] if keep > 1 else ()
        tokens = (*state.tokens, self.encode(observation))
        return replace(state, tokens=tokens[-keep:], actions=kept)

    def _decide(self, states: Sequence[ModelState]) -> list[ModelState]:
        decided = self._decided([self._situation(state) for state in states])
        return [
            replace(state, planner=planner, plan=plan, decision=decision)
            for state, (plan, decision, planner) in zip(states, decided, strict=True)
        ]

    def _situation(self, state: ModelState) -> Situation:
        planner = state.planner
        if state.step:
            planner = self.planner.advance(planner, self.replan)
        return Situation(self.latent(state), state.goal_tokens, planner, (state.seed,), state.step)

    def encode(self, observation: Observation) -> Float[Tensor, "1 1 N D"]:
        """Return the latent of one observation."""
        return encode_observation(self.model, observation, self.image_size)

    def _model_bounds(self) -> ActionBounds:
        """Return the bounds of what is planned."""
        return ActionBounds(
            np.tile(self.bounds.low, self.frame_skip), np.tile(self.bounds.high, self.frame_skip)
        )


def check_budget(model_steps: int, budget: int | None) -> None:
    """Check what a decision takes.

    Args:
        model_steps: predictor steps of a decision.
        budget: most that it may take; None for no limit.

    Raises:
        ConfigError: it takes more.
    """
    if budget is not None and model_steps > budget:
        raise ConfigError(
            f"The planner takes {model_steps} model steps per decision, and its budget is "
            f"{budget}. Use fewer samples or iterations, or a shorter plan."
        )
