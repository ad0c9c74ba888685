"""Sources: everything but the card, and what the card must therefore say, field by field."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from armillary.core.errors import ConfigError, FormatError, MissingExtraError
from armillary.evaluation.manifest import EpisodeSpec, Manifest, draw_goal
from armillary.evaluation.records import Record
from armillary.proof.agent import Agent, open_agent
from armillary.proof.attempts import attempts_of
from armillary.proof.canonical import parse_canonical, read_bytes
from armillary.proof.contamination_report import read_report
from armillary.proof.entry import Entry, parse_entry
from armillary.proof.episodes import draw_manifests, episodes_root, file_digests
from armillary.proof.keys import public_key
from armillary.proof.ledger import Ledger
from armillary.proof.order import Run, history_of
from armillary.proof.reveal import label_of
from armillary.proof.sandbox import NO_BOUNDARY, boundary_labels
from armillary.proof.scorecard import rows_of
from armillary.proof.shapes import MapOf, Name, Text
from armillary.proof.suite import Suite, Task, load_suite
from armillary.proof.verify.records import Line, RowLimits, read_lines
from armillary.proof.verify.submission import Submission

MAX_ENTRIES = 10_000
MAX_RECORDS = 200_000
MAX_BUDGET = 100_000  # world steps of one episode
MAX_STEPS = 20_000_000  # of all episodes
_MAX_LEDGER = 64 << 20
_ENV = MapOf(Text(500), 64, Name(40))


@dataclass(frozen=True)
class Claimed:
    """The entries that a card rests on.

    Attributes:
        run: the run, which has ended.
        commit: what was promised.
        reveal: where its seeds came from.
        end: of the run.
    """

    run: Run
    commit: Entry
    reveal: Entry
    end: Entry


@dataclass(frozen=True)
class Sources:
    """All files of a submission but its card, read and of the right shape, not yet believed.

    Attributes:
        where: the submission.
        suite: as in its folder.
        agent: as in its folder.
        env: what arithmetic depended on, as claimed.
        ledger: its entries; chain, signatures and order are not yet checked.
        lines: of records, by task and actor.
        claimed: the entries about this run.
    """

    where: Submission
    suite: Suite
    agent: Agent
    env: Mapping[str, str]
    ledger: Ledger
    lines: Mapping[str, Mapping[str, tuple[Line, ...]]]
    claimed: Claimed

    @cached_property
    def rows(self) -> dict[str, dict[str, tuple[Record, ...]]]:
        """Records by task and actor."""
        return {
            task: {actor: tuple(line.record for line in lines) for actor, lines in row.items()}
            for task, row in self.lines.items()
        }

    @cached_property
    def manifests(self) -> dict[str, Manifest]:
        """The episodes of every task, drawn here from the suite and the revealed value."""
        return draw_manifests(self.suite, self.claimed.reveal.body["value"])


def load_sources(where: Submission, start: str = "") -> Sources:
    """Read a submission.

    Args:
        where: its files.
        start: hash of the ledger's run_start; empty takes the last one.

    Raises:
        FormatError: a file is missing, damaged, or larger than is read here.
        ConfigError: a suite or a planner that cannot be.
        CheckpointError: the agent's folder is not one.
    """
    suite = load_suite(where.run.suite)
    widths = _check_worlds(suite)
    ledger = _ledger(where.ledger)
    env = parse_canonical(read_bytes(where.run.env, 1 << 16), str(where.run.env))
    _ENV.check(env, str(where.run.env))
    if ("graphics" in env) != suite.drawn:
        # the word alone would widen what may differ, where no driver draws what is seen
        raise FormatError(
            f"{where.run.env}: graphics: is named where, and only where, a driver draws the worlds."
        )
    if env.get("boundary", NO_BOUNDARY) not in boundary_labels():
        raise FormatError(f"{where.run.env}: boundary: not what a boundary can say of itself.")
    lines = {
        task.name: {
            actor: read_lines(
                where.run.records(task.name, actor),
                RowLimits(task.episodes + 1, task.budget, widths[task.name]),
            )
            for actor in suite.actors
        }
        for task in suite.tasks
    }
    agent, claimed = open_agent(where.agent), _claimed(ledger, start)
    return Sources(where, suite, agent, env, ledger, lines, claimed)


def card_fields(sources: Sources, size: int | None = None) -> dict[str, Callable[[], Any]]:
    """Return how every field of the card follows from the rest of the submission.

    Args:
        sources: the rest.
        size: how many entries the ledger had when the card was written; None for all. What the
            owner did later does not make a card wrong.
    """
    claimed, suite, agent = sources.claimed, sources.suite, sources.agent
    commit = claimed.commit.body
    return {
        "suite": lambda: {"id": suite.id, "digest": suite.digest, "headline": suite.headline},
        "agent": lambda: {"digest": agent.digest, "parameters": agent.parameters},
        "rule": lambda: commit["rule"],
        "seed": lambda: _seed(sources),
        "attempts": lambda: _attempts(sources, size),
        "rows": lambda: _rows(sources, size),
        "episodes": lambda: _episodes(sources),
        "manifests": lambda: {name: one.sha256 for name, one in sources.manifests.items()},
        "interruptions": lambda: claimed.run.interruptions,
        "data": lambda: commit.get("data"),
        "contamination": lambda: read_report(sources.where.run.contamination),
        "env": lambda: dict(sources.env),
    }


def ledger_part(sources: Sources, size: int) -> dict[str, Any]:
    """Return what a card says of the ledger when it had so many entries.

    Raises:
        ConfigError: it never had so many, or fewer than the run needs.
    """
    ledger, claimed = sources.ledger, sources.claimed
    entries = (claimed.commit, claimed.reveal, claimed.run.start, claimed.end)
    places = {entry.hash: place for place, entry in enumerate(ledger.entries)}
    if not max(places[entry.hash] for entry in entries) < size <= ledger.size:
        raise ConfigError(f"The ledger has {ledger.size} entries; the card speaks of {size}.")
    inclusion = {
        entry.type: {
            "seq": places[entry.hash],
            "hash": entry.hash,
            "proof": list(ledger.prove(places[entry.hash], size)),
        }
        for entry in entries
    }
    names = {"genesis": ledger.genesis, "owner": ledger.owner.hex, "size": size}
    return {**names, "root": ledger.root_at(size), "inclusion": inclusion}


def file_hash(path: Path, most: int) -> str:
    """Return the SHA-256 of a bounded file."""
    return hashlib.sha256(read_bytes(path, most)).hexdigest()


def _seed(sources: Sources) -> dict[str, str]:
    body = sources.claimed.reveal.body
    label = label_of(body, sources.ledger.owner.hex)
    return {"kind": body["kind"], "value": body["value"], "label": label}


def _attempts(sources: Sources, size: int | None) -> dict[str, Any]:
    found = attempts_of(sources.ledger, sources.claimed.commit.hash, size)
    counts = {"k": found.k, "failed": found.failed, "unopened": found.unopened}
    return {**counts, "earlier": list(found.earlier)}


def _rows(sources: Sources, size: int | None) -> list[dict[str, Any]]:
    return rows_of(sources.suite, sources.rows, _attempts(sources, size)["k"], sources.agent)


def _episodes(sources: Sources) -> dict[str, Any]:
    count = sum(len(records) for row in sources.rows.values() for records in row.values())
    files = file_digests(sources.where.run, sources.suite)
    return {"root": episodes_root(sources.rows), "count": count, "files": files}


def _ledger(path: Path) -> Ledger:
    data = read_bytes(path, _MAX_LEDGER)
    lines = data.split(b"\n")
    if lines.pop() or not 1 <= len(lines) <= MAX_ENTRIES:
        raise FormatError(
            f"{path}: {len(lines):,} whole lines, or a last one without its end; a ledger of 1 to "
            f"{MAX_ENTRIES:,} entries is read here."
        )
    entries = [parse_entry(line, f"{path}, line {n}") for n, line in enumerate(lines, start=1)]
    if entries[0].type != "genesis":
        raise FormatError(f"{path}: a ledger begins with its genesis.")
    public_key(entries[0].body["public_key"])
    return Ledger(tuple(entries), history_of(entries))


def _claimed(ledger: Ledger, start: str) -> Claimed:
    runs = ledger.history.runs
    run = runs.get(start) if start else next(reversed(runs.values()), None)
    if run is None or run.end is None:
        raise FormatError("The ledger holds no run that the card could be about and that ended.")
    body, by_hash = run.start.body, ledger.history.by_hash
    commit, reveal = by_hash.get(body["commit"]), by_hash.get(body["reveal"])
    if commit is None or reveal is None or (commit.type, reveal.type) != ("commit", "reveal"):
        raise FormatError("The run names a commit or a reveal that the ledger does not hold.")
    return Claimed(run, commit, reveal, run.end)


def _check_worlds(suite: Suite) -> dict[str, int]:
    """Check that the worlds of a stranger's suite can be made, before they are needed.

    Returns:
        How wide the actions of every task are.
    """
    total = sum(task.episodes for task in suite.tasks) * len(suite.actors)
    if total > MAX_RECORDS:
        raise FormatError(f"Suite {suite.id}: {total:,} records; {MAX_RECORDS:,} are read here.")
    steps = sum(task.episodes * task.budget for task in suite.tasks) * len(suite.actors)
    longest = max(task.budget for task in suite.tasks)
    if steps > MAX_STEPS or longest > MAX_BUDGET:
        raise FormatError(
            f"Suite {suite.id}: {steps:,} world steps, {longest:,} in one episode; "
            f"{MAX_STEPS:,} and {MAX_BUDGET:,} are replayed here."
        )
    return {task.name: _action_width(suite, task) for task in suite.tasks}


def _action_width(suite: Suite, task: Task) -> int:
    """Return how wide the actions of a task's world are; an episode of it can be begun here."""
    try:
        world = task.factory()
        try:
            known = task.task in world.spec.tasks
            if known:
                world.reset(0)
                draw_goal(world, task.task, EpisodeSpec("", 0, 0))
            width = world.spec.bounds.width
        finally:
            world.close()
    except MissingExtraError:
        raise
    except Exception as error:  # a stranger's settings; whatever they break in a world
        raise FormatError(
            f"Suite {suite.id}: its world {task.world} cannot be made ({str(error)[:300]})."
        ) from error
    if not known:
        raise FormatError(f"Suite {suite.id}: {task.world} has no task {task.task!r}.")
    return width
