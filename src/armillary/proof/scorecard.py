"""Scorecard: what a run showed, computed from its records and the ledger, signed by its owner.

An in-toto statement about the agent's digest. Its level is ``self``: higher ones are said by those
who checked it, never by the card itself. Numbers are integers or decimal text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from armillary.core.errors import CheckFailedError, ConfigError, FormatError
from armillary.core.files import replacing
from armillary.core.progress import Progress, silent
from armillary.proof.agent import Agent
from armillary.proof.attempts import attempts_of
from armillary.proof.book import Book
from armillary.proof.canonical import LIMITS, canonical_bytes, digest, parse_canonical, read_bytes
from armillary.proof.contamination_report import (
    REPORT,
    read_report,
    report_contamination,
    write_report,
)
from armillary.proof.entry import REVEALS, RULES, Entry
from armillary.proof.envelope import Statement, open_envelope, read_unverified, sign_statement
from armillary.proof.episodes import (
    Rows,
    RunFolder,
    draw_manifests,
    episodes_root,
    file_digests,
    read_rows,
)
from armillary.proof.keys import PublicKey, public_key
from armillary.proof.ledger import Ledger
from armillary.proof.reveal import label_of
from armillary.proof.rows import ROW, row_of
from armillary.proof.run import find_commit
from armillary.proof.shapes import (
    Fields,
    Flag,
    Hex,
    ListOf,
    MapOf,
    Name,
    Nullable,
    Text,
    Whole,
    published,
)
from armillary.proof.suite import Suite

PREDICATE_TYPE = "urn:armillary:scorecard:1"
SCHEMA_FILE = Path(__file__).parent / "scorecard.schema.json"
LEVEL = "self"
_PROVEN = Fields({"seq": Whole(), "hash": Hex(64), "proof": ListOf(Hex(64), 64)})
_PROVEN_TYPES = ("commit", "reveal", "run_start", "run_end")
SCORECARD = Fields(
    {
        "v": Whole(1, 1),
        "suite": Fields({"id": Name(40), "digest": Hex(64), "headline": Flag()}),
        "agent": Fields({"digest": Hex(64), "parameters": Whole()}),
        "rule": Text(choices=RULES),
        "seed": Fields(
            {
                "kind": Text(choices=REVEALS),
                "value": Hex(64),
                "label": Text(choices=("fresh", "weak")),
            }
        ),
        "attempts": Fields(
            {
                "k": Whole(1),
                "failed": Whole(),
                "unopened": Whole(),
                "earlier": ListOf(Hex(64), 100_000),
            }
        ),
        "rows": ListOf(ROW, 64, 1),
        "episodes": Fields({"root": Hex(64), "count": Whole(1), "files": MapOf(Hex(64), 1024)}),
        "manifests": MapOf(Hex(64), 64, Name(40)),
        "interruptions": Whole(),
        "data": Nullable(Hex(64)),
        "env": MapOf(Text(500), 64, Name(40)),
        "ledger": Fields(
            {
                "genesis": Hex(64),
                "owner": Hex(64),
                "size": Whole(1),
                "root": Hex(64),
                "inclusion": Fields(dict.fromkeys(_PROVEN_TYPES, _PROVEN)),
            }
        ),
        "level": Text(choices=(LEVEL,)),
    },
    {"contamination": REPORT},
)


@dataclass(frozen=True)
class Scorecard:
    """A card whose signature holds.

    Attributes:
        value: its fields, as ``SCORECARD`` says.
        signer: the key that signed it.
        digest: SHA-256 of the file, as the ledger's score entry has it.
    """

    value: dict[str, Any]
    signer: PublicKey
    digest: str


@dataclass(frozen=True)
class CardFile:
    """A card as it stands in its file, of the right shape, not yet believed.

    Attributes:
        value: its fields.
        statement: around them.
        envelope: around that, as JSON values.
        digest: SHA-256 of the file.
    """

    value: Mapping[str, Any]
    statement: Statement
    envelope: Any
    digest: str


def schema() -> dict[str, Any]:
    """Return the card's JSON Schema, as published in ``scorecard.schema.json``."""
    return published(SCORECARD, "armillary scorecard, version 1", f"{PREDICATE_TYPE}:schema")


