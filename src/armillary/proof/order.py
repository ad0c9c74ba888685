"""Order: what must come before what in a ledger, as named rules.

An agent is committed before its seeds exist (reveal), the seeds before the run; every commit has
one reveal, every reveal one run; nothing is taken back, a retraction is one more entry.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from armillary.core.errors import ArmillaryError
from armillary.proof.entry import Entry
from armillary.proof.keys import public_key
from armillary.proof.merkle import Frontier
from armillary.proof.note import cosigned
from armillary.proof.reveal import reveal_problem


@dataclass(frozen=True)
class Problem:
    """A rule that an entry breaks.

    Attributes:
        rule: its name.
        seq: of the entry.
        sentence: what is wrong.
    """

    rule: str
    seq: int
    sentence: str


@dataclass
class Run:
    """What the ledger says of one run.

    Attributes:
        start: its run_start.
        chunks: its chunk entries.
        notes: notes about it.
        end: its run_end.
        abort: its abort.
        scores: its score entries.
        counts: chunks by row (task and actor).
    """

    start: Entry
    chunks: list[Entry] = field(default_factory=list)
    notes: list[Entry] = field(default_factory=list)
    end: Entry | None = None
    abort: Entry | None = None
    scores: list[Entry] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def is_open(self) -> bool:
        """Whether it was neither ended nor aborted."""
        return self.end is None and self.abort is None

    @property
    def interruptions(self) -> int:
        """How often it was killed and went on."""
        return sum(note.body.get("kind") == "interrupted" for note in self.notes)


@dataclass
class History:
    """A ledger's entries, by what they are about.

    Attributes:
        entries: in order.
        commits: by hash.
        reveals: by the hash of their commit.
        runs: by the hash of their run_start.
        problems: rules that were broken.
        roots: of the tree over the first 1, 2, ... entries.
        values: where each value was first revealed.
        used: reveals that a run began with.
    """

    entries: list[Entry] = field(default_factory=list)
    by_hash: dict[str, Entry] = field(default_factory=dict)
    suites: set[tuple[str, str]] = field(default_factory=set)
    trainings: dict[str, list[Entry]] = field(default_factory=dict)
    commits: dict[str, Entry] = field(default_factory=dict)
    reveals: dict[str, Entry] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    roots: list[bytes] = field(default_factory=list)
    values: dict[str, int] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    _tree: Frontier = field(default_factory=Frontier)

    def add(self, entry: Entry) -> None:
        """Take in the next entry, and note which rules it breaks."""
        if (entry.type == "genesis") != (not self.entries):
            sentence = "a ledger begins with its genesis, and has only one."
            self.problems.append(Problem("genesis-first", entry.seq, sentence))
        for rule, sentence in _CHECKS.get(entry.type, _free)(self, entry) or ():
            self.problems.append(Problem(rule, entry.seq, sentence))
        self.entries.append(entry)
        self.by_hash[entry.hash] = entry
        self._tree.add(entry.leaf)
        self.roots.append(self._tree.root())


def history_of(entries: Sequence[Entry]) -> History:
    """Return what entries tell, with the rules that they break."""
    history = History()
    for entry in entries:
        history.add(entry)
    return history


Findings = list[tuple[str, str]]


def _free(history: History, entry: Entry) -> Findings:
    return []


def _genesis(history: History, entry: Entry) -> Findings:
    if _key_id(entry.body["public_key"]) != entry.key:
        return [("genesis-key", "the genesis names another public key than the one that signed.")]
    return []


def _suite(history: History, entry: Entry) -> Findings:
    history.suites.add((entry.body["id"], entry.body["digest"]))
    return []


def _train_start(history: History, entry: Entry) -> Findings:
    name = entry.body["run"]
    if name in history.trainings:
        return [("one-training", f"the training {name!r} was started before.")]
    history.trainings[name] = [entry]
    return []


def _ckpt(history: History, entry: Entry) -> Findings:
    name = entry.body["run"]
    chain = history.trainings.get(name)
    if chain is None or chain[-1].type == "train_end":
        return [("training-open", f"no training {name!r} is going on here.")]
    found: Findings = []
    if entry.body["step"] < chain[-1].body.get("step", 0):
        found = [("training-forward", f"the training {name!r} went back to an earlier step.")]
    chain.append(entry)
    return found


def _commit(history: History, entry: Entry) -> Findings:
    body, found = entry.body, Findings()
    suite = (body["suite"]["id"], body["suite"]["digest"])
    if suite not in history.suites:
        found.append(("suite-first", f"the suite {suite[0]!r} was not entered before the commit."))
    chain = history.trainings.get(body.get("train", ""))
    if "train" in body and (chain is None or chain[-1].type != "train_end"):
        found.append(("training-ended", f"the training {body['train']!r} has not ended."))
    history.commits[entry.hash] = entry
    return found


def _anchor(history: History, entry: Entry) -> Findings:
    return _refers(history, entry.body["entry"])


def _reveal(history: History, entry: Entry) -> Findings:
    commit = history.commits.get(entry.body["commit"])
    if commit is None:
        return [("commit-first", "the reveal names no commit that came before it.")]
    found: Findings = []
    if commit.hash in history.reveals:
        found.append(("one-reveal", f"the commit of entry {commit.seq} was revealed before."))
    here = len(history.entries)
    if history.values.setdefault(entry.body["value"], here) < min(commit.seq, here):
        found.append(("value-unborn", "the value was known before the agent was committed."))
    if sentence := reveal_problem(entry.body, commit):
        found.append(("reveal-proof", sentence))
    history.reveals.setdefault(commit.hash, entry)
    return found


def _run_start(history: History, entry: Entry) -> Findings:
    body, found = entry.body, Findings()
    reveal = history.by_hash.get(body["reveal"])
    if body["commit"] not in history.commits:
        found.append(("commit-first", "the run names no commit that came before it."))
    if reveal is None or reveal.type != "reveal" or reveal.body["commit"] != body["commit"]:
        found.append(("reveal-first", "the run names no reveal of its commit before it."))
    if body["reveal"] in history.used:
        found.append(("one-run", "the reveal was used by a run before; commit again to run again."))
    history.used.add(body["reveal"])
    history.runs[entry.hash] = Run(entry)
    return found


def _chunk(history: History, entry: Entry) -> Findings:
    run, found = _open_run(history, entry)
    if run is None:
        return found
    body, start = entry.body, run.start.body
    row = (body["task"], body["actor"])
    if body["task"] not in start["manifests"] or body["actor"] not in start["actors"]:
        found.append(("chunk-row", f"the run has no row {row[0]}/{row[1]}."))
    if body["index"] != run.counts[row] or body["count"] > start["chunk"]:
        found.append(("chunk-order", "chunks of a row are numbered from 0 and have one size."))
    run.counts[row] += 1
    run.chunks.append(entry)
    return found


def _run_end(history: History, entry: Entry) -> Findings:
    run, found = _open_run(history, entry)
    if run is None:
        return found
    if entry.body["episodes"] != sum(chunk.body["count"] for chunk in run.chunks):
        found.append(("chunks-whole", "the run ends with other episodes than its chunks have."))
    if entry.body["interruptions"] != run.interruptions:
        found.append(("interruptions", "the run ends with another number of interruptions."))
    run.end = entry
    return found


def _abort(history: History, entry: Entry) -> Findings:
    run, found = _open_run(history, entry)
    if run is not None:
        run.abort = entry
    return found


def _score(history: History, entry: Entry) -> Findings:
    run = history.runs.get(entry.body["run"])
    if run is None or run.end is None:
        return [("end-first", "a score needs a run that ended before it.")]
    run.scores.append(entry)
    return []


def _retract(history: History, entry: Entry) -> Findings:
    return _refers(history, entry.body["entry"])


def _note(history: History, entry: Entry) -> Findings:
    about = entry.body.get("about")
    run = history.runs.get(about or "")
    if run is not None:
        run.notes.append(entry)
    if entry.body.get("kind") == "interrupted" and (run is None or not run.is_open):
        return [("run-open", "only a run that is going on can have been interrupted.")]
    return [] if about is None else _refers(history, about)


def _cosign(history: History, entry: Entry) -> Findings:
    body, origin = entry.body, history.entries[0].hash if history.entries else ""
    if len(history.roots) < body["size"] or history.roots[body["size"] - 1].hex() != body["root"]:
        return [("cosign-root", "the witness signed another past than this ledger's.")]
    if not cosigned(origin, body):
        return [("cosign-signature", "the witness's signature does not hold.")]
    return []


def _open_run(history: History, entry: Entry) -> tuple[Run | None, Findings]:
    run = history.runs.get(entry.body["run"])
    if run is None or not run.is_open:
        return None, [("run-open", f"a {entry.type} belongs to no run that is going on.")]
    return run, []


def _refers(history: History, name: str) -> Findings:
    if name not in history.by_hash:
        return [("refers-back", "it names no entry that came before it.")]
    return []


def _key_id(text: str) -> str:
    try:
        return public_key(text).id
    except ArmillaryError:
        return hashlib.sha256(b"").hexdigest()


_CHECKS: dict[str, Callable[[History, Entry], Findings]] = {
    "genesis": _genesis,
    "suite": _suite,
    "train_start": _train_start,
    "ckpt": _ckpt,
    "train_end": _ckpt,
    "commit": _commit,
    "anchor": _anchor,
    "reveal": _reveal,
    "run_start": _run_start,
    "chunk": _chunk,
    "run_end": _run_end,
    "abort": _abort,
    "score": _score,
    "retract": _retract,
    "note": _note,
    "cosign": _cosign,
}
