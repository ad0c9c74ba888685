"""Ledger: enter trainings, check and list the ledger, and print proofs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tyro.conf import Positional

from armillary.cli.committing import KEY, LEDGER
from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command


@dataclass(frozen=True, kw_only=True)
class EnterTraining(Command):
    """Enter a training into the ledger: its start, checkpoints and end.

    Start it when the training has begun, and again at any time: it enters what is new. A commit can
    then name the training with --train. Its agent must have the final weights of the training.

    e.g. armillary proof training out/run --name first --data out/index/data.json
    """

    run_folder: Positional[Path]
    """Run folder of the training."""
    name: str
    """Name of the training in the ledger."""
    data: tuple[Path, ...] = ()
    """data.json of the training data (armillary proof index writes it)."""
    rule: Literal["last", "best-val", "none"] = "none"
    """Rule by which its checkpoint will be chosen."""
    ledger: Path = LEDGER
    """File of the ledger. A missing one is created."""
    key: Path = KEY
    """Your private key."""

    def run(self) -> Outcome:
        """Enter it."""
        from armillary.proof.book import Book
        from armillary.proof.keys import load_key
        from armillary.proof.trainings import enter_training

        book = Book(self.ledger, load_key(self.key))
        entries = enter_training(self.run_folder, book, self.name, self.data, self.rule)
        rows = [
            {"seq": str(e.seq), "type": e.type, "step": str(e.body.get("step", ""))}
            for e in entries
        ]
        said = (f"{len(entries)} new entries about {self.name!r} in {self.ledger}.",)
        value = {"entries": [{"hash": e.hash, "type": e.type, **e.body} for e in entries]}
        return Outcome(value, said, rows)


@dataclass(frozen=True, kw_only=True)
class Ledger(Command):
    """Check and list a ledger, or print proofs about it.

    e.g. armillary proof ledger out/proof/ledger.jsonl --prove 2
    """

    ledger: Positional[Path] = LEDGER
    """File of the ledger."""
    prove: int | None = None
    """Print the inclusion proof of the entry with this number."""
    consistency: int | None = None
    """Print the proof that the ledger has only grown since it had this many entries."""
    checkpoint: Path | None = None
    """Write size and root to this file, as a note signed with --key."""
    key: Path = KEY
    """Your private key."""
    cut: bool = False
    """Remove an incomplete last line, left by an interrupted process."""

    def run(self) -> Outcome:
        """Check and list."""
        from armillary.proof.ledger import cut_torn_line, read_ledger

        cut = cut_torn_line(self.ledger) if self.cut else 0
        ledger = read_ledger(self.ledger)
        value: dict[str, Any] = {
            "genesis": ledger.genesis,
            "owner": ledger.owner.hex,
            "size": ledger.size,
            "root": ledger.root,
            "cut_bytes": cut,
        }
        if self.prove is not None:
            value["inclusion"] = {"seq": self.prove, "proof": ledger.prove(self.prove)}
        if self.consistency is not None:
            value["consistency"] = {
                "old_size": self.consistency,
                "proof": ledger.consistency(self.consistency),
            }
        if self.checkpoint is not None:
            self._write_checkpoint(ledger.checkpoint)
        rows = [
            {"seq": str(e.seq), "time": e.t, "type": e.type, "hash": e.hash[:16]}
            for e in ledger.entries
        ]
        said = (f"{ledger.size} entries by {ledger.owner.id[:16]}. The hash chain is valid.",)
        named = (value.get(name, {"proof": ()}) for name in ("inclusion", "consistency"))
        proofs = [part for one in named for part in one["proof"]]
        return Outcome({**value, "entries": rows}, (*said, *proofs), rows)

    def _write_checkpoint(self, checkpoint: Any) -> None:
        from armillary.core.files import replacing
        from armillary.proof.keys import load_key
        from armillary.proof.note import sign_checkpoint

        assert self.checkpoint is not None
        with replacing(self.checkpoint) as beside:
            beside.write_text(sign_checkpoint(checkpoint, load_key(self.key)))
