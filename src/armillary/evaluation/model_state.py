"""Model state: what a model policy remembers within an episode.

Axes: N tokens, D latent width, L plan length, A action width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from armillary.evaluation.carry import Decision


@dataclass(frozen=True)
class ModelState:
    """What the policy remembers within an episode.

    Attributes:
        seed: names the chance of this episode.
        step: world step of the next action.
        goal_tokens: [1 N D].
        tokens: latents [1 1 N D] of the last model steps as they were seen, oldest first.
        actions: model actions [A] between them.
        planner: the planner's state.
        plan: [L A] of the last decision; empty before the first.
        decision: the last decision, for the record.
    """

    seed: int
    step: int
    goal_tokens: Float[Tensor, "1 N D"]
    tokens: tuple[Tensor, ...]
    actions: tuple[Tensor, ...]
    planner: Any
    plan: Float[Tensor, "L A"]
    decision: Decision | None = None
