"""Outcome: what a command hands back, and how it is shown to a person or a program."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_NO_WIDTH = 100_000
_STDOUT, _STDERR = 1, 2


@dataclass(frozen=True)
class Outcome:
    """What a command found.

    Attributes:
        value: the facts, as a mapping for ``--json``.
        lines: what a person reads, one entry a line.
        table: rows of one table under the lines, each a mapping from column to text; may be empty,
            and so is the cell of a column that a row does not have.
        exit_code: 0 done; else what is wrong stands in ``errors``.
        errors: sentences for stderr.
    """

    value: Mapping[str, Any]
    lines: tuple[str, ...] = ()
    table: Sequence[Mapping[str, str]] = field(default_factory=tuple)
    exit_code: int = 0
    errors: tuple[str, ...] = ()


def show(outcome: Outcome, as_json: bool) -> None:
    """Print an outcome on stdout, one JSON object or lines and a table; its errors on stderr."""
    for sentence in outcome.errors:
        print(f"error: {shown(sentence)}", file=sys.stderr)
    if as_json:
        print(json.dumps(plain(outcome.value), allow_nan=False))
        return
    for line in outcome.lines:
        print(shown(line))
    if outcome.table:
        _print_table(outcome.table)


def show_error(sentence: str, exit_code: int, as_json: bool) -> None:
    """Print one sentence on stderr; for programs also as the JSON object on stdout."""
    print(f"error: {shown(sentence)}", file=sys.stderr)
    if as_json:
        print(json.dumps({"error": sentence, "exit_code": exit_code}))


@contextlib.contextmanager
def stdout_kept(as_json: bool) -> Iterator[None]:
    """Keep stdout for the JSON object: what is printed there meanwhile goes to stderr.

    By its descriptor, for what processes and C libraries print does not pass through Python.
    """
    if not as_json:
        yield
        return
    stdout = sys.stdout
    stdout.flush()
    kept = os.dup(_STDOUT)
    end_stdout()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        stdout.flush()  # of who kept hold of it
        os.dup2(kept, _STDOUT)
        os.close(kept)


def end_stdout() -> None:
    """Let the rest of what is printed on stdout go to stderr: C libraries print at exit."""
    os.dup2(_STDERR, _STDOUT)


def shown(text: str) -> str:
    """Return text as a terminal may get it: no character that moves or hides what stands there.

    Names of files and words in them are a stranger's now and then; one that cleared the line could
    write another verdict there.
    """
    return "".join(
        one if one in "\n\t" or unicodedata.category(one)[0] != "C" else ascii(one)[1:-1]
        for one in text
    )


def plain(value: Any) -> Any:
    """Return a value made of JSON's own types; what is not finite becomes null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else _text(value)


def facts(value: Mapping[str, Any]) -> tuple[str, ...]:
    """Return one aligned line per fact of a (nested) mapping, for people."""
    flat = dict(_flatten(plain(value)))
    width = max((len(name) for name in flat), default=0)
    return tuple(f"{name:<{width}}  {_short(item)}" for name, item in flat.items())


def _flatten(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        nested = [_flatten(item, f"{prefix}.{name}".lstrip(".")) for name, item in value.items()]
        return [pair for pairs in nested for pair in pairs]
    return [(prefix, value)]


def _short(item: Any) -> str:
    if isinstance(item, float):
        return f"{item:.4g}" if abs(item) < 1e4 else f"{item:,.0f}"
    if isinstance(item, list):
        shown = ", ".join(_short(part) for part in item[:12])
        return shown + (f", ... ({len(item)})" if len(item) > 12 else "")
    return str(item)


def _text(value: Any) -> str:
    return str(value) if isinstance(value, Path) else repr(value)


def _print_table(rows: Sequence[Mapping[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    for column in columns:
        side = "left" if column == columns[0] else "right"
        table.add_column(Text(shown(column)), justify=side)
    for row in rows:
        table.add_row(*(Text(shown(row.get(column, ""))) for column in columns))
    # A file or a pipe has no width; rich would cut names there to fit 80 columns.
    Console(width=None if sys.stdout.isatty() else _NO_WIDTH).print(table)
