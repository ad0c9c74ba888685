"""Progress: how long work says where it is, on stderr, without tying it to a terminal library.

Work takes a ``Progress`` and calls it; ``silent`` is the default, the command line passes a bar.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Called by long work after each unit."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Report ``done`` of ``total`` units; ``note`` is a short phrase such as a speed."""
        ...


def silent(done: int, total: int, note: str = "") -> None:
    """Report nothing."""
