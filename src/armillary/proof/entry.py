"""Entry: one line of a ledger: what happened, after what, said and signed by whom.

    {"v":1,"seq":n,"prev":hex,"type":..,"t":utc,"body":{},"key":id,"sig":base64}

An entry's hash is SHA256(0x00 | canonical text without "sig"), so it is a leaf of the ledger's
Merkle tree; "prev" is the hash of the entry before it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from armillary.core.errors import CheckFailedError, FormatError, unknown_name
from armillary.proof.canonical import Limits, canonical_bytes, parse_canonical
from armillary.proof.envelope import from_base64
from armillary.proof.keys import PublicKey, SigningKey
from armillary.proof.merkle import leaf_hash
from armillary.proof.shapes import (
    Anything,
    Fields,
    Hex,
    Kind,
    ListOf,
    MapOf,
    Name,
    Text,
    Time,
    Whole,
)

MAX_LINE_BYTES = 1 << 16
NOTHING = "0" * 64
RULES = ("last", "best-val", "none")
REVEALS = ("nonce", "local", "beacon")
_DOMAIN = b"armillary-ledger/1\n"
_LIMITS = Limits(bytes=MAX_LINE_BYTES, depth=8, values=5000)
_SUITE = Fields({"id": Name(), "digest": Hex(64)})
_SIGNED = Text(88)
_PROOF = Text(40_000)
_TIME = "%Y-%m-%dT%H:%M:%SZ"
BODIES: dict[str, Kind] = {
    "genesis": Fields({"public_key": Hex(64), "name": Text(80), "nonce": Hex(32)}),
    "suite": _SUITE,
    "data": Fields({"name": Text(80), "digest": Hex(64)}, {"items": Whole()}),
    "train_start": Fields(
        {
            "run": Name(),
            "config": Hex(64),
            "seed": Text(32, pattern="[0-9a-f]{1,32}"),
            "data": ListOf(Hex(64), 64),
            "rule": Text(choices=RULES),
        }
    ),
    "ckpt": Fields({"run": Name(), "step": Whole(), "digest": Hex(64)}),
    "train_end": Fields({"run": Name(), "step": Whole(), "digest": Hex(64)}),
    "commit": Fields(
        {"suite": _SUITE, "agent": Hex(64), "parameters": Whole(), "rule": Text(choices=RULES)},
        {"secret": Hex(64), "data": Hex(64), "train": Name(), "name": Text(80)},
    ),
    "anchor": Fields({"entry": Hex(64), "kind": Name(), "proof": _PROOF}),
    "reveal": Fields(
        {"commit": Hex(64), "kind": Text(choices=REVEALS), "value": Hex(64)},
        {
            "by": Hex(64),
            "sig": _SIGNED,
            "chain": Hex(64),
            "round": Whole(1),
            "signature": Text(400, pattern="([0-9a-f]{2})+"),
        },
    ),
    "run_start": Fields(
        {
            "commit": Hex(64),
            "reveal": Hex(64),
            "manifests": MapOf(Hex(64), 64, Name()),
            "actors": ListOf(Name(), 16, 1),
            "chunk": Whole(1, 100_000),
            "profile": Name(),
            "env": Hex(64),
        }
    ),
    "chunk": Fields(
        {
            "run": Hex(64),
            "task": Name(),
            "actor": Name(),
            "index": Whole(),
            "count": Whole(1),
            "root": Hex(64),
        }
    ),
    "run_end": Fields(
        {"run": Hex(64), "episodes": Whole(1), "root": Hex(64), "interruptions": Whole()}
    ),
    "abort": Fields({"run": Hex(64), "reason": Text(500)}),
    "score": Fields({"run": Hex(64), "card": Hex(64)}),
    "retract": Fields({"entry": Hex(64), "reason": Text(500)}),
    "note": Fields(
        {"text": Text(2000)}, {"about": Hex(64), "kind": Text(choices=("text", "interrupted"))}
    ),
    "cosign": Fields(
        {"size": Whole(1), "root": Hex(64), "by": Hex(64), "time": Whole(), "sig": _SIGNED}
    ),
}
_ENTRY = Fields(
    {
        "v": Whole(1, 1),
        "seq": Whole(),
        "prev": Hex(64),
        "type": Text(20),
        "t": Time(),
        "body": Anything(),
        "key": Hex(64),
        "sig": _SIGNED,
    }
)


@dataclass(frozen=True)
class Entry:
    """One entry.

    Attributes:
        seq: its place, from 0.
        prev: hash of the entry before it; 64 zeros for the first.
        type: a key of ``BODIES``.
        t: when, by the writer's own clock, UTC.
        body: what the type asks for.
        key: id of the key that signed it.
        sig: the signature, base64.
    """

    seq: int
    prev: str
    type: str
    t: str
    body: Mapping[str, Any]
    key: str
    sig: str = ""

    @cached_property
    def text(self) -> bytes:
        """The canonical text that is hashed and signed."""
        unsigned = self.to_dict()
        del unsigned["sig"]
        return canonical_bytes(unsigned)

    @cached_property
    def leaf(self) -> bytes:
        """Its hash, as 32 bytes: a leaf of the ledger's tree."""
        return leaf_hash(self.text)

    @property
    def hash(self) -> str:
        """Its hash, hexadecimal."""
        return self.leaf.hex()

    @property
    def line(self) -> bytes:
        """The line that stands in the file, with its end."""
        return canonical_bytes(self.to_dict()) + b"\n"

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "v": 1,
            "seq": self.seq,
            "prev": self.prev,
            "type": self.type,
            "t": self.t,
            "body": dict(self.body),
            "key": self.key,
            "sig": self.sig,
        }

    def signed_by(self, key: PublicKey) -> bool:
        """Tell whether this key signed exactly this."""
        raw = from_base64(self.sig, f"entry {self.seq}: signature")
        return self.key == key.id and key.verify(raw, _DOMAIN + self.text)


