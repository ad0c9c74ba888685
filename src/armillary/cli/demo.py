"""Demo: the whole story on this machine, in minutes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from armillary.cli.outcome import Outcome, facts
from armillary.cli.parse import Command
from armillary.cli.progress import bar


@dataclass(frozen=True, kw_only=True)
class Demo(Command):
    """Record a simulated table, train on it, question it, let it act, write a page about it.

    e.g. armillary demo --out out/demo
    """

    out: Path = Path("out/demo")
    """Folder to write; report.html and results.json are in it. What is there is replaced."""
    quick: bool = False
    """Everything in under two minutes, with numbers that mean nothing."""

    def run(self) -> Outcome:
        """Run the demo."""
        from armillary.recipes.demo import run_demo

        with bar("demo") as progress:
            results = run_demo(self.out, self.quick, progress)
        page = f"page: {self.out / 'report.html'}"
        return Outcome(results, (*facts(results), page))
