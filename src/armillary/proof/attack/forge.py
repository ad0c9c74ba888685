"""Forge: writes whatever submission a cheat with a key of his own could write, consistent or not.

It starts from the honest run. Everything that follows from something is computed from what the
cheat says, so a lie is told everywhere, unless it is told only in one place on purpose.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from armillary.evaluation.manifest import Manifest
from armillary.evaluation.records import Record, write_records
from armillary.proof.agent import Agent
from armillary.proof.attack.stage import OWNER, VALUE, VERIFIER, Stage
from armillary.proof.canonical import canonical_bytes, digest
from armillary.proof.entry import Entry, make_entry
from armillary.proof.envelope import Statement, sign_statement
from armillary.proof.episodes import CHUNK, RunFolder, draw_manifests, episodes_root, records_root
from armillary.proof.keys import SigningKey, make_key, public_path
from armillary.proof.profiles import facts
from armillary.proof.reveal import nonce_reveal
from armillary.proof.scorecard import LEVEL, PREDICATE_TYPE
from armillary.proof.suite import Suite
from armillary.proof.verify.sources import card_fields, file_hash, ledger_part, load_sources
from armillary.proof.verify.submission import Submission, find_submission

Change = Mapping[str, Any]
TIME = "2026-11-25T12:00:00Z"


@dataclass
class Forge:
    """A submission in the making.

    Attributes:
        stage: what it starts from.
        suite, agent: that are handed in.
        rows: records by task and actor.
        value: that the seeds come from.
        env: that is told.
        manifests: that are told; None for those that suite and value draw.
        commit, start, end, card: fields of these that are told otherwise.
        chunk: changes a chunk's body.
        earlier: entries before the commit; a body may be made from those that are there.
        runs: how often the run stands in the ledger.
        reveals: makes the reveals from the commit; the last one is used.
        between: entries between start and end of the run.
        entries: changes the ledger as a whole, before the card is made.
        signer: signs the card.
        subject: digest that the statement is about; empty for the agent's.
        enter: whether the card is entered.
        late: changes files at the very end: what a thief of the folder could do.
    """

    stage: Stage
    suite: Suite
    agent: Agent
    rows: dict[str, dict[str, list[Record]]]
    value: str = VALUE
    env: dict[str, str] = field(default_factory=facts)
    manifests: dict[str, Manifest] | None = None
    commit: dict[str, Any] = field(default_factory=dict)
    start: dict[str, Any] = field(default_factory=dict)
    end: dict[str, Any] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)
    chunk: Callable[[dict[str, Any]], dict[str, Any]] = dict
    earlier: list[tuple[str, Change | Callable[[list[Entry]], Change]]] = field(
        default_factory=list
    )
    runs: int = 1
    reveals: Callable[[Entry], list[Change]] | None = None
    between: Callable[[Entry], list[tuple[str, Change]]] = lambda start: []
    entries: Callable[[list[Entry]], list[Entry]] = list
    signer: SigningKey = OWNER
    subject: str = ""
    enter: bool = True
    late: Callable[[Submission], None] = lambda where: None

    @classmethod
    def of(cls, stage: Stage) -> Forge:
        """Return the honest submission, ready to be changed."""
        rows = {
            task: {actor: list(records) for actor, records in row.items()}
            for task, row in stage.rows.items()
        }
        return cls(stage, stage.suite, stage.agent, rows)

    @property
    def drawn(self) -> dict[str, Manifest]:
        """The episodes that suite and value draw."""
        return draw_manifests(self.suite, self.value)

    def write(self, folder: Path) -> Submission:
        """Write it and return where it is."""
        run = RunFolder(folder / "run")
        manifests = self.manifests or self.drawn
        self.suite.save(run.suite)
        run.env.write_bytes(canonical_bytes(self.env))
        for name, manifest in manifests.items():
            manifest.save(run.manifest(name))
        for task, row in self.rows.items():
            for actor, records in row.items():
                write_records(run.records(task, actor), records)
        shutil.copytree(self.agent.folder, folder / "agent")
        shutil.copy(self.stage.honest.key, folder / "key.pub")
        entries = self.entries(self._entries(manifests))
        _write(folder / "ledger.jsonl", entries)
        run.card.write_bytes(b"")
        where = find_submission(folder)
        self._write_card(where)
        if self.enter:
            start = next(e for e in reversed(entries) if e.type == "run_start")
            body = {"run": start.hash, "card": file_hash(run.card, 1 << 25)}
            score = make_entry(entries[-1], "score", body, OWNER, TIME)
            _write(folder / "ledger.jsonl", [*entries, score])
        self.late(where)
        return where

    def _write_card(self, where: Submission) -> None:
        sources = load_sources(where)
        value = {name: found() for name, found in card_fields(sources).items()}
        if value["contamination"] is None:
            del value["contamination"]
        value |= {"v": 1, "level": LEVEL, "ledger": ledger_part(sources, sources.ledger.size)}
        value |= self.card
        subject = {"agent": self.subject or sources.agent.digest}
        statement = Statement(subject, PREDICATE_TYPE, value)
        where.run.card.write_bytes(canonical_bytes(sign_statement(statement, self.signer)))

    def _entries(self, manifests: Mapping[str, Manifest]) -> list[Entry]:
        book = _Pages()
        named = {"id": self.suite.id, "digest": self.suite.digest}
        genesis = {"public_key": OWNER.public.hex, "name": "", "nonce": "0" * 32}
        book.add("genesis", genesis)
        suite = self.commit.get("suite", named)
        book.add("suite", suite)
        for kind, body in self.earlier:
            book.add(kind, body(book.entries) if callable(body) else body)
        commit = book.add(
            "commit",
            {
                "suite": named,
                "agent": self.agent.digest,
                "parameters": self.agent.parameters,
                "rule": "none",
                **self.commit,
            },
        )
        revealing = self.reveals or (lambda c: [nonce_reveal(c.hash, self.value, VERIFIER)])
        reveals = [book.add("reveal", body) for body in revealing(commit)]
        for _ in range(self.runs):
            self._add_run(book, commit, reveals[-1], manifests)
        return book.entries

    def _add_run(
        self, book: _Pages, commit: Entry, reveal: Entry, manifests: Mapping[str, Manifest]
    ) -> None:
        start = book.add(
            "run_start",
            {
                "commit": commit.hash,
                "reveal": reveal.hash,
                "manifests": {name: one.sha256 for name, one in manifests.items()},
                "actors": list(self.suite.actors),
                "chunk": CHUNK,
                "profile": self.suite.profile,
                "env": digest(self.env),
                **self.start,
            },
        )
        for task, row in self.rows.items():
            for actor, records in row.items():
                where = {"run": start.hash, "task": task, "actor": actor, "index": 0}
                body = {**where, "count": len(records), "root": records_root(records)}
                book.add("chunk", self.chunk(body))
        for kind, body in self.between(start):
            book.add(kind, body)
        count = sum(len(records) for row in self.rows.values() for records in row.values())
        body = {"run": start.hash, "episodes": count, "root": episodes_root(self.rows)}
        book.add("run_end", {**body, "interruptions": 0, **self.end})


class _Pages:
    """A ledger that checks nothing."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def add(self, kind: str, body: Change) -> Entry:
        before = self.entries[-1] if self.entries else None
        self.entries.append(make_entry(before, kind, body, OWNER, TIME))
        return self.entries[-1]


def other_public_key(path: Path) -> None:
    """Write a fresh public key over a file."""
    beside = path.with_name("drawn")
    make_key(beside)
    public_path(beside).replace(path)
    beside.unlink()


def _write(path: Path, entries: list[Entry]) -> None:
    path.write_bytes(b"".join(entry.line for entry in entries))