def make_entry(
    before: Entry | None, kind: str, body: Mapping[str, Any], key: SigningKey, now: str = ""
) -> Entry:
    """Return a signed entry that follows another.

    Args:
        before: the last one; None for the first.
        kind: its type.
        body: what the type asks for.
        key: signs.
        now: the time; empty takes the clock's. It never runs backwards.

    Raises:
        ConfigError: an unknown type.
        FormatError: a body that its type does not allow, or a line that becomes too long.
    """
    check_body(kind, body, "entry")
    now = max(now or utc_now(), "" if before is None else before.t)
    seq, prev = (0, NOTHING) if before is None else (before.seq + 1, before.hash)
    entry = sign_entry(Entry(seq, prev, kind, now, dict(body), key.public.id), key)
    parse_entry(entry.line[:-1], f"entry {seq}")
    return entry


def sign_entry(entry: Entry, key: SigningKey) -> Entry:
    """Return an entry with this key's signature under it; nothing of it is checked."""
    sig = base64.b64encode(key.sign(_DOMAIN + entry.text)).decode()
    named = (entry.seq, entry.prev, entry.type, entry.t, entry.body, entry.key)
    return Entry(*named, sig)


def parse_entry(text: bytes, where: str) -> Entry:
    """Read an entry from its line, without the line's end.

    Raises:
        FormatError: not an entry, not its canonical text, or of a time that no calendar has.
    """
    value = parse_canonical(text, where, _LIMITS)
    _ENTRY.check(value, where)
    check_time(value["t"], where)
    if value["type"] not in BODIES:
        raise FormatError(f"{where}: unknown type {value['type']!r}.")
    check_body(value["type"], value["body"], where)
    return Entry(**{name: item for name, item in value.items() if name != "v"})


def check_body(kind: str, body: Mapping[str, Any], where: str) -> None:
    """Check that a body is what its type asks for.

    Raises:
        ConfigError: an unknown type.
        FormatError: a field is missing, unknown or of another kind.
    """
    if kind not in BODIES:
        raise unknown_name("ledger entry type", kind, BODIES)
    BODIES[kind].check(body, f"{where}: {kind}")


def check_follows(entry: Entry, before: Entry | None, where: str) -> None:
    """Check that an entry continues the chain.

    Raises:
        CheckFailedError: its number, its link or its time is not that of the next entry.
    """
    wanted = (0, NOTHING) if before is None else (before.seq + 1, before.hash)
    if (entry.seq, entry.prev) != wanted:
        raise CheckFailedError(
            f"{where}: entry {entry.seq} does not follow the entry before it; entries were "
            "changed, removed or put in another order."
        )
    if before is not None and entry.t < before.t:
        raise CheckFailedError(f"{where}: its time {entry.t} is before that of the entry before.")


def check_time(text: str, where: str) -> None:
    """Check that a time that is written as it should be is one, too: no 31 February, no 25:00.

    Raises:
        FormatError: no calendar has it.
    """
    try:
        datetime.strptime(text, _TIME)
    except ValueError as error:
        raise FormatError(f"{where}: there is no such time as {text[:20]}.") from error


def utc_now(ahead: timedelta = timedelta()) -> str:
    """Return the clock's time, to the second, or what it will be."""
    return (datetime.now(UTC) + ahead).strftime(_TIME)
