"""Display: how a notebook shows a value, without tying values to the code that draws them.

Values such as ``Episode`` ask ``html_of``; what draws them is registered by ``armillary.api``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_WRITERS: dict[type, Callable[[Any], str]] = {}


def show_with(kind: type, write: Callable[[Any], str]) -> None:
    """Let ``write`` make the HTML of all values of a type."""
    _WRITERS[kind] = write


def html_of(value: Any) -> str | None:
    """Return a value as HTML; None where nothing draws its type, and a notebook shows its repr."""
    write = _WRITERS.get(type(value))
    return None if write is None else write(value)
