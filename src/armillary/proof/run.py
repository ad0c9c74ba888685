"""Run: a committed agent and the controls on the revealed episodes, told to the ledger as it goes.

The run is entered before its first episode. The agent acts behind the boundary (``grader.py``), in
all tasks by turns; then the controls, task by task. Every 50 finished episodes of a row are entered
as a chunk; a run that was killed goes on, as the same attempt, with a note that says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from armillary.core.errors import CheckFailedError, ConfigError, FormatError
from armillary.core.files import replacing, storage_errors
from armillary.core.progress import Progress, silent
from armillary.evaluation.manifest import Manifest
from armillary.evaluation.specs import NoOpSpec, OracleSpec, RandomSpec
from armillary.proof.agent import Agent
from armillary.proof.book import Book
from armillary.proof.canonical import canonical_bytes, digest, parse_canonical, read_bytes
from armillary.proof.entry import Entry
from armillary.proof.episodes import CHUNK, RunFolder, draw_manifests, episodes_root, read_rows
from armillary.proof.grader import Enclosed
from armillary.proof.interleaving import Part, try_parts
from armillary.proof.ledger import Ledger
from armillary.proof.locks import locked
from armillary.proof.order import Run
from armillary.proof.playing import Row, play_alone, play_by_turns
from armillary.proof.profiles import facts, profile_in_force
from armillary.proof.sandbox import NO_BOUNDARY, boundary_label, system_label
from armillary.proof.suite import Suite

_CONTROLS = {"random": RandomSpec(), "noop": NoOpSpec(), "oracle": OracleSpec()}


@dataclass(frozen=True)
class _How:
    """As in ``run_suite``."""

    workers: int
    progress: Progress
    boundary: bool


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
        progress: told after each episode of a row, of how many it has.
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
    if workers < 1:
        raise ConfigError(f"workers must be at least 1; got {workers}.")
    entry, reveal = find_commit(book.read(), commit, suite, agent.digest)
    _check_profile(suite)
    suite.check_installation()
    how = _How(workers, progress, boundary)
    # a commit has one run, wherever its records lie
    alone = book.path.with_name(f".{entry.hash[:16]}.run")
    with storage_errors(folder.path), alone.open("a") as file, locked(file, alone, wait=False):
        folder.path.mkdir(parents=True, exist_ok=True)
        with folder.lock.open("a") as own, locked(own, folder.path, wait=False):
            return _run(folder, book, entry, reveal, suite, agent, how)


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
    entry: Entry,
    reveal: Entry,
    suite: Suite,
    agent: Agent,
    how: _How,
) -> Entry:
    manifests = draw_manifests(suite, reveal.body["value"])
    before = _before(book.read(), entry)
    if before is not None and before.end is not None:
        _check_ended(folder, suite, manifests, agent, before.end)
        return before.end
    label = boundary_label(system_label()) if how.boundary else NO_BOUNDARY
    env = {**facts(suite.drawn), "boundary": label}
    own = {task.name: agent.for_task(task.name) for task in suite.tasks}
    parts = [
        Part(manifests[name], Enclosed(one) if how.boundary else one, agent.identity())
        for name, one in own.items()
    ]
    try_parts(parts)  # what cannot even begin is no attempt
    start = _begin(folder, book, suite, (entry, reveal, before), manifests, env)

    def rows(actor: str) -> list[Row]:
        return [Row(folder, book, start, name, actor, manifests[name]) for name in own]

    ordered, seed = rows("agent"), int(reveal.body["value"], 16)
    play_by_turns(ordered, parts, seed, how.workers, how.progress, agent.check_unchanged)
    for name in suite.controls:
        for row in rows(name):
            play_alone(row, _CONTROLS[name], how.workers, how.progress)
    found = read_rows(folder, suite, manifests, agent.digest)
    interruptions = book.read().history.runs[start.hash].interruptions
    count = sum(len(records) for actors in found.values() for records in actors.values())
    body = {"run": start.hash, "episodes": count, "root": episodes_root(found)}
    return book.add("run_end", {**body, "interruptions": interruptions})[0]


def _before(ledger: Ledger, commit: Entry) -> Run | None:
    """Return the run of a commit that was begun before.

    Raises:
        ConfigError: it was aborted.
    """
    runs = [r for r in ledger.history.runs.values() if r.start.body["commit"] == commit.hash]
    if runs and runs[0].abort is not None:
        raise ConfigError("The run of this commit was aborted; commit again to try again.")
    return runs[0] if runs else None


def _check_ended(
    folder: RunFolder,
    suite: Suite,
    manifests: Mapping[str, Manifest],
    agent: Agent,
    end: Entry,
) -> None:
    if not (folder.path / "records").is_dir():
        raise ConfigError(
            f"The run of this commit ended at {end.t}, and {folder.path} does not hold it; name "
            "its folder with --out, or commit again to run again."
        )
    if episodes_root(read_rows(folder, suite, manifests, agent.digest)) != end.body["root"]:
        raise CheckFailedError(f"{folder.path}: the records are not those that the run ended with.")


def _check_profile(suite: Suite) -> None:
    if profile_in_force() != suite.profile:
        raise ConfigError(
            f"Suite {suite.id} is run under the numeric profile {suite.profile!r}; this process "
            f"has {profile_in_force()!r}. Start it with: armillary proof run"
        )


def _begin(
    folder: RunFolder,
    book: Book,
    suite: Suite,
    known: tuple[Entry, Entry, Run | None],
    manifests: Mapping[str, Manifest],
    env: Mapping[str, str],
) -> Entry:
    """Enter the run, or that it goes on; return its start."""
    commit, reveal, before = known
    if before is not None:
        _check_env(folder, before.start, env)
        _write_rules(folder, suite, env, manifests)
        note = {"text": "killed; goes on", "about": before.start.hash, "kind": "interrupted"}
        book.add("note", note)
        return before.start
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
    return book.add("run_start", body)[0]


def _check_env(folder: RunFolder, start: Entry, env: Mapping[str, str]) -> None:
    """Check that a run goes on where it began.

    Raises:
        ConfigError: it does not; the sentence names what differs, where its file is there.
    """
    if start.body["env"] == digest(env):
        return
    differing = ""
    with suppress(FormatError):
        told = parse_canonical(read_bytes(folder.env, 1 << 16), str(folder.env))
        names = sorted(n for n in {*told, *env} if told.get(n) != env.get(n))
        differing = f" ({', '.join(names)})"
    raise ConfigError(
        f"The run was begun in another environment{differing} and can only go on there."
    )


def _write_rules(
    folder: RunFolder, suite: Suite, env: Mapping[str, str], manifests: Mapping[str, Manifest]
) -> None:
    suite.save(folder.suite)
    with replacing(folder.env) as beside:
        beside.write_bytes(canonical_bytes(dict(env)))
    for name, manifest in manifests.items():
        manifest.save(folder.manifest(name))
