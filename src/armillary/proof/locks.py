"""Locks: one process at a time, held through the operating system, so that a kill lets go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from armillary.core.errors import ConfigError, StorageError


@contextmanager
def locked(file: IO[Any], path: Path, alone: bool = True, wait: bool = True) -> Iterator[None]:
    """Hold an open file.

    Args:
        file: that is held.
        path: its name, for errors.
        alone: False shares it with others who do not want it alone.
        wait: until it is free.

    Raises:
        ConfigError: another process holds it, and ``wait`` is False.
        StorageError: this system has no file locks.
    """
    try:
        import fcntl
    except ImportError as error:
        raise StorageError(f"{path}: this system has no file locks; use Linux or macOS.") from error
    how = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
    try:
        fcntl.flock(file, how if wait else how | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigError(
            f"{path}: another process is at work here; wait until it ends."
        ) from error
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)
