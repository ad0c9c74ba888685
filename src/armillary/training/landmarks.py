"""Landmarks of a recording: which latents lie far apart, and how long the ways between them took.

Each landmark is the recorded latent that is farthest from those before it. A way leads from one to
another where an episode visited the second right after the first; its length is the median of the
model steps from coming to the one until coming to the other. There are as many landmarks as the
recording passes one after the other: where half of its frames jump over some, there are fewer.

Ways of different episodes are put together, so a landmark must mean the same place in all of them.
That can be asked of episodes that were held out: how many of their ways are known? It does not show
every fault. Where walls differ from episode to episode, short ways are known and long ones are not
there, as in the rooms of EB-JEPA.

Axes: F frames, Z flattened latent.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from armillary.core.errors import TrainingError
from armillary.core.progress import Progress, silent
from armillary.core.rng import generator
from armillary.models.landmarks import Landmarks
from armillary.training.encoded_episodes import EncodedEpisodes, check_finite
from armillary.training.goal_policy import hindsight

_MOST = 1000
_FRAMES_EACH = 10  # of a landmark, at least: with fewer, few ways are met twice
_FRAMES_ON_THE_WAY = 2  # from one landmark to the next, at least, in half of the ways
_DRAWN_FROM = 32_768  # frames
_JUDGED = 4096
_FAR_SHARE = 0.1  # of the goals of the training are farther than ``far``


def fit_landmarks(
    encoded: EncodedEpisodes, farthest: int, seed: int = 0, progress: Progress = silent
) -> Landmarks:
    """Return landmarks of recorded episodes, and the ways between them.

    Args:
        encoded: what was recorded.
        farthest: most model steps to a goal that the goal policy was trained for.
        seed: names which frames can be landmarks, and the goals that ``far`` is measured on.
        progress: called after each landmark.

    Raises:
        TrainingError: latents are not finite, or no way leads anywhere.
    """
    check_finite(encoded)
    rng = generator("landmarks", seed)
    drawn = rng.permutation(len(encoded.latents))[:_DRAWN_FROM]
    count = min(_MOST, max(len(drawn) // _FRAMES_EACH, 1))
    chosen = _far_apart(encoded.latents[torch.from_numpy(drawn)], count, progress)
    ways = recorded_ways(_bare(chosen), encoded)
    while len(chosen) > 2 and np.median(ways[1]) * encoded.skip < _FRAMES_ON_THE_WAY:
        chosen = chosen[: len(chosen) // 2]  # the first ones are the landmarks of a smaller number
        ways = recorded_ways(_bare(chosen), encoded)
    pairs, steps = _median_ways(*ways)
    if not len(steps):
        raise TrainingError(
            "No recorded episode leads from one landmark to another, so there is nothing to know "
            "about far goals. Record longer episodes, or more of them."
        )
    known = Landmarks(chosen, pairs, steps, 1.0)
    return Landmarks(chosen, pairs, steps, _far(known, encoded, farthest, seed))


def recorded_ways(
    landmarks: Landmarks, encoded: EncodedEpisodes
) -> tuple[Int64[np.ndarray, "W 2"], Float[np.ndarray, " W"]]:
    """Return every way from one landmark to the next that episodes took, and its model steps.

    Args:
        landmarks: of the same model.
        encoded: episodes.
    """
    nearest = landmarks.nearest(encoded.latents).numpy()
    begin = encoded.begin.numpy()
    arrivals = np.flatnonzero(
        (np.diff(nearest, prepend=-1) != 0) | (np.diff(begin, prepend=-1) != 0)
    )
    first, second = arrivals[:-1], arrivals[1:]
    within = begin[first] == begin[second]
    first, second = first[within], second[within]
    return np.stack([nearest[first], nearest[second]], 1), (second - first) / encoded.skip


def known_share(landmarks: Landmarks, encoded: EncodedEpisodes) -> float:
    """Return the share of the ways of other episodes that the landmarks know; NaN without any.

    Args:
        landmarks: of the same model.
        encoded: episodes that the landmarks are not of.
    """
    pairs, _ = recorded_ways(landmarks, encoded)
    if not len(pairs):
        return float("nan")
    count = len(landmarks.latents)
    known = landmarks.pairs.numpy() @ np.array([count, 1])
    return float(np.isin(pairs @ np.array([count, 1]), known).mean())


def _bare(latents: Float[Tensor, "M Z"]) -> Landmarks:
    return Landmarks(latents, torch.empty(0, 2, dtype=torch.int64), torch.empty(0), 1.0)


def _far_apart(
    latents: Float[Tensor, "F Z"], count: int, progress: Progress
) -> Float[Tensor, "M Z"]:
    """Return the first latent, and then always the one that is farthest from those before."""
    chosen, away = [0], torch.full((len(latents),), torch.inf)
    for done in range(1, count):
        away = away.minimum((latents - latents[chosen[-1]]).square().sum(1))
        chosen.append(int(away.argmax()))
        progress(done + 1, count)
    return latents[chosen]


def _median_ways(
    pairs: Int64[np.ndarray, "W 2"], steps: Float[np.ndarray, " W"]
) -> tuple[Int64[Tensor, "V 2"], Float[Tensor, " V"]]:
    """Return each way once, with the median of its steps."""
    if not len(pairs):
        return torch.empty(0, 2, dtype=torch.int64), torch.empty(0)
    order = np.lexsort((steps, pairs[:, 1], pairs[:, 0]))
    pairs, steps = pairs[order], steps[order]
    begins = np.flatnonzero(np.any(np.diff(pairs, axis=0, prepend=-1) != 0, axis=1))
    counts = np.diff(begins, append=len(pairs))
    middle = (steps[begins + (counts - 1) // 2] + steps[begins + counts // 2]) / 2
    return torch.from_numpy(pairs[begins]), torch.from_numpy(middle.astype(np.float32))


def _far(landmarks: Landmarks, encoded: EncodedEpisodes, farthest: int, seed: int) -> float:
    """Return how far nine in ten goals of the goal policy's training are at most, by the ways.

    Recorded ways linger, and the shortest ways over landmarks do not. So what is far is measured by
    the same ways as a goal is later.
    """
    rng = generator("landmarks far", seed)
    samples = hindsight(encoded, _JUDGED, farthest, rng)
    here = landmarks.nearest(encoded.latents[samples.here]).numpy()
    goal = landmarks.nearest(encoded.latents[samples.goal])
    left = np.empty(len(here))
    for one in goal.unique():
        rows = (goal == one).numpy()
        left[rows] = landmarks.ways_to(landmarks.latents[one]).left[here[rows]]
    # never 0, as where most goals are at the landmark that is nearest to their start
    return max(float(np.quantile(left, 1 - _FAR_SHARE)), 1 / encoded.skip)
