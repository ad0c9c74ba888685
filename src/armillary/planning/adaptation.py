"""Adaptation: what an episode teaches about its own place while it runs.

A model that learned from many places is a little wrong about each of them, and a planner that
trusts it makes the same mistake for ever: it pushes against a wall that the model does not see, or
waits where a learned distance has a hollow. Nothing is trained here. An episode keeps what it did,
what came of it, and how far from the goal its places turned out to be. Foresight is corrected,

    foreseen'(z, a) = foreseen(z, a) + sum_i k_i e_i / max(sum_i k_i, 1)
    k_i = exp(-|z - z_i|^2 / 2 (near u)^2 - |a - a_i|^2 / 2 alike^2)

with e_i = z_{i+1} - foreseen(z_i, a_i); what resembles a step that went wrong costs more steps,

    doubt(z, a) = doubt * min(|a| / alike, 1) * max k_i over those i that went wrong,
    |e_i| > wrong |foreseen(z_i, a_i) - z_i|

and hollows of the learned distance are filled:

    h(z) = (distance(z, g) + max_j hill_j exp(-|z - z_j|^2 / 2 (wide u)^2)) (1 - same(z, g))
    same(z, g) = exp(-|z - g|^2 / 2 (wide u)^2)

where hill_j lifts h(z_j) to what the plan that was chosen there says: the least of k + doubts +
h(z_{j+k}). At the goal h is 0, whatever a network says of it: there the policy stays. The unit u is
the change that the model foresees from an action when nothing is in the way: of 64 that are drawn
when the episode starts, all but a tenth change less (beside a wall most are stopped).

Axes: B batch, S plans, L plan length, M experiences, P places, Z = N*D latent, A action.
Source: Korf 1990 for hills (LRTA*); Vemula et al. 2020 (2003.04394, CMAX) for planning with a model
that is wrong where the episode has found it wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.protocols import WorldModel
from armillary.core.values import ActionBounds, Batch, Latent
from armillary.planning.experience import Experience, Experiences
from armillary.planning.goal_cost import GoalCost, Value
from armillary.planning.held import step_model

UNIT_STEPS = 64
_RUNNING = 0.1  # of what is left to go after each step but the last, beside that of the last
_LEAST = 0.15  # of a usual step: that a smaller one is foreseen wrongly says nothing
_SAME = 0.6  # so near to its goal, a place gets no hill: exp(-1 / 2), one ``wide`` away


@dataclass(frozen=True)
class AdaptedModel:
    """A world model, corrected by what each episode of a batch has found.

    Attributes:
        model: a model that can be led step by step.
        known: of the episodes.
    """

    model: WorldModel
    known: Experiences

    def encode(self, batch: Batch) -> Latent:
        """Return what the model sees."""
        return self.model.encode(batch)

    def rollout(
        self, latent: Latent, plans: Float[Tensor, "B S L A"]
    ) -> Float[Tensor, "B S L N D"]:
        """Return the latents that each plan leads to."""
        batch, candidates = plans.shape[:2]
        state, memory = self.start(latent, candidates)
        later = []
        for actions in plans.flatten(0, 1).unbind(1):
            state, memory = self.step(state, memory, actions)
            later.append(state)
        foreseen = torch.stack(later, 1).unflatten(-1, latent.tokens.shape[2:])
        return foreseen.unflatten(0, (batch, candidates))

    def start(
        self, latent: Latent, candidates: int
    ) -> tuple[Float[Tensor, "BS Z"], Float[Tensor, "BS M"]]:
        """Return state and memory, once per candidate."""
        return step_model(self.model).start(latent, candidates)

    def step(
        self,
        state: Float[Tensor, "BS Z"],
        memory: Float[Tensor, "BS M"],
        actions: Float[Tensor, "BS A"],
    ) -> tuple[Float[Tensor, "BS Z"], Float[Tensor, "BS M"]]:
        """Return state and memory one model step later, corrected."""
        foreseen, memory = step_model(self.model).step(state, memory, actions)
        parts = [part.unflatten(0, (len(self.known.of), -1)) for part in (state, actions)]
        return foreseen + self.known.errors(*parts).flatten(0, 1), memory


@dataclass(frozen=True)
class AdaptedValue:
    """A learned distance with the hills that each episode of a batch has found.

    Attributes:
        value: the distance, in model steps.
        known: of the episodes.
    """

    value: Value
    known: Experiences

    def __call__(
        self, tokens: Float[Tensor, "B S N D"], goal_tokens: Float[Tensor, "B N D"]
    ) -> Float[Tensor, "B S"]:
        """Return how far each state is from its batch element's goal."""
        states, goals = tokens.flatten(2), goal_tokens.flatten(1)[:, None]
        heights = self.value(tokens, goal_tokens) + self.known.hills(states)
        return heights * (1 - self.known.same(states, goals))


