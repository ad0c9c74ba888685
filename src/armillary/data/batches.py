"""Batches: what a model sees of live observations or of one episode, as if it came from a cache.

Depth passes through whole millimetres here too, so a model acts on what it was trained on.

Axes: B = 1, T observations, H W image, A action.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float

from armillary.core.errors import ShapeError
from armillary.core.values import Batch, Episode, Observation
from armillary.data.cache import Cache
from armillary.data.depth import to_millimetres
from armillary.data.point_sampling import PointSampling, sampled
from armillary.data.resize import Size, as_size, resized, resized_lens
from armillary.data.windows import METRES_PER_MM, Windows


def batch_from_observations(
    observations: Sequence[Observation],
    actions: Float[np.ndarray, "gaps A"] | None = None,
    size: int | Size | None = None,
    points: PointSampling | None = None,
) -> Batch:
    """Return observations in a row as one clip.

    Args:
        observations: T of them, oldest first, with the same streams.
        actions: the T-1 actions between them.
        size: resolution of the model; as observed if None.
        points: how the model's clouds are sampled; as observed (all of one size) if None.

    Raises:
        ShapeError: no observation, different streams, or a wrong number of actions.
    """
    if not observations:
        raise ShapeError("A batch needs at least one observation, none came.")
    if actions is not None and len(actions) != len(observations) - 1:
        raise ShapeError(
            f"{len(observations)} observations need {len(observations) - 1} actions between them, "
            f"got {len(actions)}."
        )
    names = observations[0].streams.keys()
    if any(seen.streams.keys() != names for seen in observations):
        raise ShapeError("The observations differ in their streams; all must have the same.")
    shape = None if size is None else as_size(size)
    parts = [_converted(seen, shape, points) for seen in observations]
    streams = {n: torch.from_numpy(np.stack([p[n] for p in parts]))[None] for n in parts[0]}
    valid = torch.ones(1, len(observations), dtype=torch.bool)
    moved = None if actions is None else torch.from_numpy(np.asarray(actions, np.float32))[None]
    return Batch(streams=streams, actions=moved, valid=valid)


def batch_from_episode(
    episode: Episode, size: int | Size, stride: int = 1, points: PointSampling | None = None
) -> Batch:
    """Return a whole episode as one clip, at a model's resolution, clouds as ``points`` says."""
    cache = Cache.from_episodes([episode], size, points=points)
    length = 1 + (len(episode) - 1) // stride
    return Windows(cache, None, length, stride).gather(np.zeros(1, np.int64))


def _converted(
    seen: Observation, size: Size | None, points: PointSampling | None
) -> dict[str, np.ndarray]:
    parts: dict[str, np.ndarray] = {}
    for name, value in seen.streams.items():
        if name == "depth":
            small = value if size is None else resized(value, size, average=False)
            millimetres = to_millimetres(small).astype(np.float32)
            parts["depth_m"] = millimetres * np.float32(METRES_PER_MM)
        elif name == "points" and points is not None:
            parts[name] = sampled(value, points)
        elif value.dtype == np.uint8:
            colour = value.ndim == 3
            parts[name] = value if size is None else resized(value, size, average=colour)
        elif name == "intrinsics":
            parts[name] = _lens(seen, value, size).astype(np.float32)
        else:
            parts[name] = np.asarray(value, np.float32)
    return parts


def _lens(seen: Observation, intrinsics: np.ndarray, size: Size | None) -> np.ndarray:
    camera = seen.streams.get("depth", seen.streams.get("rgb"))
    if size is None or camera is None:
        return intrinsics
    return resized_lens(intrinsics, (camera.shape[0], camera.shape[1]), size)
