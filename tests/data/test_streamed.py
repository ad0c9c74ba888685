"""Clips through a pool: each once an epoch, the clips of the folder, never more on disk."""

from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch

from armillary.core.errors import ConfigError
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


def streamed(folder: Path, episodes_of_a_block=3, seed=5) -> StreamedWindows:
    dataset = open_remote("memory://streamed/data", folder / "source")
    block = episodes_of_a_block * 9 * frame_bytes(dataset, 16)
    most = 4 * block + max(map(dataset.episode_bytes, range(14)))
    pool = Pool(dataset, 16, None, folder / "episodes", most)
    blocks = pool.blocks(TRAINING, HELD_OUT, seed)
    base = pool.prepared([*blocks.training[0], *blocks.held_out])
    return StreamedWindows(pool, blocks, base, LENGTH, STRIDE, STREAMS, seed)


def on_disk(folder: Path) -> int:
    """Return the bytes of prepared arrays and fetched episodes; tables and index are small."""
    kinds = (".npy", ".mp4", ".parquet")
    files = [f for f in folder.rglob("*") if f.suffix in kinds and "meta" not in f.parts]
    return sum(f.stat().st_size for f in files if f.exists())


def names_of(windows, batch) -> list[bytes]:
    return [one.numpy().tobytes() for one in batch.streams["rgb"]]


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
