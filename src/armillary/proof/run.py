"""Run: a committed agent and the controls on the revealed episodes, told to the ledger as it goes.

The run is entered before its first episode. The agent acts behind the boundary (``grader.py``), in
all tasks by turns; then the controls, task by task. Every 50 finished episodes of a row are entered
as a chunk; a run that was killed goes on, as the same attempt, with a note that says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from armillary.control.evaluate import evaluate, resume_records
from armillary.control.manifest import Manifest
from armillary.control.records import Record, append_record, read_records, write_records
from armillary.control.specs import NoOpSpec, OracleSpec, RandomSpec
from armillary.core.errors import CheckFailedError, ConfigError
from armillary.core.files import replacing, storage_errors
from armillary.core.progress import Progress, silent
from armillary.core.values import WorldSpec
from armillary.proof.agent import Agent
from armillary.proof.book import Book
from armillary.proof.canonical import canonical_bytes, digest
from armillary.proof.entry import Entry
from armillary.proof.episodes import (
    CHUNK,
    RunFolder,
    draw_manifests,
    episodes_root,
    read_rows,
    records_root,
)
from armillary.proof.grader import RemotePolicy, RemoteSpec
from armillary.proof.interleaving import Part, interleaved_records
from armillary.proof.ledger import Ledger
from armillary.proof.locks import locked
from armillary.proof.profiles import facts, profile_in_force
from armillary.proof.sandbox import label_of, system_label
from armillary.proof.suite import Suite

_CONTROLS = {"random": RandomSpec(), "noop": NoOpSpec(), "oracle": OracleSpec()}
NO_BOUNDARY = "none"


@dataclass(frozen=True)
class Enclosed:
    """An agent whose policy runs in a process of its own, without files and network."""

    agent: Agent

    def __call__(self, world: WorldSpec) -> RemotePolicy:
        """Return the policy, its process started, loaded and locked.

        Raises:
            ArmillaryError: as ``Agent`` and ``RemoteSpec``.
        """
        self.agent.check_unchanged()
        return RemoteSpec(self.agent.spec)(world)


def run_suite(
    folder: RunFolder,
    book: Book,
    commit: str,
    suite: Suite,
    agent: Agent,
    workers: int = 1,
    progress: Progress = silent,
    boundary: bool = True,
) -> Entry:
    """Run everything that a commit promised and return the ledger's run_end.

    Args:
        folder: for records; one that a killed run left is gone on with.
        book: the ledger.
        commit: hash of the commit, or its beginning.
        suite: that was committed to.
        agent: that was committed.
        workers: processes; records do not depend on it.
        progress: told after each episode.
        boundary: whether the agent acts in a process of its own; records do not depend on it, the
            environment in the card says it.

    Raises:
        ConfigError: another suite or agent than committed, not revealed yet, aborted, another
            environment than the run began in, another process at work in the folder, or a system
            that cannot make a boundary.
        CheckFailedError: this installation is not the suite's, or records were changed since they
            were entered.
        StorageError: the disk is full or not writable.
    """
    with storage_errors(folder.path):
        folder.path.mkdir(parents=True, exist_ok=True)
        with folder.lock.open("a") as file, locked(file, folder.path, wait=False):
            return _run(folder, book, commit, suite, agent, workers, progress, boundary)


def find_commit(ledger: Ledger, commit: str, suite: Suite, agent: str) -> tuple[Entry, Entry]:
    """Return a commit and its reveal.

    Args:
        ledger: where they are.
        commit: hash of the commit, or its beginning.
        suite: that it must be about.
        agent: digest that it must be about.

    Raises:
        ConfigError: no such commit, another suite or agent, or not revealed yet.
    """
    entry = ledger.find(commit)
    if entry.type != "commit":
        raise ConfigError(f"The entry {commit} is a {entry.type}; a commit was expected.")
    if entry.body["suite"] != {"id": suite.id, "digest": suite.digest}:
        raise ConfigError(
            f"The commit {entry.hash[:16]} is about another suite than {suite.id} "
            f"({suite.digest[:16]}); commit again, or give the suite that was committed to."
        )
    if entry.body["agent"] != agent:
        raise ConfigError(
            f"The commit {entry.hash[:16]} is about the agent {entry.body['agent'][:16]}, not "
            f"{agent[:16]}."
        )
    reveal = ledger.history.reveals.get(entry.hash)
    if reveal is None:
        raise ConfigError(
            f"The seeds of commit {entry.hash[:16]} are not revealed yet; run: armillary bench "
            "reveal"
        )
    return entry, reveal


def _run(
    folder: RunFolder,
    book: Book,
    commit: str,
    suite: Suite,
    agent: Agent,
    workers: int,
    progress: Progress,
    boundary: bool,
) -> Entry:
    ledger = book.read()
    entry, reveal = find_commit(ledger, commit, suite, agent.digest)
    _check_profile(suite)
    suite.check_installation()
    manifests = draw_manifests(suite, reveal.body["value"])
    label = label_of(system_label()) if boundary else NO_BOUNDARY
    env = {**facts(suite.drawn), "boundary": label}
    start, end = _begin(folder, book, ledger, suite, entry, reveal, manifests, env)
    if end is not None:
        return end
    total = sum(task.episodes for task in suite.tasks) * len(suite.actors)

    def rows(actor: str) -> list[_Row]:
        names = [task.name for task in suite.tasks]
        return [_Row(folder, book, start, name, actor, manifests[name]) for name in names]

    parts = [_part(row, agent, boundary) for row in rows("agent")]
    done = _play(rows("agent"), parts, int(reveal.body["value"], 16), workers, progress, total)
    for name in suite.controls:
        for row in rows(name):
            told = row.telling(progress, done, total)
            evaluate(row.manifest, _CONTROLS[name], workers=workers, progress=told, out=row.path)
            row.enter_chunks()
            done += len(row.manifest.episodes)
    found = read_rows(folder, suite, manifests, agent.digest)
    interruptions = book.read().history.runs[start.hash].interruptions
    body = {"run": start.hash, "episodes": total, "root": episodes_root(found)}
    return book.add("run_end", {**body, "interruptions": interruptions})[0]


def _part(row: _Row, agent: Agent, boundary: bool) -> Part:
    own = agent.for_task(row.task)
    return Part(row.manifest, Enclosed(own) if boundary else own, agent.identity())


def _play(
    rows: Sequence[_Row],
    parts: Sequence[Part],
    seed: int,
    workers: int,
    progress: Progress,
    of_all: int,
) -> int:
    """Let the agent play all rows by turns, and return how many episodes that were."""
    found = [
        resume_records(row.path, row.manifest, part.identity)
        for row, part in zip(rows, parts, strict=True)
    ]
    turns = [
        (place, position)
        for place, row in enumerate(rows)
        for position, episode in enumerate(row.manifest.episodes)
        if episode.id in found[place]
    ]
    done = len(turns)
    for place, record in interleaved_records(parts, seed, workers, frozenset(turns)):
        row, mine = rows[place], found[place]
        append_record(row.path, record)
        mine[record.id] = record
        if len(mine) % CHUNK == 0:
            row.enter_chunks()
        done += 1
        solved = sum(one.success for one in mine.values())
        progress(done, of_all, f"{row.task} agent: {solved} solved")
    for row, mine in zip(rows, found, strict=True):
        write_records(row.path, [mine[episode.id] for episode in row.manifest.episodes])
        row.enter_chunks()
    return done


def _check_profile(suite: Suite) -> None:
    if profile_in_force() != suite.profile:
        raise ConfigError(
            f"Suite {suite.id} is run under the numeric profile {suite.profile!r}; this process "
            f"has {profile_in_force()!r}. Start it with: armillary bench run"
        )


def _begin(
    folder: RunFolder,
    book: Book,
    ledger: Ledger,
    suite: Suite,
    commit: Entry,
    reveal: Entry,
    manifests: Mapping[str, Manifest],
    env: Mapping[str, str],
) -> tuple[Entry, Entry | None]:
    """Enter the run, or go on with it; return its start, and its end where it has one."""
    before = [r for r in ledger.history.runs.values() if r.start.body["commit"] == commit.hash]
    if before:
        run = before[0]
        if run.abort is not None:
            raise ConfigError("The run of this commit was aborted; commit again to try again.")
        if run.end is not None:
            return run.start, run.end
        if run.start.body["env"] != digest(env):
            raise ConfigError(
                "The run was begun in another environment (processor, libraries, profile or "
                "boundary) and can only go on there."
            )
        _write_rules(folder, suite, env, manifests)
        note = {"text": "killed; goes on", "about": run.start.hash, "kind": "interrupted"}
        book.add("note", note)
        return run.start, None
    if (folder.path / "records").exists():
        raise ConfigError(f"{folder.path}: holds another run; choose another folder with --out.")
    _write_rules(folder, suite, env, manifests)
    body = {
        "commit": commit.hash,
        "reveal": reveal.hash,
        "manifests": {name: manifest.sha256 for name, manifest in manifests.items()},
        "actors": list(suite.actors),
        "chunk": CHUNK,
        "profile": suite.profile,
        "env": digest(env),
    }
    return book.add("run_start", body)[0], None


def _write_rules(
    folder: RunFolder, suite: Suite, env: Mapping[str, str], manifests: Mapping[str, Manifest]
) -> None:
    suite.save(folder.suite)
    with replacing(folder.env) as beside:
        beside.write_bytes(canonical_bytes(dict(env)))
    for name, manifest in manifests.items():
        manifest.save(folder.manifest(name))


@dataclass(frozen=True)
class _Row:
    """One actor on one task, and the chunks of it that are entered."""

    folder: RunFolder
    book: Book
    start: Entry
    task: str
    actor: str
    manifest: Manifest

    @property
    def path(self) -> Path:
        """Of its records."""
        return self.folder.records(self.task, self.actor)

    def telling(self, progress: Progress, before: int, of_all: int) -> Progress:
        """Return the progress of this row, which enters chunks as they are finished."""

        def told(done: int, total: int, note: str = "") -> None:
            if done % CHUNK == 0 and done < total:
                self.enter_chunks()
            progress(before + done, of_all, f"{self.task} {self.actor}: {note}")

        return told

    def enter_chunks(self) -> None:
        """Enter every chunk whose episodes are all on disk; those entered must still be so."""
        entered = self._entered()
        for index, records in enumerate(self._finished()):
            root = records_root(records)
            if index < len(entered):
                if (entered[index]["count"], entered[index]["root"]) != (len(records), root):
                    raise CheckFailedError(
                        f"{self.path}: chunk {index} is not what "
                        "was entered into the ledger; records were changed."
                    )
                continue
            where = {"run": self.start.hash, "task": self.task, "actor": self.actor}
            self.book.add("chunk", {**where, "index": index, "count": len(records), "root": root})

    def _entered(self) -> list[Mapping[str, Any]]:
        run = self.book.read().history.runs[self.start.hash]
        row = (self.task, self.actor)
        bodies = [chunk.body for chunk in run.chunks]
        return [body for body in bodies if (body["task"], body["actor"]) == row]

    def _finished(self) -> list[list[Record]]:
        found = {record.id: record for record in read_records(self.path, cut_off=True)}
        ids = [episode.id for episode in self.manifest.episodes]
        chunks = []
        for at in range(0, len(ids), CHUNK):
            block = ids[at : at + CHUNK]
            if any(name not in found for name in block):
                break
            chunks.append([found[name] for name in block])
        return chunks
