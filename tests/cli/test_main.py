"""The entry: exit codes, interruption, pipes that close, progress on stderr."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import pytest

from armillary.cli import main as entry
from armillary.cli.demo import Demo
from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command
from armillary.cli.progress import bar, lines
from armillary.core.errors import (
    ArmillaryError,
    CheckFailedError,
    DatasetError,
    MissingExtraError,
)


@dataclass(frozen=True, kw_only=True)
class Raising(Command):
    """Raises what it is told to."""

    error: BaseException

    def run(self) -> Outcome:
        raise self.error


def leave(monkeypatch: pytest.MonkeyPatch, error: BaseException, words: list[str]) -> int:
    monkeypatch.setattr(entry, "read", lambda _: Raising(error=error))
    return entry.main(words)


@pytest.mark.parametrize(
    ("error", "code"),
    [(CheckFailedError("no"), 1), (DatasetError("no"), 2), (MissingExtraError("no"), 3)],
)
def test_an_error_for_people_is_a_sentence_and_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys, error: ArmillaryError, code: int
) -> None:
    assert leave(monkeypatch, error, ["data"]) == code
    assert capsys.readouterr() == ("", "error: no\n")


def test_a_bug_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        leave(monkeypatch, ZeroDivisionError(), ["data"])


def test_stopping_says_where_things_are(monkeypatch, capsys, tmp_path) -> None:
    words = ["record", "--out", str(tmp_path)]
    assert leave(monkeypatch, KeyboardInterrupt(), words) == 130
    assert capsys.readouterr() == ("", f"stopped; what was finished is kept in {tmp_path}\n")


def test_stopping_before_anything_is_there_says_so(monkeypatch, capsys, tmp_path) -> None:
    words = ["ingest", "--out", str(tmp_path / "x")]
    assert leave(monkeypatch, KeyboardInterrupt(), words) == 130
    assert capsys.readouterr() == ("", f"stopped; nothing was written to {tmp_path / 'x'}\n")


def test_stopping_says_where_nothing_is_gone_on_with(monkeypatch, capsys, tmp_path) -> None:
    def stop(self: Demo) -> Outcome:
        raise KeyboardInterrupt

    monkeypatch.setattr(Demo, "run", stop)
    assert entry.main(["demo", "--out", str(tmp_path)]) == 130
    said = f"what was finished is kept in {tmp_path} until the next run, which begins anew"
    assert capsys.readouterr() == ("", f"stopped; {said}\n")


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -c 'from armillary.cli.main import entry; entry()' --help | true"
    result = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("json_too", ["", "--json"])
def test_a_reader_that_goes_away_takes_no_exit_code_with_it(tmp_path, json_too) -> None:
    start = f"{sys.executable} -c 'from armillary.cli.main import entry; entry()'"
    words = f"proof ledger {tmp_path}/none {json_too}"
    command = f"{start} {words} 2>/dev/null | true"
    result = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True)
    assert result.returncode == 2


_LOUD = """
import atexit, ctypes, os, subprocess, sys
from armillary.cli import main as entry
from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command

class Loud(Command):
    def run(self):
        print("python")
        sys.__stdout__.write("hook\\n")
        os.write(1, b"descriptor\\n")
        ctypes.CDLL(None).printf(b"library\\n")
        subprocess.run(["echo", "child"], check=True)
        atexit.register(print, "farewell")
        return Outcome({"a": 1})

entry.read = lambda words: Loud()
entry.entry()
"""


def test_under_json_stdout_is_one_object_whoever_prints() -> None:
    result = subprocess.run(
        [sys.executable, "-c", _LOUD, "--json"], capture_output=True, text=True, check=True
    )
    assert result.stdout == '{"a": 1}\n'
    said = {"python", "hook", "descriptor", "library", "child", "farewell"}
    assert set(result.stderr.split()) == said


def test_progress_stays_off_stdout(capsys) -> None:
    with bar("working") as progress:
        progress(1, 2, "fast")
    assert capsys.readouterr().out == ""


def test_lines_come_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    now = iter([0.0, 1.0, 11.0, 12.0])
    monkeypatch.setattr("armillary.api.progress.time.monotonic", lambda: next(now))
    report = lines("recording")
    for done in (1, 2, 3):
        report(done, 3, "5 frames/s")
    assert capsys.readouterr().err == "recording 2/3  11 s  5 frames/s\n"


def test_several_interrupts_at_once_are_one(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("armillary.cli.main.time.monotonic", lambda: now[0])
    answer = entry.interrupts()
    with pytest.raises(KeyboardInterrupt):
        answer(2, None)
    answer(2, None)  # the same one again
    now[0] += 1.5
    with pytest.raises(KeyboardInterrupt):
        answer(2, None)
