"""Check costs: small problems whose best plan is known, in one box, for ``check_planner``.

Axes: B batch, S candidate plans, K steps, L plan length, N = 2 places, D = A = 2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.values import ActionBounds

BOUNDS = ActionBounds(low=np.array([-0.1, -1.0]), high=np.array([0.3, 0.7]))
HALF = torch.tensor([0.2, 0.85])
CENTRE = torch.tensor([0.1, -0.15])


@dataclass(frozen=True)
class Quadratic:
    """Squared distance to target actions in half-ranges.

    Attributes:
        targets: of each batch element: one for all steps, or one for each.
    """

    targets: Float[Tensor, "B A"] | Float[Tensor, "B L A"]

    def __call__(self, plans: Float[Tensor, "B S L A"]) -> Float[Tensor, "B S"]:
        """Return the mean over the plan."""
        targets = self.targets if self.targets.ndim == 3 else self.targets[:, None]
        return ((plans - targets[:, None]) / HALF).square().mean(dim=(-2, -1))


def disc(here: Float[Tensor, "*shape D"]) -> Float[Tensor, "*shape"]:
    """Return how deep a place lies in a disc of radius 1 at the origin; 0 outside."""
    return (1.1 - here.square().sum(dim=-1)).clamp(min=0)


def wall(here: Float[Tensor, "*shape D"]) -> Float[Tensor, "*shape"]:
    """Return how deep a place lies in a wall across the straight way; 0 outside."""
    return (torch.tensor([0.3, 1.2]) - here.abs()).amin(dim=-1).clamp(min=0)


@dataclass(frozen=True)
class Point:
    """A point that integrates its actions towards a goal behind an obstacle.

    Its state is two places: where it is, and where it was one step before. What lies between them
    counts at ``between`` places, so that a long step cannot jump over the obstacle.

    Attributes:
        reach: how far an action at the edge of the box moves it along one axis.
        obstacle: depth of a place inside the obstacle.
        weight: cost of depth.
        between: places per step that are looked at.
    """

    reach: float
    obstacle: Callable[[Tensor], Tensor]
    weight: float = 100.0
    between: int = 1
    begin: tuple[float, float] = (-2.0, 0.3)
    goal: tuple[float, float] = (2.0, 0.0)

    def __call__(self, plans: Float[Tensor, "B S L A"]) -> Float[Tensor, "B S"]:
        """Return the mean over the plan of squared distance to the goal and weighted depth."""
        return self.distance(self.predict(plans)).mean(dim=-1)

    def left(self, plans: Float[Tensor, "B S L A"]) -> float:
        """Return how far the first plan ends from the goal."""
        return float((self.path(plans)[0, 0, -1] - torch.tensor(self.goal)).square().sum().sqrt())

    def path(self, plans: Float[Tensor, "B S L A"]) -> Float[Tensor, "B S L A"]:
        """Return where every action leads."""
        return self._moves(plans).cumsum(dim=2) + self._begin()

    def deepest(self, plans: Float[Tensor, "B S L A"]) -> float:
        """Return how deep the deepest place on the way of all plans lies."""
        return float(self.obstacle(self.places(self.predict(plans))).max())

    def places(self, states: Float[Tensor, "B S K N D"]) -> Float[Tensor, "B S K J D"]:
        """Return ``between`` places on the way from where it was to where it is."""
        share = torch.arange(1, self.between + 1)[:, None] / self.between
        here, before = states[..., :1, :], states[..., 1:, :]
        return here - (here - before) * (1 - share)

    def predict(self, plans: Float[Tensor, "B S L A"]) -> Float[Tensor, "B S L N D"]:
        """Return where every action leads, and where it was before."""
        here = self.path(plans)
        before = torch.cat([self._begin().expand_as(here[:, :, :1]), here[:, :, :-1]], dim=2)
        return torch.stack([here, before], dim=-2)

    def distance(self, states: Float[Tensor, "B S K N D"]) -> Float[Tensor, "B S K"]:
        """Return the squared distance to the goal and the weighted depth on the way."""
        apart = (states[..., 0, :] - torch.tensor(self.goal)).square().sum(dim=-1)
        return apart + self.weight * self.obstacle(self.places(states)).mean(dim=-1)

    def _moves(self, actions: Tensor) -> Tensor:
        return (actions - CENTRE) / HALF * self.reach

    def _begin(self) -> Tensor:
        return torch.tensor(self.begin)