def score_run(
    folder: RunFolder,
    book: Book,
    commit: str,
    suite: Suite,
    agent: Agent,
    data: Path | None = None,
    progress: Progress = silent,
) -> Scorecard:
    """Compute a finished run's card, sign it, write it, and enter its hash.

    Args:
        folder: of the run.
        book: the ledger and its owner's key.
        commit: hash of the commit, or its beginning.
        suite: that was committed to.
        agent: that was committed.
        data: dataset that was trained on, to be held against the episodes first; None for none.
        progress: told about each training episode.

    Raises:
        ConfigError: no such commit, not revealed, or the run has not ended.
        CheckFailedError: records or environment are not those that were entered, or the data are
            not those that the commit names.
        FormatError: a file is missing or damaged.
        StorageError: the disk is full or not writable.
    """
    if data is not None:
        _hold(data, folder, book.read(), commit, suite, agent, progress)
    value = card_value(folder, book.read(), commit, suite, agent)
    statement = Statement({"agent": agent.digest}, PREDICATE_TYPE, value)
    text = canonical_bytes(sign_statement(statement, book.key))
    with replacing(folder.card) as beside:
        beside.write_bytes(text)
    found = hashlib.sha256(text).hexdigest()
    run = value["ledger"]["inclusion"]["run_start"]["hash"]
    book.add("score", {"run": run, "card": found})
    return Scorecard(value, book.key.public, found)


def card_value(
    folder: RunFolder, ledger: Ledger, commit: str, suite: Suite, agent: Agent
) -> dict[str, Any]:
    """Return a card's fields; everybody who has run, ledger, suite and agent gets the same.

    Raises:
        ArmillaryError: as ``score_run``.
    """
    committed, reveal = find_commit(ledger, commit, suite, agent.digest)
    start, end = _finished(ledger, committed)
    manifests = draw_manifests(suite, reveal.body["value"])
    hashes = {name: manifest.sha256 for name, manifest in manifests.items()}
    if hashes != start.body["manifests"]:
        raise CheckFailedError("The run was of other episodes than suite and reveal draw.")
    rows = read_rows(folder, suite, manifests, agent.digest)
    root = episodes_root(rows)
    if root != end.body["root"]:
        raise CheckFailedError(f"{folder.path}: the records are not those that were entered.")
    attempts = attempts_of(ledger, committed.hash)
    value = {
        "v": 1,
        "suite": {"id": suite.id, "digest": suite.digest, "headline": suite.headline},
        "agent": {"digest": agent.digest, "parameters": agent.parameters},
        "rule": committed.body["rule"],
        "seed": _seed(reveal, ledger),
        "attempts": {
            "k": attempts.k,
            "failed": attempts.failed,
            "unopened": attempts.unopened,
            "earlier": list(attempts.earlier),
        },
        "rows": rows_of(suite, rows, attempts.k, agent),
        "episodes": {
            "root": root,
            "count": end.body["episodes"],
            "files": file_digests(folder, suite),
        },
        "manifests": hashes,
        "interruptions": end.body["interruptions"],
        "data": committed.body.get("data"),
        "env": _env(folder, start),
        "ledger": _ledger_part(ledger, (committed, reveal, start, end)),
        "level": LEVEL,
    }
    report = read_report(folder.contamination)
    if report is not None:
        _check_data(committed, report)
        value["contamination"] = report
    SCORECARD.check(value, "scorecard")
    return value


def rows_of(suite: Suite, rows: Rows, attempts: int, agent: Agent) -> list[dict[str, Any]]:
    """Return a card's rows, one for each task of the suite.

    Args:
        suite: that was run.
        rows: records by task and actor.
        attempts: k, commits to the suite.
        agent: that acted; its settings for single tasks mark their rows.
    """
    own = agent.overrides
    return [
        row_of(task.name, rows[task.name], attempts, task.planner_budget, own.get(task.name, {}))
        for task in suite.tasks
    ]


