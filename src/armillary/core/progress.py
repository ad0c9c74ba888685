"""Progress: how long work says where it is, on stderr, without tying it to a terminal library.

Work takes a ``Progress`` and calls it; ``silent`` is the default, the command line passes a bar.
Work in stages takes ``Bars`` and opens a bar for each.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Called by long work after each unit."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Report ``done`` of ``total`` units; ``note`` is a short phrase such as a speed."""
        ...


def silent(done: int, total: int, note: str = "") -> None:
    """Report nothing."""


Bars = Callable[[str], AbstractContextManager[Progress]]


def no_bars(stage: str) -> AbstractContextManager[Progress]:
    """Return a bar that shows nothing, whatever the stage is called."""
    return nullcontext(silent)
