"""Stretches: episodes as a model sees them, step after step, for judges that compare many windows.

Every model step of some episodes is encoded once. A window is then a row of the arrays: it knows
how many steps precede it in its stretch and how many follow. No window crosses an episode.

Axes: F model steps of all stretches, N tokens, D token width, Z numbers of a latent that are
judged, X features, A numbers of the actions in one model step, k frames in a model step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from armillary.core.errors import DatasetError
from armillary.core.progress import Progress, silent
from armillary.core.protocols import WorldModel
from armillary.core.rng import generator
from armillary.core.values import Batch
from armillary.data import Cache, Windows
from armillary.data.layout import first_of_kind
from armillary.understanding.frozen_features import frozen_features
from armillary.understanding.latents import FRAMES_AT_ONCE, encode

LONGEST = 128  # model steps of a stretch: gaps of 100 fit in, and a cap does not take one episode
_FEW = 8  # episodes; below that, intervals are drawn over blocks of consecutive steps
_SHORTEST_BLOCK = 20  # model steps, more than the farthest horizon
_BLOCKS = 32
WIDEST = 512  # numbers of a latent that are judged as they are
_FIT_ROWS = 1024
_MOST_NUMBERS = 2**28  # of all latents together: 1 GiB


@dataclass(frozen=True)
class Stretch:
    """A part of an episode.

    Attributes:
        first: its first frame in the cache.
        steps: model steps.
        group: what an interval draws together: the episode, or else this part of it.
        block: model steps that are drawn together, where the whole part is not; else 0.
    """

    first: int
    steps: int
    group: int
    block: int = 0


@dataclass(frozen=True)
class Steps:
    """Encoded stretches, end to end.

    Attributes:
        tokens: [F N D].
        latents: flattened tokens, or their projection where they are wider than ``WIDEST`` [F Z].
        features: frozen features of the picture [F X]; None without pictures.
        actions: what was done from this step to the next [F A]; zero at the end of a stretch.
        frames: number of the frame in the cache [F].
        before: steps of the stretch before this one [F].
        after: steps of the stretch that follow [F].
        groups: what an interval draws together [F].
    """

    tokens: Float[Tensor, "F N D"]
    latents: Float[np.ndarray, "F Z"]
    features: Float[np.ndarray, "F X"] | None
    actions: Float[np.ndarray, "F A"]
    frames: Int[np.ndarray, " F"]
    before: Int[np.ndarray, " F"]
    after: Int[np.ndarray, " F"]
    groups: Int[np.ndarray, " F"]

    def windows(self, before: int, after: int, most: int, seed: int) -> Int[np.ndarray, " W"]:
        """Return steps with so many others before and after them, ascending, at most ``most``."""
        found = np.flatnonzero((self.before >= before) & (self.after >= after))
        if len(found) > most:
            found = np.sort(generator("windows", seed).permutation(found)[:most])
        return found

    def plans(self, now: Int[np.ndarray, " W"], steps: int) -> Float[np.ndarray, "W L A"]:
        """Return the actions of the next ``steps`` model steps."""
        return self.actions[now[:, None] + np.arange(steps)]


@dataclass(frozen=True)
class Projection:
    """The directions in which some rows vary most, at most so many.

    Attributes:
        mean: [X].
        directions: orthonormal [X Z]; None keeps the rows as they are.
    """

    mean: Float[np.ndarray, " X"]
    directions: Float[np.ndarray, "X Z"] | None

    @classmethod
    def fit(cls, rows: Float[np.ndarray, "F X"], width: int) -> Projection:
        """Find at most ``width`` directions on at most 1,024 evenly spaced rows."""
        some = rows[:: -(-len(rows) // _FIT_ROWS)].astype(np.float64)
        mean = some.mean(axis=0)
        if rows.shape[1] <= width:
            return cls(mean, None)
        centred = some - mean
        values, vectors = np.linalg.eigh(centred @ centred.T)
        kept = np.argsort(values)[::-1][:width]
        kept = kept[values[kept] > 1e-10 * max(values.max(), 1e-300)]
        directions = centred.T @ (vectors[:, kept] / np.sqrt(values[kept]))
        return cls(mean, directions.astype(np.float32))

    def apply(self, rows: Float[np.ndarray, "F X"]) -> Float[np.ndarray, "F Z"]:
        """Return rows along these directions."""
        if self.directions is None:
            return rows
        return ((rows - self.mean) @ self.directions).astype(np.float32)


def cut(cache: Cache, episodes: Int[np.ndarray, " E"], skip: int) -> list[Stretch]:
    """Return episodes as stretches of at most ``LONGEST`` model steps, in their order.

    With fewer than eight episodes, intervals draw blocks of at least 20 consecutive steps.

    Args:
        cache: prepared episodes.
        episodes: positions in the cache.
        skip: frames in a model step.
    """
    counts = [int(-(-cache.lengths[episode] // skip)) for episode in episodes]
    starts = cache.starts[episodes].tolist()
    if len(episodes) < _FEW:
        block = max(_SHORTEST_BLOCK, sum(counts) // _BLOCKS)
        pieces = (_pieces(*one, skip, block) for one in zip(starts, counts, strict=True))
    else:
        pieces = (_pieces(*one, skip) for one in zip(starts, counts, strict=True))
    return [part for parts in pieces for part in parts]


def cut_in_time(cache: Cache, skip: int, held_out: float) -> tuple[list[Stretch], list[Stretch]]:
    """Return the first part of a recording's only episode and the rest, both as stretches.

    Args:
        cache: with one episode.
        skip: frames in a model step.
        held_out: share of the steps that is in the rest.
    """
    count = int(-(-cache.lengths[0] // skip))
    first = count - max(1, round(held_out * count))
    block = max(_SHORTEST_BLOCK, count // _BLOCKS)
    start = int(cache.starts[0])
    rest = _pieces(start + first * skip, count - first, skip, block)
    return _pieces(start, first, skip, block), rest


def _pieces(start: int, count: int, skip: int, block: int = 0) -> list[Stretch]:
    """Return stretches from a frame on; without a block they are one group together."""
    firsts = [(start + at * skip, min(LONGEST, count - at)) for at in range(0, count, LONGEST)]
    return [Stretch(first, steps, first if block else start, block) for first, steps in firsts]


def chosen(parts: Sequence[Stretch], most_steps: int, seed: int) -> list[Stretch]:
    """Return stretches drawn until they hold ``most_steps`` model steps, in their order."""
    order = generator("stretches", seed).permutation(len(parts))
    reached = np.cumsum([parts[index].steps for index in order])
    count = max(2, int(np.searchsorted(reached, most_steps, side="right")))
    return [parts[index] for index in np.sort(order[:count])]


def room_for(width: int, wanted: int) -> int:
    """Return how many of the wanted model steps fit into memory, for latents of this width."""
    return min(wanted, max(256, _MOST_NUMBERS // max(1, width)))


def see(
    model: WorldModel,
    cache: Cache,
    parts: Sequence[Stretch],
    skip: int,
    streams: tuple[str, ...] | None = None,
    acts: bool = True,
    progress: Progress = silent,
) -> Steps:
    """Encode every model step of some stretches, each as it looks alone.

    ``latents`` and ``features`` are whole yet; ``project`` makes them narrow.

    Args:
        model: any that keeps the protocol.
        cache: prepared episodes.
        parts: what to encode.
        skip: frames in a model step.
        streams: names in the cache that the model sees; all that models look for if None.
        acts: whether the model takes actions; else ``actions`` has width 0.
        progress: called with steps done and in all.
    """
    frames = np.concatenate([part.first + skip * np.arange(part.steps) for part in parts])
    camera = first_of_kind(cache.kinds)
    singles = Windows(cache, None, 1, 1, streams)
    pictures = None if camera is None else cache.arrays[camera]
    tokens, features = [], []
    for at in range(0, len(frames), FRAMES_AT_ONCE):
        some = frames[at : at + FRAMES_AT_ONCE]
        batch = singles.gather(some)
        tokens.append(encode(model, Batch(batch.streams, None, batch.valid))[:, 0])
        if pictures is not None:
            features.append(frozen_features(torch.from_numpy(np.take(pictures, some, axis=0))))
        progress(at + len(some), len(frames))
    counts = [part.steps for part in parts]
    before = np.concatenate([np.arange(count) for count in counts])
    after = np.repeat(counts, counts) - 1 - before
    together = torch.cat(tokens)
    return Steps(
        tokens=together,
        latents=together.flatten(1).numpy(),
        features=torch.cat(features).numpy() if features else None,
        actions=_actions(cache, frames, after, skip, acts),
        frames=frames,
        before=before,
        after=after,
        groups=_groups(parts, before),
    )


def project(steps: Steps, latents: Projection, features: Projection | None) -> Steps:
    """Return the steps with latents and features along fewer directions."""
    seen = steps.features
    narrow = None if seen is None or features is None else features.apply(seen)
    return replace(steps, latents=latents.apply(steps.latents), features=narrow)


def check_enough(steps: Steps, which: str) -> None:
    """Refuse stretches in which there is nothing to predict, or nothing to draw from.

    Raises:
        DatasetError: fewer than two groups, or none has three model steps.
    """
    longest = int(steps.before.max(initial=-1)) + 1
    groups = len(np.unique(steps.groups[steps.before >= 2]))
    if groups < 2:
        raise DatasetError(
            f"A diagnosis needs at least two {which} episodes of three model steps or more; there "
            f"are {groups}, the longest of {longest} model steps. Record more or longer episodes."
        )


def _groups(parts: Sequence[Stretch], before: np.ndarray) -> np.ndarray:
    """Return the group of each step; a block is named by a frame of its own stretch."""
    counts = [part.steps for part in parts]
    own, block = (np.repeat([getattr(part, name) for part in parts], counts)
                  for name in ("group", "block"))  # fmt: skip
    return own + np.where(block > 0, before // np.maximum(block, 1), 0)


def _actions(
    cache: Cache, frames: np.ndarray, after: np.ndarray, skip: int, acts: bool
) -> np.ndarray:
    if not acts or cache.actions is None:
        return np.zeros((len(frames), 0), np.float32)
    moves = np.minimum(frames[:, None] + np.arange(skip), cache.num_frames - 1)
    taken = np.take(cache.actions, moves, axis=0).reshape(len(frames), -1)
    return np.where(after[:, None] > 0, taken, 0).astype(np.float32)
