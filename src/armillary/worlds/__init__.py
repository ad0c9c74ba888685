"""Worlds: simulators and robots behind one protocol, and the recorder.

Nothing is imported before it is asked for: one world's simulator is no other world's burden.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "WORLDS": "registry",
    "make_world": "registry",
    "check_world": "check",
    "validate_action": "actions",
    "record": "recorder",
    "RecordSummary": "recorder",
    "POLICIES": "policies",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
