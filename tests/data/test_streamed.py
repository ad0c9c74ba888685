"""Clips through a pool: each once an epoch, the clips of the folder, never more on disk."""

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem

from armillary.core.errors import ConfigError, DatasetError
from armillary.data import Windows, open_dataset, prepare
from armillary.data.prepare import frame_bytes
from armillary.data.remote import open_remote
from armillary.data.streamed import Pool, StreamedWindows
from armillary.worlds import record

LENGTH, STRIDE = 3, 2
STREAMS = ("rgb", "depth", "proprio")
TRAINING, HELD_OUT = np.arange(2, 14), np.array([0, 1])


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("streamed") / "data"
    settings = {"image_size": 32, "sensors": ["rgb", "depth", "proprio"]}
    record("tabletop", out, 14, 9, seed=1, settings=settings)
    system = fsspec.filesystem("memory")
    system.put(f"{out}/", "/streamed/data", recursive=True)
    yield out
    system.rm("/streamed", recursive=True)


def streamed(folder: Path, episodes_of_a_block=3, seed=5, side=16) -> StreamedWindows:
    dataset = open_remote("memory://streamed/data", folder / "source")
    block = episodes_of_a_block * 9 * frame_bytes(dataset, side)
    most = 4 * block + max(map(dataset.episode_bytes, range(14)))
    pool = Pool(dataset, side, None, folder / "episodes", most)
    blocks = pool.blocks(TRAINING, HELD_OUT, seed)
    base = pool.prepared([*blocks.training[0], *blocks.held_out])
    return StreamedWindows(pool, blocks, base, LENGTH, STRIDE, STREAMS, seed)


def on_disk(folder: Path, kinds=(".npy", ".mp4", ".parquet")) -> int:
    """Return the bytes of prepared arrays and fetched episodes; tables and index are small."""
    files = [f for f in below(folder) if f.suffix in kinds and "meta" not in f.parts]
    return sum(map(size_of, files))


def below(folder: Path) -> list[Path]:
    """Return all files, also while another thread deletes some."""
    return [Path(place, name) for place, _, names in os.walk(folder) for name in names]


def size_of(file: Path) -> int:
    with suppress(FileNotFoundError):
        return file.stat().st_size
    return 0


class Watch:
    """Makes storage answer after random times, and notes what is on disk or on its way then."""

    def __init__(self, monkeypatch, folder: Path, seed: int) -> None:
        self.folder, self.rng, self.lock = folder, np.random.default_rng(seed), threading.Lock()
        self.flying: dict[str, int] = {}
        self.most_flying = self.most_bytes = 0
        real = MemoryFileSystem.get_file

        def get_file(system, where, to, *args, **more):
            with self.lock:
                self.flying[to] = system.size(where)
                self.most_bytes = max(self.most_bytes, self._taken())
                self.most_flying = max(self.most_flying, len(self.flying))
                pause = self.rng.uniform(0, 0.02)
            time.sleep(pause)
            try:
                real(system, where, to, *args, **more)
            finally:
                with self.lock:
                    del self.flying[to]

        monkeypatch.setattr(MemoryFileSystem, "get_file", get_file)

    def _taken(self) -> int:
        """Return bytes on disk and to come, without the tables that opening fetches."""
        source = self.folder / "source"
        come = {f for f in below(source) if str(f) not in self.flying}
        rows = sum(size_of(f) for f in come if of_an_episode(f.relative_to(source)))
        coming = [Path(to) for to in self.flying]
        coming = [f for f in coming if of_an_episode(f.relative_to(source))]
        return on_disk(self.folder / "episodes") + rows + sum(self.flying[str(f)] for f in coming)


def of_an_episode(name: Path) -> bool:
    places = ("data/", "videos/", "meta/armillary/steps/", "meta/armillary/episodes/")
    return str(name).startswith(places) and "episode-000000" not in name.name


def fetching() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("fetch")]


def test_an_epoch_shows_each_clip_of_the_folder_once(local, tmp_path):
    windows = streamed(tmp_path)
    cache = prepare(open_dataset(local), 16, tmp_path / "whole")
    plain = Windows(cache, TRAINING, LENGTH, STRIDE, STREAMS)
    assert len(windows) == len(plain) == 12 * 5
    every = plain.gather(np.arange(len(plain)))
    for epoch in (0, 1):
        order = windows.order(5, epoch)
        assert sorted(order) == list(range(len(plain)))
        seen = [windows.gather(order[start : start + 7]) for start in range(0, len(order), 7)]
        assert sum(len(one.valid) for one in seen) == len(plain)
        for name, values in every.streams.items():
            rows = torch.cat([one.streams[name] for one in seen]).flatten(1)
            same = (rows[:, None] == values.flatten(1)[None]).all(-1)
            assert same.any(0).all() and same.any(1).all(), f"{name} of epoch {epoch}"
        acted = torch.cat([one.actions for one in seen]).flatten(1)
        assert torch.equal(acted.sort(0).values, every.actions.flatten(1).sort(0).values)
    assert not np.array_equal(windows.order(5, 0), windows.order(5, 1))
    windows.close()


