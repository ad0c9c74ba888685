"""Progress: shown where somebody watches, in the way of the place."""

from __future__ import annotations

import sys
import types

import pytest

from armillary.api import progress
from armillary.core.progress import silent


class ZMQInteractiveShell:
    """What a notebook's kernel calls its shell."""


def pretend_notebook(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    shown: list[str] = []
    handle = types.SimpleNamespace(update=lambda html: shown.append(html))
    ipython = types.ModuleType("IPython")
    ipython.get_ipython = ZMQInteractiveShell  # pyrefly: ignore
    display = types.ModuleType("IPython.display")
    display.HTML = str  # pyrefly: ignore

    def show(html: str, display_id: bool) -> object:
        shown.append(html)
        return handle

    display.display = show  # pyrefly: ignore
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return shown


def test_it_is_off_where_nobody_watches(capsys) -> None:
    with progress.progress_of("recording") as told:
        assert told is silent


def test_it_can_be_a_function() -> None:
    def own(done: int, total: int, note: str = "") -> None: ...

    with progress.progress_of("recording", own) as told:
        assert told is own


def test_it_can_be_turned_on(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    now = iter([0.0, 11.0])
    monkeypatch.setattr("armillary.api.progress.time.monotonic", lambda: next(now))
    with progress.progress_of("recording", True) as told:
        told(1, 2)
    assert capsys.readouterr().err == "recording 1/2  11 s\n"


def test_a_notebook_gets_a_bar_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = pretend_notebook(monkeypatch)
    now = iter([0.0, 0.1, 1.0])
    monkeypatch.setattr("armillary.api.progress.time.monotonic", lambda: next(now))
    with progress.progress_of("recording") as told:
        told(1, 4)  # too soon after the last drawing
        told(2, 4, "<fast>")
    assert len(shown) == 3 and shown[-1] == ""
    assert 'value="2" max="4"' in shown[1] and "&lt;fast&gt;" in shown[1]