def read_card_file(path: Path) -> CardFile:
    """Read a card's file without asking who signed it.

    Raises:
        FormatError: not a scorecard.
    """
    data = read_bytes(path, 2 * LIMITS.bytes)
    envelope = parse_canonical(data, str(path))
    statement = read_unverified(envelope, str(path))
    if statement.predicate_type != PREDICATE_TYPE:
        raise FormatError(f"{path}: a {statement.predicate_type[:80]}, not a scorecard.")
    SCORECARD.check(statement.predicate, str(path))
    return CardFile(statement.predicate, statement, envelope, hashlib.sha256(data).hexdigest())


def read_card(path: Path, owner: PublicKey | None = None) -> Scorecard:
    """Read a scorecard and check its signature.

    Args:
        path: of the card.
        owner: the key that must have signed; None takes the one that the card itself names.

    Raises:
        FormatError: not a scorecard.
        CheckFailedError: the signature does not hold, or is another's.
    """
    card = read_card_file(path)
    key = owner or public_key(card.value["ledger"]["owner"])
    open_envelope(card.envelope, [key], str(path))
    if dict(card.statement.subject) != {"agent": card.value["agent"]["digest"]}:
        raise CheckFailedError(f"{path}: its subject is another agent than its rows are about.")
    if key.hex != card.value["ledger"]["owner"]:
        raise CheckFailedError(f"{path}: was signed by another key than its ledger's.")
    return Scorecard(dict(card.value), key, card.digest)


def _hold(
    data: Path,
    folder: RunFolder,
    ledger: Ledger,
    commit: str,
    suite: Suite,
    agent: Agent,
    progress: Progress,
) -> None:
    """Hold training data against a run that has ended, and write the report."""
    committed, reveal = find_commit(ledger, commit, suite, agent.digest)
    _finished(ledger, committed)
    manifests = draw_manifests(suite, reveal.body["value"])
    rows = read_rows(folder, suite, manifests, agent.digest)
    acted = {task: row["agent"] for task, row in rows.items()}
    report = report_contamination(data, manifests, acted, progress)
    _check_data(committed, report)
    write_report(folder.contamination, report)


def _check_data(commit: Entry, report: Mapping[str, Any]) -> None:
    """Check that a report is about the data that the commit names, if it names any.

    Raises:
        CheckFailedError: it is about others.
    """
    if commit.body.get("data") not in (None, report["data"]):
        raise CheckFailedError(
            "The contamination report is about other training data than the commit names."
        )


def _finished(ledger: Ledger, commit: Entry) -> tuple[Entry, Entry]:
    runs = ledger.history.runs.values()
    found = [run for run in runs if run.start.body["commit"] == commit.hash]
    if not found or found[0].end is None:
        raise ConfigError(
            f"The run of commit {commit.hash[:16]} has not ended; run: armillary proof run"
        )
    return found[0].start, found[0].end


def _seed(reveal: Entry, ledger: Ledger) -> dict[str, str]:
    body = reveal.body
    label = label_of(body, ledger.owner.hex)
    return {"kind": body["kind"], "value": body["value"], "label": label}


def _env(folder: RunFolder, start: Entry) -> dict[str, str]:
    env = parse_canonical(read_bytes(folder.env, 1 << 16), str(folder.env))
    if digest(env) != start.body["env"]:
        raise CheckFailedError(f"{folder.env}: is not the environment that the run began in.")
    return env


def _ledger_part(ledger: Ledger, entries: tuple[Entry, ...]) -> dict[str, Any]:
    inclusion = {
        entry.type: {"seq": entry.seq, "hash": entry.hash, "proof": list(ledger.prove(entry.seq))}
        for entry in entries
    }
    return {
        "genesis": ledger.genesis,
        "owner": ledger.owner.hex,
        "size": ledger.size,
        "root": ledger.root,
        "inclusion": inclusion,
    }
