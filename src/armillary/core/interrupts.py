"""Interrupts: Ctrl-C goes to every process of the terminal; only the first one shall answer it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Let processes started inside never hear Ctrl-C, from their first instruction on.

    A process inherits which signals are blocked. What arrives here meanwhile is answered after.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows: processes have no mask to inherit
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
