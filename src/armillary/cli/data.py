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
        """Verify; exit code 2 if anything is damaged, which is named."""
        from armillary.data import verify

        with bar("verifying") as progress:
            report = verify(self.dataset, progress)
        errors = tuple(f"{self.dataset}: {problem}" for problem in report.problems)
        hashed = "every file hashed" if report.hashed else "no manifest to compare hashes with"
        said = f"{self.dataset}: {report.episodes} episodes, whole ({hashed})"
        lines = (said,) if report.ok else ()
        return Outcome(vars(report), lines, exit_code=0 if report.ok else 2, errors=errors)


Data = Annotated[Show, subcommand("show")] | Annotated[Verify, subcommand("verify")]
