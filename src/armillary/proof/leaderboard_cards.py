"""Cards: scorecards as a leaderboard reads them, leniently but bounded.

Nothing that a card computes is taken over: intervals come from its counts, and its level from
whoever verified it. A card is plain JSON, or a DSSE envelope around an in-toto statement.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from armillary.core.errors import FormatError
from armillary.core.files import read_json
from armillary.core.hashing import file_sha256
from armillary.core.rates import Interval
from armillary.proof.rows import adjusted_lower, clopper_pearson

Level = Literal["self", "replayed", "audited", "challenged"]
LEVELS: tuple[Level, ...] = ("self", "replayed", "audited", "challenged")
HEADLINE_EPISODES = 200  # with fewer, ten points up or down cannot be told apart
RUN_CARD = "scorecard.json"  # as a run's folder has it
_MAX_CARD_BYTES, _MAX_ROWS, _MAX_FILES = 4 << 20, 200, 2000
_MAX_COUNT, _MAX_TEXT = 10_000_000, 120
_MAX_OUTCOMES, _MAX_LINE = 1_000_000, 1 << 20


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
        budget: model calls per decision that were allowed; None where the card does not say.
        overrides: names of settings that differ from the agent's own.
    """

    task: str
    n: int
    succ: int
    floors: Mapping[str, tuple[int, int]]
    budget: int | None = None
    overrides: tuple[str, ...] = ()

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
        suite: id and digest.
        agent: name (the file's where the card gives none) and digest.
        params: of the agent; None where unknown.
        attempts: k, how often this key committed for the suite.
        aborted: of these, runs that never ended.
        seed: kind and value of the reveal; None where the card names none.
        rows: by task.
        files: sha256 of files of outcomes: by ``TASK/agent``, or "" for one of all tasks.
        verdict: of whoever verified it.
    """

    path: Path
    suite: tuple[str, str]
    agent: tuple[str, str]
    params: int | None
    attempts: int
    aborted: int
    seed: tuple[str, str] | None
    rows: tuple[TaskRow, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    verdict: Verdict = Verdict("self", True, "Nobody has checked it.")

    @property
    def believed(self) -> bool:
        """Whether somebody replayed it at least, and did not refute it."""
        return self.verdict.ok and self.verdict.level != "self"

    def lower_bound(self, row: TaskRow) -> float:
        """Return the one-sided 95 % lower bound of a rate, at alpha / k for k attempts."""
        return adjusted_lower(row.succ, row.n, max(self.attempts, 1))


def read_card(path: Path) -> Card:
    """Read one scorecard. What it may lack is left out; what it has must be what it says.

    Raises:
        FormatError: too large, no JSON, no card, or counts that cannot be.
    """
    if path.stat().st_size > _MAX_CARD_BYTES:
        raise FormatError(f"{path}: larger than {_MAX_CARD_BYTES >> 20} MiB; refused as a card.")
    try:
        return _card(path, _unwrapped(read_json(path)))
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        if isinstance(error, FormatError):
            raise
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise FormatError(f"{path}: not a scorecard ({reason}).") from error


def read_outcomes(card: Card) -> dict[str, dict[str, bool]]:
    """Return which episodes a card solved, by task and id, from the records beside it.

    For ``scorecard.json`` of a run's folder these are ``records/TASK/agent.jsonl``, for
    ``NAME.json`` it is ``NAME.jsonl``: a JSON object per line, with ``id``, ``success`` or
    ``outcome``, and ``task`` (else the id up to its last dash).

    Raises:
        FormatError: there are none, they are not those that the card names, or they do not add up
            to the card's counts.
    """
    found: dict[str, dict[str, bool]] = {}
    for name, task, path in _places(card):
        if not path.is_file():
            raise FormatError(f"{card.path}: has no file of outcomes ({path.name}) beside it.")
        if card.files and file_sha256(path) != card.files.get(name):
            raise FormatError(f"{path}: is not the file of outcomes that the card names.")
        for said, episode, success in _outcomes(path):
            own = found.setdefault(task or said, {})
            if episode in own:
                raise FormatError(f"{path}: {episode} stands there twice; each counts once.")
            own[episode] = success
    counts = {task: (len(own), sum(own.values())) for task, own in found.items()}
    if counts != {row.task: (row.n, row.succ) for row in card.rows}:
        raise FormatError(f"{card.path}: its outcomes do not add up to the counts of the card.")
    return found


def _places(card: Card) -> Iterator[tuple[str, str, Path]]:
    """Yield name in the card, task and path of every file of outcomes."""
    if card.path.name != RUN_CARD:
        yield "", "", card.path.with_suffix(".jsonl")
        return
    for row in card.rows:
        if not re.fullmatch(r"\w[\w.-]{0,39}", row.task):  # it becomes part of a path
            raise FormatError(f"{card.path}: the task name {row.task!r} is refused in a path.")
        path = card.path.parent / "records" / row.task / "agent.jsonl"
        yield f"{row.task}/agent", row.task, path


def _outcomes(path: Path) -> Iterator[tuple[str, str, bool]]:
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(_MAX_LINE), b""), start=1):
            try:
                value = json.loads(line)
                value = value.get("body", value)
                episode = str(value["id"])
                success = value["success"] if "success" in value else value["outcome"] == "success"
                if number > _MAX_OUTCOMES or not isinstance(success, bool):
                    raise ValueError("too many lines, or an outcome that is neither yes nor no")
                yield str(value.get("task", episode.rpartition("-")[0])), episode, success
            except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
                raise FormatError(f"{path}, line {number}: not an outcome ({error}).") from error


def _unwrapped(value: Any) -> Any:
    """Return the predicate of a DSSE envelope or a statement, or the plain card.

    Signatures are the verifier's business: here they neither add nor take belief.
    """
    if "payload" in value:
        try:
            value = json.loads(base64.b64decode(value["payload"], validate=True))
        except binascii.Error as error:
            raise ValueError("its payload is not base64") from error
    return value.get("predicate", value)


def _card(path: Path, value: Mapping[str, Any]) -> Card:
    suite, agent = value["suite"], value["agent"]
    name = path.parent.name if path.name == RUN_CARD else path.stem
    params = agent.get("params", agent.get("parameters"))
    attempts, seed = value.get("attempts", {}), value.get("seed")
    rows = [_row(row) for row in _bounded_list(value["rows"])]
    if not rows or len({row.task for row in rows}) < len(rows):
        raise ValueError("it needs rows, one per task")
    digest = _text(agent["digest"])
    return Card(
        path=path,
        suite=(_text(suite.get("id", "")) or _text(suite["digest"])[:12], _text(suite["digest"])),
        agent=(_text(agent.get("name", "")) or name, digest),
        params=None if params is None else _count(params, 10**14),
        attempts=max(1, _count(attempts.get("k", 1))),
        aborted=_count(attempts.get("aborted", attempts.get("failed", 0))),
        seed=None if seed is None else (_text(seed.get("kind", "")), _text(seed["value"])),
        rows=tuple(rows),
        files=_files(value.get("episodes", {})),
    )


def _row(value: Mapping[str, Any]) -> TaskRow:
    n, succ = _count(value["n"]), _count(value["succ"])
    controls = {_text(k): _solved(v) for k, v in value.get("controls", {}).items()}
    if any(not (0 <= s <= all_ and all_ > 0) for s, all_ in [(succ, n), *controls.values()]):
        raise ValueError("more solved than there are, or nothing measured")
    budget = value.get("budget", {})
    budget = budget.get("calls", budget.get("limit"))
    return TaskRow(
        task=_text(value["task"]),
        n=n,
        succ=succ,
        floors=dict(list(controls.items())[:8]),
        budget=None if budget is None else _count(budget, 10**12),
        overrides=tuple(_text(name) for name in list(value.get("overrides", {}))[:20]),
    )


def _solved(value: Any) -> tuple[int, int]:
    """Return solved and all of a control, written as a pair or by name."""
    pair = (value["succ"], value["n"]) if isinstance(value, dict) else (value[0], value[1])
    return _count(pair[0]), _count(pair[1])


def _files(value: Mapping[str, Any]) -> dict[str, str]:
    many = value.get("files", {"": value["file"]} if "file" in value else {})
    if len(many) > _MAX_FILES:
        raise ValueError(f"more than {_MAX_FILES} files")
    return {_text(name): _text(sha256) for name, sha256 in many.items()}


def _bounded_list(value: Any) -> list:
    if not isinstance(value, list) or len(value) > _MAX_ROWS:
        raise ValueError(f"its rows are no list of at most {_MAX_ROWS}")
    return value


def _count(value: Any, most: int = _MAX_COUNT) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise ValueError(f"{str(value)[:40]!r} is no count up to {most}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{str(value)[:40]!r} is no text")
    return value[:_MAX_TEXT]
