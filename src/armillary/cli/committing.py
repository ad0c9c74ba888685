"""Committing: commit, reveal, run and score, so that others can check every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, UseAppendAction, arg

from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command, settings_of
from armillary.cli.planning import PlanningFlags
from armillary.cli.progress import bar
from armillary.core.errors import ConfigError

if TYPE_CHECKING:
    from armillary.proof.agent import Agent
    from armillary.proof.book import Book
    from armillary.proof.episodes import RunFolder
    from armillary.proof.suite import Suite

LEDGER, KEY = Path("out/proof/ledger.jsonl"), Path("out/proof/key")


@dataclass(frozen=True, kw_only=True)
class Keygen(Command):
    """Make an Ed25519 key pair: PATH is private, PATH.pub is public.

    e.g. armillary proof keygen out/proof/key
    """

    path: Positional[Path] = KEY
    """File of the private key."""

    def run(self) -> Outcome:
        """Draw it."""
        from armillary.proof.keys import make_key, public_path

        key = make_key(self.path).public
        said = f"Key {key.id[:16]}: {self.path} (private), {public_path(self.path)} (public)."
        return Outcome({"id": key.id, "public": key.hex, "path": self.path}, (said,))


@dataclass(frozen=True, kw_only=True)
class Pack(PlanningFlags):
    """Pack a model and its planner settings into an agent folder with one digest.

    The agent decides as `armillary act` does. Its goal policy is packed, too, if it follows one.
    With --planner surprise it judges clips, for the suite understand-1: its errors in possible
    clips are measured and packed.

    e.g. armillary proof pack out/run/model --out out/agent --plan length=16
    """

    model: Positional[str]
    """Model folder, run folder, zoo:NAME, or Hub id."""
    out: Path
    """New folder of the agent."""
    override: UseAppendAction[tuple[str, ...]] = ()
    """A setting for one task of a suite, e.g. --override two_rooms-cross:length=24.
    The row of that task is marked as tuned."""
    history: int = 0
    """Model steps that the predictor remembers; 0 for 4."""
    replan: int = 1
    """Model steps to execute before planning again."""

    def run(self) -> Outcome:
        """Pack it."""
        from armillary.evaluation import ModelSpec
        from armillary.proof.agent import SURPRISE, pack_agent, pack_judge
        from armillary.zoo.finding import find_model

        folder = find_model(self.model)
        if self.planner == SURPRISE:
            self._refuse_planning()
            agent = pack_judge(folder, self.out)
        else:
            spec = ModelSpec(folder, self.planning(history=self.history, replan=self.replan))
            agent = pack_agent(folder, spec, self.out, _overrides(self.override))
        value = {"digest": agent.digest, "parameters": agent.parameters, "path": self.out}
        return Outcome(value, (f"Agent {agent.digest} in {self.out}.",))

    def _refuse_planning(self) -> None:
        for name, usual in (("plan", ()), ("override", ()), ("history", 0), ("replan", 1)):
            if getattr(self, name) != usual:
                raise ConfigError(f"--{name} has no effect with --planner surprise; leave it out.")


@dataclass(frozen=True, kw_only=True)
class Commit(Command):
    """Commit an agent to a suite in the ledger, before the test seeds exist.

    Every commit counts as an attempt. A missing ledger is created.

    e.g. armillary proof commit out/agent --suite rooms-1
    """

    agent: Positional[Path]
    """Folder of the agent (armillary proof pack makes one)."""
    suite: str = "tiny"
    """Built-in suite (tiny, rooms-1, rooms-2, table-1, table-2, understand-1), or a suite.json."""
    ledger: Path = LEDGER
    """File of the ledger."""
    key: Path = KEY
    """Your private key."""
    rule: Literal["last", "best-val", "none"] = "none"
    """Rule by which the checkpoint was chosen."""
    data: str = ""
    """Digest of the manifest of the training data."""
    train: str = ""
    """Name of the training in the ledger."""

    def run(self) -> Outcome:
        """Commit."""
        from armillary.proof.agent import open_agent
        from armillary.proof.builtin import find_suite
        from armillary.proof.claim import commit_agent
        from armillary.proof.keys import load_key

        more = {n: v for n, v in (("data", self.data), ("train", self.train)) if v}
        suite, agent = find_suite(self.suite), open_agent(self.agent)
        entry = commit_agent(self.ledger, load_key(self.key), suite, agent, self.rule, more)
        said = (
            f"Commit {entry.hash}: agent {agent.digest[:16]}, suite {suite.id}.",
            f"Next: armillary proof reveal {entry.hash}",
        )
        return Outcome({"commit": entry.hash, **entry.body}, said)


@dataclass(frozen=True, kw_only=True)
class Nonce(Command):
    """Draw and sign a nonce for the commit of another person. It makes their seeds fresh.

    e.g. armillary proof nonce COMMIT --key mine --out nonce.json
    """

    commit: Positional[str]
    """Full hash of the commit."""
    out: Path = Path("nonce.json")
    """File to send back."""
    key: Path = KEY
    """Private key of the verifier."""

    def run(self) -> Outcome:
        """Draw it."""
        from armillary.core.files import replacing
        from armillary.proof.claim import make_nonce
        from armillary.proof.keys import load_key

        text = make_nonce(self.commit, load_key(self.key))
        with replacing(self.out) as beside:
            beside.write_bytes(text)
        return Outcome({"path": self.out}, (f"Nonce in {self.out}.",))


@dataclass(frozen=True, kw_only=True)
class Reveal(Command):
    """Reveal, once, the value from which the test seeds of a commit are derived.

    A nonce signed by another person gives fresh seeds. Your own secret gives weak seeds, and the
    scorecard says so.

    e.g. armillary proof reveal COMMIT --nonce nonce.json
    """

    commit: Positional[str]
    """Hash of the commit, or the start of it."""
    nonce: Path | None = None
    """Nonce file of a verifier. Default: the local secret of the commit."""
    beacon: Path | None = None
    """File with a drand round, as its servers send it. Needs --chain."""
    chain: str = ""
    """Hash of the drand chain."""
    ledger: Path = LEDGER
    """File of the ledger."""
    key: Path = KEY
    """Your private key."""

    def run(self) -> Outcome:
        """Reveal."""
        from armillary.proof.claim import reveal_commit
        from armillary.proof.keys import load_key
        from armillary.proof.reveal import label_of

        key = load_key(self.key)
        entry = reveal_commit(self.ledger, key, self.commit, self._body())
        label = label_of(entry.body, key.public.hex)
        said = f"Revealed ({entry.body['kind']}, {label}). Next: armillary proof run {self.commit}"
        return Outcome({"reveal": entry.hash, "label": label, **entry.body}, (said,))

    def _body(self) -> Mapping[str, Any] | None:
        from armillary.proof.claim import read_nonce
        from armillary.proof.ledger import read_ledger
        from armillary.proof.reveal import read_round

        if self.nonce is not None and self.beacon is not None:
            raise ConfigError("--nonce and --beacon were both given; use one of them.")
        if self.nonce is not None:
            return read_nonce(self.nonce)
        if self.beacon is None:
            return None
        return read_round(self.beacon, read_ledger(self.ledger).find(self.commit).hash, self.chain)


@dataclass(frozen=True, kw_only=True)
class _OfCommit(Command):
    """The options of all commands about the run of a commit."""

    commit: Positional[str]
    """Hash of the commit, or the start of it."""
    agent: Path
    """Folder of the committed agent."""
    suite: str = "tiny"
    """Suite of the commit."""
    out: Path = Path("out/proof/run")
    """Folder of the run: manifests, records and scorecard.json."""
    ledger: Path = LEDGER
    """File of the ledger."""
    key: Path = KEY
    """Your private key."""

    def _opened(self) -> tuple[RunFolder, Book, str, Suite, Agent]:
        """Return the run's folder, the ledger, the commit, the suite and the agent."""
        from armillary.proof.agent import open_agent
        from armillary.proof.book import Book
        from armillary.proof.builtin import find_suite
        from armillary.proof.episodes import RunFolder
        from armillary.proof.keys import load_key

        book, suite = Book(self.ledger, load_key(self.key)), find_suite(self.suite)
        return RunFolder(self.out), book, self.commit, suite, open_agent(self.agent)


