"""Windows: every clip of given length in a cache, gathered without Python work per sample.

Axes: B clips, T steps of a clip, k stride, A action.

A window that starts at frame t shows frames t, t+k, ..., t+(T-1)k of one episode. The k actions
between two shown frames are put side by side: [B T-1 k*A].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int

from armillary.core.errors import ConfigError, DatasetError
from armillary.core.rng import generator
from armillary.core.values import Batch
from armillary.data.cache import Cache

METRES_PER_MM = 0.001


class Windows:
    """All windows of some episodes of a cache, numbered 0..len-1 in order of episode and start.

    Args:
        cache: prepared episodes.
        episodes: positions in the cache (0..E-1); all if None.
        length: T, steps shown.
        stride: k, frames from one shown step to the next.
        streams: names to gather; all that models look for if None.

    Raises:
        ConfigError: length or stride below 1, an unknown episode or stream.
        DatasetError: no episode is long enough for one window.
    """

    def __init__(
        self,
        cache: Cache,
        episodes: Sequence[int] | np.ndarray | None,
        length: int,
        stride: int = 1,
        streams: tuple[str, ...] | None = None,
    ) -> None:
        if length < 1 or stride < 1:
            raise ConfigError(
                f"Windows need length and stride of 1 or more, got {length}, {stride}."
            )
        chosen = (
            np.arange(cache.num_episodes) if episodes is None else np.asarray(episodes, np.int64)
        )
        if chosen.size and not 0 <= chosen.min() <= chosen.max() < cache.num_episodes:
            raise ConfigError(f"Episodes must be 0 to {cache.num_episodes - 1}, got {chosen}.")
        self.cache, self.length, self.stride = cache, length, stride
        self.episodes = chosen
        self.streams = streams if streams is not None else _default_streams(cache)
        counts = np.maximum(cache.lengths[chosen] - (length - 1) * stride, 0)
        _check_streams(cache, self.streams)
        self._ends = np.cumsum(counts)
        self._starts = cache.starts[chosen]
        if not len(self):
            raise DatasetError(
                f"No episode is long enough: a window needs {(length - 1) * stride + 1} steps, the "
                f"longest of {len(chosen)} episodes has {cache.lengths[chosen].max(initial=0)}. "
                "Take a shorter length, a smaller stride or longer recordings."
            )

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def order(self, seed: int, epoch: int) -> Int[np.ndarray, " N"]:
        """Return the order in which an epoch visits the windows (``epoch_order``)."""
        return epoch_order(len(self), seed, epoch)

    def at_hand(self) -> Windows:
        """Return windows that can be gathered in any order: all, where all are prepared."""
        return self

    def gather(self, index: Int[np.ndarray, " B"]) -> Batch:
        """Return the windows with these numbers."""
        position, first = self.locate(index)
        frames = self._frames(first)
        streams = {
            "depth_m" if name == "depth" else name: self._stream(name, frames, position)
            for name in self.streams
        }
        valid = torch.ones(frames.shape, dtype=torch.bool)
        return Batch(streams=streams, actions=self._actions(first), valid=valid)

    def truth(self, name: str, index: Int[np.ndarray, " B"]) -> np.ndarray:
        """Return any array of the cache over these windows [B T ...], e.g. ``pusher_xy``.

        Raises:
            ConfigError: the cache has no such array.
        """
        if name not in self.cache.arrays:
            known = ", ".join(sorted(self.cache.arrays))
            raise ConfigError(f"The recording has no stream {name!r}. It has: {known}.")
        return np.take(self.cache.arrays[name], self._frames(self.locate(index)[1]), axis=0)

    def locate(self, index: Int[np.ndarray, " B"]) -> tuple[np.ndarray, np.ndarray]:
        """Return each window's episode (position in the cache) and first frame, both [B]."""
        index = np.asarray(index, np.int64)
        if index.size and not 0 <= index.min() <= index.max() < len(self):
            raise ConfigError(f"Windows are numbered 0 to {len(self) - 1}, got {index}.")
        which = np.searchsorted(self._ends, index, side="right")
        before = np.where(which > 0, self._ends[which - 1], 0)
        return self.episodes[which], self._starts[which] + index - before

    def _frames(self, first: np.ndarray) -> np.ndarray:
        return first[:, None] + np.arange(self.length) * self.stride

    def _stream(self, name: str, frames: np.ndarray, position: np.ndarray) -> torch.Tensor:
        if name == "intrinsics" and self.cache.intrinsics is not None:
            lens = torch.from_numpy(self.cache.intrinsics[position])
            return lens[:, None].expand(-1, self.length, -1, -1)
        values = torch.from_numpy(np.take(self.cache.arrays[name], frames, axis=0))
        return values.float().mul_(METRES_PER_MM) if self.cache.kinds[name] == "depth" else values

    def _actions(self, first: np.ndarray) -> torch.Tensor | None:
        actions = self.cache.actions
        if actions is None:
            return None
        gaps = self.length - 1
        steps = first[:, None] + np.arange(gaps * self.stride)
        width = self.stride * actions.shape[1]
        return torch.from_numpy(np.take(actions, steps, axis=0).reshape(len(first), gaps, width))


def split_episodes(
    num: int, held_out: float = 0.2, seed: int = 0
) -> tuple[Int[np.ndarray, " E"], Int[np.ndarray, " F"]]:
    """Return the episodes to train on and those held out, each ascending.

    At least one episode is on either side where there are two or more.

    Raises:
        DatasetError: fewer than one episode.
        ConfigError: ``held_out`` is not a share between 0 and 1.
    """
    if num < 1:
        raise DatasetError("There is no episode to split.")
    if not 0 <= held_out < 1:
        raise ConfigError(f"The share that is held out must be in 0..1, got {held_out}.")
    count = min(num - 1, max(1, round(num * held_out))) if held_out else 0
    order = generator("split-episodes", seed).permutation(num)
    return np.sort(order[count:]), np.sort(order[:count])


def epoch_order(num_windows: int, seed: int, epoch: int) -> Int[np.ndarray, " N"]:
    """Return the order in which an epoch visits the windows; it depends on nothing else."""
    return generator("epoch-order", seed, epoch).permutation(num_windows)


def _check_streams(cache: Cache, names: tuple[str, ...]) -> None:
    known = {*cache.kinds} | ({"intrinsics"} if cache.intrinsics is not None else set())
    for name in names:
        if name not in known:
            raise ConfigError(
                f"The recording has no stream {name!r}. It has: {', '.join(sorted(known))}."
            )


def _default_streams(cache: Cache) -> tuple[str, ...]:
    kinds = ("rgb", "depth", "points", "lidar", "pose", "proprio")
    names = tuple(name for name, kind in cache.kinds.items() if kind in kinds)
    return names if cache.intrinsics is None else (*names, "intrinsics")
