"""Parse: tyro over frozen dataclasses; what it cannot read becomes one sentence.

Every command is a dataclass with ``run``. Its fields are its flags, their docstrings its help.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import tyro

from armillary.cli.outcome import Outcome
from armillary.core.errors import ConfigError

T = TypeVar("T")

# tyro draws with lines where the terminal speaks UTF-8 and with - | + elsewhere.
_FRAME = re.compile(r"^[╭╮╰╯│|+]|[╭╮╰╯│|+]$", re.MULTILINE)
_RULE = re.compile(r"[─-]{3,}")
_MARKERS = (tyro.conf.FlagCreatePairsOff, tyro.conf.PositionalMetavarFromFieldName)


@dataclass(frozen=True, kw_only=True)
class Command:
    """What every command has.

    Attributes:
        goes_on: whether the same words go on with what an interrupted run has finished.
    """

    goes_on: ClassVar[bool] = True

    json: bool = False
    """Print one JSON object on stdout, everything else on stderr."""

    def prepare(self) -> None:
        """See to what must be so before the run; may start the program again."""

    def run(self) -> Outcome:
        """Do what the command says and return what is to be shown."""
        raise NotImplementedError


def parse(kind: Any, arguments: Sequence[str], prog: str, description: str | None = None) -> Any:
    """Return the command that the arguments spell.

    Args:
        kind: the dataclass, or a union of annotated subcommands.
        arguments: what followed ``prog`` on the command line.
        prog: how the program is called in help and errors.
        description: first paragraph of the help; None takes the docstring of ``kind``.

    Raises:
        ConfigError: an unknown, missing or unreadable argument, with a suggestion if one is near.
        SystemExit: with code 0, after the help was printed.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(
                kind, args=list(arguments), prog=prog, description=description, config=_MARKERS
            )
    except SystemExit as leave:
        if not leave.code:
            raise
        raise ConfigError(sentence(said.getvalue(), prog)) from None


def settings_of(pairs: Sequence[str], flag: str) -> dict[str, Any]:
    """Return ``name=value`` pairs as settings; a value is JSON, or else the text itself.

    Args:
        pairs: what was given to the flag.
        flag: its name, for the error.

    Raises:
        ConfigError: a pair without ``=`` or without a name, or a name given twice.
    """
    settings: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not (equals and name) or name in settings:
            raise ConfigError(f"{flag} takes name=value, each name once; got {pair!r}.")
        settings[name] = _value(text)
    return settings


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False)
    except ValueError:  # words, and NaN and infinity, which no setting can be
        return text
    return value


def sentence(box: str, prog: str) -> str:
    """Return what tyro says in a box as one sentence with at most one suggestion."""
    said, rest = _blocks(box)
    near = re.search(r"Perhaps you meant:\s+(\S+)", rest)
    hint = f" Did you mean {near.group(1)}?" if near else ""
    where = re.search(rf"{re.escape(prog)}[\w -]*? --help", said + rest)
    shown = where.group(0) if where else f"{prog} --help"
    return f"{_tidy(said)}.{hint} {shown} lists what there is."


def _blocks(box: str) -> tuple[str, str]:
    _title, _, body = box.partition("\n")
    blocks = [block for block in _RULE.split(_FRAME.sub(" ", body)) if block.strip()]
    return (blocks or [""])[0], " ".join(" ".join(blocks[1:]).split())


def _tidy(said: str) -> str:
    missing = re.match(r"\s*Missing from ([^:]*):", said)
    if missing:
        # The names stand four spaces in, what they mean stands deeper.
        names = re.findall(r"^ {5,6}(--\S+|[A-Z]\S*)", said, re.MULTILINE)
        return f"{missing.group(1)} needs {' and '.join(names)}"
    # A dataclass that refuses its values says so itself, in a sentence.
    text = re.sub(r"^Error parsing [\w.]+: ", "", " ".join(said.split())).removesuffix(".")
    return text[0].lower() + text[1:] if text else "the arguments could not be read"