@dataclass(frozen=True)
class AdaptedCost:
    """A goal cost of an adapted model, which adds what it costs to doubt steps of a plan.

    What is left to go counts a little on the way, too: of the last state alone, a plan that comes
    to its goal in the last step is as good as one that goes there, and is put off for ever.

    Asked step by step (``SegmentedCost``), it is the goal cost itself.

    Attributes:
        cost: of the adapted model and, where one was learned, the adapted distance.
        known: of the episodes.
    """

    cost: GoalCost
    known: Experiences

    def __call__(self, plans: Float[Tensor, "B S L A"]) -> Float[Tensor, "B S"]:
        """Return the cost of every plan from one batched rollout."""
        states = self.cost.foresee(plans)
        more = self._doubts(states, plans).sum(-1)
        if self.cost.value is not None:
            on_the_way = self.cost.value(states[:, :, :-1].flatten(1, 2), self.cost.goal_tokens)
            more = more + _RUNNING * on_the_way.unflatten(
                1, (plans.shape[1], plans.shape[2] - 1)
            ).sum(-1)
        step = plans.shape[2] * self.cost.value_weight  # what a model step costs in the goal cost
        return self.cost.distance(states).sum(-1) + step * more

    def start(self) -> Float[Tensor, "B N D"]:
        """Return the present latent."""
        return self.cost.start()

    def foresee(self, plans: Float[Tensor, "B S L A"]) -> Float[Tensor, "B S L N D"]:
        """Return the latents that every plan leads to."""
        return self.cost.foresee(plans)

    def step(
        self, states: Float[Tensor, "B S K N D"], actions: Float[Tensor, "B S K A"]
    ) -> Float[Tensor, "B S K N D"]:
        """Return one step of foresight from each state."""
        return self.cost.step(states, actions)

    def distance(self, states: Float[Tensor, "B S K N D"]) -> Float[Tensor, "B S K"]:
        """Return what it costs to be in each state."""
        return self.cost.distance(states)

    @torch.no_grad()
    def with_hills(self, plans: Float[Tensor, "B L A"]) -> Sequence[Experience]:
        """Return the experiences, with a hill where a decision found its goal farther than it was.

        Args:
            plans: that were chosen; to foresee them takes L predictor steps each.
        """
        value, goals = self.cost.value, self.cost.goal_tokens
        if not isinstance(value, AdaptedValue):
            return self.known.of
        here, ahead = self.start()[:, None], self.foresee(plans[:, None])
        taken = (1 + self._doubts(ahead, plans[:, None])[:, 0]).cumsum(1)
        planned = (taken + value(ahead[:, 0], goals)).amin(1)
        said, learned = value(here, goals)[:, 0], value.value(here, goals)[:, 0]
        same = self.known.same(here.flatten(2), goals.flatten(1)[:, None])[:, 0]
        found = (planned > said) & (same < _SAME)
        hills = planned / (1 - same).clamp(min=1 - _SAME) - learned  # lifts h to what was planned
        return [
            one.with_hill(here[place].flatten(), float(hills[place])) if found[place] else one
            for place, one in enumerate(self.known.of)
        ]

    def _doubts(
        self, states: Float[Tensor, "B S L N D"], plans: Float[Tensor, "B S L A"]
    ) -> Float[Tensor, "B S L"]:
        """Return the doubt about each step of each plan, given what the plans lead to."""
        first = self.start()[:, None, None].expand(-1, states.shape[1], -1, -1, -1)
        before = torch.cat([first, states[:, :, :-1]], 2).flatten(3)
        doubts = self.known.doubts(before.flatten(1, 2), plans.flatten(1, 2))
        return doubts.unflatten(1, plans.shape[1:3])


@torch.no_grad()
def usual_change(
    model: WorldModel, latent: Latent, bounds: ActionBounds, rng: torch.Generator
) -> float:
    """Return the change of the latent that a model foresees from an action with a free way.

    It takes ``UNIT_STEPS`` predictor steps.

    Args:
        model: that can be led step by step.
        latent: the present, of one episode.
        bounds: actions are drawn from.
        rng: chance.

    Returns:
        Of the distances of the flattened latent, the one that a tenth exceeds; never 0.
    """
    state, memory = step_model(model).start(latent, UNIT_STEPS)
    low, high = (torch.from_numpy(side).float() for side in (bounds.low, bounds.high))
    actions = low + (high - low) * torch.rand(UNIT_STEPS, len(low), generator=rng)
    later, _ = step_model(model).step(state, memory, actions)
    return max(float((later - state).norm(dim=1).quantile(0.9)), 1e-6)


@torch.no_grad()
def experienced(
    known: Experiences,
    model: WorldModel,
    before: Float[Tensor, "1 1 N D"],
    action: Float[Tensor, " A"],
    came: Float[Tensor, "1 1 N D"],
) -> Experience:
    """Return the experience of one episode with one step more: what came of an action.

    Args:
        known: so far.
        model: foresees, from that look alone.
        before: the latent before.
        action: that was done.
        came: the latent one model step later.
    """
    (one,) = known.of
    foreseen = model.rollout(Latent(before), action[None, None, None])
    error = came.flatten() - foreseen.flatten()
    change = (foreseen.flatten() - before.flatten()).norm().clamp(min=_LEAST * one.unit)
    wrong = bool(error.norm() > known.config.wrong * change)
    return one.after(before.flatten(), action / known.scale, error, wrong)
