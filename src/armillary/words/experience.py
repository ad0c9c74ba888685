"""Experience: what was recorded, as states and actions.

Axes: E episodes, T steps, A action.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from armillary.core.errors import DatasetError
from armillary.data import Cache

_NEEDED = ("pusher_xy", "object_xy", "actions")


@dataclass(frozen=True)
class Experience:
    """Episodes of equal length.

    Attributes:
        states: pusher x y, object x y in metres [E T 4]: the simulator's, or what was read of
            pictures.
        actions: from each step to the next, m/s [E T 2]; the last of an episode is zero.
    """

    states: Float[np.ndarray, "E T 4"]
    actions: Float[np.ndarray, "E T 2"]

    def of(self, episodes: Int[np.ndarray, " N"]) -> Experience:
        """Return some episodes."""
        return Experience(self.states[episodes], self.actions[episodes])

    def told(self, states: Float[np.ndarray, "E T 4"]) -> Experience:
        """Return the same actions with other states."""
        return Experience(states, self.actions)


def recorded(cache: Cache) -> Experience:
    """Return the simulator's states and the actions of all episodes.

    Raises:
        DatasetError: the recording lacks them, or its episodes differ in length.
    """
    missing = [name for name in _NEEDED if name not in cache.arrays]
    if missing:
        raise DatasetError(
            f"compare words needs a recording with {', '.join(_NEEDED)}; {', '.join(missing)} "
            "is missing. Record one with armillary record tabletop."
        )
    lengths = np.unique(cache.lengths)
    if len(lengths) != 1:
        raise DatasetError(
            f"compare words needs episodes of equal length, got {lengths.min()} to "
            f"{lengths.max()} steps. Record them with armillary record tabletop --steps 24."
        )
    shape = (cache.num_episodes, int(lengths[0]), 2)
    pusher, thing, actions = (np.asarray(cache.arrays[name]).reshape(shape) for name in _NEEDED)
    return Experience(np.concatenate([pusher, thing], axis=-1).astype(np.float64), actions)
