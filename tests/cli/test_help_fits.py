"""Help: every page fits into 80 columns, with its example."""

from __future__ import annotations

import re

import pytest

from armillary.cli.main import COMMANDS, main, subcommands
from armillary.cli.parse import fitted
from armillary.cli.train import RECIPES
from armillary.data.ingest import FORMATS

NAMES = list(COMMANDS)
BELOW = [f"{name} {sub}" for name, (kind, _) in COMMANDS.items() for sub in subcommands(kind)]


@pytest.mark.parametrize("command", ["", *NAMES, *BELOW])
def test_no_line_is_wider_than_the_terminal(command: str, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*command.split(), "--help"]) == 0
    said = capsys.readouterr().out
    assert [line for line in said.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("recipe", RECIPES)
def test_no_line_of_a_recipe_is_wider(recipe: str, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["train", recipe, "--help"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_dash_h_is_help(capsys) -> None:
    assert main(["-h"]) == 0
    short = capsys.readouterr().out
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == short


def test_a_long_example_can_still_be_copied() -> None:
    line = "e.g. armillary proof compare out/a/records.jsonl out/b/records.jsonl --json\n"
    first, second = fitted(line, 60).splitlines()
    assert first.endswith(" \\")
    assert first.removesuffix("\\") + second.lstrip() + "\n" == line


def test_a_completion_script_is_not_wrapped(capsys) -> None:
    assert main(["--tyro-print-completion", "bash"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) > 80


def test_empty_defaults_are_not_shown(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["act", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "(default: 100)" in said
    assert not any(f"(default: {nothing})" in said for nothing in ("None", "False", "''"))
    assert "{None}" not in said


def test_the_train_page_names_the_recipes(capsys) -> None:
    from armillary.recipes import RECIPES as MADE

    assert main(["train", "--help"]) == 0
    said = capsys.readouterr().out
    assert RECIPES.keys() == MADE.keys()
    assert all(f"  {name} " in said and summary in said for name, summary in RECIPES.items())


def test_ingest_names_every_format_and_what_no_ego_motion_does(capsys) -> None:
    assert main(["ingest", "--help"]) == 0
    said = re.sub(r"[│\s]+", " ", capsys.readouterr().out)
    listed = said.partition("--format STR ")[2].partition(". (default")[0]
    assert sorted(re.split(r", | or ", listed)) == sorted(["auto", *FORMATS])
    turned_off = said.partition("--no-ego-motion ")[2].partition("--pictures")[0]
    assert turned_off.startswith("Make no actions of the sensor's own motion")
    assert "True" not in turned_off
