"""Leaderboard: a folder of scorecards becomes one static page, verified as it is built."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from armillary.benchmark.machine import date
from armillary.proof.leaderboard import Board, Leaderboard, Outcomes, Verify, make_leaderboard
from armillary.proof.leaderboard_cards import Card, TaskRow
from armillary.proof.suite import HEADLINE_EPISODES
from armillary.report import (
    BoardView,
    Floor,
    PairedLine,
    ResultRow,
    Standing,
    StandingsPage,
    write_standings,
)

_FLOORS = ("random", "noop", "oracle")  # the order in which they stand; others follow
_SUMMARY = (
    "Who reached what, and how far anybody checked it. A number ranks only once a stranger has "
    "replayed it; until then it is its owner’s word."
)


def build_leaderboard(
    folder: Path,
    out: Path,
    verify: Verify | None = None,
    outcomes: Outcomes | None = None,
    command: str = "",
) -> Leaderboard:
    """Read all scorecards of a folder, verify them and write the page.

    Args:
        folder: with submissions (``NAME/run/scorecard.json``) or runs (``NAME/scorecard.json``).
        out: the HTML file.
        verify: says how far a card holds; None shows every card as its owner's word.
        outcomes: gives success by task and episode; None reads the files beside the cards.
        command: what made the page, to be shown on it.

    Returns:
        What the page shows.

    Raises:
        FormatError: no such folder, or more cards than can be shown.
        StorageError: not writable.
    """
    found = make_leaderboard(folder, verify, outcomes)
    page = StandingsPage(
        title="Leaderboard",
        summary=_SUMMARY,
        boards=tuple(map(_view, found.boards)),
        unreadable=found.unreadable,
        date=date(),
        command=command,
    )
    write_standings(page, out)
    return found


def _view(board: Board) -> BoardView:
    paired = tuple(
        PairedLine(p.first, p.second, p.task, p.n, p.only_first, p.only_second, p.p_holm)
        for p in board.paired
    )
    standings = tuple(_standing(card, board) for card in board.cards)
    return BoardView(board.suite[0], board.suite[1], standings, paired, board.unpaired)


def _standing(card: Card, board: Board) -> Standing:
    rows = {row.task: row for row in card.rows}
    missing = [task for task in board.tasks if task not in rows]
    facts = [f"{card.attempts} attempt{'s' if card.attempts > 1 else ''}"]
    facts += [f"{card.failed} never ended"] if card.failed else []
    facts += [f"{_short(card.params)} parameters"]
    facts += [] if card.enclosed else ["no boundary"]
    facts += [f"{task} missing" for task in missing]
    return Standing(
        name=card.name,
        identity=card.agent[:16],
        facts=tuple(facts),
        checked=card.verdict.level if card.verdict.ok else "refuted",
        detail=card.verdict.detail,
        rows=tuple(_row(card, rows[task]) for task in board.tasks if task in rows),
    )


def _row(card: Card, row: TaskRow) -> ResultRow:
    names = [name for name in _FLOORS if name in row.floors]
    names += [name for name in row.floors if name not in _FLOORS]
    return ResultRow(
        name=row.task,
        value=row.rate,
        form="percent",
        interval=row.exact95,
        floors=tuple(
            Floor(name.replace("noop", "no-op"), row.floors[name][0] / row.floors[name][1])
            for name in names
        ),
        n=row.n,
        mark=card.lower_bound(row),
        note="; ".join(_notes(row)),
    )


def _notes(row: TaskRow) -> Iterator[str]:
    if row.n < HEADLINE_EPISODES:
        yield f"fewer than {HEADLINE_EPISODES} episodes"
    if row.tuned:
        yield row.tuned


def _short(count: int) -> str:
    """Return a count in words: 950, 12 k, 3.4 M."""
    for limit, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= limit:
            return f"{count / limit:.3g} {unit}"
    return str(count)
