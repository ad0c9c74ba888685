"""View: a page about what lies in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from armillary.cli.outcome import Outcome, facts
from armillary.cli.parse import Command
from armillary.cli.progress import bar
from armillary.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class View(Command):
    """Write one self-contained HTML page about a dataset, a run, an evaluation or a study.

    A dataset shows its pictures and depth, a run its curves and warnings, an evaluation its rows
    and the success over the distance that counts as success, a study of `armillary understand` its
    concepts with the model's surprise.

    With --rerun one episode of a dataset or an evaluation becomes a file for the Rerun viewer
    instead (extra `rerun`): sensors, poses and points over time; with --model what it foresaw and
    how surprised it was; of an evaluation the goal and what the planner meant to do.

    e.g. armillary view out/tabletop
    """

    path: Positional[Path]
    """Folder of a dataset, a run, an evaluation (with records) or of what understand found."""
    out: Path | None = None
    """The page; else PATH/view.html, and PATH-view.html beside a dataset, which stays as it is."""
    rerun: Path | None = None
    """File for the Rerun viewer (`rerun FILE.rrd` opens it), in place of the page."""
    episode: int | None = None
    """Number of the episode in it; else the first."""
    model: str = ""
    """Model folder, run folder or Hub id that sees the dataset's episode in it."""

    def run(self) -> Outcome:
        """Write the page, or the file for Rerun."""
        if self.rerun is not None:
            return self._rerun(self.rerun)
        if self.episode is not None or self.model:
            raise ConfigError("--episode and --model are for --rerun FILE; add it, or leave them.")
        from armillary.recipes.viewing import view

        found = view(self.path, self.out)
        value = {"kind": found.kind, "page": str(found.page), "facts": dict(found.facts)}
        return Outcome(value, (f"{found.kind}: {found.page}", *facts(found.facts)))

    def _rerun(self, file: Path) -> Outcome:
        if self.out is not None:
            raise ConfigError("--out is the page's file and --rerun another; name one of them.")
        from armillary.recipes.view_rerun import view_rerun

        with bar("reading") as progress:
            made = view_rerun(self.path, file, self.episode or 0, self.model, progress)
        value = {"file": str(made.file), "steps": made.steps, "shows": made.said}
        return Outcome(value, (f"{made.said}: {made.steps} steps in {made.file}",))