def test_who_goes_on_later_sees_what_he_would_have_seen(local, tmp_path):
    one, other = streamed(tmp_path / "a"), streamed(tmp_path / "b")
    order = one.order(5, 0)
    whole = [one.gather(order[start : start + 8]) for start in range(0, 56, 8)]
    again = other.order(5, 0)
    for step in (5, 6):  # no earlier block was prepared
        late = other.gather(again[8 * step : 8 * step + 8])
        for name, values in late.streams.items():
            assert torch.equal(values, whole[step].streams[name])
        assert torch.equal(late.actions, whole[step].actions)
    one.close()
    other.close()


@pytest.mark.parametrize("seed", [0, 1])
def test_the_order_and_the_bits_do_not_depend_on_when_files_come(
    local, tmp_path, monkeypatch, seed
):
    plain = streamed(tmp_path / "a")
    order = plain.order(5, 0)
    wanted = [plain.gather(order[start : start + 8]) for start in range(0, 56, 8)]
    plain.close()
    watch = Watch(monkeypatch, tmp_path / "b", seed)
    late = streamed(tmp_path / "b")
    assert late.blocks == plain.blocks and np.array_equal(late.order(5, 0), order)
    for step, one in enumerate(wanted):
        other = late.gather(order[8 * step : 8 * step + 8])
        assert all(torch.equal(other.streams[name], one.streams[name]) for name in one.streams)
        assert torch.equal(other.actions, one.actions)
    late.close()
    assert watch.most_flying > len(late._pool.dataset._needed(1)), "the next come ahead"
    assert not fetching() and not watch.flying


@pytest.mark.parametrize("size", [2, 3, 5])
def test_at_no_moment_is_the_pool_larger_than_it_may_be(local, tmp_path, monkeypatch, size):
    watch = Watch(monkeypatch, tmp_path, size)
    windows = streamed(tmp_path, size, side=8)  # so files are larger than what is made of them
    for epoch in (0, 1):
        order = windows.order(5, epoch)
        for start in range(0, len(order), 4):
            windows.gather(order[start : start + 4])
    windows.close()
    assert 0 < watch.most_bytes <= windows._pool.most_bytes


def test_an_error_in_the_background_is_told_where_clips_are_gathered(local, tmp_path, monkeypatch):
    windows = streamed(tmp_path)
    order, real = windows.order(5, 0), MemoryFileSystem.get_file
    bad = windows._pool.dataset.files(windows.blocks.training[2][1])[-1]

    def cut(system, where, to, *args, **more):
        real(system, where, to, *args, **more)
        if where.endswith(bad):
            Path(to).write_bytes(Path(to).read_bytes()[:-1])

    monkeypatch.setattr(MemoryFileSystem, "get_file", cut)
    sentence = f"{bad} has .* bytes, and .* were listed; it changed, or was cut off"
    with pytest.raises(DatasetError, match=sentence):
        for start in range(0, len(order), 4):
            windows.gather(order[start : start + 4])
    windows.close()
    assert not fetching() and not [*tmp_path.rglob("*.part")]


def test_closing_does_not_wait_for_a_connection_that_hangs(local, tmp_path, monkeypatch):
    windows, tried = streamed(tmp_path), threading.Event()

    def never(*_, **__):
        tried.set()
        raise ConnectionError("no route")

    monkeypatch.setattr(MemoryFileSystem, "get_file", never)
    windows.gather(np.arange(4))  # of the first block: the next is begun
    assert tried.wait(10)
    began = time.perf_counter()
    windows.close()  # five attempts would take 15 seconds
    assert time.perf_counter() - began < 10 and not fetching()
    assert not [*tmp_path.rglob("*.part")]


def test_the_pool_is_never_larger_than_it_may_be(local, tmp_path):
    windows, most = streamed(tmp_path), 0
    for epoch in (0, 1, 2):
        order = windows.order(5, epoch)
        for start in range(0, len(order), 4):
            windows.gather(order[start : start + 4])
            most = max(most, on_disk(tmp_path))
    assert 0 < most <= windows._pool.most_bytes
    windows.close()
    base = sum(array.nbytes for array in windows.at_hand().cache.arrays.values())
    assert on_disk(tmp_path / "episodes") < base + 10_000, "the first block alone is left"


def test_all_that_fits_is_one_block_and_a_pool_too_small_is_refused(local, tmp_path):
    windows = streamed(tmp_path, episodes_of_a_block=20)
    assert len(windows.blocks.training) == 1 and windows.waited_s == 0
    assert len(windows.gather(windows.order(0, 0)).valid) == 60
    pool = windows._pool
    small = Pool(pool.dataset, 16, None, tmp_path, 1000)
    with pytest.raises(ConfigError, match=r"needs a pool of \d\.\de-05 GB; got 1e-06"):
        small.blocks(TRAINING, HELD_OUT, 0)
    windows.close()
