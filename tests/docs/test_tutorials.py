"""Every code block of the quickstart and of the tutorials runs as it stands, in order."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pages import Block, blocks, run_page

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [DOCS / "quickstart.md", *sorted((DOCS / "tutorials").glob("*.md"))]
# A minute or two each, which CI has not: its 25 minutes are full. ``make test-slow`` runs them.
SLOW = ("compare-two-models", "your-own-videos")
MOST_NOT_RUN = 4  # of all pages together: installing from an address, and the like


@pytest.mark.timeout(1200)  # each takes well under a minute of an idle core; machines are shared
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.slow] if page.stem in SLOW else [], id=page.stem)
        for page in PAGES
    ],
)
def test_the_code_of_the_page_runs(page: Path, tmp_path: Path) -> None:
    run_page(page, tmp_path, Path(sys.executable).parent)


def test_nearly_all_code_is_run() -> None:
    every = [block for page in PAGES for block in blocks(page.read_text())]
    assert len([block for block in every if block.not_run]) <= MOST_NOT_RUN
    assert all(len(blocks(page.read_text())) >= 3 for page in PAGES)


def test_blocks_are_read_with_language_file_and_reason() -> None:
    text = '```python title="a.py"\nx = 1\n```\n\n<!-- not run: no network -->\n```bash\nls\n```\n'
    assert blocks(text) == [
        Block("python", "x = 1\n", "a.py", None),
        Block("bash", "ls\n", None, "no network"),
    ]


@pytest.mark.parametrize("language", ["python", "bash"])
def test_a_block_that_fails_is_found(language: str, tmp_path: Path) -> None:
    code = {"python": "x = 1\n```\n\n```python\nassert x == 2", "bash": "false\ntrue"}[language]
    page = tmp_path / "page.md"
    page.write_text(f"```{language}\n{code}\n```\n")
    with pytest.raises(AssertionError):
        run_page(page, tmp_path, Path(sys.executable).parent)


def test_later_python_sees_earlier_names_and_files(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        '```python title="mine.py"\nvalue = 3\n```\n\n```python\nimport mine\n```\n\n'
        '```bash\necho 4 > four\n```\n\n```python\nassert mine.value + int(open("four").read()) '
        "== 7\n```\n"
    )
    run_page(page, tmp_path, Path(sys.executable).parent)
