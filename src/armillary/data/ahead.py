"""Ahead: the files of episodes that are read one after another, fetched before they are needed.

    episodes in order -> some threads fetch -> files here, or on their way -> the episode being read

Where storage answers late, many files at once take as long as one. What is here and on its way
takes no more than a given room, in which counts what is made of the files.

Only the thread that reads starts fetches and deletes files; the others do nothing but fetch. No
file is fetched twice at once: ``memory://`` gives all who read a file one position in it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import accumulate
from types import TracebackType

THREADS = 8
_EPISODES = 16  # ahead of the one that is read; more would hide no more


@dataclass(frozen=True)
class Wanted:
    """An episode that will be read.

    Attributes:
        index: its number.
        files: names of what it lies in.
        made_bytes: what is kept of it on the same disk once it was read.
    """

    index: int
    files: tuple[str, ...]
    made_bytes: int = 0


@dataclass(frozen=True)
class Storage:
    """Where files come from and go to.

    Attributes:
        sizes: bytes of each file by name.
        here: names of the files that are here; kept up to date.
        fetch: fetches the named file of an episode, in another thread, and ends early once the
            event is set. It leaves the whole file or none.
        delete: deletes a file that is here, and takes its name out of ``here``.
    """

    sizes: Mapping[str, int]
    here: dict[str, None]
    fetch: Callable[[int, str, threading.Event], None]
    delete: Callable[[str], None]


class Ahead:
    """Fetches the files of some episodes, those of the next while one is read.

    Closed, or left as a context, it has no threads any more, and only the files of the episode that
    was read last are here.

    Args:
        episodes: in the order in which they will be read.
        storage: where their files come from and go to.
        room: bytes that files, and what is made of them, may take. The episode that is read is
            fetched in any case.
    """

    def __init__(self, episodes: Sequence[Wanted], storage: Storage, room: int) -> None:
        self._episodes, self._storage, self._room = episodes, storage, room
        self._places = {wanted.index: place for place, wanted in enumerate(episodes)}
        self._made = [*accumulate(wanted.made_bytes for wanted in episodes)]
        self._coming: dict[str, Future[None]] = {}
        self._at, self._begun = 0, 0  # the episode that is read; the first not begun to be fetched
        self._stop = threading.Event()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="fetch")

    def __enter__(self) -> Ahead:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def covers(self, index: int) -> bool:
        """Tell whether this episode is the one that is read, or comes later."""
        return self._places.get(index, -1) >= self._at

    def bring(self, index: int) -> None:
        """Return when the files of an episode are here; those of earlier ones are deleted.

        Raises:
            DatasetError: a file is not what it should be.
            StorageError: a file cannot be fetched, or ``stop`` was called.
        """
        self._at = self._places[index]
        self._begun = max(self._begun, self._at)
        later = self._episodes[self._at : self._begun + 1]
        self._delete_all_but({name for wanted in later for name in wanted.files})
        self._begin(self._episodes[self._at])  # again, where it failed before
        self._begin_later()
        self._wait_for(self._episodes[self._at].files)

    def stop(self) -> None:
        """Let what is on its way end early, with an error; any thread may call this."""
        self._stop.set()

    def close(self) -> None:
        """End all fetches, and delete all files but those of the episode that was read last."""
        self.stop()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for name in [*self._coming]:
            self._note(name)
        self._delete_all_but(self._episodes[self._at].files)

    def _begin_later(self) -> None:
        """Begin on this episode and the next ones, as many as there is room for."""
        while self._begun < min(len(self._episodes), self._at + 1 + _EPISODES):
            wanted = self._episodes[self._begun]
            names = {*self._storage.here, *self._coming, *wanted.files}
            taken = sum(self._storage.sizes[name] for name in names) + self._made[self._begun]
            if self._begun > self._at and taken > self._room:
                return
            self._begin(wanted)
            self._begun += 1

    def _begin(self, wanted: Wanted) -> None:
        for name in wanted.files:
            if name not in self._storage.here and name not in self._coming:
                fetch = self._storage.fetch
                self._coming[name] = self._threads.submit(fetch, wanted.index, name, self._stop)

    def _wait_for(self, names: Sequence[str]) -> None:
        """Return when these files are here; the first that fails ends the wait for the others."""
        coming = {name: self._coming[name] for name in names if name in self._coming}
        wait(coming.values(), return_when=FIRST_EXCEPTION)
        over = {name: future for name, future in coming.items() if future.done()}
        for name in coming:
            if name in over or coming[name].cancel():
                self._note(name)
        for future in over.values():
            future.result()

    def _note(self, name: str) -> None:
        """Note a fetch that is over, was cancelled, or failed."""
        future = self._coming.pop(name)
        if not future.cancelled() and future.exception() is None:
            self._storage.here[name] = None

    def _delete_all_but(self, names: Container[str]) -> None:
        """Delete files, and what would become some; what is being fetched is waited for."""
        for name in [name for name in self._coming if name not in names]:
            if not self._coming[name].cancel():
                wait([self._coming[name]])
            self._note(name)
        for name in [name for name in self._storage.here if name not in names]:
            self._storage.delete(name)
