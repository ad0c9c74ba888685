"""Proof: commit, reveal, run and score, so that a stranger can check every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional, UseAppendAction

from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command, settings_of
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
    """Draw an Ed25519 key: PATH (only you can read it) and PATH.pub.

    e.g. armillary bench keygen out/proof/key
    """

    path: Positional[Path] = KEY
    """File of the private key."""

    def run(self) -> Outcome:
        """Draw it."""
        from armillary.proof.keys import make_key, public_path

        key = make_key(self.path).public
        said = f"Key {key.id[:16]}: {self.path} (keep it), {public_path(self.path)} (give it away)."
        return Outcome({"id": key.id, "public": key.hex, "path": self.path}, (said,))


@dataclass(frozen=True, kw_only=True)
class Pack(Command):
    """Pack a model and a way to plan into an agent: one folder with one digest.

    e.g. armillary bench pack out/run/model --out out/agent --plan length=16
    """

    model: Positional[str]
    """Model folder, or Hub repository id."""
    out: Path
    """The agent's folder; it must not exist."""
    planner: str = "icem"
    """Planner that searches the model: cem, icem, mppi, gradient or collocation."""
    plan: UseAppendAction[tuple[str, ...]] = ()
    """A setting of the planner, e.g. --plan length=16; may be given several times."""
    override: UseAppendAction[tuple[str, ...]] = ()
    """A setting for one task of a suite, e.g. --override two_rooms-cross:length=24 for rooms-2; it
    marks the task's row."""
    history: int = 1
    """Model steps the predictor remembers."""
    replan: int = 1
    """Model steps that are executed before the next decision."""
    last: bool = False
    """The cost is that of a plan's last state; else the sum over the plan."""
    prior: bool = False
    """Plan with the model's goal prior."""

    def run(self) -> Outcome:
        """Pack it."""
        from armillary.control import ModelSpec
        from armillary.proof.agent import pack_agent
        from armillary.recipes.finding import find_model

        folder = find_model(self.model)
        settings = settings_of(self.plan, "--plan")
        chosen = {"summed": not self.last, "prior": self.prior}
        spec = ModelSpec(folder, self.planner, settings, self.history, self.replan, **chosen)
        agent = pack_agent(folder, spec, self.out, _overrides(self.override))
        value = {"digest": agent.digest, "parameters": agent.parameters, "path": self.out}
        return Outcome(value, (f"Agent {agent.digest} in {self.out}.",))


@dataclass(frozen=True, kw_only=True)
class Commit(Command):
    """Enter into the ledger which agent will be run on which suite, before its seeds exist.

    Every commit counts as an attempt. A ledger is begun where there is none.

    e.g. armillary bench commit out/agent --suite rooms-1
    """

    agent: Positional[Path]
    """Folder of the agent (armillary bench pack makes one)."""
    suite: str = "tiny"
    """Name of a built-in suite (tiny, rooms-1, rooms-2, table-1), or a suite.json."""
    ledger: Path = LEDGER
    """The ledger."""
    key: Path = KEY
    """Your private key."""
    rule: Literal["last", "best-val", "none"] = "none"
    """How the checkpoint was chosen."""
    data: str = ""
    """Digest of the training data's manifest."""
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
            f"Next: armillary bench reveal {entry.hash}",
        )
        return Outcome({"commit": entry.hash, **entry.body}, said)


@dataclass(frozen=True, kw_only=True)
class Nonce(Command):
    """Draw and sign a nonce for somebody else's commit, so that its seeds are fresh.

    e.g. armillary bench nonce COMMIT --key mine --out nonce.json
    """

    commit: Positional[str]
    """Whole hash of the commit."""
    out: Path = Path("nonce.json")
    """File to hand back."""
    key: Path = KEY
    """Your private key: the verifier's."""

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
    """Enter the value that a commit's test seeds come from, once.

    A nonce that somebody else signed is fresh; your own secret is weak, and is shown as such.

    e.g. armillary bench reveal COMMIT --nonce nonce.json
    """

    commit: Positional[str]
    """Hash of the commit, or its beginning."""
    nonce: Path | None = None
    """File of a verifier's nonce; else the local secret of the commit is revealed."""
    beacon: Path | None = None
    """File with a drand round, as its servers give it; needs --chain."""
    chain: str = ""
    """Hash of the drand chain."""
    ledger: Path = LEDGER
    """The ledger."""
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
        said = f"Revealed ({entry.body['kind']}, {label}). Next: armillary bench run {self.commit}"
        return Outcome({"reveal": entry.hash, "label": label, **entry.body}, (said,))

    def _body(self) -> Mapping[str, Any] | None:
        from armillary.proof.claim import read_nonce
        from armillary.proof.ledger import read_ledger
        from armillary.proof.reveal import read_round

        if self.nonce is not None and self.beacon is not None:
            raise ConfigError("--nonce and --beacon were both given; a commit has one value.")
        if self.nonce is not None:
            return read_nonce(self.nonce)
        if self.beacon is None:
            return None
        return read_round(self.beacon, read_ledger(self.ledger).find(self.commit).hash, self.chain)


@dataclass(frozen=True, kw_only=True)
class _OfCommit(Command):
    """What all commands about a commit's run have."""

    commit: Positional[str]
    """Hash of the commit, or its beginning."""
    agent: Path
    """Folder of the committed agent."""
    suite: str = "tiny"
    """The committed suite."""
    out: Path = Path("out/proof/run")
    """Folder of the run: manifests, records and scorecard.json."""
    ledger: Path = LEDGER
    """The ledger."""
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

    A run that was killed goes on where it was, as the same attempt. Starts itself again under the
    suite's numeric profile where that is not in force.

    e.g. armillary bench run COMMIT --agent out/agent --suite rooms-1 --out out/proof/run
    """

    workers: int = 2
    """Processes; the records do not depend on it."""
    boundary: bool = True
    """Let the agent act in a process of its own, without files and network; --no-boundary is for
    systems that cannot."""

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
            f"Next: armillary bench score {self.commit} --agent {self.agent} --suite {self.suite}",
        )
        return Outcome({"run_end": end.hash, **end.body}, said)


@dataclass(frozen=True, kw_only=True)
class Score(_OfCommit):
    """Compute a finished run's scorecard from its records and sign it.

    e.g. armillary bench score COMMIT --agent out/agent --suite rooms-1 --out out/proof/run
    """

    data: Path | None = None
    """Dataset folder that was trained on: held against the episodes, and told in the card."""

    def run(self) -> Outcome:
        """Score."""
        from armillary.proof.scorecard import score_run

        with bar("comparing") as progress:
            value = score_run(*self._opened(), self.data, progress).value
        said = (
            f"{self.out / 'scorecard.json'}: level {value['level']}, "
            f"seeds {value['seed']['label']}, "
            f"attempt {value['attempts']['k']} at {value['suite']['id']}.",
        )
        for name, found in value.get("contamination", {"tasks": {}})["tasks"].items():
            said += (f"Training data against {name}: {found['verdict']}.",)
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
            raise ConfigError(f"--override {word}: TASK:NAME=VALUE was expected.")
        by_task.setdefault(task, []).append(setting)
    return {task: settings_of(tuple(own), "--override") for task, own in by_task.items()}
