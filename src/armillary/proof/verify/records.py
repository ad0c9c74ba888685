"""Records of a stranger: read strictly, with bounds, before anybody computes with them.

Each keeps the hash that was written beside it, so that a wrong one is a finding, not an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from armillary.core.errors import FormatError
from armillary.evaluation.carry import Decision
from armillary.evaluation.records import Record
from armillary.proof.canonical import Limits, parse_json
from armillary.proof.shapes import (
    Anything,
    Fields,
    Flag,
    Hex,
    ListOf,
    Name,
    Nullable,
    Number,
    Text,
    Whole,
)

_MAX_LINE = 16 << 20
_LIMITS = Limits(bytes=_MAX_LINE, depth=8, values=2_000_000)
_MOST = 1_000_000
_ANY = Number(-1e300, 1e300)
_TENSOR = Fields({"shape": ListOf(Whole(0, 1 << 20), 6), "float32": Text(1 << 22)})
_DECISION = Fields(
    {
        "step": Whole(0, _MOST),
        "model_steps": Whole(),
        "cost": Nullable(_ANY),
        "carry": Anything(),
    }
)
_CARRY = Fields({"mean": _TENSOR, "kept": _TENSOR})
_BODY = Fields(
    {
        "id": Name(80),
        "seed": Whole(),
        "goal_seed": Whole(),
        "manifest": Hex(64),
        "policy": Text(200),
        "privileged": Flag(),
        "outcome": Text(choices=("success", "failure", "timeout", "crash")),
        "error": Text(20_000),
        "success_distance": _ANY,
        "distances": ListOf(_ANY, _MOST + 1),
        "actions": ListOf(ListOf(_ANY, 1024, 1), _MOST),
        "decisions": ListOf(_DECISION, _MOST),
        "steps": Whole(),
        "model_steps": Whole(),
    }
)
_LINE = Fields({"body": _BODY, "sha256": Hex(64), "ms_per_decision": ListOf(_ANY, _MOST)})


@dataclass(frozen=True)
class RowLimits:
    """What the records of one row can be at most, by the suite; more is not kept in memory.

    Attributes:
        records: in the row.
        steps: of one episode.
        width: of an action.
    """

    records: int
    steps: int
    width: int


@dataclass(frozen=True)
class Line:
    """One record, and the hash that stands beside it.

    Attributes:
        record: as it was read.
        sha256: as it was written; not compared here.
    """

    record: Record
    sha256: str

    @property
    def holds(self) -> bool:
        """Whether the hash is that of the record."""
        return self.record.sha256 == self.sha256


def read_lines(path: Path, most: RowLimits) -> tuple[Line, ...]:
    """Read the records of a row.

    Args:
        path: JSON lines.
        most: more than that is refused.

    Raises:
        FormatError: there is no such file, or a line is not a record that the row can hold.
    """
    return tuple(_lines(path, most))


def _lines(path: Path, most: RowLimits) -> Iterator[Line]:
    if path.is_symlink() or not path.is_file():
        raise FormatError(f"{path}: there is no such file; records as JSON lines were expected.")
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(_MAX_LINE + 1), b""), start=1):
            where = f"{path}, line {number}"
            if number > most.records:
                raise FormatError(
                    f"{path}: more than {most.records:,} records; the suite has fewer."
                )
            if not line.endswith(b"\n"):
                raise FormatError(f"{where}: has no end, or is longer than {_MAX_LINE >> 20} MiB.")
            yield _parse(line, where, most)


def _parse(line: bytes, where: str, most: RowLimits) -> Line:
    value = parse_json(line, where, _LIMITS)
    _LINE.check(value, where)
    body: dict[str, Any] = value["body"]
    lists = (value["ms_per_decision"], body["actions"], body["decisions"], body["distances"][1:])
    longest = max(len(one) for one in lists)
    if longest > most.steps:
        raise FormatError(
            f"{where}: {longest:,} steps or decisions; an episode has {most.steps:,} at most."
        )
    for decision in body["decisions"]:
        if decision["carry"]:
            _CARRY.check(decision["carry"], f"{where}: carry")
    if any(len(action) != most.width for action in body["actions"]):
        raise FormatError(f"{where}: an action has another width than the world's {most.width}.")
    if body["outcome"] in ("success", "failure") and not body["distances"]:
        raise FormatError(f"{where}: an episode that ended has no distance.")
    steps, model_steps = body.pop("steps"), body.pop("model_steps")
    read: dict[str, Any] = {
        **body,
        "success_distance": float(body["success_distance"]),
        "distances": tuple(map(float, body["distances"])),
        "actions": tuple(tuple(map(float, action)) for action in body["actions"]),
        "decisions": tuple(_decision(one) for one in body["decisions"]),
    }
    record = Record(**read, ms_per_decision=tuple(map(float, value["ms_per_decision"])))
    if (record.steps, record.model_steps) != (steps, model_steps):
        raise FormatError(f"{where}: its counts do not add up.")
    return Line(record, value["sha256"])


def _decision(value: dict[str, Any]) -> Decision:
    cost = None if value["cost"] is None else float(value["cost"])
    return Decision(value["step"], value["model_steps"], cost, value["carry"])
