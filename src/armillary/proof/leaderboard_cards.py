"""Cards: scorecards as a leaderboard shows them.

Nothing that a card computes is taken over: intervals come from its counts, and its level from
whoever verified it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from armillary.core.errors import FormatError
from armillary.core.hashing import file_sha256
from armillary.core.statistics import Interval
from armillary.evaluation.records import read_records
from armillary.proof.episodes import RunFolder
from armillary.proof.rows import adjusted_lower, clopper_pearson, tuned
from armillary.proof.sandbox import NO_BOUNDARY
from armillary.proof.scorecard import read_card_file

Level = Literal["self", "replayed", "audited", "rerun", "challenged"]
LEVELS: tuple[Level, ...] = ("self", "replayed", "audited", "rerun", "challenged")
_RUN = "run"  # a submission's folder of the run


@dataclass(frozen=True)
class Verdict:
    """What a verifier says of a card.

    Attributes:
        level: how far it was checked.
        ok: False where it was refuted.
        detail: a sentence.
    """

    level: Level
    ok: bool
    detail: str = ""


@dataclass(frozen=True)
class TaskRow:
    """One task of a card.

    Attributes:
        task: its name.
        n: episodes.
        succ: solved ones.
        floors: solved and all, by name of the control.
        budget: model steps per decision that were allowed; None without a limit.
        tuned: what marks a task that the agent has settings of its own for; empty for others.
    """

    task: str
    n: int
    succ: int
    floors: Mapping[str, tuple[int, int]]
    budget: int | None = None
    tuned: str = ""

    @property
    def rate(self) -> float:
        """Share solved."""
        return self.succ / self.n

    @property
    def exact95(self) -> Interval:
        """Its exact 95 % interval."""
        return clopper_pearson(self.succ, self.n)

    @property
    def normalised(self) -> float | None:
        """(s - random) / (oracle - random), where both are there and differ."""
        if not {"random", "oracle"} <= self.floors.keys():
            return None
        low, high = (self.floors[name][0] / self.floors[name][1] for name in ("random", "oracle"))
        return (self.rate - low) / (high - low) if high > low else None


@dataclass(frozen=True)
class Card:
    """A scorecard, as read.

    Attributes:
        path: its file.
        name: of its folder; a card has none of its own.
        suite: id and digest.
        agent: digest.
        params: of the agent.
        attempts: k, how often this key committed for the suite.
        failed: of these, runs that never ended.
        value: that its seeds came from.
        rows: by task.
        files: sha256 of the files of records, by ``TASK/ACTOR``.
        enclosed: whether the agent acted in a process of its own, by its owner's word.
        verdict: of whoever verified it.
    """

    path: Path
    name: str
    suite: tuple[str, str]
    agent: str
    params: int
    attempts: int
    failed: int
    value: str
    rows: tuple[TaskRow, ...]
    files: Mapping[str, str]
    enclosed: bool = False
    verdict: Verdict = Verdict("self", True, "Nobody has checked it.")

    @property
    def believed(self) -> bool:
        """Whether somebody replayed it at least, and did not refute it."""
        return self.verdict.ok and self.verdict.level != "self"

    def lower_bound(self, row: TaskRow) -> float:
        """Return the one-sided 95 % lower bound of a rate, at alpha / k for k attempts."""
        return adjusted_lower(row.succ, row.n, self.attempts)


def read_card(path: Path) -> Card:
    """Read one scorecard. Its signature is the verifier's business.

    Raises:
        FormatError: no card, or counts that cannot be.
    """
    value = read_card_file(path).value
    rows = tuple(_row(row, path) for row in value["rows"])
    if len({row.task for row in rows}) < len(rows):
        raise FormatError(f"{path}: not a scorecard (a task has two rows).")
    home = path.parent
    return Card(
        path=path,
        name=home.parent.name if home.name == _RUN else home.name,
        suite=(value["suite"]["id"], value["suite"]["digest"]),
        agent=value["agent"]["digest"],
        params=value["agent"]["parameters"],
        attempts=value["attempts"]["k"],
        failed=value["attempts"]["failed"],
        value=value["seed"]["value"],
        rows=rows,
        files=value["episodes"]["files"],
        enclosed=value["env"].get("boundary", NO_BOUNDARY) != NO_BOUNDARY,
    )


def read_outcomes(card: Card) -> dict[str, dict[str, bool]]:
    """Return which episodes a card's agent solved, by task and id, from the records beside it.

    Raises:
        FormatError: there are none, they are not those that the card names, or they do not add up
            to the card's counts.
    """
    return {row.task: _solved(card, row) for row in card.rows}


def _solved(card: Card, row: TaskRow) -> dict[str, bool]:
    path = RunFolder(card.path.parent).records(row.task, "agent")
    if path.is_symlink() or not path.is_file():
        raise FormatError(f"{path}: there is no such file; the card's records were expected.")
    if file_sha256(path) != card.files.get(f"{row.task}/agent"):
        raise FormatError(f"{path}: is not the file of records that the card names.")
    records = read_records(path)
    found = {record.id: record.success for record in records}
    if len(found) < len(records):
        raise FormatError(f"{path}: an episode stands there twice; each counts once.")
    if (len(found), sum(found.values())) != (row.n, row.succ):
        raise FormatError(f"{path}: its records do not add up to the counts of the card.")
    return found


def _row(value: Mapping[str, Any], path: Path) -> TaskRow:
    floors = {name: (one["succ"], one["n"]) for name, one in value["controls"].items()}
    n, succ = value["n"], value["succ"]
    if any(solved > all_ for solved, all_ in ((succ, n), *floors.values())):
        raise FormatError(f"{path}: not a scorecard (more episodes solved than there are).")
    return TaskRow(value["task"], n, succ, floors, value["budget"]["limit"], tuned(value))
