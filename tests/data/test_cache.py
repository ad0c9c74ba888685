"""The cache is what the dataset holds, is made once, and is never half there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from threading import Event
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from armillary.core.errors import ConfigError, DatasetError, StorageError
from armillary.core.values import Episode, Observation, Stream
from armillary.data import Cache, DatasetWriter, Windows, open_dataset, prepare
from armillary.data.batches import batch_from_observations
from armillary.data.resize import resized, resized_lens
from armillary.export.graphs import whole_millimetres


def test_disk_and_memory_give_the_same_cache(counted, counting, tmp_path):
    mapped = prepare(open_dataset(counted), 16, tmp_path)
    episodes = [open_dataset(counted).read(i) for i in range(4)]
    direct = Cache.from_episodes(episodes, 16)
    assert mapped.arrays.keys() == direct.arrays.keys()
    for name, values in direct.arrays.items():
        assert np.array_equal(mapped.arrays[name], values, equal_nan=name == "nothing"), name
        assert mapped.arrays[name].dtype == values.dtype
    assert np.array_equal(mapped.starts, direct.starts)
    assert np.array_equal(mapped.intrinsics, direct.intrinsics)
    assert (mapped.fps, direct.fps, mapped.size) == (20, 20, (16, 16))


def test_a_complete_cache_is_reused_and_a_changed_dataset_is_not(fresh, counting, tmp_path):
    first = prepare(open_dataset(fresh), 16, tmp_path / "c")
    stamp = (first.path / "index.json").stat().st_mtime_ns
    again = prepare(open_dataset(fresh), 16, tmp_path / "c")
    assert again.path == first.path
    assert (again.path / "index.json").stat().st_mtime_ns == stamp
    assert prepare(open_dataset(fresh), 8, tmp_path / "c").path != first.path
    assert prepare(open_dataset(fresh), 16, tmp_path / "c", episodes=[1]).path != first.path
    manifest = fresh / "meta/armillary/manifest.json"
    manifest.write_text(manifest.read_text() + "\n")
    assert prepare(open_dataset(fresh), 16, tmp_path / "c").path != first.path


def test_of_two_that_want_the_same_cache_one_makes_it(fresh, tmp_path, monkeypatch):
    begun, go_on, fills = Event(), Event(), []

    def slowly(*args):
        fills.append(args)
        begun.set()
        assert go_on.wait(20)
        fill(*args)

    module = import_module("armillary.data.prepare")
    fill = module._fill
    monkeypatch.setattr(module, "_fill", slowly)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(prepare, open_dataset(fresh), 16, tmp_path / "c")
        assert begun.wait(20)
        second = pool.submit(prepare, open_dataset(fresh), 16, tmp_path / "c")
        with pytest.raises(TimeoutError):
            second.result(timeout=0.3)
        go_on.set()
        assert first.result().path == second.result().path
    assert len(fills) == 1


def test_a_stream_may_be_called_what_no_file_is(tmp_path):
    writer = DatasetWriter(tmp_path / "set", 10)
    numbers = np.arange(6, dtype=np.float32)[:, None]
    streams = {"rgb": Stream("rgb", np.zeros((6, 16, 16, 3), np.uint8))}
    streams["how far"] = Stream("truth", numbers)
    writer.write(0, Episode(streams, np.arange(6, dtype=np.int64) * 10**8))
    writer.finalize()
    for _ in range(2):
        cache = prepare(open_dataset(tmp_path / "set"), 16, tmp_path / "c")
        assert np.array_equal(cache.arrays["how far"], numbers)


def test_some_episodes_in_the_order_asked_for(counted, counting, tmp_path):
    cache = prepare(open_dataset(counted), 16, tmp_path, episodes=np.array([3, 1]))
    assert cache.episodes.tolist() == [3, 1]
    assert counting.read(cache.arrays["rgb"][cache.starts[:-1]]).tolist() == [300, 100]
    with pytest.raises(ConfigError, match="each only once"):
        prepare(open_dataset(counted), 16, tmp_path, episodes=[1, 1])
    with pytest.raises(DatasetError, match="there is no episode 4; it has 4"):
        prepare(open_dataset(counted), 16, tmp_path, episodes=[4])


def test_a_damaged_episode_is_named_and_refused_or_skipped(fresh, counting, tmp_path):
    video = fresh / "videos/observation.images.rgb/chunk-000/file-001.mp4"
    data = bytearray(video.read_bytes())
    data[len(data) // 2] ^= 1
    video.write_bytes(data)
    with pytest.raises(DatasetError, match=r"episode 1: videos/.*file-001\.mp4 is damaged"):
        prepare(open_dataset(fresh), 16, tmp_path / "c")
    assert [path.suffix for path in (tmp_path / "c").iterdir()] == [".lock"]
    cache = prepare(open_dataset(fresh), 16, tmp_path / "c", damaged="skip")
    assert cache.episodes.tolist() == [0, 2, 3]
    assert [index for index, _ in cache.skipped] == [1]
    assert counting.read(cache.arrays["rgb"][cache.starts[:-1]]).tolist() == [0, 200, 300]
    assert cache.arrays["proprio"][cache.starts[:-1], 0].tolist() == [0, 200, 300]


def test_a_cut_off_cache_is_refused(counted, tmp_path):
    cache = prepare(open_dataset(counted), 16, tmp_path)
    with (cache.path / "rgb.npy").open("rb+") as file:
        file.truncate(1000)
    with pytest.raises(DatasetError, match="delete the folder to prepare again"):
        prepare(open_dataset(counted), 16, tmp_path)


def test_a_resized_lens_sees_the_same_rays():
    lens = np.array([[50.0, 0, 31.5], [0, 40.0, 23.5], [0, 0, 1]])
    small = resized_lens(lens, (48, 64), (24, 16))
    ray = np.array([0.2, -0.1, 1.0])
    before, after = (lens @ ray)[:2], (small @ ray)[:2]
    assert np.allclose((after + 0.5) / [16, 24], (before + 0.5) / [64, 48])


def test_colour_is_averaged_and_depth_is_not():
    picture = np.zeros((4, 4, 3), np.uint8)
    picture[:, ::2] = 200
    assert resized(picture, (2, 2), average=True).ravel().tolist() == [100] * 12
    depth = np.where(np.arange(4) < 2, 500, 9000)[None].repeat(4, 0).astype(np.uint16)
    assert set(resized(depth, (2, 2), average=False).ravel()) == {500, 9000}


def test_far_depth_is_trained_on_as_it_was_recorded(tmp_path):
    """The dataset, the cache, a training batch and a live batch hold depth up to 65.535 m."""
    depth = np.full((3, 16, 16), 40.0, np.float32)
    depth[:, 0, :4] = [20.0, 65.535, 65.536, np.nan]
    lens = np.array([[20.0, 0, 7.5], [0, 20.0, 7.5], [0, 0, 1]])
    stream = Stream("depth", depth, "m", "camera", lens)
    writer = DatasetWriter(tmp_path / "d", 10)
    writer.write(0, Episode({"depth": stream}, np.arange(3) * 10**8))
    writer.finalize()
    cache = prepare(open_dataset(tmp_path / "d"), 16, tmp_path / "c")
    assert cache.arrays["depth"].dtype == np.uint16
    gathered = Windows(cache, None, 3).gather(np.zeros(1, np.int64)).streams["depth_m"]
    seen = [Observation({"depth": image}) for image in depth]
    live = batch_from_observations(seen).streams["depth_m"]
    assert torch.equal(gathered, live)
    assert gathered.dtype == torch.float32
    wanted = torch.tensor([20.0, 65.535, 0, 0, 40.0])
    assert torch.allclose(gathered[0, 1, 0, :5], wanted, atol=1e-5)
    assert torch.equal(whole_millimetres(torch.from_numpy(depth)), live[0])


def test_a_disk_without_room_is_told_before_anything_is_decoded(fresh, tmp_path, monkeypatch):
    module = import_module("armillary.data.prepare")
    monkeypatch.setattr(module, "_fill", lambda *_: pytest.fail("it decodes"))
    full = SimpleNamespace(free=1000)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: full)
    with pytest.raises(StorageError, match=r"takes 0\.\d GB, and the disk has .* ARMILLARY_CACHE"):
        prepare(open_dataset(fresh), 64, tmp_path / "c")
    assert not list((tmp_path / "c").glob("set-*"))


def test_a_damaged_last_episode_is_told_before_the_first_is_decoded(fresh, tmp_path, monkeypatch):
    module = import_module("armillary.data.prepare")
    monkeypatch.setattr(module, "_fill", lambda *_: pytest.fail("it decodes"))
    dataset = open_dataset(fresh)
    file = fresh / dataset.files(3)[1]
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(DatasetError, match=r"episode 3: .* is damaged"):
        prepare(dataset, 16, tmp_path / "c")
