"""Size and distance: an object, and one twice as large at twice the distance: the same picture.

Which of the two is larger cannot be seen from colour: who is above chance there has found a leak.
With depth it is plain. A linear read-out of the difference of two frozen latents, fitted on other
pairs, says which of the two it is.

Objects are boxes and ellipsoids before a wall, drawn by casting rays: no shadow and no ground gives
their distance away. Each picture has noise of its own, so that the two of a pair are as alike as
two pictures of one thing.

Axes: P pairs, 2 the small and near one first, H W image.
Convention: OpenCV camera; depth is camera z in metres.
Source: the size-distance ambiguity as a test of what depth is used for, OBSBench (2402.02500).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8

from armillary.core.errors import ConfigError, ShapeError
from armillary.core.protocols import WorldModel
from armillary.core.rng import generator
from armillary.core.statistics import wilson_interval
from armillary.core.values import Batch
from armillary.understanding.latents import encode
from armillary.understanding.ridge import fit_ridge

FACTOR = 2.0
NOISE_LEVELS = 2  # of 255, to either side
_NEAR_M = (0.35, 0.55)
_WALL_M = 1.5
_HALF_SIZE = (0.07, 0.16)  # of the distance
_ASIDE = 0.12  # of the distance
_FOCAL = 1.37  # of the picture's side: a field of view of 40 degrees
_LIGHT = np.array([0.4, -0.7, -0.6])


@dataclass(frozen=True)
class SizePairs:
    """Pairs of pictures.

    Attributes:
        rgb: [P 2 H W 3].
        depth_m: camera z, metres.
        size_m: half the largest extent of the object.
        distance_m: of the object's centre.
        intrinsics: K of all.
    """

    rgb: UInt8[np.ndarray, "P 2 H W 3"]
    depth_m: Float[np.ndarray, "P 2 H W"]
    size_m: Float[np.ndarray, "P 2"]
    distance_m: Float[np.ndarray, "P 2"]
    intrinsics: Float[np.ndarray, "3 3"]

    def batch(self) -> Batch:
        """Return every picture as a clip of one step: [P*2 1 ...]."""
        count = self.size_m.size
        lens = torch.from_numpy(self.intrinsics).float().expand(count, 1, 3, 3)
        streams = {
            "rgb": torch.from_numpy(self.rgb).flatten(0, 1)[:, None],
            "depth_m": torch.from_numpy(self.depth_m).float().flatten(0, 1)[:, None],
            "world_from_camera": _level_camera().expand(count, 1, 4, 4),
            "intrinsics": lens,
        }
        return Batch(streams, None, torch.ones(count, 1, dtype=torch.bool))


@dataclass(frozen=True)
class _Thing:
    """What is seen, at a distance of 1: lengths are shares of the distance."""

    box: bool
    half: np.ndarray
    turn: np.ndarray
    aside: np.ndarray
    rgb: np.ndarray
    wall: np.ndarray


def make_pairs(count: int, seed: int = 0, image_size: int = 64) -> SizePairs:
    """Draw pairs.

    Args:
        count: P.
        seed: names them.
        image_size: H = W.

    Raises:
        ConfigError: no pair, or pictures below 16 pixels.
    """
    if count < 1 or image_size < 16:
        raise ConfigError(
            f"Pairs of size and distance need a count of at least 1 and pictures of at least 16 "
            f"pixels, got {count} and {image_size}."
        )
    focal, centre = _FOCAL * image_size, (image_size - 1) / 2
    lens = np.array([[focal, 0, centre], [0, focal, centre], [0, 0, 1.0]])
    v, u = np.mgrid[:image_size, :image_size]
    rays = np.stack([(u - centre) / focal, (v - centre) / focal, np.ones_like(u)], -1)
    rgb = np.empty((count, 2, image_size, image_size, 3), np.uint8)
    depth_m = np.empty((count, 2, image_size, image_size))
    size_m, distance_m = np.empty((count, 2)), np.empty((count, 2))
    for pair in range(count):
        rng = generator("size and distance", seed, pair)
        thing, near_m = _draw_thing(rng), rng.uniform(*_NEAR_M)
        for place, factor in enumerate((1.0, FACTOR)):
            distance_m[pair, place] = factor * near_m
            size_m[pair, place] = factor * near_m * thing.half.max()
            colour, depth_m[pair, place] = _drawn(thing, factor * near_m, rays)
            noise = rng.integers(-NOISE_LEVELS, NOISE_LEVELS + 1, colour.shape)
            rgb[pair, place] = np.clip(np.rint(colour * 255) + noise, 0, 255)
    return SizePairs(rgb, depth_m, size_m, distance_m, lens)


def pair_accuracy(said: Float[np.ndarray, "P 2"]) -> float:
    """Return the share of pairs whose larger object was scored as larger; a tie counts half.

    Args:
        said: any score of size, of the small and near object first.

    Raises:
        ShapeError: a score that is not finite.
    """
    if not np.isfinite(said).all():
        raise ShapeError("Scores of size must be finite; some are NaN or infinite.")
    return float(((said[:, 1] > said[:, 0]) + 0.5 * (said[:, 1] == said[:, 0])).mean())


def size_distance(
    model: WorldModel, training: int = 600, judged: int = 400, seed: int = 0, image_size: int = 64
) -> dict[str, Any]:
    """Return how often the larger object of a pair is found from a frozen model's latents.

    Args:
        model: sees any of colour, depth and pose.
        training: pairs that the read-out is fitted on.
        judged: other pairs that it is judged on.
        seed: names both.
        image_size: pixels a side, as the model takes them.

    Returns:
        ``accuracy``, ``wilson95``, ``n`` (pairs) and ``chance95``, within which who cannot see
        size stays in 95 of 100 tests.
    """
    known, asked = make_pairs(training, seed, image_size), make_pairs(judged, seed + 1, image_size)
    one, other = _latents(model, known)
    # either order of each pair, so that the order says nothing
    gaps, signs = np.concatenate([other - one, one - other]), np.repeat([1.0, -1.0], training)
    chosen_on = np.tile(np.arange(training) % 5 == 0, 2)
    ridge = fit_ridge(gaps, signs[:, None], chosen_on)
    one, other = _latents(model, asked)
    larger = (ridge.predict(other - one) - ridge.predict(one - other))[:, 0]
    accuracy = pair_accuracy(np.stack([np.zeros(judged), larger], 1))
    margin = 1.96 * 0.5 / judged**0.5
    return {
        "accuracy": accuracy,
        "wilson95": list(wilson_interval(round(accuracy * judged), judged)),
        "chance95": [0.5 - margin, 0.5 + margin],
        "n": judged,
    }


def _latents(model: WorldModel, pairs: SizePairs) -> tuple[np.ndarray, np.ndarray]:
    """Return the latents of the small and near, and of the large and far objects, both [P X]."""
    features = encode(model, pairs.batch()).flatten(1).numpy().astype(np.float64)
    return features[::2], features[1::2]


def _draw_thing(rng: np.random.Generator) -> _Thing:
    largest = rng.uniform(*_HALF_SIZE)
    half = largest * rng.uniform(0.5, 1.0, 3)
    half[rng.integers(3)] = largest
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    colours = rng.uniform(0.15, 0.95, (2, 3))
    return _Thing(
        bool(rng.integers(2)), half, turn, rng.uniform(-_ASIDE, _ASIDE, 2), colours[0], colours[1]
    )


def _drawn(thing: _Thing, distance_m: float, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return colours 0..1 [H W 3] and depth in metres [H W]; all of a thing is before the wall."""
    centre = distance_m * np.array([*thing.aside, 1.0])
    start, along = -centre @ thing.turn, rays @ thing.turn  # in the thing's own axes
    half = distance_m * thing.half
    depth_m, normal = (_hit_box if thing.box else _hit_ellipsoid)(start, along, half)
    hit = np.isfinite(depth_m)
    facing = (normal @ thing.turn.T) @ (_LIGHT / np.linalg.norm(_LIGHT))
    light = 0.45 + 0.55 * np.clip(facing, 0, 1)
    colour = np.where(hit[..., None], light[..., None] * thing.rgb, thing.wall)
    return colour, np.where(hit, depth_m, _WALL_M)


