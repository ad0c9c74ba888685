"""The leaderboard page: who reached what, and how far anybody checked it.

It is one file that loads nothing from anywhere. What nobody replayed is drawn in grey.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from markupsafe import Markup

from armillary.report.contents import Number, ResultRow
from armillary.report.html import fill, write_html
from armillary.report.marks import interval_strip
from armillary.report.svg import drawing, tag
from armillary.report.words import write_interval, write_value

Checked = Literal["refuted", "self", "replayed", "audited", "rerun", "challenged"]
STEPS: tuple[Checked, ...] = ("replayed", "audited", "rerun", "challenged")


@dataclass(frozen=True)
class Standing:
    """One agent on a board.

    Attributes:
        name: of the agent.
        identity: its digest, shortened.
        facts: short ones that stand under the name, e.g. ``3 attempts``.
        checked: how far somebody checked it.
        detail: the sentence of the verifier.
        rows: one per task; ``mark`` is the lower bound that its attempts leave.
    """

    name: str
    identity: str
    facts: tuple[str, ...]
    checked: Checked
    detail: str
    rows: tuple[ResultRow, ...]

    @property
    def grey(self) -> bool:
        """Whether nobody replayed it, or it was refuted."""
        return self.checked in ("self", "refuted")


@dataclass(frozen=True)
class PairedLine:
    """A comparison on the same episodes, ready to be shown.

    Attributes:
        first, second: names.
        task: its name.
        n: episodes.
        only_first, only_second: solved by only one of them.
        p: adjusted.
    """

    first: str
    second: str
    task: str
    n: int
    only_first: int
    only_second: int
    p: Number

    @property
    def finding(self) -> str:
        """What follows, in words."""
        if self.p >= 0.05:
            return "no difference shown"
        better = self.first if self.only_first > self.only_second else self.second
        return f"{better} solves more"


@dataclass(frozen=True)
class BoardView:
    """One suite.

    Attributes:
        title: its name.
        digest: of the suite.
        standings: best first.
        paired: comparisons.
        notes: sentences on what could not be compared.
    """

    title: str
    digest: str
    standings: tuple[Standing, ...]
    paired: tuple[PairedLine, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class StandingsPage:
    """The whole page.

    Attributes:
        title: in a few words.
        summary: in two or three sentences.
        boards: one per suite.
        unreadable: sentences about cards that could not be read.
        date: ISO 8601.
        command: what made the page; may be empty.
    """

    title: str
    summary: str
    boards: tuple[BoardView, ...]
    unreadable: tuple[str, ...]
    date: str
    command: str = ""


def write_standings(page: StandingsPage, out: Path) -> Path:
    """Write the page, in one step.

    Args:
        page: everything on it.
        out: the file.

    Returns:
        The file.

    Raises:
        StorageError: not writable, or the disk is full.
    """
    return write_html(render_standings(page), out)


def render_standings(page: StandingsPage) -> str:
    """Return the page as HTML."""
    return fill(
        "standings.html",
        page=page,
        ladder=ladder,
        strip=interval_strip,
        value=write_value,
        interval=write_interval,
        steps=STEPS,
    )


def ladder(checked: Checked) -> Markup:
    """Return a rung for each step, as many of them filled as somebody climbed."""
    reached = STEPS.index(checked) + 1 if checked in STEPS else 0
    rungs = [
        tag("circle", class_="rung full" if n < reached else "rung", cx=6 + 13 * n, cy=6, r=4.2)
        for n in range(len(STEPS))
    ]
    lines = [
        tag("line", class_="rail", x1=10.2 + 13 * n, x2=14.8 + 13 * n, y1=6, y2=6)
        for n in range(len(STEPS) - 1)
    ]
    return drawing(13 * len(STEPS) - 1, 12, "ladder", checked, *lines, *rungs)
