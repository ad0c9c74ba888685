"""Experience: what was recorded, as states and actions.

Axes: E episodes, T steps, A action.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from armillary.core.errors import DatasetError
from armillary.data import Cache
from armillary.words.scenes import Scene


@dataclass(frozen=True)
class Experience:
    """Episodes of equal length.

    Attributes:
        states: pusher x y, object x y in metres [E T 4]: the simulator's, or what was read of
            pictures. Another world's are brought to the language's square (``scenes.py``).
        actions: from each step to the next, m/s [E T 2]; the last of an episode is zero. Another
            world's are brought to the language's range.
    """

    states: Float[np.ndarray, "E T 4"]
    actions: Float[np.ndarray, "E T 2"]

    def of(self, episodes: Int[np.ndarray, " N"]) -> Experience:
        """Return some episodes."""
        return Experience(self.states[episodes], self.actions[episodes])

    def with_states(self, states: Float[np.ndarray, "E T 4"]) -> Experience:
        """Return the same actions with other states."""
        return Experience(states, self.actions)


def recorded(cache: Cache, scene: Scene) -> Experience:
    """Return the simulator's states and the actions of all episodes.

    Raises:
        DatasetError: the recording lacks them, or its episodes differ in length.
    """
    cut = [
        slice(start, start + length)
        for start, length in zip(cache.starts, cache.lengths, strict=False)
    ]
    arrays = {
        name: [np.asarray(cache.arrays[name][part]) for part in cut]
        for name in scene.needed
        if name in cache.arrays
    }
    return stacked(scene, arrays, len(cut))


def stacked(scene: Scene, arrays: Mapping[str, Sequence[np.ndarray]], episodes: int) -> Experience:
    """Return episodes of equal length.

    Args:
        scene: what is written of a world.
        arrays: by stream, of each episode [T X]; the last action may be left out.
        episodes: how many there should be.

    Raises:
        DatasetError: something was not recorded, or episodes differ in length.
    """
    missing = [name for name in scene.needed if len(arrays.get(name, ())) != episodes]
    if missing or not episodes:
        raise DatasetError(
            f"This comparison needs a recording with {', '.join(scene.needed)}; "
            f"{', '.join(missing) or 'every episode'} is missing. Record one with armillary record "
            f"{scene.world}."
        )
    lengths = {len(one) for one in arrays[scene.pusher]}
    if len(lengths) != 1:
        raise DatasetError(
            f"This comparison needs episodes of equal length, got {min(lengths)} to "
            f"{max(lengths)} steps. Record them with armillary record {scene.world} --steps 24."
        )
    (length,) = lengths
    whole = np.zeros((episodes, length, 2))
    for own, acts in zip(whole, arrays["actions"], strict=True):
        own[: min(len(acts), length - 1)] = acts[: length - 1]
    if scene.action_scale != 1:
        whole /= scene.action_scale
    places = [scene.places(np.stack(arrays[name])) for name in (scene.pusher, *scene.thing)]
    states = np.concatenate(places, axis=-1).astype(np.float64)
    return Experience(states, whole)
