"""Streamed: clips of a dataset that is larger than the disk, through a pool of prepared episodes.

    remote files -> a few episodes ahead -> a block of prepared episodes -> clips of a batch

Training episodes are cut into blocks that fill a quarter of the pool each. An epoch visits the
blocks in an order of its own, and the clips of a block in an order of its own, so each clip is seen
once an epoch. While one block is used, the next is prepared. While one episode is prepared, the
files of the next are fetched, as far as the pool has room for them. The first block stays, with the
episodes that are held out: scales, the fine-tuning of the predictor, the goal policy and the
diagnosis need clips in any order.

The order depends on the seed, the epoch, the size of the pool and the number of processes alone, so
a run that goes on at a step sees what it would have seen.

Several processes share the first block and the held-out episodes, which the first of them prepares.
Of all other blocks each process has its own, and prepares them in a folder of its own. Nobody waits
for a lock: the first block appears by a rename, complete, and the others look for it.

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
from armillary.data.prepare import frame_bytes, prepare, prepared_before
from armillary.data.remote import RemoteDataset
from armillary.data.resize import Size
from armillary.data.shares import Share, dealt
from armillary.data.windows import Windows, epoch_order

_PARTS = 4  # of the pool: first block, held out, block in use, next block
QUIET_S = 1800.0  # after which a process no longer waits for another
_LOOK_S = 0.2
_MOST_HELD_OUT = 512  # episodes; more judge nothing better


@dataclass(frozen=True)
class Blocks:
    """How a dataset goes through a pool.

    Attributes:
        training: episodes of each block; the first stays.
        held_out: episodes that stay, too.
        owners: which of several processes each block belongs to, -1 for the first, which is
            everybody's; empty for one process.
    """

    training: tuple[tuple[int, ...], ...]
    held_out: tuple[int, ...]
    owners: tuple[int, ...] = ()

    def of(self, rank: int) -> list[int]:
        """Return the numbers of the blocks that a process uses, the first included."""
        if not self.owners:
            return [*range(len(self.training))]
        return [block for block, owner in enumerate(self.owners) if owner in (-1, rank)]


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
        self,
        training: Int[np.ndarray, " E"],
        held_out: Int[np.ndarray, " F"],
        seed: int,
        processes: int = 1,
        span: int = 0,
    ) -> Blocks:
        """Return what goes through the pool at a time.

        Args:
            training: episodes to learn from.
            held_out: episodes that are held out; as many as fill a quarter of the pool stay.
            seed: names which episodes share a block.
            processes: how many share the pool. Each has its own blocks but for the first.
            span: recorded steps from the first to the last of a clip, by which shares are dealt.

        Raises:
            ConfigError: the pool is too small for one episode of each process.
        """
        each = frame_bytes(self.dataset, self.size, self.points) * self.dataset.lengths
        every = np.concatenate([training, held_out])
        source = max(self.dataset.episode_bytes(int(index)) for index in every)
        room = (self.most_bytes - processes * source) // _PARTS
        largest = int(each[every].max())
        if largest > room // processes:
            needed = processes * (_PARTS * largest + source) / 1e9
            of_all = f" for {processes} processes" if processes > 1 else ""
            raise ConfigError(
                f"{self.dataset.place}: its longest episode needs a pool of {needed:.2g} GB"
                f"{of_all}; got "
                f"{self.most_bytes / 1e9:.2g}. Give --pool-gb more, or cut the episode."
            )
        order = self._shuffled(training, seed)
        judged = self._shuffled(held_out, seed)[:_MOST_HELD_OUT]
        blocks = _filled(order, each, room)
        kept = next(iter(_filled(judged, each, room)), ())
        if processes == 1:
            return Blocks(tuple(blocks), kept)
        rest = order[len(blocks[0]) :]
        clips = np.maximum(self.dataset.lengths[rest] - span, 0)
        blocks, owners = blocks[:1], [-1]
        for rank, share in enumerate(dealt(rest, clips, processes)):
            own = _filled(share, each, room // processes)
            blocks += own
            owners += [rank] * len(own)
        return Blocks(tuple(blocks), kept, tuple(owners))

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
        room = self.most_bytes - bytes_below(self.folder)
        with self.dataset.ahead(order, made, room):
            return prepare(
                self.dataset,
                self.size,
                self.folder,
                progress=progress,
                episodes=order,
                points=self.points,
            )

    def awaited(self, episodes: Sequence[int], quiet_s: float = QUIET_S) -> Cache:
        """Return these episodes once another process has prepared them.

        Args:
            episodes: their numbers.
            quiet_s: seconds without a change in the folder after which nobody prepares them.

        Raises:
            StorageError: nobody does.
        """
        before, since = -1, time.monotonic()
        while True:
            found = prepared_before(
                self.dataset, self.size, self.folder, sorted(episodes), self.points
            )
            if found is not None:
                return found
            taken = bytes_below(self.folder.parent)
            if taken != before:
                before, since = taken, time.monotonic()
            elif time.monotonic() - since > quiet_s:
                raise StorageError(
                    f"{self.folder}: the leading process has prepared nothing for "
                    f"{quiet_s / 60:.0f} minutes. All processes must see the same dataset, and "
                    "--out must be on a disk that they share."
                )
            time.sleep(_LOOK_S)

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


def bytes_below(folder: Path) -> int:
    """Return what a folder takes, also while another thread or process deletes some of it."""
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
        share: which of several processes this one is; ``gather`` takes its clips alone.

    Attributes:
        waited_s: seconds that ``gather`` waited for a block.

    Raises:
        DatasetError: no episode of the first block is long enough for one clip.
        ConfigError: the shares of the processes differ by too many clips.
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
        share: Share | None = None,
    ) -> None:
        at_hand = np.flatnonzero(np.isin(base.episodes, blocks.training[0]))
        super().__init__(base, at_hand, length, stride, streams)
        self._pool, self.blocks, self._seed = pool, blocks, seed
        self._first = Windows(base, at_hand, length, stride, streams)
        span = (length - 1) * stride
        lengths = pool.dataset.lengths
        counts = [sum(max(int(lengths[e]) - span, 0) for e in b) for b in blocks.training]
        self._counts = np.array(counts, np.int64)
        self._block_ends = np.cumsum(counts)
        self._share = share or Share()
        self._of_rank = [blocks.of(rank) for rank in range(self._share.count)]
        own = [int(self._counts[some[1:]].sum()) for some in self._of_rank]
        self._share.check(counts[0], own)
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
        """Return the order in which an epoch visits the clips: block after block.

        Of several processes each finds its own blocks one after another at its own places.
        """
        owners = self._share.owners(len(self), epoch)
        common = self._shuffled(0, seed, epoch)
        order, taken = np.empty(len(self), np.int64), 0
        for rank, blocks in enumerate(self._of_rank):
            mine = np.flatnonzero(owners == rank)
            until = taken + len(mine) - int(self._counts[blocks[1:]].sum())
            order[mine] = np.concatenate(
                [
                    self._shuffled(block, seed, epoch) if block else common[taken:until]
                    for block in self._visits(seed, epoch, rank)
                ]
            )
            taken = until
        self._ordered = epoch
        return order

    def _shuffled(self, block: int, seed: int, epoch: int) -> Int[np.ndarray, " M"]:
        """Return the clips of a block in the order of an epoch."""
        inner = generator("streamed.clips", seed, epoch, block)
        count = int(self._counts[block])
        return int(self._block_ends[block]) - count + inner.permutation(count)

    def gather(self, index: Int[np.ndarray, " B"]) -> Batch:
        """Return the clips with these numbers, after their blocks were prepared.

        Raises:
            ConfigError: there is no such clip, or it is in the share of another process.
            DatasetError: an episode is damaged.
            StorageError: an episode cannot be fetched, or the disk is full.
        """
        index = np.asarray(index, np.int64)
        if index.size and not 0 <= index.min() <= index.max() < len(self):
            raise ConfigError(f"Windows are numbered 0 to {len(self) - 1}, got {index}.")
        which = np.searchsorted(self._block_ends, index, side="right")
        if not np.isin(which, self._of_rank[self._share.rank]).all():
            raise ConfigError(f"Process {self._share.rank} has only some of the clips {index}.")
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

    def _visits(self, seed: int, epoch: int, rank: int | None = None) -> list[int]:
        """Return the blocks of a process, by default this one, in the order of an epoch."""
        rank = self._share.rank if rank is None else rank
        blocks = self._of_rank[rank]
        if self._share.count == 1:
            order = epoch_order(len(blocks), seed, epoch)
        else:
            order = generator("streamed.visits", seed, epoch, rank).permutation(len(blocks))
        return [blocks[int(place)] for place in order]

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
        # another process may have all clips of the first block in an epoch: one visit falls out
        for _ in range(2 if self._share.count == 1 else 3):
            visits = self._visits(self._seed, epoch)
            if visits[place] == block:
                return epoch, place
            epoch, place = (epoch, place + 1) if place + 1 < len(visits) else (epoch + 1, 0)
        return self._ordered, self._visits(self._seed, self._ordered).index(block)

    def _begin_next(self) -> None:
        """Begin to prepare the block after this one; the first needs no preparing."""
        if len(self._of_rank[self._share.rank]) == 1 or self._closed.is_set():
            return
        epoch, place = self._visit
        later = self._visits(self._seed, epoch)[place + 1 :] + self._visits(self._seed, epoch + 1)
        following = next((one for one in later if one not in (0, self._now[0])), None)
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
