"""Records: the raw outcome of each episode, one JSON line each, hashed.

A line is {"body": {...}, "sha256": of the body, "ms_per_decision": [...]}. Times are kept apart
from the hashed body, so that the bodies of two runs are equal to the bit.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from armillary.core.errors import FormatError
from armillary.core.files import replacing, storage_errors
from armillary.core.hashing import canonical_json, json_sha256
from armillary.evaluation.carry import Decision

Outcome = Literal["success", "failure", "timeout", "crash"]
_OUTCOMES = get_args(Outcome)
_MAX_LINE_BYTES = 64 << 20


@dataclass(frozen=True)
class Alarm:
    """A guard's alarm (see ``guard.py``).

    Attributes:
        step: world step at which it was raised, before the action of that step was sent; the
            observation that raised it has this index, 0 being the start.
        reason: the question that raised it.
        score: that passed the limit; None where it is not a finite number.
        limit: that was passed.
    """

    step: int
    reason: str
    score: float | None
    limit: float


@dataclass(frozen=True)
class Record:
    """One episode.

    Attributes:
        id: of the episode in its manifest.
        seed: of the world's reset.
        goal_seed: of the goal's draw.
        manifest: sha256 of the manifest.
        policy: identity of the actor.
        privileged: True for an oracle that reads the simulator's state.
        outcome: "success": at the goal when the episode ended; "failure": not there; "timeout": a
            decision took too long; "crash": the world or the policy broke. Only the first counts.
        error: the sentence of a timeout or crash, else empty.
        success_distance: the manifest's, so that rows need nothing but records.
        distances: to the goal at the start and after every step, in the world's unit.
        actions: [steps A], as executed, float64.
        decisions: what a planning policy decided and from where; empty for others.
        ms_per_decision: wall time of each decision, in milliseconds. Not part of the body.
        alarm: of the guard that watched the policy; None without a guard or without an alarm.
    """

    id: str
    seed: int
    goal_seed: int
    manifest: str
    policy: str
    privileged: bool
    outcome: Outcome
    error: str
    success_distance: float
    distances: tuple[float, ...]
    actions: tuple[tuple[float, ...], ...]
    decisions: tuple[Decision, ...]
    ms_per_decision: tuple[float, ...] = field(default=(), compare=False)
    alarm: Alarm | None = None

    @property
    def steps(self) -> int:
        """Actions that were executed."""
        return len(self.actions)

    @property
    def success(self) -> bool:
        """Whether it counts as solved: at the goal at the end, without timeout or crash."""
        return self.outcome == "success"

    @property
    def first_hit(self) -> bool:
        """Whether the goal was reached at any step of an episode that did not break."""
        whole = self.outcome in ("success", "failure")
        return whole and min(self.distances) <= self.success_distance

    @property
    def model_steps(self) -> int:
        """Predictor steps of all decisions."""
        return sum(decision.model_steps for decision in self.decisions)

    def body(self) -> dict[str, Any]:
        """Return everything but the times, as JSON values."""
        body = asdict(self)
        del body["ms_per_decision"]
        if self.alarm is None:  # bodies are what they were before there were guards
            del body["alarm"]
        return {**body, "steps": self.steps, "model_steps": self.model_steps}

    @property
    def sha256(self) -> str:
        """Hash of the body."""
        return json_sha256(self.body())


def record_line(record: Record) -> str:
    """Return a record as one line of JSON."""
    times = [round(ms, 4) for ms in record.ms_per_decision]
    value = {"body": record.body(), "sha256": record.sha256, "ms_per_decision": times}
    return canonical_json(value) + "\n"


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write records as JSON lines, in one step.

    Raises:
        StorageError: the disk is full or not writable.
    """
    with replacing(path) as beside, beside.open("w") as file:
        file.writelines(record_line(record) for record in records)


def append_record(path: Path, record: Record) -> None:
    """Append one record and push it to the disk.

    Raises:
        StorageError: the disk is full or not writable.
    """
    with storage_errors(path), path.open("a") as file:
        file.write(record_line(record))
        file.flush()
        os.fsync(file.fileno())


def read_records(path: Path, cut_off: bool = False) -> tuple[Record, ...]:
    """Read records; each body must have the hash that was written with it.

    Args:
        path: of the JSON lines.
        cut_off: drop a last line without its end, as a killed run leaves it.

    Raises:
        FormatError: the file is missing, or a line is damaged, changed or not a record.
    """
    if not path.is_file():
        raise FormatError(f"{path}: there is no such file; records as JSON lines were expected.")
    records = []
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(_MAX_LINE_BYTES), b""), start=1):
            if cut_off and not line.endswith(b"\n"):
                break
            records.append(_parse(path, number, line))
    return tuple(records)


def _parse(path: Path, number: int, line: bytes) -> Record:
    where = f"{path}, line {number}"
    try:
        value = json.loads(line)
        record = _record_from(value["body"], value["ms_per_decision"])
        same = record.sha256 == value["sha256"]
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise FormatError(f"{where}: not a record ({error}); evaluate again.") from error
    if not same:
        raise FormatError(f"{where}: the record was changed after it was written; evaluate again.")
    return record


def _record_from(body: Mapping[str, Any], ms_per_decision: list[float]) -> Record:
    values = dict(body)
    steps, model_steps = values.pop("steps"), values.pop("model_steps")
    if values["outcome"] not in _OUTCOMES:
        raise ValueError(f"unknown outcome {values['outcome']!r}")
    values["distances"] = tuple(map(float, values["distances"]))
    values["actions"] = tuple(tuple(map(float, action)) for action in values["actions"])
    values["decisions"] = tuple(Decision(**decision) for decision in values["decisions"])
    if "alarm" in values:
        values["alarm"] = Alarm(**values["alarm"])
    record = Record(**values, ms_per_decision=tuple(map(float, ms_per_decision)))
    if (record.steps, record.model_steps) != (steps, model_steps):
        raise ValueError("its counts do not add up")
    return record


def actions_of(record: Record) -> np.ndarray:
    """Return the executed actions as float64 [steps A]."""
    width = len(record.actions[0]) if record.actions else 0
    return np.array(record.actions, dtype=np.float64).reshape(record.steps, width)
