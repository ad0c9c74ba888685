"""Drives: what all pages share: for whom, the thread that steps, and how many drive."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from armillary.core.errors import ConfigError
from armillary.play.controls import FASTEST_HZ, SLOWEST_HZ, USUAL_HZ
from armillary.play.opening import Opening
from armillary.serve.listening import check_address

T = TypeVar("T")


@dataclass(frozen=True)
class PlayConfig:
    """Where the page is, and for whom.

    Attributes:
        host: address to listen on.
        port: 0 takes a free one.
        key: that a person must give; empty for nobody asked, on loopback alone.
        sessions: drives at a time; who comes later waits.
        seed: of the first scene.
        hz: model steps a second at the start.

    Raises:
        ConfigError: another address than loopback without a key, or numbers that cannot be.
    """

    host: str = "127.0.0.1"
    port: int = 8001
    key: str = field(default="", repr=False)
    sessions: int = 2
    seed: int = 0
    hz: float = USUAL_HZ

    def __post_init__(self) -> None:
        check_address(self.host, self.port, self.key, "drives here")
        if not 1 <= self.sessions <= 64:
            raise ConfigError(f"Sessions are 1 to 64; got {self.sessions}.")
        if not SLOWEST_HZ <= self.hz <= FASTEST_HZ:
            raise ConfigError(
                f"Steps a second are {SLOWEST_HZ:g} to {FASTEST_HZ:g}; got {self.hz:g}."
            )

    def has_key(self, text: str | bytes) -> bool:
        """Tell whether a first message has the key, where one is needed."""
        if not self.key:
            return True
        with contextlib.suppress(ValueError, RecursionError):
            given = json.loads(text)
            key = given.get("key") if isinstance(given, dict) else None
            if isinstance(key, str):
                return hmac.compare_digest(key.encode(), self.key.encode())
        return False


class Drives:
    """The thread that steps, and who drives.

    Args:
        opening: makes sessions.
        config: for whom.

    Attributes:
        stopping: set when all shall end.
        counts: of frames, sessions and refusals.
        driving: pages that drive.
    """

    def __init__(self, opening: Opening, config: PlayConfig) -> None:
        self.opening, self.config = opening, config
        self.stopping = threading.Event()
        self.counts: Counter[str] = Counter()
        self.driving = 0
        # One thread, and always the same: what draws a world belongs to the thread that made it.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="play")

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Do work in the thread that steps."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def close(self) -> None:
        """Let the thread go, after its present work."""
        self._thread.shutdown(wait=True, cancel_futures=True)
