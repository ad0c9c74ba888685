"""Guided search: try the goal policy in the model with noise, and take the way that ends best.

Each sample follows the goal policy step by step in the model, until the goal is to be reached. All
but the first add the noise of the policy's own spread, so the search stays near what was recorded.

    cost(sample) = mean over the last three steps of mean_Z (predicted - goal)^2

So the cost is taken at the time of the goal. A cost summed over the way prefers ways that never
lead away from the goal, and these push nothing. The first sample has no noise: it is what the
policy does without a search. It stands unless another is better by ``margin``. While the goal is
farther than ``longest`` steps, nothing is tried: a plan that ends before says little about it.
The longer the ways, the fewer are tried, so a decision keeps to its budget.

A sample whose cost is not a number is never taken before one whose cost is. What the search is
worth is measured by ``armillary bench worlds`` and ``armillary bench latency``.

Axes: P samples, L plan length, A action width, N tokens, D latent, Z = N*D, M memory.
Source: Tesauro and Galperin 1996 for roll-outs of a policy that improve it; LeWAM (2610.12818) for
the best of 32 at the time of the goal, and for the harm of a search that is free.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.errors import ConfigError
from armillary.core.values import Latent, Plan
from armillary.planning.checks import at_least
from armillary.planning.goal_cost import ENDS


@runtime_checkable
class StepModel(Protocol):
    """A world model that can be led one step at a time."""

    def start(
        self, latent: Latent, candidates: int
    ) -> tuple[Float[Tensor, "P Z"], Float[Tensor, "P M"]]:
        """Return flattened state and memory after what was seen, once per candidate."""
        ...

    def step(
        self,
        state: Float[Tensor, "P Z"],
        memory: Float[Tensor, "P M"],
        actions: Float[Tensor, "P A"],
    ) -> tuple[Float[Tensor, "P Z"], Float[Tensor, "P M"]]:
        """Return state and memory one step later."""
        ...


@runtime_checkable
class ActionProposer(Protocol):
    """A goal-conditioned policy on latents that can be sampled (``GoalPolicy``)."""

    def goal_time(self, steps_left: float) -> float:
        """Return in how many model steps it means to reach the goal, at least 1."""
        ...

    def sample(
        self,
        latents: Float[Tensor, "P Z"],
        goals: Float[Tensor, "P Z"],
        steps: float,
        rng: torch.Generator,
    ) -> Float[Tensor, "P A"]:
        """Return one action per state, in the world's units; bounds are not its concern.

        The first is the likeliest, the others are drawn.

        Args:
            latents: of P states.
            goals: of each.
            steps: model steps in which the goals are to be reached, at least 1.
            rng: chance.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class GuidedConfig:
    """Settings of a guided search.

    Attributes:
        samples: P, most ways that are tried, the one without noise included.
        longest: most model steps to the goal with which it searches.
        budget: most predictor steps of a decision; fewer ways are tried where they are long.
        margin: gain of cost from which another way is taken than the policy's own.
        history: model steps that the model remembers when it begins, the present included.

    Raises:
        ConfigError: a value out of range.
    """

    samples: int = 32
    longest: int = 40
    budget: int = 600
    margin: float = 0.0
    history: int = 4

    def __post_init__(self) -> None:
        counts = {name: getattr(self, name) for name in ("samples", "longest", "history")}
        at_least("guided", 1, **counts)
        at_least("guided", self.longest, budget=self.budget)
        at_least("guided", 0, margin=self.margin)

    @property
    def model_steps(self) -> int:
        """Most predictor steps of a decision."""
        return min(self.samples * self.longest, self.budget)

    def ways(self, length: int) -> int:
        """Return how many ways of a length are tried.

        Args:
            length: model steps.
        """
        return min(self.samples, self.budget // length)


@torch.no_grad()
def guided_plan(
    model: StepModel,
    policy: ActionProposer,
    latent: Latent,
    goal: Float[Tensor, " Z"],
    steps: float,
    box: tuple[Float[Tensor, " A"], Float[Tensor, " A"]],
    config: GuidedConfig,
    rng: torch.Generator,
) -> Plan:
    """Return the best of the sampled ways to a goal, with its cost and the predictor steps.

    Args:
        model: predicts.
        policy: is followed.
        latent: the present, of one episode, with its memory.
        goal: flattened.
        steps: model steps until the goal is to be reached, at most ``config.longest``.
        box: lowest and highest action.
        config: settings.
        rng: chance.

    Raises:
        ConfigError: the goal is farther than ``config.longest``.
    """
    if steps > config.longest:
        raise ConfigError(
            f"A guided search looks at most {config.longest} model steps ahead; got {steps:g}."
        )
    length = max(math.ceil(steps), 1)
    ways = config.ways(length)
    here, memory = model.start(latent, ways)
    goals = goal.expand(ways, -1)
    actions, ends = [], []
    for step in range(length):
        action = policy.sample(here, goals, max(steps - step, 1.0), rng).clamp(*box)
        here, memory = model.step(here, memory, action)
        actions.append(action)
        ends.append((here - goal).square().mean(-1))
    costs = torch.stack(ends[-ENDS:]).mean(0).nan_to_num(math.inf)
    best = int(costs.argmin())
    chosen = best if costs[best] < costs[0] - config.margin else 0
    plan = torch.stack([action[chosen] for action in actions])[None]
    return Plan(plan, costs[chosen][None], ways * length)
