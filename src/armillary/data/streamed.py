"""Streamed: clips of a dataset that is larger than the disk, through a pool of prepared episodes.

    remote files -> a few episodes ahead -> a block of prepared episodes -> clips of a batch

Training episodes are cut into blocks that fill a quarter of the pool each. An epoch visits the
blocks in an order of its own, and the clips of a block in an order of its own, so each clip is seen
once an epoch. While one block is used, the next is prepared. While one episode is prepared, the
files of the next are fetched, as far as the pool has room for them. The first block stays, with the
episodes that are held out: scales, the fine-tuning of the predictor, the goal policy and the
diagnosis need clips in any order.

The order depends on the seed, the epoch and the size of the pool alone, so a run that goes on at a
step sees what it would have seen.

Axes: N clips, B of a batch.
Source: the bounded pool of whole episodes of LeRobot's pull request 3917.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int

from armillary.core.errors import ConfigError, DatasetError, StorageError
from armillary.core.progress import Progress, silent
from armillary.core.rng import generator
from armillary.core.values import Batch
from armillary.data.cache import Cache
from armillary.data.point_sampling import PointSampling
from armillary.data.prepare import frame_bytes, prepare
from armillary.data.remote import RemoteDataset
from armillary.data.resize import Size
from armillary.data.windows import Windows, epoch_order

_PARTS = 4  # of the pool: first block, held out, block in use, next block
_MOST_HELD_OUT = 512  # episodes; more judge nothing better


@dataclass(frozen=True)
class Blocks:
    """How a dataset goes through a pool.

    Attributes:
        training: episodes of each block; the first stays.
        held_out: episodes that stay, too.
    """

    training: tuple[tuple[int, ...], ...]
    held_out: tuple[int, ...]


@dataclass(frozen=True)
class Pool:
    """Prepared episodes on disk, some at a time.

    Attributes:
        dataset: where they come from.
        size: of pictures.
        points: how clouds are sampled; None leaves them out.
        folder: of the prepared episodes.
        most_bytes: on disk, with the files of episodes that are here or on their way.
    """

    dataset: RemoteDataset
    size: int | Size
    points: PointSampling | None
    folder: Path
    most_bytes: int

    def blocks(
        self, training: Int[np.ndarray, " E"], held_out: Int[np.ndarray, " F"], seed: int
    ) -> Blocks:
        """Return what goes through the pool at a time.

        Args:
            training: episodes to learn from.
            held_out: episodes that are held out; as many as fill a quarter of the pool stay.
            seed: names which episodes share a block.

        Raises:
            ConfigError: the pool is too small for one episode.
        """
        each = frame_bytes(self.dataset, self.size, self.points) * self.dataset.lengths
        every = np.concatenate([training, held_out])
        source = max(self.dataset.episode_bytes(int(index)) for index in every)
        room = (self.most_bytes - source) // _PARTS
        largest = int(each[every].max())
        if largest > room:
            needed = (_PARTS * largest + source) / 1e9
            raise ConfigError(
                f"{self.dataset.place}: its longest episode needs a pool of {needed:.2g} GB; got "
                f"{self.most_bytes / 1e9:.2g}. Give --pool-gb more, or cut the episode."
            )
        order = self._shuffled(training, seed)
        judged = self._shuffled(held_out, seed)[:_MOST_HELD_OUT]
        blocks = _filled(order, each, room)
        return Blocks(tuple(blocks), next(iter(_filled(judged, each, room)), ()))

    def _shuffled(self, episodes: Int[np.ndarray, " E"], seed: int) -> Int[np.ndarray, " E"]:
        """Return episodes in a random order; those of one file stay together."""
        files: dict[str, list[int]] = {}
        for index in map(int, episodes):
            # pictures are most of what is fetched; the rows of many may lie in one file
            files.setdefault(self.dataset.files(index)[-1], []).append(index)
        groups = list(files.values())
        order = generator("streamed.blocks", seed).permutation(len(groups))
        return np.array([index for place in order for index in groups[place]], np.int64)

    def everything_bytes(self) -> int:
        """Return what all episodes would take on disk, prepared."""
        each = frame_bytes(self.dataset, self.size, self.points)
        return each * int(self.dataset.lengths.sum())

    def prepared(self, episodes: Sequence[int], progress: Progress = silent) -> Cache:
        """Return these episodes, prepared.

        Args:
            episodes: their numbers.
            progress: called with episodes done and in all.

        Raises:
            DatasetError: an episode is damaged.
            StorageError: it cannot be fetched, or the disk is full.
        """
        order = sorted(episodes)
        each = frame_bytes(self.dataset, self.size, self.points)
        made = [each * int(self.dataset.lengths[index]) for index in order]
        # what is there may be deleted meanwhile, and does not grow: blocks are prepared in turn
        room = self.most_bytes - _bytes_below(self.folder)
        with self.dataset.ahead(order, made, room):
            return prepare(
                self.dataset,
                self.size,
                self.folder,
                progress=progress,
                episodes=order,
                points=self.points,
            )

    def drop(self, cache: Cache) -> None:
        """Delete a block's files; who has them mapped keeps them until he lets go."""
        if cache.path is not None:
            drop_folder(cache.path)

    def keep_only(self, cache: Cache) -> None:
        """Delete all that earlier attempts left, but for one cache."""
        for path in self.folder.iterdir():
            if path.is_dir() and path != cache.path:
                drop_folder(path)


