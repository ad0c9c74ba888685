"""Again: the command line that does the same again, to be kept with what it made."""

from __future__ import annotations

import shlex
from dataclasses import fields
from typing import Any, get_type_hints

from tyro.conf import Positional, UseAppendAction

from armillary.cli.parse import Command

_PLACED, _REPEATED = (marked[str].__metadata__[0] for marked in (Positional, UseAppendAction))


def again(command: Command, *words: str) -> str:
    """Return a command line that reads back as the command.

    Args:
        command: what is to be done again. Flags at their default and ``--json`` are left out.
        words: how it is called after ``armillary``, e.g. ``bench``, ``latency``.
    """
    hints = get_type_hints(type(command), include_extras=True)
    placed, flagged = [], []
    for field in fields(command):
        value = getattr(command, field.name)
        markers = getattr(hints[field.name], "__metadata__", ())
        if _PLACED in markers:
            placed += _spelled(value)
        elif field.name != "json" and value != field.default:
            flag = f"--{field.name.replace('_', '-')}"
            repeated = _REPEATED in markers
            flagged += _repeated(flag, value) if repeated else [flag, *_spelled(value)]
    return shlex.join(["armillary", *words, *placed, *flagged])


def _repeated(flag: str, values: tuple[Any, ...]) -> list[str]:
    return [word for value in values for word in (flag, str(value))]


def _spelled(value: Any) -> list[str]:
    if value is True:  # a switch says all by being there
        return []
    return [str(one) for one in (value if isinstance(value, tuple) else (value,))]
