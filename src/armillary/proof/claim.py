"""Claim: the steps before a run: commit to an agent and a suite, then reveal the seeds' value."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from armillary.core.errors import ConfigError, FormatError
from armillary.proof.agent import Agent
from armillary.proof.canonical import canonical_bytes, read_bytes, read_canonical
from armillary.proof.code import QUADRUPLETS
from armillary.proof.entry import BODIES, Entry
from armillary.proof.keys import SigningKey, write_secret
from armillary.proof.ledger import append, create_ledger, read_ledger
from armillary.proof.reveal import draw_value, local_reveal, nonce_reveal, secret_hash
from armillary.proof.suite import Suite
from armillary.proof.trainings import training_problem

_SECRETS = "secrets"


def commit_agent(
    ledger: Path,
    key: SigningKey,
    suite: Suite,
    agent: Agent,
    rule: str = "none",
    more: Mapping[str, Any] | None = None,
) -> Entry:
    """Enter which agent will be run on which suite; a ledger is begun where there is none.

    A local secret is drawn, too, and kept in a file beside the ledger: it can be revealed where
    nobody else draws a nonce.

    Args:
        ledger: its file.
        key: of its owner.
        suite: must be the one that is installed here.
        agent: what will be run.
        rule: how the checkpoint was chosen: ``last``, ``best-val`` or ``none``.
        more: fields ``data``, ``train`` and ``name`` of the commit.

    Raises:
        ConfigError: the suite is of other code, an unknown rule, a training that is another than
            the commit says, or an agent that searches more than it may or has settings for a task
            that the suite does not have.
        CheckFailedError: this installation draws other episodes than the suite's.
        StorageError: the disk is full or not writable.
    """
    suite.check_installation()
    named = {"id": suite.id, "digest": suite.digest}
    body: dict[str, Any] = {
        "suite": named,
        "agent": agent.digest,
        "parameters": agent.parameters,
        "rule": rule,
        **(more or {}),
    }
    if sentence := _problem(ledger, suite, agent, body):
        raise ConfigError(f"{sentence[0].upper()}{sentence[1:]}")
    if not ledger.exists():
        create_ledger(ledger, key)
    if (suite.id, suite.digest) not in read_ledger(ledger).history.suites:
        append(ledger, key, "suite", named)
    value = draw_value()
    body["secret"] = secret_hash(value)
    # Before the entry: a commit whose secret was lost could never be opened.
    write_secret(secret_path(ledger, body["secret"]), value.encode())
    return append(ledger, key, "commit", body)[0]


def _problem(ledger: Path, suite: Suite, agent: Agent, body: Mapping[str, Any]) -> str:
    """Return why a commit would only waste an attempt; empty where it would not."""
    tasks = {task.name: task for task in suite.tasks}
    strays = sorted(agent.overrides.keys() - tasks.keys())
    if strays:
        return (
            f"the agent has settings for {strays[0]!r}, which is no task of suite {suite.id}: "
            f"{', '.join(tasks)}."
        )
    for name, task in tasks.items():
        takes, limit = agent.for_task(name).model_steps, task.planner_budget
        if limit is not None and takes > limit:
            return (
                f"task {name} allows {limit:,} model steps a decision; the agent takes {takes:,}."
            )
    clips = sorted(name for name, task in tasks.items() if task.world == QUADRUPLETS)
    if clips and not agent.judges:
        return f"task {clips[0]} shows clips, and the agent plans; pack it with --planner surprise."
    if agent.judges and len(clips) < len(tasks):
        return f"the agent judges clips, and suite {suite.id} has tasks to act in."
    if "train" not in body:
        return ""
    return training_problem(read_ledger(ledger), body, agent.weights)


def secret_path(ledger: Path, secret: str) -> Path:
    """Return the file of the local secret with this hash."""
    return ledger.parent / _SECRETS / secret


def make_nonce(commit: str, verifier: SigningKey) -> bytes:
    """Return a nonce that a verifier draws and signs for a commit, as the text of a file.

    Raises:
        ConfigError: the commit's hash is not whole.
    """
    if len(commit) != 64:
        raise ConfigError("A nonce is drawn for the whole hash of a commit, 64 digits.")
    body = nonce_reveal(commit, draw_value(), verifier)
    BODIES["reveal"].check(body, "nonce")
    return canonical_bytes(body)


def reveal_commit(
    ledger: Path, key: SigningKey, commit: str, body: Mapping[str, Any] | None = None
) -> Entry:
    """Enter the value that a commit's test seeds come from.

    Args:
        ledger: its file.
        key: of its owner.
        commit: hash of the commit, or its beginning.
        body: a nonce's or a beacon's; None reveals the local secret.

    Raises:
        ConfigError: no such commit, it was revealed before, or a value made for another one.
        FormatError: the secret's file is missing or damaged.
    """
    entry = read_ledger(ledger).find(commit)
    if entry.type != "commit":
        raise ConfigError(f"The entry {commit} is a {entry.type}; a commit was expected.")
    if body is None:
        path = secret_path(ledger, entry.body.get("secret", ""))
        value = read_bytes(path, 64).decode("ascii", "replace")
        if len(value) != 64 or set(value) - set("0123456789abcdef"):
            raise FormatError(f"{path}: 64 hexadecimal digits were expected.")
        body = local_reveal(entry.hash, value)
    return append(ledger, key, "reveal", body)[0]


def read_nonce(path: Path) -> dict[str, Any]:
    """Read a nonce's file, as ``make_nonce`` wrote it.

    Raises:
        FormatError: not one.
    """
    value = read_canonical(path)
    BODIES["reveal"].check(value, str(path))
    return value
