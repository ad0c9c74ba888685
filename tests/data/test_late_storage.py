"""Storage that waits before each open and read: fetching ahead hides it, and the cap is kept."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import fsspec
import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractFileSystem
from streaming_processes import streamed_by

from armillary.data.streamed import StreamedWindows, bytes_below
from armillary.worlds import record

pytestmark = pytest.mark.runs  # storage that is late on purpose: 35 s

BATCH, EPISODES, STEPS = 4, 20, 30
TRAINING, HELD_OUT = np.arange(2, EPISODES), np.array([0, 1])
LATE_S = 0.05


@dataclass
class Notes:
    """What was asked of the storage, and how much was on disk then."""

    folder: Path | None = None
    calls: int = 0
    most_bytes: int = 0
    coming: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self) -> None:
        with self.lock:
            self.calls += 1
            if self.folder is not None:
                self.most_bytes = max(self.most_bytes, self._taken(self.folder))
        time.sleep(LATE_S)

    def _taken(self, folder: Path) -> int:
        """Return bytes on disk and to come; files on their way count whole, and once."""
        total = sum(self.coming.values())
        for place, _, names in os.walk(folder):
            for name in names:
                if name.endswith((".npy", ".mp4", ".parquet")) and "meta" not in place:
                    with suppress(FileNotFoundError):
                        total += Path(place, name).stat().st_size
        return total


NOTES = Notes()


class LateFile:
    """An open file that waits before each read."""

    def __init__(self, file) -> None:
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        self.file.close()

    def read(self, size=-1):
        NOTES.wait()
        return self.file.read(size)


class LateFileSystem(LocalFileSystem):
    """A folder that waits before each open and each read."""

    protocol = "late"

    def _open(self, *args, **more):
        NOTES.wait()
        return LateFile(super()._open(*args, **more))

    def get_file(self, where, to, *args, **more):
        if "meta" not in Path(to).parts:
            with NOTES.lock:
                NOTES.coming[to] = Path(where).stat().st_size
        try:
            AbstractFileSystem.get_file(self, where, to, *args, **more)  # read, not copied
        finally:
            with NOTES.lock:
                NOTES.coming.pop(to, None)


@pytest.fixture(scope="module")
def late(tmp_path_factory) -> str:
    out = tmp_path_factory.mktemp("late") / "data"
    settings = {"image_size": 32, "sensors": ["rgb"]}
    record("tabletop", out, EPISODES, STEPS, seed=1, settings=settings)
    fsspec.register_implementation("late", LateFileSystem, clobber=True)
    return f"late://{out}"


def streamed(folder: Path, address: str, count: int = 1) -> list[StreamedWindows]:
    """Return the clips of all processes through one pool, whose quarter holds four episodes."""
    return streamed_by(folder, address, count, BATCH, 4 * STEPS)


def test_the_wait_for_storage_is_hidden_by_fetching_ahead(late, tmp_path):
    (windows,) = streamed(tmp_path, late)
    order = windows.order(5, 0)
    first = len(order) // 4  # the warm-up
    calls, waited = 0, 0.0
    for begin in range(0, len(order) - BATCH + 1, BATCH):
        if begin <= first < begin + BATCH:
            calls, waited = NOTES.calls, windows.waited_s
        windows.gather(order[begin : begin + BATCH])
        time.sleep(0.02)  # a training step
    late_s = (NOTES.calls - calls) * LATE_S
    assert late_s > 3, "the storage was late often"
    # one after another the waits would take late_s; the bound is generous for busy machines
    assert windows.waited_s - waited < late_s / 3
    windows.close()


@pytest.mark.parametrize("count", [1, 2])
def test_the_pool_keeps_its_cap_with_late_storage(late, tmp_path, monkeypatch, count):
    windows = streamed(tmp_path, late, count)
    parts = [one._pool.most_bytes for one in windows]
    most = parts[0] if count == 1 else sum(parts) + bytes_below(windows[0].cache.path)
    monkeypatch.setattr(NOTES, "folder", tmp_path)
    monkeypatch.setattr(NOTES, "most_bytes", 0)
    total = len(windows[0])
    for step in range(total // BATCH):
        for rank, one in enumerate(windows):
            index = one.order(5, 0)[step * BATCH : (step + 1) * BATCH]
            one.gather(index.reshape(count, -1)[rank])
    for one in windows:
        one.close()
    assert most / 2 < NOTES.most_bytes <= most
