"""The examples end in seconds and what they say is true: each checks itself, here once more."""

from __future__ import annotations

import runpy
import subprocess
from pathlib import Path
from typing import Any

import pytest

from armillary.cli.main import read
from armillary.words.written_code import WrittenSimulator

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str) -> Any:
    """Run an example as a script would be, but for its last line, and return what it found."""
    return runpy.run_path(str(EXAMPLES / name))["main"]()


def test_a_model_of_ones_own_plans_and_beats_chance() -> None:
    found = run("plan_with_your_own_model.py")
    assert found["dot model"] >= found["random"] + 0.2


def test_every_example_is_run_here() -> None:
    text = Path(__file__).read_text()
    assert [path.name for path in EXAMPLES.glob("*.py") if f'"{path.name}"' not in text] == []


def test_the_simulator_in_words_pushes() -> None:
    text = (EXAMPLES / "simulator_in_words.py").read_text(encoding="utf-8")
    state = (100.0, 100.0, 160.0, 100.0)
    px, py, ox, oy = WrittenSimulator.read(text).step(state, state, (200.0, 0.0))
    assert (px, py, oy) == (pytest.approx(118.0), 100.0, 100.0)
    assert ox == pytest.approx(px + 51)


@pytest.mark.filterwarnings("default")  # what another package warns of is its own affair
def test_an_armillary_model_plans_in_another_solver() -> None:
    pytest.importorskip("stable_worldmodel", reason="the other tool is not installed here")
    found = run("armillary_model_in_stable_worldmodel.py")
    assert found["plan"] < found["best random"] < found["random"]


@pytest.mark.parametrize("script", sorted(path.name for path in EXAMPLES.glob("*.sh")))
def test_the_commands_of_a_script_are_commands_of_this_version(script: str, tmp_path: Path) -> None:
    told = tmp_path / "told"
    fake = tmp_path / "armillary"
    # one line a command, its words with a separator between them
    fake.write_text(f'#!/bin/sh\nprintf "%s\\037" "$@" >> {told}\necho >> {told}\n')
    fake.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run(["/bin/sh", str(EXAMPLES / script)], env=environment, check=True)
    commands = [line.split("\037")[:-1] for line in told.read_text().splitlines()]
    assert [words[0] for words in commands] == ["record", "train", "act"]
    for words in commands:
        if words[0] == "train":  # the data are looked for at once
            words[words.index("--data") + 1] = str(tmp_path)
        assert type(read(words)).__name__.lower() == words[0]
