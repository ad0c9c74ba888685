"""View: a page about a dataset, a run, an evaluation or a study."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from armillary.cli.outcome import Outcome, facts
from armillary.cli.parse import Command, existing
from armillary.cli.progress import bar
from armillary.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class View(Command):
    """Write one self-contained HTML page about a folder.

    A dataset is shown by its images and depth, a run by its curves and warnings. An evaluation is
    shown by its rows and its success rate. A study of `armillary understand` is shown by its
    concepts.

    With --rerun, one episode becomes a file for the Rerun viewer instead (extra `rerun`). With
    --model, the file also holds the model's predictions and surprise.

    e.g. armillary view out/tabletop
    """

    path: Positional[Path]
    """Folder of a dataset, a run, an evaluation or a study."""
    out: Path | None = None
    """File of the page. Default: PATH/view.html, or PATH-view.html for a dataset."""
    rerun: Path | None = None
    """Write this file for the Rerun viewer in place of the page."""
    episode: int | None = None
    """With --rerun: number of the episode. Default: the first."""
    model: str = ""
    """With --rerun: model folder, run folder or Hub id that predicts the episode."""
    module: str = ""
    """With --rerun: Python module that the world of an evaluation may import (gym:MODULE:ENV)."""

    def run(self) -> Outcome:
        """Write the page, or the file for Rerun."""
        existing(self.path, "the folder of a dataset, a run, an evaluation or a study")
        if self.rerun is not None:
            return self._rerun(self.rerun)
        if self.episode is not None or self.model or self.module:
            raise ConfigError(
                "--episode, --model and --module need --rerun FILE. Add it, or leave them out."
            )
        from armillary.services.view.folder import view

        found = view(self.path, self.out)
        value = {"kind": found.kind, "page": str(found.page), "facts": dict(found.facts)}
        return Outcome(value, (f"{found.kind}: {found.page}", *facts(found.facts)))

    def _rerun(self, file: Path) -> Outcome:
        if self.out is not None:
            raise ConfigError(
                "--out and --rerun were both given. --out is for a page, --rerun for a Rerun file."
            )
        from armillary.services.rerun_view import view_rerun

        with bar("reading") as progress:
            made = view_rerun(self.path, file, self.episode or 0, self.model, progress, self.module)
        value = {"file": str(made.file), "steps": made.steps, "shows": made.said}
        return Outcome(value, (f"{made.said}: {made.steps} steps in {made.file}",))
