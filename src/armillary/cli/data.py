"""Data: look at a dataset, and check that it is whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, subcommand

from armillary.cli.outcome import Outcome, facts
from armillary.cli.parse import Command
from armillary.cli.progress import bar


@dataclass(frozen=True, kw_only=True)
class Show(Command):
    """Say what a dataset holds.

    e.g. armillary data show out/tabletop
    """

    dataset: Positional[Path]
    """Dataset folder."""

    def run(self) -> Outcome:
        """Describe the dataset."""
        from armillary.data import describe

        value = describe(self.dataset)
        return Outcome(value, facts(value))


@dataclass(frozen=True, kw_only=True)
class Verify(Command):
    """Check every byte against the hash manifest and every episode against its format.

    e.g. armillary data verify out/tabletop
    """

    dataset: Positional[Path]
    """Dataset folder."""

    def run(self) -> Outcome:
        """Verify; exit code 1 if anything is wrong."""
        from armillary.data import verify

        with bar("verifying") as progress:
            report = verify(self.dataset, progress)
        said = "whole" if report.ok else f"{len(report.problems)} problems"
        value = {"ok": report.ok, "problems": report.problems, "episodes": report.episodes}
        lines = (*report.problems, f"{self.dataset}: {report.episodes} episodes, {said}")
        return Outcome(value, lines, exit_code=0 if report.ok else 1)


Data = Annotated[Show, subcommand("show")] | Annotated[Verify, subcommand("verify")]
