"""Oracle: an actor that cheats on purpose, to show that every episode can be solved.

It is NOT a policy: it reads the simulator's state through ``World.expert``. Its row says what the
task allows, never what a model can do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from armillary.core.protocols import World
from armillary.core.rng import generator
from armillary.core.values import Goal


@dataclass(frozen=True)
class Oracle:
    """Privileged: asks the world itself what to do."""

    def act(self, world: World, goal: Goal, seed: int, step: int) -> Float[np.ndarray, " A"]:
        """Return the world's own expert action towards the goal."""
        return world.expert(goal, generator("policy.oracle", seed, step))
