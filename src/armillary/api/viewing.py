"""Viewing for the API: one page about a folder."""

from __future__ import annotations

from pathlib import Path

from armillary.api.data import AnyPath
from armillary.api.results import Evaluation, Run
from armillary.data import Dataset
from armillary.services.view.folder import view as write_page


def view(path: AnyPath | Dataset | Run | Evaluation, out: AnyPath | None = None) -> Path:
    """Write one self-contained HTML page about a dataset, a run or an evaluation.

        page = arm.view(data)

    Args:
        path: a dataset, a run, an evaluation that was kept, or the folder of one.
        out: the page; None writes ``view.html`` into the folder, and for a dataset
            ``DATASET-view.html`` beside it, so that the dataset stays as it is.

    Returns:
        The HTML file. It needs no network.

    Raises:
        FormatError: nothing that can be viewed is there, or its log or records are damaged.
        DatasetError: the dataset is damaged or was never finished.
        ConfigError: ``out`` lies in the dataset, or is a folder.
        StorageError: the page cannot be written.
    """
    return write_page(Path(path), None if out is None else Path(out)).page