def _hit_box(
    start: np.ndarray, along: np.ndarray, half: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return depth (infinite for a miss) and outward normal where rays meet a box first."""
    safe = np.where(np.abs(along) < 1e-12, 1e-12, along)
    into, out = (-np.sign(safe) * half - start) / safe, (np.sign(safe) * half - start) / safe
    first = into.max(-1)
    met = first < out.min(-1)
    side = np.eye(3)[into.argmax(-1)]
    return np.where(met, first, np.inf), -np.sign(safe) * side


def _hit_ellipsoid(
    start: np.ndarray, along: np.ndarray, half: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return depth (infinite for a miss) and outward normal where rays meet an ellipsoid first."""
    a, b = ((along / half) ** 2).sum(-1), (along / half) @ (start / half)
    inside = b**2 - a * (((start / half) ** 2).sum() - 1)
    met = inside > 0
    depth = (-b - np.sqrt(np.where(met, inside, 0.0))) / a
    normal = (start + depth[..., None] * along) / half**2
    return np.where(met, depth, np.inf), normal / np.linalg.norm(normal, axis=-1, keepdims=True)


def _level_camera() -> torch.Tensor:
    """Return the pose of a camera that looks along the world's y, level, from 0.8 m before it."""
    pose = torch.eye(4)
    pose[:3, :3] = torch.tensor([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])
    pose[:3, 3] = torch.tensor([0.0, -0.8, 0.1])
    return pose
