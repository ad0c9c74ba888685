"""Files of the next episodes are fetched while one is read, in a bounded room, and none is left."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from armillary.core.errors import DatasetError, StorageError
from armillary.data.ahead import THREADS, Ahead, Storage, Wanted

SIZE, MADE = 10, 3  # of each file; of each episode once it was read


class Slow:
    """Storage in memory that answers late, and notes what is asked of it."""

    def __init__(self, wait_s=lambda name: 0.01, bad=()):
        self.wait_s, self.bad, self.lock = wait_s, bad, threading.Lock()
        self.here, self.flying, self.asked = {}, set(), []
        self.most_flying = self.most_bytes = self.read = 0

    def fetch(self, index, name, stop):
        with self.lock:
            assert name not in self.flying, "fetched twice at once"
            self.flying.add(name)
            self.asked.append(name)
            self.most_flying = max(self.most_flying, len(self.flying))
            taken = SIZE * len({*self.here, *self.flying}) + MADE * self.read
            self.most_bytes = max(self.most_bytes, taken)
        stop.wait(self.wait_s(name))
        with self.lock:
            self.flying.discard(name)
        if name in self.bad or stop.is_set():
            raise DatasetError(f"{name} is damaged") if name in self.bad else StorageError("over")

    def ahead(self, episodes, room=10**9):
        names = [name for one in episodes for name in one.files]
        storage = Storage(dict.fromkeys(names, SIZE), self.here, self.fetch, self.here.pop)
        return Ahead(episodes, storage, room)


def episodes(count=12, files=3):
    return [Wanted(i, tuple(f"{i}/{k}" for k in range(files)), MADE) for i in range(count)]


def fetching() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("fetch")]


def test_each_file_is_fetched_once_many_at_a_time_and_in_order():
    slow, wanted = Slow(), episodes()
    with slow.ahead(wanted) as ahead:
        for one in wanted:
            ahead.bring(one.index)
            assert {*one.files} <= {*slow.here}
            assert not any(name.startswith(f"{one.index - 1}/") for name in slow.here)
    assert sorted(slow.asked) == sorted(name for one in wanted for name in one.files)
    assert 1 < slow.most_flying <= THREADS
    assert {*slow.here} == {*wanted[-1].files} and not fetching()


def test_a_file_of_many_episodes_stays_until_the_last_of_them():
    slow = Slow()
    wanted = [Wanted(i, (f"rows/{i // 4}", f"video/{i // 2}"), MADE) for i in range(8)]
    with slow.ahead(wanted) as ahead:
        for one in wanted:
            ahead.bring(one.index)
    assert sorted(slow.asked) == sorted({name for one in wanted for name in one.files})


@pytest.mark.parametrize("room", [0, 3 * SIZE + 12 * MADE, 8 * SIZE + 12 * MADE])
def test_the_room_is_never_exceeded_but_for_the_episode_that_is_read(room):
    rng = np.random.default_rng(room)
    slow, wanted = Slow(lambda name: rng.uniform(0, 0.01)), episodes()
    with slow.ahead(wanted, room) as ahead:
        for one in wanted:
            ahead.bring(one.index)
            slow.read += 1
    needed = 3 * SIZE + (len(wanted) - 1) * MADE
    assert slow.most_bytes <= max(room, needed)
    assert room <= needed or slow.most_flying > 3, "the next come ahead where there is room"


def test_an_error_comes_with_its_episode_and_ends_the_others():
    slow, wanted = Slow(lambda name: 0.0 if name == "2/1" else 0.05, bad={"2/1"}), episodes()
    with slow.ahead(wanted) as ahead:
        ahead.bring(0)
        ahead.bring(1)
        for _ in range(2):  # and is not remembered: the file is asked for again
            with pytest.raises(DatasetError, match="2/1 is damaged"):
                ahead.bring(2)
        ahead.bring(3)  # who skips a damaged episode goes on
        assert {*wanted[3].files} <= {*slow.here}
        assert not any(name.startswith("2/") for name in slow.here)
    assert slow.asked.count("2/1") == 2 and not fetching()


def test_an_error_does_not_wait_for_slow_files():
    slow, wanted = Slow(lambda name: 0.0 if name == "0/2" else 30.0, bad={"0/2"}), episodes()
    began = time.perf_counter()
    with pytest.raises(DatasetError, match="0/2"), slow.ahead(wanted) as ahead:
        ahead.bring(0)
    assert time.perf_counter() - began < 10 and not fetching() and not slow.here


def test_another_thread_ends_the_wait():
    slow, wanted = Slow(lambda name: 30.0), episodes()
    with slow.ahead(wanted) as ahead, ThreadPoolExecutor(1) as reader:
        reading = reader.submit(ahead.bring, 0)
        while not slow.flying:
            time.sleep(0.001)
        ahead.stop()
        with pytest.raises(StorageError, match="over"):
            reading.result(10)
    assert not fetching() and not slow.here


def test_an_interrupt_leaves_no_thread_and_no_file():
    slow, wanted = Slow(lambda name: 0.0 if name.startswith("0/") else 30.0), episodes()
    with pytest.raises(KeyboardInterrupt), slow.ahead(wanted) as ahead:
        ahead.bring(0)
        raise KeyboardInterrupt
    assert {*slow.here} == {*wanted[0].files} and not fetching() and not slow.flying


def test_only_the_episode_that_is_read_and_later_ones_are_covered():
    wanted = episodes(4)
    with Slow().ahead(wanted) as ahead:
        ahead.bring(2)
        assert [ahead.covers(index) for index in range(5)] == [False, False, True, True, False]
