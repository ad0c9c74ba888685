"""Keys and ledgers for tests: the same every time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from armillary.proof.entry import Entry
from armillary.proof.keys import SigningKey
from armillary.proof.ledger import append, create_ledger
from armillary.proof.reveal import local_reveal, secret_hash

S, A, M = "5" * 64, "a" * 64, "3" * 64
VALUE = "7" * 64
TIME = "2026-11-25T12:00:00Z"


def seeded(byte: int) -> SigningKey:
    return SigningKey(Ed25519PrivateKey.from_private_bytes(bytes([byte]) * 32))


OWNER, STRANGER = seeded(1), seeded(2)
COMMIT: dict[str, Any] = {
    "suite": {"id": "tiny", "digest": S},
    "agent": A,
    "parameters": 10,
    "rule": "none",
    "secret": secret_hash(VALUE),
}


class Book:
    """A ledger in a folder, with short words to write into it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ledger.jsonl"
        create_ledger(self.path, OWNER, "tester", TIME)

    def add(self, kind: str, /, **body: Any) -> Entry:
        return append(self.path, OWNER, kind, body, TIME)[0]

    def committed(self, **changes: Any) -> Entry:
        self.add("suite", id="tiny", digest=S)
        return self.add("commit", **{**COMMIT, **changes})

    def revealed(self) -> tuple[Entry, Entry]:
        commit = self.committed()
        return commit, self.add("reveal", **local_reveal(commit.hash, VALUE))

    def started(self) -> Entry:
        commit, reveal = self.revealed()
        return self.start(commit, reveal)

    def start(self, commit: Entry, reveal: Entry) -> Entry:
        return self.add(
            "run_start",
            commit=commit.hash,
            reveal=reveal.hash,
            manifests={"reach": M},
            actors=["agent", "random"],
            chunk=50,
            profile="portable",
            env=M,
        )

    def chunk(self, run: Entry, index: int = 0, actor: str = "agent", count: int = 50) -> Entry:
        where = {"task": "reach", "actor": actor, "index": index}
        return self.add("chunk", run=run.hash, **where, count=count, root=M)

    def end(self, run: Entry, episodes: int, interruptions: int = 0) -> Entry:
        return self.add(
            "run_end", run=run.hash, episodes=episodes, root=M, interruptions=interruptions
        )
