"""Listening: what the commands that serve have in common."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from armillary.cli.parse import existing
from armillary.core.errors import StorageError

_MOST_KEY_BYTES = 4096


def key_in(file: Path | None) -> str:
    """Return the key in a file; empty without one.

    Raises:
        ConfigError: there is no such file.
        StorageError: it cannot be read as text.
    """
    if file is None:
        return ""
    existing(file, "a file with the key")
    try:
        with file.open("rb") as opened:
            return opened.read(_MOST_KEY_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"{file}: cannot be read as text ({error}).") from error


async def stopped() -> None:
    """Wait for SIGINT or SIGTERM. Only what happens from the call on is heard."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    await stop.wait()