@dataclass(frozen=True, kw_only=True)
class Run(_OfCommit):
    """Run a committed agent and the controls on the revealed episodes.

    An interrupted run continues as the same attempt. The program restarts itself under the numeric
    profile of the suite if needed.

    e.g. armillary proof run COMMIT --agent out/agent --suite rooms-1 --out out/proof/run
    """

    workers: int = 2
    """Number of processes. The records do not depend on it."""
    boundary: Annotated[bool, arg(help_behavior_hint="")] = True
    """Let the agent act in the program's own process. The card then says so.
    Default: it acts in a process without files and network. Some systems cannot do this."""

    def prepare(self) -> None:
        """Go on under the suite's numeric profile."""
        from armillary.proof.profiles import ensure, profile_of_suite

        ensure(profile_of_suite(self.suite))

    def run(self) -> Outcome:
        """Run."""
        from armillary.proof.run import run_suite

        with bar("running") as progress:
            end = run_suite(*self._opened(), self.workers, progress, self.boundary)
        said = (
            f"{end.body['episodes']} episodes in {self.out}, root {end.body['root'][:16]}.",
            f"Next: armillary proof score {self.commit} --agent {self.agent} --suite {self.suite}",
        )
        return Outcome({"run_end": end.hash, **end.body}, said)


