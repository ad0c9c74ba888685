"""Parse: tyro reads the words into a frozen dataclass, and its errors become one sentence.

Every command is a dataclass with ``run``. Its fields are its flags, their docstrings its help.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import tyro

from armillary.cli.outcome import Outcome
from armillary.cli.renamed import with_new_names
from armillary.cli.values import VALUES
from armillary.core.errors import ConfigError

T = TypeVar("T")

# tyro draws with lines where the terminal speaks UTF-8 and with - | + elsewhere.
_FRAME = re.compile(r"^[╭╮╰╯│|+]|[╭╮╰╯│|+]$", re.MULTILINE)
_RULE = re.compile(r"[─-]{3,}")
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
# Where a line ends between two words, frame and styles stand between them, too.
_BETWEEN = rf"{_STYLE.pattern}|[\s│|]"
_EMPTY_DEFAULT = re.compile(rf"\(default:(?:{_BETWEEN})+(?:None|False|'')?\)")
_GOES_ON = " \\"  # at the end of a line of a shell command
_MARKERS = (tyro.conf.FlagCreatePairsOff, tyro.conf.PositionalMetavarFromFieldName)


@dataclass(frozen=True, kw_only=True)
class Command:
    """What every command has.

    Attributes:
        goes_on: whether the same words go on with what an interrupted run has finished.
    """

    goes_on: ClassVar[bool] = True

    json: bool = False
    """Print the result as one JSON object on stdout. The rest goes to stderr."""

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
    words, said = with_new_names(arguments, prog), io.StringIO()
    try:
        asked = not {"-h", "--help"}.isdisjoint(words)
        with contextlib.redirect_stderr(said), _help_that_fits(asked):
            command = tyro.cli(
                kind,
                args=words,
                prog=prog,
                description=description,
                config=_MARKERS,
                registry=VALUES,
            )
    except SystemExit as leave:
        if not leave.code:
            raise
        raise ConfigError(sentence(said.getvalue(), prog)) from None
    _check_least(command)
    return command


# The least value of the flags that many commands have.
_LEAST = {"seed": 0, "workers": 1}


def _check_least(command: Any) -> None:
    for name, least in _LEAST.items():
        value = getattr(command, name, None)
        if isinstance(value, int) and value < least:
            raise ConfigError(f"--{name} takes a whole number, {least} or more; got {value}.")
    seeds = getattr(command, "seeds", ())
    if any(seed < 0 for seed in seeds):
        raise ConfigError(f"--seeds takes whole numbers, 0 or more; got {min(seeds)}.")


class _Help(io.StringIO):
    """Text that is kept for a terminal: colours are chosen as for that terminal."""

    def __init__(self, terminal: Any) -> None:
        super().__init__()
        self._terminal = terminal

    @property
    def encoding(self) -> str:  # pyrefly: ignore
        """The encoding of the terminal: it decides between lines and ASCII."""
        return self._terminal.encoding or "utf-8"

    def isatty(self) -> bool:
        """Return whether the text will be printed on a terminal."""
        return self._terminal.isatty()


@contextlib.contextmanager
def _help_that_fits(asked: bool) -> Iterator[None]:
    """Fit what is printed meanwhile to the terminal, if help was asked for.

    Anything else is printed as it is, e.g. a script for shell completion.
    """
    if not asked:
        yield
        return
    terminal = sys.stdout
    kept = _Help(terminal)
    try:
        with contextlib.redirect_stdout(kept):
            yield
    finally:
        terminal.write(fitted(kept.getvalue(), shutil.get_terminal_size().columns))


def fitted(text: str, width: int) -> str:
    """Return a help text whose lines are at most ``width`` columns wide.

    tyro fits its boxes, but not the usage line and the description above them. Defaults that say
    nothing (None, False, no text) are left out.
    """
    return "".join(
        line if len(_STYLE.sub("", line.rstrip("\n"))) <= width else _wrapped(line, width)
        for line in _without_empty_defaults(text).splitlines(keepends=True)
    )


def _without_empty_defaults(text: str) -> str:
    """Blank out ``(default: None)`` and its like in the boxes, and drop lines that held no more."""
    gone = "\0"
    marked = _EMPTY_DEFAULT.sub(lambda found: _blanked(found.group(), gone), text)
    lines = marked.splitlines(keepends=True)
    left = (one for one in lines if gone not in one or re.search(r"[^\s│|\0]", _STYLE.sub("", one)))
    return "".join(left).replace(gone, " ")


def _blanked(text: str, gone: str) -> str:
    """Return the text with its words replaced, but not its spaces, frame and styles."""
    return re.sub(rf"({_BETWEEN})|.", lambda found: found.group(1) or gone, text)


def _wrapped(line: str, width: int) -> str:
    plain = _STYLE.sub("", line)
    example, usage = plain.startswith("e.g. "), plain.startswith("usage: ")
    indent = " " * (4 if example else len("usage: ") if usage else _indent(plain))
    if usage:  # choices without a space between them may be broken at their commas
        line = line.replace("{", "{ ").replace(",", ", ").replace("}", " }")
    rows = textwrap.wrap(
        line,
        width - len(_GOES_ON) * example,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return (f"{_GOES_ON}\n" if example else "\n").join(rows) + "\n"


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def existing(path: Path, wanted: str) -> None:
    """Refuse a path that is not there, before anything heavy is imported.

    Args:
        path: file or folder that the command reads.
        wanted: what was expected there, e.g. ``"a dataset folder"``.

    Raises:
        ConfigError: nothing has this path.
    """
    try:
        there = path.exists()
    except OSError:  # a name that is too long, or with a null character
        there = False
    if not there:
        kind = "file or folder" if "file" in wanted else "folder"
        raise ConfigError(f"{path}: there is no such {kind}; {wanted} was expected.")


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
    """Return what tyro says in a box as one short message with at most one suggestion."""
    said, rest = _blocks(box)
    near = re.search(r"Perhaps you meant:\s+(\S+)", rest)
    hint = f" Did you mean {near.group(1)}?" if near else ""
    return f"{_tidy(said, prog)}.{hint} See: {prog} --help"


def _blocks(box: str) -> tuple[str, str]:
    _title, _, body = box.partition("\n")
    blocks = [block for block in _RULE.split(_FRAME.sub(" ", body)) if block.strip()]
    return (blocks or [""])[0], " ".join(" ".join(blocks[1:]).split())


# What tyro says, and the sentence here. ``{0}`` stands for the first group of the pattern.
_FORMS = (
    (r"Error parsing (\S+): (takes .*)", "{0} {1}"),
    (r"Error parsing (\S+): Could not find valid parse for arguments: (.*)", "{0} cannot read {1}"),
    (
        r"Error parsing (\S+): no type matching {None}\|{?([A-Z ]+)}? could be instantiated "
        r"from \[(.*?)\]\. Got errors.*",
        "{0} takes {1}; got {2}",
    ),
    (r"Missing value for argument '([^']+)'.*", "{0} needs a value"),
    (r"Expected one of {(.*)}", "A command is missing; there are {0}"),
)
_CHOICE = re.compile(r"invalid choice (.*) for argument '([^']+)'\. Expected one of \((.*?),?\)")
_UNKNOWN = re.compile(r"Unrecognized(?: or misplaced)? options: (.*)")


def _tidy(said: str, prog: str) -> str:
    missing = re.match(r"\s*Missing from ([^:]*):", said)
    if missing:
        # The names stand four spaces in, what they mean stands deeper.
        names = re.findall(r"^ {5,6}(--\S+|[A-Z]\S*)", said, re.MULTILINE)
        return f"{prog} needs {' and '.join(names)}"
    text = " ".join(said.split()).removesuffix(".")
    if found := _CHOICE.fullmatch(text):
        got, flag, choices = found.groups()
        words = [word for word in choices.split(", ") if word != "''"]
        return f"{flag} takes {_either(words)}; got {got}"
    if found := _UNKNOWN.fullmatch(text):
        words = found.group(1).split(", ")
        flags = [word for word in words if word.startswith("-")]
        return f"There is no option {flags[0]}" if flags else f"{words[0]!r} was not expected"
    for pattern, form in _FORMS:
        if found := re.fullmatch(pattern, text, re.IGNORECASE):
            return form.format(*found.groups())
    # A dataclass that refuses its values says so itself, in a sentence.
    text = re.sub(r"^Error parsing [\w.]+: ", "", text)
    return text or "The arguments could not be read"


def _either(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last
