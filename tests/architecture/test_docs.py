"""The pages say what the program says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
COMMANDS = DOCS / "reference" / "commands"  # written by tools/command_line.py


def test_the_command_line_page_is_what_the_program_says() -> None:
    command = [sys.executable, str(ROOT / "tools" / "command_line.py"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_every_page_is_in_the_table_of_contents() -> None:
    listed = set(re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    # the pages of the commands are listed by their index
    pages = {page for page in PAGES if page.parent != COMMANDS} | {COMMANDS / "index.md"}
    assert listed == {page.relative_to(DOCS).as_posix() for page in pages}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_files_that_a_page_names_are_there(page: Path) -> None:
    named = re.findall(
        r"`((?:core|spatial|data|worlds|models|objectives|training|planning|control|"
        r"comprehension|recipes|report|benchmark|proof|cli)/[\w/]+\.py)`",
        page.read_text(),
    )
    missing = [name for name in named if not (ROOT / "src" / "armillary" / name).is_file()]
    assert missing == []


def test_the_tables_of_rules_and_attacks_are_those_of_the_verifier() -> None:
    command = [sys.executable, str(ROOT / "tools" / "proof_tables.py"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
