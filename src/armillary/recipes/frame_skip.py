"""How long a step of the model is: short enough that a picture still resembles the one before.

    step = the longest of at most 0.1 s over which the coarse picture changes at most half as much
           as between two moments of an episode, half a second or more apart; else one recorded step

The change is the mean square over a picture of 8 x 8, so that a small thing may move by its width.
An arm that turns by half a circle in 0.1 s looks like one drawn anew, and no model can tell which
way it went.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from armillary.core.errors import DatasetError
from armillary.data import Dataset
from armillary.data.resize import resized

_LONGEST_S = 0.1  # of a model step
_MOST_CHANGE = 0.5  # of the change between two moments
_APART = 5  # times 0.1 s, at least, between two moments
_EPISODES, _PLACES = 8, 8  # that are looked at, and moments of each
_COARSE = (8, 8)


def longest_frame_skip(fps: float) -> int:
    """Return how many recorded steps have room in 0.1 s, at least one.

    Args:
        fps: recorded steps per second.
    """
    return max(1, round(_LONGEST_S * fps))


def frame_skip_for(dataset: Dataset) -> int:
    """Return how many recorded steps a model step of this dataset has.

    Reads some pictures of up to eight episodes, where more than one step has room in 0.1 s. What
    has no colour gets 0.1 s. Episodes that are too short, or cannot be read, are passed over.

    Args:
        dataset: any, also one whose episodes are damaged in part.
    """
    most = longest_frame_skip(dataset.fps)
    cameras = [name for name, kind in dataset.cameras.items() if kind == "rgb"]
    if most == 1 or not cameras:
        return most
    changes = [
        found
        for index in np.unique(np.linspace(0, len(dataset) - 1, _EPISODES).round().astype(int))
        if (found := _changes(dataset, int(index), cameras[0], most)) is not None
    ]
    total = np.sum(changes, axis=0)
    if not changes or not total[-1]:
        return most  # nothing moves
    near = np.flatnonzero(total[:-1] <= _MOST_CHANGE * total[-1])
    return int(near[-1]) + 1 if len(near) else 1


def _changes(
    dataset: Dataset, index: int, camera: str, most: int
) -> Float[np.ndarray, " most_and_one"] | None:
    """Return the summed change after 1 to ``most`` steps, and between two moments; or None."""
    length = int(dataset.lengths[index])
    apart = _APART * most
    if length <= apart:
        return None
    rng = np.random.default_rng(index)
    starts = rng.integers(0, length - most, _PLACES)
    early = rng.integers(0, length - apart, _PLACES)
    late = rng.integers(early + apart, length)
    wanted = np.unique([*(starts[:, None] + np.arange(most + 1)).flat, *early, *late])
    try:
        frames = dataset.frames(index, camera, wanted.tolist())
        coarse = [resized(frame, _COARSE, average=True).astype(np.float32) for frame in frames]
    except DatasetError:
        return None
    seen = dict(zip(wanted.tolist(), coarse, strict=True))

    def change(one: np.ndarray, other: np.ndarray) -> float:
        pairs = zip(one.tolist(), other.tolist(), strict=True)
        return float(sum(np.square(seen[a] - seen[b]).mean() for a, b in pairs))

    after = [change(starts, starts + steps) for steps in range(1, most + 1)]
    return np.array([*after, change(early, late)])
