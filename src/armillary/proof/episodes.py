"""Episodes: the raw outcomes of a run in a folder, under one Merkle root E.

    suite.json                  the suite
    env.json                    what its arithmetic depended on
    manifests/TASK.json         the episodes, drawn before anything was run
    records/TASK/ACTOR.jsonl    one record per episode
    contamination.json          what training data were held against, if its owner did
    scorecard.json              made from all that

A leaf is a record's body; leaves stand task by task, the agent first, then the controls, each in
the order of the manifest. Wall times are not in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from armillary.core.errors import CheckFailedError
from armillary.core.hashing import canonical_json, file_sha256
from armillary.evaluation.manifest import Manifest
from armillary.evaluation.records import Record, read_records
from armillary.proof.merkle import leaf_hash, tree_root
from armillary.proof.seeds import draw_manifest
from armillary.proof.suite import Suite

CHUNK = 50
# Records by task, then by actor.
Rows = Mapping[str, Mapping[str, Sequence[Record]]]
IDENTITIES = {"random": "random", "noop": "noop", "oracle": "oracle (privileged)"}


@dataclass(frozen=True)
class RunFolder:
    """Where a run's files are."""

    path: Path

    @property
    def suite(self) -> Path:
        """The suite."""
        return self.path / "suite.json"

    @property
    def env(self) -> Path:
        """What arithmetic depended on."""
        return self.path / "env.json"

    @property
    def contamination(self) -> Path:
        """What was found when training data were held against the episodes."""
        return self.path / "contamination.json"

    @property
    def card(self) -> Path:
        """The scorecard."""
        return self.path / "scorecard.json"

    @property
    def lock(self) -> Path:
        """Held while the run goes on."""
        return self.path / ".lock"

    def manifest(self, task: str) -> Path:
        """Return the file of a task's manifest."""
        return self.path / "manifests" / f"{task}.json"

    def records(self, task: str, actor: str) -> Path:
        """Return the file of a row's records."""
        return self.path / "records" / task / f"{actor}.jsonl"


def record_leaf(record: Record) -> bytes:
    """Return the leaf of one record."""
    return leaf_hash(canonical_json(record.body()).encode())


def records_root(records: Iterable[Record]) -> str:
    """Return the Merkle root over records, hexadecimal."""
    return tree_root([record_leaf(record) for record in records]).hex()


def episodes_root(rows: Rows) -> str:
    """Return E, the Merkle root over all records of a run, hexadecimal."""
    return records_root(record for row in rows.values() for row_ in row.values() for record in row_)


def draw_manifests(suite: Suite, value: str) -> dict[str, Manifest]:
    """Return the manifest of every task, by name.

    Raises:
        ConfigError: the value is not what it must be.
    """
    return {task.name: draw_manifest(suite, task, value) for task in suite.tasks}


def read_rows(
    folder: RunFolder, suite: Suite, manifests: Mapping[str, Manifest], agent: str
) -> dict[str, dict[str, tuple[Record, ...]]]:
    """Read a run's records; every episode of every row must be there exactly once.

    Args:
        folder: of the run.
        suite: that was run.
        manifests: by task, drawn again from the suite and the revealed value.
        agent: digest A.

    Raises:
        FormatError: a file is missing or damaged.
        CheckFailedError: an episode is missing, doubled, moved, or of somebody else.
    """
    return {
        task.name: {
            actor: _read_row(folder.records(task.name, actor), manifests[task.name], actor, agent)
            for actor in suite.actors
        }
        for task in suite.tasks
    }


def file_digests(folder: RunFolder, suite: Suite) -> dict[str, str]:
    """Return the SHA-256 of every records file, by ``TASK/ACTOR``."""
    return {
        f"{task.name}/{actor}": file_sha256(folder.records(task.name, actor))
        for task in suite.tasks
        for actor in suite.actors
    }


def _read_row(path: Path, manifest: Manifest, actor: str, agent: str) -> tuple[Record, ...]:
    records = read_records(path)
    check_row(records, manifest, actor, agent, str(path))
    return records


def check_row(
    records: Sequence[Record], manifest: Manifest, actor: str, agent: str, where: str
) -> None:
    """Check that records are the manifest's episodes, each once and in order, of one actor.

    Raises:
        CheckFailedError: they are not; the sentence names the first that is wrong.
    """
    if len(records) != len(manifest.episodes):
        raise CheckFailedError(
            f"{where}: {len(records)} records for {len(manifest.episodes)} episodes; every episode "
            "has exactly one."
        )
    identity = IDENTITIES.get(actor, f"agent {agent}")
    wanted = (manifest.sha256, identity, actor == "oracle", manifest.success_distance)
    for record, episode in zip(records, manifest.episodes, strict=True):
        if (record.id, record.seed, record.goal_seed) != (
            *(episode.id, episode.seed, episode.goal_seed),
        ):
            raise CheckFailedError(
                f"{where}: {record.id} stands where {episode.id} belongs, or has other seeds."
            )
        privileged = record.privileged or (actor == "oracle" and record.outcome == "crash")
        found = (record.manifest, record.policy, privileged, record.success_distance)
        if found != wanted:
            raise CheckFailedError(
                f"{where}: {record.id} is of another manifest, actor or rule than this row's."
            )
        check_counts(record, manifest, where)


def check_counts(record: Record, manifest: Manifest, where: str) -> None:
    """Check that a record's outcome, steps and budget follow from its own numbers and the rules.

    Raises:
        CheckFailedError: they do not.
    """
    whole = record.outcome in ("success", "failure")
    if whole and record.error:
        raise CheckFailedError(
            f"{where}: {record.id} claims {record.outcome} and tells of an error, too."
        )
    if whole:
        solved = bool(record.distances) and record.distances[-1] <= manifest.success_distance
        if solved != record.success:
            raise CheckFailedError(
                f"{where}: {record.id} claims {record.outcome} and ends at another distance."
            )
    stopped = manifest.stop_at_hit and record.success
    short = whole and not stopped and record.steps != manifest.budget
    unseen = whole and len(record.distances) != record.steps + 1
    if short or unseen or len(record.distances) > manifest.budget + 1:
        raise CheckFailedError(
            f"{where}: {record.id} took {record.steps} steps; the rules say {manifest.budget}."
        )
    limit = manifest.planner_budget
    most = max((decision.model_steps for decision in record.decisions), default=0)
    if whole and limit is not None and most > limit:
        raise CheckFailedError(
            f"{where}: {record.id} took {most} model steps for a decision; {limit} are allowed."
        )
