"""Book: a ledger together with the key that may write into it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from armillary.proof.entry import Entry
from armillary.proof.keys import SigningKey
from armillary.proof.ledger import Ledger, append, read_ledger


@dataclass(frozen=True)
class Book:
    """A ledger and its owner's key."""

    path: Path
    key: SigningKey

    def add(self, kind: str, body: Mapping[str, Any]) -> tuple[Entry, Ledger]:
        """Append an entry; as ``ledger.append``."""
        return append(self.path, self.key, kind, body)

    def read(self) -> Ledger:
        """Return the ledger, checked; as ``ledger.read_ledger``."""
        return read_ledger(self.path)
