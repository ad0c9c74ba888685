"""View: a page about what lies in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from armillary.cli.outcome import Outcome, facts
from armillary.cli.parse import Command


@dataclass(frozen=True, kw_only=True)
class View(Command):
    """Write one self-contained HTML page about a dataset, a run, an evaluation or a study.

    A dataset shows its pictures and depth, a run its curves and warnings, an evaluation its rows
    and the success over the distance that counts as success, a study of `armillary understand` its
    concepts with the model's surprise.

    e.g. armillary view out/tabletop
    """

    path: Positional[Path]
    """Folder of a dataset, a run, an evaluation (with records) or of what understand found."""
    out: Path | None = None
    """The page; else PATH/view.html, and PATH-view.html beside a dataset, which stays as it is."""

    def run(self) -> Outcome:
        """Write the page."""
        from armillary.recipes.viewing import view

        found = view(self.path, self.out)
        value = {"kind": found.kind, "page": str(found.page), "facts": dict(found.facts)}
        return Outcome(value, (f"{found.kind}: {found.page}", *facts(found.facts)))