def drop_folder(path: Path) -> None:
    """Delete a prepared folder. Its index goes first: without it, nobody takes it for whole."""
    (path / "index.json").unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)


def _bytes_below(folder: Path) -> int:
    """Return what a folder takes, also while another thread deletes some of it."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += Path(place, name).stat().st_size
    return total


def _filled(order: np.ndarray, each: np.ndarray, room: int) -> list[tuple[int, ...]]:
    """Return episodes in groups of at most ``room`` bytes."""
    groups: list[list[int]] = []
    left = 0
    for index in map(int, order):
        if not groups or each[index] > left:
            groups.append([])
            left = room
        groups[-1].append(index)
        left -= int(each[index])
    return [tuple(group) for group in groups]


class StreamedWindows(Windows):
    """All clips of a dataset's training episodes, of which one block is at hand at a time.

    Clips are numbered block by block; ``order`` is the order in which they are cheap to gather.

    Args:
        pool: prepares blocks.
        blocks: how the dataset goes through it.
        base: the first block and the held-out episodes, prepared.
        length: T, steps shown.
        stride: k, frames from one shown step to the next.
        streams: names to gather.
        seed: of the order, so that the block after the last is known.

    Attributes:
        waited_s: seconds that ``gather`` waited for a block.

    Raises:
        DatasetError: no episode of the first block is long enough for one clip.
    """

    def __init__(
        self,
        pool: Pool,
        blocks: Blocks,
        base: Cache,
        length: int,
        stride: int,
        streams: tuple[str, ...],
        seed: int,
    ) -> None:
        at_hand = np.flatnonzero(np.isin(base.episodes, blocks.training[0]))
        super().__init__(base, at_hand, length, stride, streams)
        self._pool, self.blocks, self._seed = pool, blocks, seed
        self._first = Windows(base, at_hand, length, stride, streams)
        span = (length - 1) * stride
        lengths = pool.dataset.lengths
        counts = [sum(max(int(lengths[e]) - span, 0) for e in b) for b in blocks.training]
        self._block_ends = np.cumsum(counts)
        self._now: tuple[int, Windows] = (0, self._first)
        self._next: tuple[int, Future[Cache]] | None = None
        self._worker = ThreadPoolExecutor(1)
        self._closed = threading.Event()
        self._ordered, self._visit = 0, (0, 0)  # epoch asked for; epoch and place of the block now
        self.waited_s = 0.0

    def __len__(self) -> int:
        # the constructor of ``Windows`` asks for the clips of the first block
        ends = getattr(self, "_block_ends", None)
        return super().__len__() if ends is None else int(ends[-1])

    def at_hand(self) -> Windows:
        """Return the clips of the first block, which stays."""
        return self._first

    def order(self, seed: int, epoch: int) -> Int[np.ndarray, " N"]:
        """Return the order in which an epoch visits the clips: block after block."""
        starts = np.concatenate([[0], self._block_ends[:-1]])
        parts = []
        for block in map(int, self._visits(seed, epoch)):
            count = int(self._block_ends[block] - starts[block])
            inner = generator("streamed.clips", seed, epoch, block).permutation(count)
            parts.append(starts[block] + inner)
        self._ordered = epoch
        return np.concatenate(parts)

    def gather(self, index: Int[np.ndarray, " B"]) -> Batch:
        """Return the clips with these numbers, after their blocks were prepared.

        Raises:
            ConfigError: there is no such clip.
            DatasetError: an episode is damaged.
            StorageError: an episode cannot be fetched, or the disk is full.
        """
        index = np.asarray(index, np.int64)
        if index.size and not 0 <= index.min() <= index.max() < len(self):
            raise ConfigError(f"Windows are numbered 0 to {len(self) - 1}, got {index}.")
        which = np.searchsorted(self._block_ends, index, side="right")
        cuts = np.flatnonzero(np.diff(which)) + 1
        parts = []
        for some in np.split(np.arange(len(index)), cuts):
            block = int(which[some[0]]) if len(some) else 0
            before = int(self._block_ends[block - 1]) if block else 0
            parts.append(self._open(block).gather(index[some] - before))
        return parts[0] if len(parts) == 1 else _joined(parts)

    def close(self) -> None:
        """Let go of what is being prepared, after its present episode; the first block stays."""
        self._closed.set()
        self._pool.dataset.stop_fetching()
        self._worker.shutdown(wait=True, cancel_futures=True)
        begun, self._next = self._next, None
        if begun is not None and not begun[1].cancelled() and begun[1].exception() is None:
            self._pool.drop(begun[1].result())
        if self._now[0]:
            self._pool.drop(self._now[1].cache)
        self._now = 0, self._first

    def _visits(self, seed: int, epoch: int) -> Int[np.ndarray, " K"]:
        return epoch_order(len(self._block_ends), seed, epoch)

    def _open(self, block: int) -> Windows:
        """Return the clips of a block, and begin on the next."""
        if block != self._now[0]:
            began = time.perf_counter()
            if self._now[0]:
                self._pool.drop(self._now[1].cache)
                self._now = 0, self._first
            self._now = block, self._clips(block) if block else self._first
            self.waited_s += time.perf_counter() - began
        self._visit = self._visited(block)
        if self._next is None:
            self._begin_next()
        return self._now[1]

    def _clips(self, block: int) -> Windows:
        """Return the clips of a block that must be prepared."""
        windows = Windows(self._taken(block), None, self.length, self.stride, self.streams)
        wanted = int(np.diff(self._block_ends, prepend=0)[block])
        if len(windows) != wanted:
            raise DatasetError(
                f"{self._pool.dataset.place}: a block has {len(windows)} clips, and the lengths of "
                f"its episodes promise {wanted}; the dataset changed meanwhile."
            )
        return windows

    def _taken(self, block: int) -> Cache:
        """Return a block that was begun, or prepare it now."""
        begun, self._next = self._next, None
        if begun is not None and begun[0] == block:
            with contextlib.suppress(StorageError):  # a connection that failed may be there again
                return begun[1].result()
        elif begun is not None and not begun[1].cancel() and begun[1].exception() is None:
            self._pool.drop(begun[1].result())
        del begun
        return self._worker.submit(self._prepared, block).result()

    def _visited(self, block: int) -> tuple[int, int]:
        """Return epoch and place of this visit: that of before, the next, or after a jump."""
        epoch, place = self._visit
        for _ in range(2):
            visits = self._visits(self._seed, epoch)
            if int(visits[place]) == block:
                return epoch, place
            epoch, place = (epoch, place + 1) if place + 1 < len(visits) else (epoch + 1, 0)
        return self._ordered, [*self._visits(self._seed, self._ordered)].index(block)

    def _begin_next(self) -> None:
        """Begin to prepare the block after this one; the first needs no preparing."""
        if len(self._block_ends) == 1 or self._closed.is_set():
            return
        epoch, place = self._visit
        later = [*self._visits(self._seed, epoch)[place + 1 :]]
        later += [*self._visits(self._seed, epoch + 1)]
        following = next((int(one) for one in later if one not in (0, self._now[0])), None)
        if following is not None:
            self._next = following, self._worker.submit(self._prepared, following)

    def _prepared(self, block: int) -> Cache:
        def stop_if_closed(done: int, total: int, note: str = "") -> None:
            if self._closed.is_set():
                raise StorageError("The pool was closed.")

        return self._pool.prepared(self.blocks.training[block], stop_if_closed)


def _joined(parts: Sequence[Batch]) -> Batch:
    streams = {n: torch.cat([part.streams[n] for part in parts]) for n in parts[0].streams}
    actions = [part.actions for part in parts if part.actions is not None]
    valid = torch.cat([part.valid for part in parts])
    return Batch(streams=streams, actions=torch.cat(actions) if actions else None, valid=valid)
