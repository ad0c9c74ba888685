"""Demo: a whole example on this machine, in minutes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command
from armillary.cli.progress import bar, note

_QUICK = "This was a quick run. It trained too briefly, so its numbers mean nothing."


@dataclass(frozen=True, kw_only=True)
class Demo(Command):
    """Run a whole example in minutes and write a page about it.

    It records a simulated table, trains a model, questions it, and lets it act.

    e.g. armillary demo --out out/demo
    """

    goes_on: ClassVar[bool] = False

    out: Path = Path("out/demo")
    """Folder for report.html and results.json. Its content is replaced."""
    quick: bool = False
    """Check in under two minutes that everything runs. The numbers mean nothing."""

    def run(self) -> Outcome:
        """Run the demo."""
        from rich.console import Console

        from armillary.experiments.demo.config import DemoConfig, quick
        from armillary.experiments.demo.run import run_demo
        from armillary.report import print_results

        config = quick(DemoConfig()) if self.quick else DemoConfig()
        results = run_demo(self.out, config, _QUICK if self.quick else "", note, bar)
        print_results(results.table, Console(stderr=self.json, highlight=False))
        lines = (f"page: {results.page}", f"numbers: {self.out / 'results.json'}")
        return Outcome(results.numbers, lines)
