"""Bench: speed, measured side by side in one run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import subcommand

from armillary.cli.outcome import Outcome, facts
from armillary.cli.parse import Command
from armillary.cli.progress import bar


@dataclass(frozen=True, kw_only=True)
class Loader(Command):
    """Measure random training clips per second, beside other readers where they are installed.

    e.g. armillary bench loader --json
    """

    out: Path = Path("out/bench")
    """Folder for what the measurement writes; a recording there is used again."""
    data: Path | None = None
    """Dataset to measure with; else a tabletop recording is made."""
    alone: bool = False
    """Leave out the peers (they are installed into an environment of their own when needed)."""

    def run(self) -> Outcome:
        """Measure loading."""
        from armillary.benchmark import bench_loader

        with bar("measuring") as progress:
            value = bench_loader(self.out, self.data, peers=not self.alone, progress=progress)
        return Outcome(value, facts(value))


@dataclass(frozen=True, kw_only=True)
class Training(Command):
    """Measure training frames per second, all counted, beside LeWM's own training step.

    e.g. armillary bench train --json
    """

    out: Path = Path("out/bench")
    """Folder for what the measurement writes; a recording there is used again."""
    data: Path | None = None
    """Dataset to measure with; else a tabletop recording is made."""
    alone: bool = False
    """Leave out the peers (they are installed into an environment of their own when needed)."""

    recipe: str = "tabletop"
    """Recipe whose step is measured; the demo's by default."""

    def run(self) -> Outcome:
        """Measure training."""
        from armillary.benchmark import bench_train
        from armillary.cli.train import find_recipe

        recipe = find_recipe(self.recipe)
        with bar("measuring") as progress:
            value = bench_train(
                self.out,
                recipe.model,
                recipe,
                self.data,
                peers=not self.alone,
                progress=progress,
            )
        return Outcome(value, facts(value))


Bench = Annotated[Loader, subcommand("loader")] | Annotated[Training, subcommand("train")]
