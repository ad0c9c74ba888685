"""Leaderboard: scorecards of a folder, ranked as far as they can be believed.

Cards that nobody replayed come last; those that share a reveal ran the same episodes and are
compared one by one. Cards that cannot be read are listed with the reason, not left out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from armillary.core.errors import ArmillaryError, FormatError
from armillary.core.statistics import holm, mcnemar
from armillary.proof.leaderboard_cards import Card, Verdict, read_card, read_outcomes

_MAX_CARDS = 5000
_PLACES = ("run/scorecard.json", "scorecard.json")  # of submissions, and of runs alone
_MOST_COMPARED = 12  # cards of one reveal; 66 pairs


@dataclass(frozen=True)
class Paired:
    """Two cards that ran the same episodes of one task.

    Attributes:
        first, second: names of the agents.
        task: its name.
        n: episodes.
        only_first, only_second: episodes that only one of them solved.
        p_value: McNemar's, exact, two-sided.
        p_holm: adjusted for all comparisons of this suite and reveal.
    """

    first: str
    second: str
    task: str
    n: int
    only_first: int
    only_second: int
    p_value: float
    p_holm: float


@dataclass(frozen=True)
class Board:
    """A suite's standings under one digest.

    Attributes:
        suite: id and digest.
        cards: best first: believed before others, then by the mean lower bound over the tasks.
        tasks: every task that a card has.
        paired: comparisons of believed cards that share a reveal.
        unpaired: sentences about cards whose outcomes could not be compared.
    """

    suite: tuple[str, str]
    cards: tuple[Card, ...]
    tasks: tuple[str, ...]
    paired: tuple[Paired, ...]
    unpaired: tuple[str, ...]


@dataclass(frozen=True)
class Leaderboard:
    """All boards of a folder, and what could not be read."""

    boards: tuple[Board, ...]
    unreadable: tuple[str, ...]


Verify = Callable[[Path], Verdict]
Outcomes = Callable[[Card], Mapping[str, Mapping[str, bool]]]


def make_leaderboard(
    folder: Path, verify: Verify | None = None, outcomes: Outcomes | None = None
) -> Leaderboard:
    """Read, verify and rank all scorecards of a folder.

    Args:
        folder: with submissions (``NAME/run/scorecard.json``) or runs (``NAME/scorecard.json``).
        verify: says how far a card holds; None shows every card as its owner's word alone.
        outcomes: gives success by task and episode id; None for ``read_outcomes``.

    Raises:
        FormatError: no such folder, or more cards than can be shown.
    """
    if not folder.is_dir():
        raise FormatError(f"{folder}: there is no such folder; one with scorecards was expected.")
    paths = [path for child in sorted(folder.iterdir()) for path in _entries(child)]
    if len(paths) > _MAX_CARDS:
        raise FormatError(f"{folder}: {len(paths)} scorecards; refused above {_MAX_CARDS}.")
    cards, unreadable = [], []
    for path in paths:
        try:
            card = read_card(path)
            cards.append(card if verify is None else replace(card, verdict=verify(path)))
        except ArmillaryError as error:
            unreadable.append(str(error).replace(f"{folder}/", ""))
        except Exception as error:  # one entry of a stranger takes no board down
            unreadable.append(
                f"{path.relative_to(folder)}: cannot be read ({type(error).__name__}); please "
                "report it with this folder."
            )
    suites = sorted({card.suite for card in cards})
    boards = (_board(suite, cards, outcomes or read_outcomes) for suite in suites)
    return Leaderboard(tuple(boards), tuple(unreadable))


def _entries(folder: Path) -> list[Path]:
    """Return the scorecards of a submission or a run; links that lead nowhere are among them.

    What is there and cannot be read is named, not left out.
    """
    cards = [folder / place for place in _PLACES if os.path.lexists(folder / place)]
    links = (path for path in (folder, folder / "run") if path.is_symlink())
    return cards + [path for path in links if not path.exists()]


def _board(suite: tuple[str, str], cards: Sequence[Card], outcomes: Outcomes) -> Board:
    own = [card for card in cards if card.suite == suite]
    tasks = tuple(sorted({row.task for card in own for row in card.rows}))
    ranked = tuple(sorted(own, key=lambda card: _rank(card, tasks)))
    paired: list[Paired] = []
    unpaired: list[str] = []
    for value in dict.fromkeys(card.value for card in ranked):
        same = [card for card in ranked if card.value == value and card.believed]
        if len(same) > 1:
            solved, problems = _solved(same[:_MOST_COMPARED], outcomes)
            paired += _adjusted(list(_compared(solved)))
            unpaired += problems
    return Board(suite, ranked, tasks, tuple(paired), tuple(unpaired))


def _rank(card: Card, tasks: Sequence[str]) -> tuple[bool, bool, float, str]:
    """Return what cards are sorted by; a task that a card leaves out counts as 0."""
    bounds = [card.lower_bound(row) for row in card.rows]
    return not card.verdict.ok, not card.believed, -sum(bounds) / len(tasks), card.name


def _solved(
    cards: Sequence[Card], outcomes: Outcomes
) -> tuple[list[tuple[Card, Mapping[str, Mapping[str, bool]]]], list[str]]:
    solved, problems = [], []
    for card in cards:
        try:
            solved.append((card, outcomes(card)))
        except ArmillaryError as error:
            problems.append(str(error).replace(f"{card.path.parent}/", ""))
    return solved, problems


def _compared(
    solved: Sequence[tuple[Card, Mapping[str, Mapping[str, bool]]]],
) -> Iterator[Paired]:
    for (a, ours), (b, theirs) in combinations(solved, 2):
        for task in sorted(ours.keys() & theirs.keys()):
            ids = sorted(ours[task])
            if ids != sorted(theirs[task]):
                continue  # other episodes in spite of the same reveal: nothing to pair
            test = mcnemar(*(np.array([side[task][one] for one in ids]) for side in (ours, theirs)))
            p = test.p_value
            yield Paired(a.name, b.name, task, len(ids), test.only_a, test.only_b, p, p)


def _adjusted(paired: Sequence[Paired]) -> list[Paired]:
    adjusted = holm([one.p_value for one in paired])
    return [replace(one, p_holm=p) for one, p in zip(paired, adjusted, strict=True)]
