"""Act: let a model reach goals that it is shown, and count, beside its floors and ceiling."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command


@dataclass(frozen=True, kw_only=True)
class Act(Command):
    """Evaluate a model in a world in closed loop, beside random, no-op and oracle.

    Writes the manifest (made before the model runs), a record of every episode, and the rows.

    e.g. armillary act out/run/model tabletop --episodes 100 --out out/act
    """

    model: Positional[str]
    """Model folder, or Hub repository id."""
    world: Positional[str]
    """Name of the world."""
    out: Path = Path("out/act")
    """Folder for manifest.json, records and rows.json."""
    planner: str = "icem"
    """Planner that searches the model: cem, icem, mppi or gradient."""
    episodes: int = 100
    """How many held-out episodes."""
    task: str = ""
    """Goal task of the world; empty takes its first."""
    workers: int = 2
    """Processes; the records do not depend on it."""
    seed: int = 0
    """Seed of the manifest."""

    def run(self) -> Outcome:
        """Evaluate."""
        raise NotImplementedError
