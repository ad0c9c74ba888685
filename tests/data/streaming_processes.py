"""The clips of several processes that stream one dataset, for tests in one process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from armillary.data.prepare import frame_bytes
from armillary.data.remote import open_remote
from armillary.data.shares import Share
from armillary.data.streamed import Pool, StreamedWindows, bytes_below

LENGTH, SIDE = 3, 16


def streamed_by(
    folder: Path, address: str, count: int, batch: int, frames_of_a_block: int
) -> list[StreamedWindows]:
    """Return the clips of each process; all share the first block, and episodes 0 and 1 judge.

    Args:
        folder: of the pools.
        address: of the dataset.
        count: processes.
        batch: clips of a step, of all processes together.
        frames_of_a_block: that a quarter of the cap holds.
    """
    found = []
    for rank in range(count):
        own = folder / f"process-{rank}"
        dataset = open_remote(address, own / "source")
        episodes = len(dataset)
        block = frames_of_a_block * frame_bytes(dataset, SIDE)
        most = 4 * block + count * max(map(dataset.episode_bytes, range(episodes)))
        pool = Pool(dataset, SIDE, None, folder / "episodes", most)
        blocks = pool.blocks(np.arange(2, episodes), np.array([0, 1]), 5, count, span=LENGTH - 1)
        first = [*blocks.training[0], *blocks.held_out]
        base = pool.awaited(first) if rank else pool.prepared(first)
        room = (most - bytes_below(base.path)) // count
        mine = pool if count == 1 else replace(pool, folder=own / "episodes", most_bytes=room)
        share = Share(rank, count, batch)
        found.append(StreamedWindows(mine, blocks, base, LENGTH, 1, ("rgb",), 5, share))
    return found
