"""Model policy: encode what is seen, plan in latent space, act, and plan again.

Each frame is encoded once and only if a decision will need it; all candidates of a decision are
one batch; the planner starts from what it decided last. One model step is ``frame_skip`` world
steps, with their actions side by side. With a goal prior, the plans that its policy would take are
tried first, and its distance says what is left to go when a plan ends. Where it adapts, what came
otherwise than foreseen corrects the rest of that episode (``planning/adaptation.py``).

Looks may be wrong. The present can be what several of them agree on (``planning/consensus.py``);
and they can be encoded anew with the goal at each decision, so that one tells what another lacks.

Where episodes run side by side, one call of the planner can decide for ``batch`` of them.

Axes: B = 1 batch, T history, N tokens, D latent width, L plan length, A action width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from armillary.control.carry import Decision
from armillary.control.model_state import ModelState
from armillary.control.seeing import encode_looks, encode_observation, scene_model
from armillary.control.situation import Situation, element
from armillary.core.errors import ConfigError
from armillary.core.protocols import Planner, WorldModel
from armillary.core.rng import torch_generator
from armillary.core.values import ActionBounds, Latent, Observation
from armillary.models import GoalPrior
from armillary.planning import (
    PlannerState,
    StepModel,
    consensus,
    consensus_steps,
    goal_cost,
    proposal_steps,
    propose,
)
from armillary.planning.adaptation import (
    UNIT_STEPS,
    AdaptedCost,
    AdaptedModel,
    AdaptedValue,
    experienced,
    usual_change,
)
from armillary.planning.experience import AdaptationConfig, Experience, Experiences
from armillary.planning.goal_cost import GoalCost
from armillary.planning.held import HeldActions, HeldPrior, held


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
        discount: of the goal cost.
        summed: of the goal cost.
        scale: [D] of the goal cost, None for ones.
        budget_model_steps: most predictor steps per decision; None for no limit.
        image_size: pictures are brought to this size, pixels; None leaves them as they come.
        prior: policy and goal distance on the model's latents; None for neither.
        proposals: plans of the prior's policy that each decision tries first.
        value_weight: of the prior's distance at the end of a plan, 1 where it should count as much
            as the latent distance does on the whole.
        batch: decisions that are made at once, where several episodes run side by side; one that is
            made alone is then made as a batch of this size, too.
        consensus: looks that the present is taken from, as most of them have it: of 1 and of 2 it
            is the last. More than 1 leave the predictor no memory.
        together: at each decision the goal and the remembered looks are encoded as one scene.
        hold: plans hold one action of the world for all world steps of a model step.
        adapt: how the policy learns from each episode while it runs; None for not at all.
    """

    model: WorldModel
    planner: Planner
    bounds: ActionBounds
    observes: tuple[str, ...] = ("rgb",)
    history: int = 1
    replan: int = 1
    frame_skip: int = 1
    discount: float = 1.0
    summed: bool = True
    scale: Float[Tensor, " D"] | None = None
    budget_model_steps: int | None = None
    image_size: int | None = None
    prior: GoalPrior | None = None
    proposals: int = 0
    value_weight: float = 0.0
    batch: int = 1
    consensus: int = 1
    together: bool = False
    hold: bool = False
    adapt: AdaptationConfig | None = None

    def __post_init__(self) -> None:
        counts = "history", "replan", "frame_skip", "batch", "consensus"
        given = {name: getattr(self, name) for name in counts}
        if min(given.values()) < 1:
            got = ", ".join(f"{name} {value}" for name, value in given.items())
            raise ConfigError(f"The counts of a policy must be at least 1; got {got}.")
        if min(self.history, self.consensus) > 1:
            raise ConfigError(
                "history and consensus cannot both be above 1; got "
                f"{self.history} and {self.consensus}."
            )
        if self.together:
            scene_model(self.model)
        if self.adapt is not None and (self.together or self.consensus > 1):
            raise ConfigError(
                "adapt needs single observations; use it without consensus and together."
            )
        settings = getattr(self.planner, "config", None)
        if self.replan > getattr(settings, "length", self.replan):
            raise ConfigError(
                f"replan must be at most the length of the plan; got {self.replan} and "
                f"{getattr(settings, 'length', 0)}."
            )
        self._check_prior()
        if (self.hold or self.adapt is not None) and not isinstance(self.model, StepModel):
            raise ConfigError(
                "hold and adapt need a model with start and step, which "
                f"{type(self.model).__name__} lacks."
            )
        length = getattr(settings, "length", 1)
        more = proposal_steps(self.proposals, length) + consensus_steps(self.consensus)
        if self.adapt is not None:
            more += length + max(UNIT_STEPS, self.replan)
        self._check_budget(getattr(settings, "model_steps", 0) + more)

    def looks(self, state: ModelState) -> bool:
        """Tell whether the next step is a model step whose picture a decision will need."""
        model_step, within = divmod(state.step, self.frame_skip)
        needed = -model_step % self.replan < self.remembered
        return within == 0 and (needed or self.adapt is not None)

    @property
    def remembered(self) -> int:
        """Looks that a decision rests on, where nothing is learned from the episode."""
        return max(self.history, self.consensus)

    def init(self, goal: Observation, seed: int) -> ModelState:
        """Return the state at the start of an episode; the goal is encoded here."""
        planner = self.planner.init(self._model_bounds(), 1)
        tokens = self.encode(goal)[:, 0]
        scene = (goal,) if self.together else ()
        return ModelState(seed, 0, tokens, (), (), planner, torch.empty(0, 0), scene=scene)

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
        experience: Experience | None = None,
    ) -> tuple[Float[Tensor, "L A"], Decision, Any]:
        """Return a plan, the decision for the record and the planner's next state.

        All that a decision depends on is in the arguments, so that it can be recomputed alone.

        Args:
            latent: the remembered looks, with the actions between them.
            goal_tokens: the goal's latent.
            planner: the planner's state.
            seed: names the chance of the episode.
            step: world step.
            experience: what the episode has taught, where the policy adapts.
        """
        known = () if experience is None else (experience,)
        one = Situation(latent, goal_tokens, planner, (seed,), step, known)
        return self._decided([one])[0][:3]

    def _decided(
        self, situations: Sequence[Situation]
    ) -> list[tuple[Float[Tensor, "L A"], Decision, Any, Experience | None]]:
        # The last one stands in for those that are missing: the shape of a batch, on which the
        # last bits of a product depend, is the same while episodes of a batch end one by one.
        missing = [situations[-1]] * max(self.batch - len(situations), 0)
        every, agreeing = self._agreed(Situation.of([*situations, *missing]))
        cost, (start, more) = self._cost(every), self._with_proposals(every)
        plan, later = self.planner.plan(cost, start, every.generators("policy.planner"))
        experiences: Sequence[Experience | None] = [None] * len(every.seeds)
        if isinstance(cost, AdaptedCost):
            experiences = cost.with_hills(plan.actions)
            # its hill, and what came of the steps since the last decision, or the unit at first
            more += plan.actions.shape[1] + (self.replan if every.step else UNIT_STEPS)
        model_steps = plan.model_steps + more + agreeing
        self._check_budget(model_steps)
        made = [
            Decision.of(one.step, model_steps, paid, one.planner)
            for one, paid in zip(situations, plan.costs.tolist(), strict=False)
        ]
        actions = held(plan.actions, self.frame_skip) if self.hold else plan.actions
        return [
            (actions[place], decision, element(later, place, len(every.seeds)), experiences[place])
            for place, decision in enumerate(made)
        ]

    def _agreed(self, every: Situation) -> tuple[Situation, int]:
        """Return the situations as their looks agree on them, and the model steps each took."""
        if self.consensus == 1:
            return every, 0
        agreed = consensus(self.model, every.latent)
        return replace(every, latent=agreed), consensus_steps(every.latent.tokens.shape[1])

    def _cost(self, every: Situation) -> GoalCost | AdaptedCost:
        model, value, weight = self._planned_in, None, 0.0
        if self.prior is not None and self.value_weight:
            value = self.prior.distance
            weight = self.value_weight * float(self.prior.latent_per_step)
        known = self._known(every.experiences)
        if known is not None:
            model = AdaptedModel(model, known)
            value = None if value is None else AdaptedValue(value, known)
        rules = self.discount, self.scale, value, weight, self.summed
        cost = goal_cost(model, every.latent, every.goal_tokens, *rules)
        return cost if known is None else AdaptedCost(cost, known)

    @property
    def _planned_in(self) -> WorldModel:
        """The model, as plans are made for it."""
        return HeldActions(self.model, self.frame_skip) if self.hold else self.model

    def _known(self, experiences: Sequence[Experience]) -> Experiences | None:
        if self.adapt is None:
            return None
        bounds = self._model_bounds()
        half = torch.from_numpy(bounds.high - bounds.low).float() / 2
        steps = 1 if self.hold else self.frame_skip
        return Experiences(experiences, self.adapt, half * steps**0.5)

    def _with_proposals(self, situation: Situation) -> tuple[Any, int]:
        """Return the planner's state with proposals in it, and the model steps they took."""
        planner = situation.planner
        if self.prior is None or not self.proposals:
            return planner, 0
        # A stream of its own: the planner draws the same numbers with and without proposals.
        rngs = situation.generators("policy.proposals")
        latent, goal_tokens = situation.latent, situation.goal_tokens
        prior = HeldPrior(self.prior, self.frame_skip) if self.hold else self.prior
        plans = propose(self._planned_in, prior, latent, goal_tokens, planner, self.proposals, rngs)
        return planner.with_proposals(plans), proposal_steps(*plans.shape[1:3])

    def _see(self, observation: Observation, state: ModelState, model_step: int) -> ModelState:
        if not self.looks(state):
            return replace(state, tokens=(), actions=(), scene=state.scene[:1])
        keep, actions = self.remembered, state.actions
        if state.tokens or state.scene[1:]:
            actions = (*actions, state.plan[(model_step - 1) % self.replan])
        kept = actions[-(keep - 1) :] if keep > 1 else ()
        if self.together:
            goal, *looks = *state.scene, observation
            return replace(state, actions=kept, scene=(goal, *looks[-keep:]))
        tokens = (*state.tokens, self.encode(observation))
        experience = self._experience(state, tokens, actions)
        return replace(state, tokens=tokens[-keep:], actions=kept, experience=experience)

    def _experience(
        self, state: ModelState, tokens: Sequence[Tensor], actions: Sequence[Tensor]
    ) -> Experience | None:
        """Return what the episode has taught, the last model step included."""
        known = self._known(() if state.experience is None else (state.experience,))
        if known is None:
            return None
        model, width = self._planned_in, len(known.scale)
        if not known.of:
            rng = torch_generator("policy.unit", state.seed)
            unit = usual_change(model, Latent(tokens[-1]), self._model_bounds(), rng)
            return Experience.none(unit, tokens[-1].numel(), width)
        # of an action that was held, one
        return experienced(known, model, tokens[-2], actions[-1][:width], tokens[-1])

    def _decide(self, states: Sequence[ModelState]) -> list[ModelState]:
        if self.together:
            states = [self._seen_together(state) for state in states]
        decided = self._decided([self._situation(state) for state in states])
        return [
            replace(state, planner=planner, plan=plan, decision=decision, experience=experience)
            for state, (plan, decision, planner, experience) in zip(states, decided, strict=True)
        ]

    def _seen_together(self, state: ModelState) -> ModelState:
        goal_tokens, tokens = self.sees(state.scene[0], state.scene[1:])
        return replace(state, goal_tokens=goal_tokens, tokens=tokens.split(1, dim=1))

    def _situation(self, state: ModelState) -> Situation:
        planner = state.planner
        if state.step:
            planner = self.planner.advance(planner, self.replan)
        known = () if state.experience is None else (state.experience,)
        situation = self.latent(state), state.goal_tokens, planner, (state.seed,), state.step
        return Situation(*situation, known)

    def sees(
        self, goal: Observation, looks: Sequence[Observation]
    ) -> tuple[Float[Tensor, "1 N D"], Float[Tensor, "1 T N D"]]:
        """Return the latents of the goal and of the remembered looks, as a decision takes them."""
        if self.together:
            scene = [look.only(self.observes) for look in (goal, *looks)]
            tokens = encode_looks(self.model, scene, self.image_size)
            return tokens[:, 0], tokens[:, 1:]
        return self.encode(goal)[:, 0], torch.cat([self.encode(look) for look in looks], dim=1)

    def encode(self, observation: Observation) -> Float[Tensor, "1 1 N D"]:
        """Return the latent of one observation."""
        return encode_observation(self.model, observation, self.image_size)

    def _model_bounds(self) -> ActionBounds:
        """Return the bounds of what is planned."""
        if self.hold:
            return self.bounds
        return ActionBounds(
            np.tile(self.bounds.low, self.frame_skip), np.tile(self.bounds.high, self.frame_skip)
        )

    def _check_prior(self) -> None:
        if self.proposals < 0 or not self.value_weight >= 0:
            raise ConfigError(
                "proposals and value_weight must be at least 0; "
                f"got {self.proposals} and {self.value_weight}."
            )
        if self.prior is None or not self.proposals:
            return
        kept = isinstance(self.planner.init(self._model_bounds(), 1), PlannerState)
        if not (kept and isinstance(self.model, StepModel)):
            raise ConfigError(
                "Proposals need a model with start and step, and a planner whose state is a "
                "PlannerState. Set proposals to 0 with others."
            )

    def _check_budget(self, model_steps: int) -> None:
        if self.budget_model_steps is not None and model_steps > self.budget_model_steps:
            raise ConfigError(
                f"The planner takes {model_steps} model steps per decision, and its budget is "
                f"{self.budget_model_steps}. Use fewer samples, iterations or observations, or a "
                "shorter plan."
            )
