"""Page: write again the report of a finished run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command


@dataclass(frozen=True, kw_only=True)
class Report(Command):
    """Write report.html of a folder that `armillary demo` filled.

    e.g. armillary report out/demo
    """

    folder: Positional[Path]
    """Folder with results.json and what belongs to it."""

    def run(self) -> Outcome:
        """Write the page."""
        raise NotImplementedError
