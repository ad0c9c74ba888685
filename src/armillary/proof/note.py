"""Note: a ledger's size and root as a signed text that witnesses and logs can read.

    armillary.ledger/GENESIS        origin
    31                              entries
    base64 of the root
    (empty line)
    — NAME base64(4 bytes of key hash | signature)

Source: C2SP signed-note, tlog-checkpoint and tlog-cosignature, version 1.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from armillary.core.errors import ArmillaryError, CheckFailedError, FormatError
from armillary.proof.envelope import from_base64
from armillary.proof.keys import PublicKey, SigningKey, public_key

_ED25519, _COSIGNATURE = b"\x01", b"\x04"
_MAX_CHARACTERS, _MAX_SIGNATURES = 20_000, 32
_MAX_DIGITS = 15


@dataclass(frozen=True)
class Checkpoint:
    """How far a ledger has come.

    Attributes:
        origin: name of the ledger.
        size: entries.
        root: of the Merkle tree over them, hexadecimal.
    """

    origin: str
    size: int
    root: str

    @property
    def text(self) -> str:
        """What is signed."""
        root = base64.b64encode(bytes.fromhex(self.root)).decode()
        return f"{self.origin}\n{self.size}\n{root}\n"


def origin_of(genesis: str) -> str:
    """Return the name of the ledger that begins with an entry of this hash."""
    return f"armillary.ledger/{genesis}"


def key_hash(name: str, key: PublicKey, kind: bytes = _ED25519) -> bytes:
    """Return the four bytes by which a note names a key."""
    return hashlib.sha256(name.encode() + b"\n" + kind + key.raw).digest()[:4]


def verifier_key(name: str, key: PublicKey) -> str:
    """Return a key as other tools take it: NAME+HASH+base64."""
    raw = base64.b64encode(_ED25519 + key.raw).decode()
    return f"{name}+{key_hash(name, key).hex()}+{raw}"


def sign_note(text: str, name: str, key: SigningKey) -> str:
    """Return a text as a signed note.

    Args:
        text: ends with a line end.
        name: of the key, without spaces or plus signs.
        key: signs.
    """
    raw = key_hash(name, key.public) + key.sign(text.encode())
    return f"{text}\n— {name} {base64.b64encode(raw).decode()}\n"


def open_note(note: str, name: str, key: PublicKey) -> str:
    """Return the text of a signed note.

    Raises:
        FormatError: not a signed note.
        CheckFailedError: this key did not sign it.
    """
    text, signatures = _split(note)
    for who, raw in signatures:
        if who == name and raw[:4] == key_hash(name, key):
            if key.verify(raw[4:], text.encode()):
                return text
            raise CheckFailedError(f"The signature of {name} under the note does not hold.")
    raise CheckFailedError(f"The note is not signed by {name} with the key that is trusted here.")


def sign_checkpoint(checkpoint: Checkpoint, key: SigningKey) -> str:
    """Return a checkpoint as a note signed by the ledger's key."""
    return sign_note(checkpoint.text, checkpoint.origin, key)


def open_checkpoint(note: str, key: PublicKey) -> Checkpoint:
    """Return the checkpoint of a note that the ledger's key signed.

    Raises:
        FormatError: not a checkpoint.
        CheckFailedError: the key did not sign it.
    """
    checkpoint = parse_checkpoint(_split(note)[0])
    open_note(note, checkpoint.origin, key)
    return checkpoint


def parse_checkpoint(text: str) -> Checkpoint:
    """Read a checkpoint's text; lines after the third are of others and are ignored.

    Raises:
        FormatError: not a checkpoint.
    """
    lines = text.split("\n")
    if len(lines) < 4 or not lines[0] or not _is_count(lines[1]):
        raise FormatError("Not a checkpoint: name, size and root were expected, one a line.")
    root = from_base64(lines[2], "checkpoint: root")
    if len(root) != 32:
        raise FormatError(f"Not a checkpoint: a root of 32 bytes was expected, got {len(root)}.")
    return Checkpoint(lines[0], int(lines[1]), root.hex())


def cosign(genesis: str, size: int, root: str, key: SigningKey, time: int) -> dict[str, Any]:
    """Return a cosign entry's body: a witness says that it saw this ledger with this root.

    Args:
        genesis: hash of the ledger's first entry.
        size: entries.
        root: over them.
        key: the witness's.
        time: seconds since 1970.
    """
    checkpoint = Checkpoint(origin_of(genesis), size, root)
    sig = base64.b64encode(key.sign(_cosignature(checkpoint, time))).decode()
    return {"size": size, "root": root, "by": key.public.hex, "time": time, "sig": sig}


def cosigned(genesis: str, body: Mapping[str, Any]) -> bool:
    """Tell whether a cosign entry's signature holds."""
    checkpoint = Checkpoint(origin_of(genesis), body["size"], body["root"])
    try:
        sig = from_base64(body["sig"], "cosign")
        return public_key(body["by"]).verify(sig, _cosignature(checkpoint, body["time"]))
    except ArmillaryError:
        return False


def cosignature_line(genesis: str, body: Mapping[str, Any], name: str) -> str:
    """Return a cosign entry as a line under the checkpoint's note."""
    key = public_key(body["by"])
    time = int(body["time"]).to_bytes(8, "big")
    raw = key_hash(name, key, _COSIGNATURE) + time + from_base64(body["sig"], "cosign")
    return f"— {name} {base64.b64encode(raw).decode()}\n"


def _cosignature(checkpoint: Checkpoint, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{checkpoint.text}".encode()


def _is_count(text: str) -> bool:
    plain = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
    return plain and (text == "0" or text[0] != "0")


def _split(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    if len(note) > _MAX_CHARACTERS or not note.endswith("\n"):
        raise FormatError("Not a signed note: it is too long, or its last line has no end.")
    text, gap, below = note.rpartition("\n\n")
    lines = below.splitlines()
    if not gap or not lines or len(lines) > _MAX_SIGNATURES:
        raise FormatError("Not a signed note: text, an empty line and signatures were expected.")
    signatures = []
    for line in lines:
        words = line.split(" ")
        if len(words) != 3 or words[0] != "—":
            raise FormatError(f"Not a signed note: {line[:60]!r} is no signature.")
        raw = from_base64(words[2], "note: signature")
        if len(raw) < 5:
            raise FormatError("Not a signed note: a signature is too short.")
        signatures.append((words[1], raw))
    return text + "\n", signatures
