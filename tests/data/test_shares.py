"""Processes that stream together: each clip once an epoch, and no episode fetched by two."""

from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem
from streaming_processes import LENGTH, SIDE, streamed_by

from armillary.core.errors import ConfigError, StorageError
from armillary.data import Windows, open_dataset, prepare
from armillary.data.remote import open_remote
from armillary.data.shares import Share, dealt
from armillary.data.streamed import Pool, StreamedWindows
from armillary.worlds import record

BATCH, EPISODES = 8, 30
TRAINING, HELD_OUT = np.arange(2, EPISODES), np.array([0, 1])


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("shares") / "data"
    record("tabletop", out, EPISODES, 9, seed=1, settings={"image_size": 32, "sensors": ["rgb"]})
    system = fsspec.filesystem("memory")
    system.put(f"{out}/", "/shares/data", recursive=True)
    yield out
    system.rm("/shares", recursive=True)


def streamed(folder: Path, count: int, episodes_of_a_block: int = 6) -> list[StreamedWindows]:
    """Return the clips of all processes, which share the first block."""
    return streamed_by(folder, "memory://shares/data", count, BATCH, 9 * episodes_of_a_block)


def steps_of(windows: list[StreamedWindows], begin: int, end: int):
    """Yield step, rank and the rank's numbers of clips, as the stepper takes them."""
    total = len(windows[0])
    for step in range(begin, end):
        positions = np.arange(step * BATCH, (step + 1) * BATCH)
        for rank, one in enumerate(windows):
            orders = {epoch: one.order(5, epoch) for epoch in {*(positions // total).tolist()}}
            index = np.array([orders[p // total][p % total] for p in positions])
            yield step, rank, index.reshape(len(windows), -1)[rank]


@pytest.mark.parametrize("count", [2, 4])
def test_every_clip_comes_once_an_epoch_over_all_processes(local, tmp_path, monkeypatch, count):
    windows = streamed(tmp_path, count)
    total, real, fetched = len(windows[0]), MemoryFileSystem.get_file, []

    def noted(system, where, to, *args, **more):
        fetched.append((str(to).split("process-")[1][0], Path(where).name))
        real(system, where, to, *args, **more)

    monkeypatch.setattr(MemoryFileSystem, "get_file", noted)
    cache = prepare(open_dataset(local), SIDE, tmp_path / "whole")
    plain = Windows(cache, TRAINING, LENGTH, 1, ("rgb",))
    assert total == len(plain)
    every = plain.gather(np.arange(total)).streams["rgb"].flatten(1)
    epochs, seen, pictures = 2, [], []
    for _, rank, index in steps_of(windows, 0, epochs * total // BATCH):
        seen.append(index)
        pictures.append(windows[rank].gather(index).streams["rgb"].flatten(1))
    assert epochs * total % BATCH == 0 < total % BATCH, "whole epochs, a batch of both"
    assert np.array_equal(np.bincount(np.concatenate(seen)), np.full(total, epochs))
    rows = torch.cat(pictures)
    matches = (rows[:, None] == every[None]).all(-1)
    assert matches.any(0).all() and matches.any(1).all(), "and shows what the folder has"
    by_name = {}
    for rank, name in fetched:
        by_name.setdefault(name, set()).add(rank)
    videos = [ranks for name, ranks in by_name.items() if name.endswith(".mp4")]
    assert videos and all(len(ranks) == 1 for ranks in videos), "no episode is fetched by two"
    assert set.union(*videos) == {str(rank) for rank in range(count)}
    for one in windows:
        one.close()


def test_who_goes_on_sees_the_same_clips(local, tmp_path):
    windows, later = streamed(tmp_path / "a", 2), streamed(tmp_path / "b", 2)
    whole = {(s, r): windows[r].gather(i) for s, r, i in steps_of(windows, 0, 28)}
    for step, rank, index in steps_of(later, 22, 28):  # the second epoch is entered in between
        found, wanted = later[rank].gather(index), whole[step, rank]
        assert torch.equal(found.streams["rgb"], wanted.streams["rgb"])
        assert torch.equal(found.actions, wanted.actions)
    for one in (*windows, *later):
        one.close()


def test_clips_of_another_share_are_refused(local, tmp_path):
    one, other = streamed(tmp_path, 2)
    mine = next(i for _, rank, i in steps_of([one, other], 8, 9) if rank == 1)
    other.gather(mine)
    far = len(one) - 1
    with pytest.raises(ConfigError, match="Process 0 has only some of the clips"):
        one.gather(np.array([far]))
    for windows in (one, other):
        windows.close()


def test_one_process_streams_as_before_there_were_several(local, tmp_path):
    (windows,) = streamed(tmp_path, 1)
    assert windows.blocks.owners == ()
    alone = StreamedWindows(windows._pool, windows.blocks, windows.cache, LENGTH, 1, ("rgb",), 5)
    assert np.array_equal(alone.order(5, 1), windows.order(5, 1))
    for one in (alone, windows):
        one.close()


def test_what_fits_into_the_first_block_is_divided_too(local, tmp_path):
    windows = streamed(tmp_path, 2, episodes_of_a_block=40)
    assert windows[0].blocks.owners == (-1,)
    total = len(windows[0])
    seen = [(r, i) for _, r, i in steps_of(windows, 0, 2 * total // BATCH)]
    counts = np.bincount(np.concatenate([index for _, index in seen]))
    assert np.array_equal(counts, np.full(total, 2))
    windows[1].gather(next(index for rank, index in seen if rank == 1))
    for one in windows:
        assert one.waited_s == 0
        one.close()


def test_shares_that_cannot_be_levelled_are_refused(local, tmp_path):
    with pytest.raises(ConfigError, match="for 8 processes; got"):
        streamed(tmp_path / "a", 8)
    with pytest.raises(ConfigError, match="too few to give each of 2 processes as many"):
        Share(0, 2, 8).check(4, [40, 60])
    Share(0, 2, 8).check(40, [40, 60])


def test_nobody_waits_for_ever_for_the_leading_process(local, tmp_path):
    dataset = open_remote("memory://shares/data", tmp_path / "source")
    pool = Pool(dataset, SIDE, None, tmp_path / "episodes", 10**9)
    with pytest.raises(StorageError, match="the leading process has prepared nothing"):
        pool.awaited([1, 2], quiet_s=0.3)


def test_runs_have_about_as_many_clips_and_keep_files_together():
    rng = np.random.default_rng(0)
    for count in (2, 3, 7):
        clips = rng.integers(0, 50, 40)
        order = rng.permutation(40)
        parts = dealt(order, clips[order], count)
        assert np.array_equal(np.concatenate(parts), order) and len(parts) == count
        sums = [int(clips[part].sum()) for part in parts]
        assert max(sums) - min(sums) < 2 * 50
    assert [len(part) for part in dealt(np.arange(0), np.arange(0), 3)] == [0, 0, 0]
