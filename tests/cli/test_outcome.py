"""What a command found, as JSON's own types and as lines."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from armillary.cli.outcome import Outcome, facts, plain, show, show_error


@dataclass(frozen=True)
class Row:
    success: float
    interval: tuple[float, float]
    where: Path


def test_everything_becomes_plain_and_what_is_not_finite_null() -> None:
    row = Row(0.5, (0.25, float("nan")), Path("out"))
    value = {"row": row, "counts": np.arange(3), "one": np.float32(0.5), "ok": np.bool_(True)}
    assert plain(value) == {
        "row": {"success": 0.5, "interval": [0.25, None], "where": "out"},
        "counts": [0, 1, 2],
        "one": 0.5,
        "ok": True,
    }


def test_facts_are_aligned_lines() -> None:
    assert facts({"a": {"b": 1, "long": 0.123456}, "c": [1, 2]}) == (
        "a.b     1",
        "a.long  0.1235",
        "c       1, 2",
    )


def test_json_is_one_object_on_stdout(capsys) -> None:
    show(Outcome({"a": 1}, ("a line",), ({"x": "1"},)), as_json=True)
    out, err = capsys.readouterr()
    assert json.loads(out) == {"a": 1}
    assert (out.count("\n"), err) == (1, "")


def test_people_get_lines_and_a_table(capsys) -> None:
    rows = ({"policy": "model", "success": "84 %"}, {"policy": "random", "success": "3 %"})
    show(Outcome({}, ("a line",), rows), as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "a line"
    assert [line.split() for line in lines[1:]] == [
        ["policy", "success"],
        ["model", "84", "%"],
        ["random", "3", "%"],
    ]


def test_a_column_that_some_rows_have_stands_over_their_cells(capsys) -> None:
    rows = ({"task": "reach", "steps": "512"}, {"task": "cross", "tuned": "length", "steps": "640"})
    for order in (rows, rows[::-1]):
        show(Outcome({}, table=order), as_json=False)
        heading, *cells = capsys.readouterr().out.splitlines()
        [cross] = [line for line in cells if line.startswith("cross")]
        assert sorted(heading.split()) == ["steps", "task", "tuned"]
        for name, text in (("steps", "640"), ("tuned", "length")):
            assert cross.index(text) + len(text) == heading.index(name) + len(name)


def test_no_name_is_cut_where_there_is_no_terminal(capsys) -> None:
    rows = ({"name": "n" * 100, "checked": "c" * 70},)
    show(Outcome({}, table=rows), as_json=False)
    assert capsys.readouterr().out.splitlines()[1].split() == ["n" * 100, "c" * 70]


def test_no_word_of_a_stranger_moves_what_stands_on_the_terminal(capsys) -> None:
    evil = "x\x1b[2K\raccepted \u202e\udcff"
    show(Outcome({}, (evil, "two\nlines ü"), errors=(evil,)), as_json=False)
    show_error(evil, 2, as_json=False)
    rows = ({"name[b]": f"{evil}[red]", "n": "[/red]"},)
    out, err = capsys.readouterr()
    said = "x\\x1b[2K\\raccepted \\u202e\\udcff"
    assert out == f"{said}\ntwo\nlines ü\n"
    assert err == f"error: {said}\n" * 2
    show(Outcome({}, (), rows), as_json=False)
    heading, cells = capsys.readouterr().out.splitlines()
    assert heading.split() == ["name[b]", "n"]
    assert "\x1b" not in cells and cells.split() == [*f"{said}[red]".split(), "[/red]"]
