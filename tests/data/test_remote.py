"""A dataset behind an address reads as it does here, one episode's files at a time."""

import threading
import time
from pathlib import Path

import fsspec
import numpy as np
import pytest

from armillary.core.addresses import is_address
from armillary.core.errors import ConfigError, DatasetError, MissingEpisodeError, StorageError
from armillary.data import ahead, open_dataset, prepare, remote
from armillary.data.remote import open_remote
from armillary.worlds import record

ADDRESS = "memory://remote/data"


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("remote") / "data"
    record("tabletop", out, 4, 6, seed=1, settings={"image_size": 32})
    return out


@pytest.fixture
def address(local):
    system = fsspec.filesystem("memory")
    system.put(f"{local}/", "/remote/data", recursive=True)
    yield ADDRESS
    system.rm("/remote", recursive=True)


def episode_files(folder: Path) -> set[str]:
    names = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    return {n for n in names if "00" in Path(n).name and not n.startswith("meta/episodes")}


def test_episodes_are_those_of_the_folder(local, address, tmp_path):
    here, there = open_dataset(local), open_remote(address, tmp_path)
    assert there.identity() == here.identity() and there.place == ADDRESS
    for index in (3, 0, 2):
        one, other = here.read(index), there.read(index)
        assert one.streams.keys() == other.streams.keys()
        for name, stream in one.streams.items():
            np.testing.assert_array_equal(stream.values, other.streams[name].values)
        np.testing.assert_array_equal(one.actions, other.actions)


def test_files_of_one_episode_are_here_at_a_time(address, tmp_path):
    there = open_remote(address, tmp_path)
    before = episode_files(tmp_path)
    for index in (1, 2):
        there.read(index)
        new = episode_files(tmp_path) - before
        assert new == {*there._needed(index)}
        fetched = sum((tmp_path / name).stat().st_size for name in new)
        assert fetched == there.episode_bytes(index)


def test_a_prepared_cache_is_the_same(local, address, tmp_path):
    one = prepare(open_dataset(local), 16, tmp_path / "a")
    other = prepare(open_remote(address, tmp_path / "b"), 16, tmp_path / "c")
    assert one.arrays.keys() == other.arrays.keys()
    for name, values in one.arrays.items():
        np.testing.assert_array_equal(values, other.arrays[name])
    assert other.about["dataset"] == ADDRESS


def test_a_connection_that_fails_is_tried_again(address, tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "_PAUSE_S", 0.0)
    there, failed = open_remote(address, tmp_path), []
    kind, real = type(there.source.system), type(there.source.system).get_file

    def flaky(self, *args, **more):
        failed.append(1)
        if len(failed) % 3:
            raise ConnectionError("reset by peer")
        return real(self, *args, **more)

    monkeypatch.setattr(kind, "get_file", flaky)
    assert len(there.read(1)) == 6 and len(failed) >= 3

    def never(self, *args, **more):
        raise ConnectionError("no route")

    monkeypatch.setattr(kind, "get_file", never)
    with pytest.raises(StorageError, match=r"not be fetched in 5 attempts \(ConnectionError: no r"):
        there.read(2)


def test_a_damaged_file_is_named(address, tmp_path):
    there = open_remote(address, tmp_path)
    system = fsspec.filesystem("memory")
    name = there.files(2)[0]
    with system.open(f"/remote/data/{name}", "wb") as file:
        file.write(b"x" * there.source.bytes[name])
    for _ in range(2):  # it is not kept, so that a second read does not take it for good
        with pytest.raises(DatasetError, match=f"episode 2: {name} is damaged"):
            there.read(2)
    with pytest.raises(DatasetError, match="episode 2"):
        prepare(there, 16, tmp_path / "cache")
    kept = prepare(there, 16, tmp_path / "cache", damaged="skip")
    assert [index for index, _ in kept.skipped] == [2] and kept.num_episodes == 3


def test_what_cannot_be_gets_a_sentence(local, address, tmp_path):
    assert is_address("s3://a/b") and not is_address("a/b") and not is_address(local)
    with pytest.raises(ConfigError, match="nosuch://x: "):
        open_remote("nosuch://x", tmp_path)
    with pytest.raises(DatasetError, match=r"no files below it|nothing there"):
        open_remote("memory://remote/nothing", tmp_path)
    there = open_remote(address, tmp_path)
    with pytest.raises(MissingEpisodeError):
        there.read(4)
    fsspec.filesystem("memory").rm(f"/remote/data/{there.files(3)[0]}")
    with pytest.raises(DatasetError, match=r"episode 3: .* is missing"):
        open_remote(address, tmp_path / "again")


def test_the_next_episodes_come_while_one_is_read(local, address, tmp_path, monkeypatch):
    there, here = open_remote(address, tmp_path), open_dataset(local)
    lock, flying, most = threading.Lock(), [0], [0]
    kind, real = type(there.source.system), type(there.source.system).get_file

    def late(self, *args, **more):
        with lock:
            flying[0] += 1
            most[0] = max(most[0], flying[0])
        time.sleep(0.05)
        real(self, *args, **more)
        with lock:
            flying[0] -= 1

    monkeypatch.setattr(kind, "get_file", late)
    before = episode_files(tmp_path)
    with there.ahead([1, 2, 3]):
        for index in (1, 2, 3):
            np.testing.assert_array_equal(there.read(index).actions, here.read(index).actions)
    assert most[0] > len(there._needed(1)), "files of more than one episode at once"
    assert episode_files(tmp_path) - before == {*there._needed(3)}
    with there.ahead([1, 2, 3]):
        there.read(2)
        there.read(1)  # out of order: it ends the fetching ahead, and all is read as ever
        there.read(3)
    assert episode_files(tmp_path) - before <= {*there._needed(3)}
    assert there.read(1).actions.shape == here.read(1).actions.shape
    assert not any(one.name.startswith("fetch") for one in threading.enumerate())


def test_an_interrupt_while_an_episode_is_fetched_leaves_no_thread(address, tmp_path, monkeypatch):
    there = open_remote(address, tmp_path)
    before = episode_files(tmp_path)
    monkeypatch.setattr(type(there.source.system), "get_file", lambda *_: time.sleep(0.3))

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(ahead, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        there.read(1)
    monkeypatch.undo()
    assert not any(one.name.startswith("fetch") for one in threading.enumerate())
    assert episode_files(tmp_path) == before and not [*tmp_path.rglob("*.part")]
    assert len(there.read(1)) == 6


def test_a_large_file_is_given_up_between_two_pieces(address, tmp_path, monkeypatch):
    there, stop = open_remote(address, tmp_path), threading.Event()
    system = there.source.system
    monkeypatch.setattr(system, "blocksize", 16, raising=False)
    told = []

    class Watched(remote._Stops):
        def relative_update(self, inc=1):
            told.append(inc)
            if len(told) == 3:
                stop.set()
            super().relative_update(inc)

    monkeypatch.setattr(remote, "_Stops", Watched)
    with pytest.raises(StorageError, match="Fetching was stopped"):
        there.source.fetch(there.files(1)[0], tmp_path / "some", stop)
    assert told == [16, 16, 16] and not [*tmp_path.glob("*some*")]