@dataclass(frozen=True, kw_only=True)
class Score(_OfCommit):
    """Compute the scorecard of a finished run from its records, and sign it.

    e.g. armillary proof score COMMIT --agent out/agent --suite rooms-1 --out out/proof/run
    """

    data: Path | None = None
    """Training dataset. The card says whether it contains the test episodes."""

    def run(self) -> Outcome:
        """Score."""
        from armillary.proof.scorecard import score_run

        with bar("scoring") as progress:
            value = score_run(*self._opened(), self.data, progress).value
        said = (
            f"{self.out / 'scorecard.json'}: level {value['level']}, "
            f"seeds {value['seed']['label']}, "
            f"attempt {value['attempts']['k']} at {value['suite']['id']}.",
        )
        for name, found in value.get("contamination", {"tasks": {}})["tasks"].items():
            said += (f"Training data compared with {name}: {found['verdict']}.",)
        return Outcome(value, said, [_shown(row) for row in value["rows"]])


def _shown(row: Mapping[str, Any]) -> dict[str, str]:
    from armillary.proof.rows import tuned

    low, high = row["ci95"]
    floors = {name: f"{one['succ']}/{one['n']}" for name, one in row["controls"].items()}
    return {
        "task": row["task"],
        "solved": f"{row['succ']}/{row['n']}",
        "95 % exact": f"{low} to {high}",
        "bound at k": row["low_adj"],
        **floors,
        **({"tuned": tuned(row)} if tuned(row) else {}),
        "model steps": str(row["budget"]["model_steps"]),
    }


def _overrides(words: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return settings by task from words such as ``two_rooms-cross:length=24``."""
    by_task: dict[str, list[str]] = {}
    for word in words:
        task, colon, setting = word.partition(":")
        if not colon:
            raise ConfigError(f"--override takes TASK:NAME=VALUE; got {word!r}.")
        by_task.setdefault(task, []).append(setting)
    return {task: settings_of(tuple(own), "--override") for task, own in by_task.items()}
