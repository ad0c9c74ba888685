"""Experience: what an episode has taught so far, and what follows from it elsewhere.

The arithmetic is in ``adaptation.py``.

Axes: B batch, S states, L plan length, M experiences, P places, Z = N*D latent, A action.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from armillary.planning.checks import at_least, positive


@dataclass(frozen=True)
class AdaptationConfig:
    """How far an experience reaches.

    Attributes:
        near: in latents, in the change of a usual step.
        alike: in actions, in half the width of their box (root of the sum over the action, mean
            over the world steps of a model step).
        wide: of a hill, as ``near``.
        wrong: error from which a step counts as gone wrong, as a share of the change that was
            foreseen.
        doubt: model steps that a step costs more where one like it went wrong.
    """

    near: float = 0.2
    alike: float = 0.5
    wide: float = 0.5
    wrong: float = 0.5
    doubt: float = 6.0

    def __post_init__(self) -> None:
        positive("adaptation", near=self.near, alike=self.alike, wide=self.wide, wrong=self.wrong)
        at_least("adaptation", 0, doubt=self.doubt)


@dataclass(frozen=True)
class Experience:
    """What an episode has taught so far.

    Attributes:
        unit: change of the flattened latent in a usual step.
        states: where something was done.
        actions: what was done there, in the units of ``AdaptationConfig.alike``.
        errors: what came, less what had been foreseen.
        wrong: whether a step went wrong.
        places: where a decision was made at which a hill was found.
        hills: how much farther these are from the goal than the learned distance says, model
            steps.
    """

    unit: float
    states: Float[Tensor, "M Z"]
    actions: Float[Tensor, "M A"]
    errors: Float[Tensor, "M Z"]
    wrong: Bool[Tensor, " M"]
    places: Float[Tensor, "P Z"]
    hills: Float[Tensor, " P"]

    @classmethod
    def none(cls, unit: float, latent_width: int, action_width: int) -> Experience:
        """Return that of an episode that has just begun."""
        latents, actions = torch.empty(0, latent_width), torch.empty(0, action_width)
        wrong = torch.empty(0, dtype=torch.bool)
        return cls(unit, latents, actions, latents, wrong, latents, torch.empty(0))

    def after(
        self,
        state: Float[Tensor, " Z"],
        action: Float[Tensor, " A"],
        error: Float[Tensor, " Z"],
        wrong: bool,
    ) -> Experience:
        """Return it with one step more."""
        return replace(
            self,
            states=torch.cat([self.states, state[None]]),
            actions=torch.cat([self.actions, action[None]]),
            errors=torch.cat([self.errors, error[None]]),
            wrong=torch.cat([self.wrong, torch.tensor([wrong])]),
        )

    def with_hill(self, place: Float[Tensor, " Z"], hill: float) -> Experience:
        """Return it with one hill more."""
        hills = torch.cat([self.hills, torch.tensor([hill])])
        return replace(self, places=torch.cat([self.places, place[None]]), hills=hills)


@dataclass(frozen=True)
class Experiences:
    """Those of a batch of episodes; no episode knows what another has found.

    Attributes:
        of: one per batch element.
        config: how far they reach.
        scale: [A], length of an action that counts as 1.
    """

    of: Sequence[Experience]
    config: AdaptationConfig
    scale: Float[Tensor, " A"]

    def errors(
        self, states: Float[Tensor, "B S Z"], actions: Float[Tensor, "B S A"]
    ) -> Float[Tensor, "B S Z"]:
        """Return by how much foresight is expected to be off."""
        return self._each(self._error, states, actions / self.scale)

    def doubts(
        self, states: Float[Tensor, "B S Z"], actions: Float[Tensor, "B S A"]
    ) -> Float[Tensor, "B S"]:
        """Return how many model steps more a step costs, as one like it went wrong.

        An action that asks for nothing is not doubted: at a goal beside a wall one can stay.
        """
        return self._each(self._doubt, states, actions / self.scale)

    def hills(self, states: Float[Tensor, "B S Z"]) -> Float[Tensor, "B S"]:
        """Return how much farther from the goal states are than a learned distance says."""
        return self._each(self._hill, states)

    def same(
        self, states: Float[Tensor, "B S Z"], goals: Float[Tensor, "B 1 Z"]
    ) -> Float[Tensor, "B S"]:
        """Return how much states are the goal: 1 there, and less and less around it."""
        reach = torch.tensor([self.config.wide * one.unit for one in self.of])[:, None]
        return (-(states - goals).square().sum(-1) / (2 * reach.square())).exp()

    def _each(self, what: Callable[..., Tensor], *batch: Tensor) -> Tensor:
        # one product per element: its last bits do not depend on its neighbours
        return torch.stack([what(*one) for one in zip(self.of, *batch, strict=True)])

    def _error(self, known: Experience, states: Tensor, actions: Tensor) -> Tensor:
        if not len(known.states):
            return torch.zeros_like(states)
        likeness = self._likeness(known, states, actions)
        return likeness @ known.errors / likeness.sum(1, keepdim=True).clamp(min=1.0)

    def _doubt(self, known: Experience, states: Tensor, actions: Tensor) -> Tensor:
        if not known.wrong.any():
            return states.new_zeros(len(states))
        asked = (actions.norm(dim=1) / self.config.alike).clamp(max=1.0)
        likeness = self._likeness(known, states, actions) * known.wrong
        return self.config.doubt * asked * likeness.amax(1)

    def _hill(self, known: Experience, states: Tensor) -> Tensor:
        if not len(known.places):
            return states.new_zeros(len(states))
        reach = 2 * (self.config.wide * known.unit) ** 2
        near = (-torch.cdist(states, known.places).square() / reach).exp()
        return (near * known.hills).amax(1)

    def _likeness(
        self, known: Experience, states: Float[Tensor, "S Z"], actions: Float[Tensor, "S A"]
    ) -> Float[Tensor, "S M"]:
        near, alike = self.config.near * known.unit, self.config.alike
        apart = torch.cdist(states, known.states).square() / near**2
        unlike = torch.cdist(actions, known.actions).square() / alike**2
        return (-(apart + unlike) / 2).exp()
