"""The pages say what the program says."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
COMMANDS = DOCS / "reference" / "commands"  # written by tools/command_line.py
PYTHON = DOCS / "reference" / "python"


def page_id(page: Path) -> str:
    """Return the name of a page in the list of tests."""
    return page.relative_to(ROOT).as_posix()


def test_the_command_line_page_is_what_the_program_says() -> None:
    command = [sys.executable, str(ROOT / "tools" / "command_line.py"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_every_page_is_in_the_table_of_contents() -> None:
    nav = (ROOT / "mkdocs.yml").read_text().split("\nnav:\n")[1]
    listed = re.findall(r": (\S+\.md)$", nav, re.MULTILINE)
    assert len(listed) == len(set(listed))
    # the pages of the commands are listed by their index
    pages = {page for page in PAGES if page.parent != COMMANDS} | {COMMANDS / "index.md"}
    assert set(listed) == {page.relative_to(DOCS).as_posix() for page in pages}


def test_the_index_of_the_commands_leads_to_all_of_them() -> None:
    linked = set(re.findall(r"\]\(([\w-]+\.md)", (COMMANDS / "index.md").read_text()))
    assert linked == {page.name for page in COMMANDS.glob("*.md")} - {"index.md"}


OUTSIDE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


@pytest.mark.parametrize("page", [*OUTSIDE, *PAGES], ids=page_id)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", text):
        if "://" in target or target.startswith("mailto:"):
            continue
        path = page.parent / target if target else page
        assert path.exists(), f"{page.name}: {target}"
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path), f"{page.name}: {target}#{anchor}"


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as Markdown's toc makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", heading.lower()).strip() for heading in headings)
    return {re.sub(r"[\s-]+", "-", heading) for heading in plain}


def test_pages_that_the_program_names_are_there() -> None:
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "tools").glob("*.py"), ROOT / "Makefile"]
    named = {name for file in files for name in re.findall(r"docs/[\w/-]+\.md", file.read_text())}
    assert named
    assert [name for name in named if not (ROOT / name).is_file()] == []


def documented(page: str) -> list[str]:
    """Return what a page of the Python reference documents."""
    return re.findall(r"^::: (\S+)$", (PYTHON / page).read_text(), re.MULTILINE)


def test_the_reference_covers_every_function_of_armillary() -> None:
    package = importlib.import_module("armillary")
    public = {f"armillary.{name}" for name in package.__all__ if not name.startswith("_")}
    assert set(documented("functions.md")) == public


@pytest.mark.parametrize(
    "package",
    ["data", "evaluation", "models", "monitoring", "planning", "understanding", "worlds"],
)
def test_the_reference_covers_every_public_name_of_a_package(package: str) -> None:
    names = [name.rpartition(".")[2] for name in documented(f"{package}.md")]
    assert sorted(names) == sorted(importlib.import_module(f"armillary.{package}").__all__)


def test_the_reference_covers_what_the_functions_return() -> None:
    results = importlib.import_module("armillary.api.results")
    own = {name for name in vars(results) if getattr(results, name).__class__ is type}
    returned = {name for name in own if getattr(results, name).__module__ == results.__name__}
    named = {name.rpartition(".")[2] for name in documented("results.md")}
    assert returned | {"Dataset", "Cache", "JEPA"} <= named


def test_the_reference_covers_the_protocols() -> None:
    protocols = importlib.import_module("armillary.core.protocols")
    own = {n for n, v in vars(protocols).items() if getattr(v, "_is_protocol", False)}
    own -= {"Protocol"}
    assert own <= {name.rpartition(".")[2] for name in documented("protocols.md")}


@pytest.mark.parametrize("page", sorted(path.name for path in PYTHON.glob("*.md")))
def test_documented_names_have_docstrings(page: str) -> None:
    for name in documented(page):
        # a name that a module of the package has too would show the module
        file = ROOT / "src" / name.replace(".", "/")
        assert not file.is_dir() and not file.with_suffix(".py").exists(), name
        module, _, attribute = name.rpartition(".")
        value = getattr(importlib.import_module(module), attribute)
        if callable(value):
            assert value.__doc__, name


@pytest.mark.parametrize("page", PAGES, ids=page_id)
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
