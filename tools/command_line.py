"""Write docs/reference/commands: one page per command, from the help that the program prints.

Run it after a flag or its help has changed. With --check it only compares.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from pathlib import Path

os.environ["COLUMNS"] = "80"
FOLDER = Path(__file__).parents[1] / "docs" / "reference" / "commands"
WRITTEN = "Written by `tools/command_line.py` from the program's own help."
INDEX = f"""# Commands

{WRITTEN}

`armillary COMMAND --help` prints the same text. With `--json`, stdout is one JSON object, and
everything else goes to stderr. `python -m armillary` is the same program.

| Command | What it does |
| --- | --- |
"""
EXIT_CODES = """
## Exit codes

| Code | Meaning |
| --- | --- |
| 0 | done |
| 1 | a check did not hold |
| 2 | wrong usage or bad input; one sentence on stderr says what |
| 3 | an optional dependency is missing |
| 4 | undecided |
| 130 | stopped with Ctrl-C |
"""


class Screen(io.StringIO):
    """A stdout that says that it can draw lines."""

    encoding = "utf-8"


def help_of(command: str) -> str:
    """Return what ``armillary COMMAND --help`` prints."""
    from armillary.cli.main import main

    screen = Screen()
    with contextlib.redirect_stdout(screen):
        main([*command.split(), "--help"])
    return "\n".join(line.rstrip() for line in screen.getvalue().strip().splitlines())


def pages() -> dict[str, str]:
    """Return the text of every page by its file name."""
    from armillary.cli.main import COMMANDS, subcommands

    made, rows, lists = {}, [], []
    for name, (kind, summary) in COMMANDS.items():
        below = list(subcommands(kind))
        made[f"{name}.md"] = page(name, summary, below)
        rows.append(f"| [`{name}`]({name}.md) | {summary} |\n")
        for one in below:
            made[f"{name}-{one}.md"] = page(f"{name} {one}", "", [])
        if below:
            lists.append(f"\n## armillary {name}\n\n{_linked(name, below)}\n")
    made["index.md"] = INDEX + "".join(rows) + "".join(lists) + EXIT_CODES
    return made


def page(command: str, summary: str, below: list[str]) -> str:
    """Return the page of one command: summary, example, subcommands, options."""
    text = help_of(command)
    above, _, boxes = text.partition("╭")
    about = above.partition("\n\n")[2].strip()
    usage = above.partition("\n\n")[0]
    example = re.search(r"^e\.g\. ((?:.*\\\n)*.*)$", about, re.MULTILINE)
    parts = [f"# armillary {command}"]
    parts.append(f"{summary[0].upper()}{summary[1:]}." if below else _prose(about, example))
    if example:
        line = re.sub(r" \\\n\s*", " ", example.group(1))
        parts.append(f"## Example\n\n```bash\n{line}\n```")
    if below:
        parts.append(f"## Subcommands\n\n{_linked(command, below)}")
    else:
        parts.append(f"## Options\n\n```text\n{usage}\n\n╭{boxes}\n```")
    return "\n\n".join(part for part in parts if part) + "\n"


def _prose(about: str, example: re.Match[str] | None) -> str:
    """Return the description without its example; what is indented becomes a list in a box."""
    if example:
        about = about.replace(example.group(0), "")
    blocks = [block for block in about.split("\n\n") if block.strip()]
    return "\n\n".join(_block(block.strip("\n")) for block in blocks)


def _block(block: str) -> str:
    if "\n  " not in block:
        return block
    head, _, rows = block.partition("\n")
    return f"{head}\n\n```text\n{rows}\n```"


def _linked(command: str, below: list[str]) -> str:
    return "\n".join(f"- [`{one}`]({command}-{one}.md): {_first(command, one)}" for one in below)


def _first(command: str, one: str) -> str:
    from armillary.cli.main import COMMANDS, subcommands

    doc = subcommands(COMMANDS[command][0])[one].__doc__ or ""
    return doc.partition("\n")[0]


def check(made: dict[str, str]) -> list[str]:
    """Return the names of the pages that are not what the program says."""
    there = {path.name: path.read_text() for path in FOLDER.glob("*.md")}
    return sorted(name for name in made | there if made.get(name) != there.get(name))


def write(made: dict[str, str]) -> None:
    """Write all pages and remove those of commands that are gone."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in FOLDER.glob("*.md"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    if "--check" not in sys.argv:
        write(pages())
    elif behind := check(pages()):
        sys.exit(
            f"docs/reference/commands: {', '.join(behind)} must be written again; run: "
            ".venv/bin/python tools/command_line.py"
        )
