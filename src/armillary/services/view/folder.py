"""Viewing: one page about a folder: a dataset, a training run, an evaluation or a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from armillary.core.errors import ConfigError, FormatError
from armillary.data import layout
from armillary.report import write_report
from armillary.services.understand.page import understanding_page
from armillary.services.view.dataset import dataset_page
from armillary.services.view.records import records_page
from armillary.services.view.run import run_page

Kind = Literal["dataset", "run", "evaluation", "understanding"]
_PAGES = {
    "dataset": dataset_page,
    "run": run_page,
    "evaluation": records_page,
    "understanding": understanding_page,
}
_MOST_HINTS = 8


@dataclass(frozen=True)
class Viewing:
    """What was found.

    Attributes:
        kind: of what lies there.
        page: the HTML file.
        facts: the page's facts in words, by name.
    """

    kind: Kind
    page: Path
    facts: Mapping[str, str]


def view(path: Path, out: Path | None = None) -> Viewing:
    """Write a self-contained HTML page about a folder.

    Args:
        path: folder of a dataset, of a training run, of an evaluation, or of what
            ``armillary understand`` found of one model.
        out: the page; None writes ``view.html`` into the folder, but for a dataset, whose every
            file is hashed, ``<dataset>-view.html`` beside it.

    Raises:
        FormatError: the folder is none of these, or its log or records are damaged.
        DatasetError: the dataset is damaged or was never finished.
        ConfigError: ``out`` lies in the dataset, or is a folder.
        StorageError: the page cannot be written.
    """
    kind = kind_of(path)
    folder = path.resolve()
    page = _page(folder, kind) if out is None else out
    if page.is_dir():
        raise ConfigError(f"{page}: is a folder; a file was expected, e.g. --out {page}/view.html.")
    if kind == "dataset" and page.resolve().is_relative_to(folder):
        raise ConfigError(
            f"{page}: is inside the dataset, which must not change. Choose a file elsewhere with "
            "--out."
        )
    contents = _PAGES[kind](path)
    write_report(contents, page)
    return Viewing(kind, page, contents.facts)


def kind_of(path: Path) -> Kind:
    """Return what lies in a folder.

    Raises:
        FormatError: nothing that can be viewed.
    """
    if not path.is_dir():
        raise FormatError(
            f"{path}: there is no such folder; the folder of a dataset, a run, an evaluation or a "
            "study of `armillary understand` was expected."
        )
    kind = _kind(path)
    if kind is None:
        within = sorted(child.name for child in path.iterdir() if child.is_dir() and _kind(child))
        hint = (
            f". Its folders with something to view: {', '.join(within[:_MOST_HINTS])}"
            if within
            else ""
        )
        raise FormatError(
            f"{path}: contains no dataset ({layout.INFO}), no training run (run.json), no "
            "evaluation (records/*.jsonl) and no study of one model (result.json beside said/)"
            f"{hint}."
        )
    return kind


def _kind(path: Path) -> Kind | None:
    if (path / layout.INFO).is_file() or (path / layout.ABOUT).is_file():
        return "dataset"
    if (path / "run.json").is_file():
        return "run"
    if any((path / "records").glob("*.jsonl")):
        return "evaluation"
    if (path / "result.json").is_file() and (path / "said").is_dir():
        return "understanding"
    return None


def _page(folder: Path, kind: Kind) -> Path:
    if kind == "dataset":
        return folder.with_name(f"{folder.name}-view.html")
    return folder / "view.html"
