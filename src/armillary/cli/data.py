"""Data: describe a dataset, and check that it is intact."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, subcommand

from armillary.cli.outcome import Outcome, facts
from armillary.cli.parse import Command, existing
from armillary.cli.progress import bar


@dataclass(frozen=True, kw_only=True)
class Show(Command):
    """Print what a dataset contains.

    e.g. armillary data show out/tabletop
    """

    dataset: Positional[Path]
    """Dataset folder."""

    def run(self) -> Outcome:
        """Describe the dataset."""
        existing(self.dataset, "a dataset folder")
        from armillary.data import describe

        value = describe(self.dataset)
        return Outcome(value, facts(value))


@dataclass(frozen=True, kw_only=True)
class Verify(Command):
    """Check a dataset for damage.

    Every file is compared with its recorded hash, and every episode is read. Exit code 2 means
    damage; what is damaged is named.

    e.g. armillary data verify out/tabletop
    """

    dataset: Positional[Path]
    """Dataset folder."""

    def run(self) -> Outcome:
        """Verify; exit code 2 if anything is damaged, which is named."""
        existing(self.dataset, "a dataset folder")
        from armillary.data import verify

        with bar("verifying") as progress:
            report = verify(self.dataset, progress)
        errors = tuple(f"{self.dataset}: {problem}" for problem in report.problems)
        hashed = "every file matches its hash" if report.hashed else "no hashes to compare with"
        said = f"{self.dataset}: {report.episodes} episodes, intact ({hashed})"
        lines = (said,) if report.ok else ()
        return Outcome(vars(report), lines, exit_code=0 if report.ok else 2, errors=errors)


Data = Annotated[Show, subcommand("show")] | Annotated[Verify, subcommand("verify")]
