"""Alone: one process at a time writes in a folder; a kill lets go of it, too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from armillary.core.errors import ConfigError
from armillary.core.files import storage_errors


@contextmanager
def alone_in(folder: Path, what: str, lock: str) -> Iterator[None]:
    """Keep others of a kind out of a folder for a while.

    Args:
        folder: is made where it is not there.
        what: others do there, for the sentence: ``training``.
        lock: name of the file that stands for it; it stays.

    Raises:
        ConfigError: another one writes there.
        StorageError: the folder is not writable.
    """
    held = FileLock(folder / lock)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            held.acquire(timeout=0)
        except Timeout:
            raise ConfigError(
                f"{folder}: another {what} is writing there. Wait until it has ended, or choose a "
                "new --out."
            ) from None
    try:
        yield
    finally:
        held.release()
