"""Write docs/command-line.md from the help of every command; with --check only compare.

Run it after a flag or its help has changed.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

os.environ["COLUMNS"] = "88"
PAGE = Path(__file__).parents[1] / "docs" / "command-line.md"
HEAD = """# Command line

Written by `tools/command_line.py` from the program itself. `armillary train RECIPE --help` lists
the fields of a recipe, each of which is a flag. Under `--json` stdout is one JSON object.
"""


class Screen(io.StringIO):
    """A stdout that says that it can draw lines."""

    encoding = "utf-8"


def commands() -> Iterator[str]:
    """Yield every command and subcommand, as it is called."""
    from armillary.cli.main import COMMANDS

    yield ""
    for name, (kind, _) in COMMANDS.items():
        below = [f"{name} {one.__metadata__[0].name}" for one in get_args(kind)]
        yield from below or [name]


def help_of(command: str) -> str:
    """Return what ``armillary COMMAND --help`` prints."""
    from armillary.cli.main import main

    screen = Screen()
    with contextlib.redirect_stdout(screen):
        main([*command.split(), "--help"])
    return "\n".join(line.rstrip() for line in screen.getvalue().strip().splitlines())


def page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for command in commands():
        title = f"armillary {command}".strip()
        parts.append(f"## {title}\n\n```text\n{help_of(command)}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    if "--check" not in sys.argv:
        PAGE.write_text(page())
    elif PAGE.read_text() != page():
        sys.exit("docs/command-line.md is behind; run: .venv/bin/python tools/command_line.py")
