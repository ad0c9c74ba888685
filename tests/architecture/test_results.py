"""Records say how they were made, and the README says what they say."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from armillary.cli.main import read

ROOT = Path(__file__).parents[2]
RECORDS = sorted((ROOT / "results").glob("*.json"))
README = (ROOT / "README.md").read_text()


def tool(name: str) -> ModuleType:
    """Load a script of tools/."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def origins(path: Path) -> list[dict[str, Any]]:
    """Return what has the four fields: a record, and what in it was made by itself."""
    value = json.loads(path.read_text())
    parts = [*value.get("environments", {}).values(), *value.values()]
    return [value, *(part for part in parts if isinstance(part, dict) and "command" in part)]


def commands(line: str) -> list[list[str]]:
    """Return the words of each command of a line."""
    every: list[list[str]] = [[]]
    for word in shlex.split(line):
        if word == "&&":
            every.append([])
        else:
            every[-1].append(word)
    return every


def table(text: str) -> list[list[str]]:
    """Return the cells of the rows of README's table of results."""
    inside = text.partition("<!-- results -->\n")[2].partition("<!-- /results -->")[0]
    rows = [line.strip("|").split("|") for line in inside.splitlines()]
    return [[cell.strip() for cell in row] for row in rows[2:]]


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_record_says_how_it_was_made(path: Path) -> None:
    for one in origins(path):
        assert one["command"].strip()
        assert re.fullmatch(r"[0-9a-f]{7,40}(-dirty)?|armillary \d+\.\d+\.\d+", one["commit"])
        assert datetime.fromisoformat(one["date"]).tzinfo is not None
        assert {"cpu", "cores", "threads", "torch"} <= one["machine"].keys()


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_the_command_of_a_record_can_be_given(path: Path) -> None:
    for one in origins(path):
        for words in commands(one["command"]):
            if words[0] == "python":
                assert (ROOT / words[1]).is_file()
            else:
                assert words[0] == "armillary"
                read(words[1:])


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_the_commit_of_a_record_is_in_the_history(path: Path) -> None:
    def git(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True)

    shallow = git("rev-parse", "--is-shallow-repository")
    if shallow.returncode or shallow.stdout.strip() == "true":
        pytest.skip("the history is not here")
    for one in origins(path):
        commit = one["commit"].removesuffix("-dirty")
        assert git("merge-base", "--is-ancestor", commit, "HEAD").returncode == 0


def test_the_tables_hold_what_the_records_say() -> None:
    command = [sys.executable, str(ROOT / "tools" / "result_tables.py"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_a_number_that_is_not_the_records_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = tool("result_tables")
    true = tables.number
    monkeypatch.setattr(sys, "argv", ["result_tables.py", "--check"])
    assert tables.main() == 0
    places = {(name, path) for name, path, _ in tables.PLACEHOLDER.findall(tables.README)}
    assert len(places) > 15
    for place in places:
        monkeypatch.setattr(
            tables, "number", lambda *asked, p=place: true(*asked) + (1 if asked == p else 0)
        )
        assert tables.main() == 1
        assert "README.md (results)" in capsys.readouterr().err


def test_every_number_of_the_readme_is_from_the_record_of_its_row_or_has_a_source() -> None:
    tables = tool("result_tables")
    template = tables.README.splitlines()[2:]
    assert 0 < len(template) == len(table(README)) <= 7
    for line in template:
        linked = re.findall(r"\(results/(\w+)\.json\)", line)
        assert len(linked) == 1
        assert {name for name, _, _ in tables.PLACEHOLDER.findall(line)} == set(linked)
        rest = tables.PLACEHOLDER.sub("", line)
        for said in tables.QUOTED:
            rest = rest.replace(said, "")
        said_here = "|".join(rest.strip("|").split("|")[:4])  # the last cell is the command
        assert not re.findall(r"\d+(?:\.\d+)?", said_here)


def test_the_command_of_a_row_is_the_one_that_made_its_record() -> None:
    for row in table(README):
        (given,) = re.findall(r"`([^`]+)`", row[-1])
        (name,) = re.findall(r"\(results/(\w+)\.json\)", row[-1])
        kept = commands(json.loads((ROOT / "results" / f"{name}.json").read_text())["command"])
        words = shlex.split(given.replace("make demo", "armillary demo"))
        if "bench" in words:
            read(words[1:])
        plain = [word for word in words if not word.startswith("--")]
        plain = plain[: next((n for n, word in enumerate(words) if word[:2] == "--"), len(words))]
        assert plain in [one[: len(plain)] for one in kept]


def test_the_readme_is_short() -> None:
    """How long its sentences are is tested in ``test_sentences.py``."""
    assert tool("sentences").words(README) <= 900


def test_the_moving_picture_moves_and_is_small() -> None:
    (name,) = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README)
    path = ROOT / name
    assert path.stat().st_size < 2_000_000
    with Image.open(path) as picture:
        assert picture.n_frames > 10
        assert picture.width <= 900


def test_what_the_readme_links_to_is_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert [link for link in links if not (ROOT / link.partition("#")[0]).is_file()] == []
