"""Reveal: the value that test seeds come from, which must not exist before the agent is fixed.

    nonce    drawn and signed by somebody else, for this commit: fresh. Unsigned: weak.
    local    a secret of one's own whose hash stands in the commit: weak, since many can be tried
             before the commit.
    beacon   of a public randomness beacon (drand): weak until the beacon's signature was checked.

Fresh says that the agent's maker could not choose the value; the label is computed, never claimed.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from armillary.core.errors import FormatError
from armillary.proof.canonical import parse_json, read_bytes
from armillary.proof.entry import Entry
from armillary.proof.envelope import from_base64
from armillary.proof.keys import SigningKey, public_key

Label = Literal["fresh", "weak"]
_DOMAIN = b"armillary-reveal/1\n"
_SECRET = b"armillary-secret/1\n"
_OPTIONAL = {
    "nonce": {"by", "sig"},
    "local": set(),
    "beacon": {"chain", "round", "signature"},
}


def draw_value() -> str:
    """Return 32 random bytes as hexadecimal."""
    return secrets.token_hex(32)


def secret_hash(value: str) -> str:
    """Return what a commit says of a local secret before it is revealed."""
    return hashlib.sha256(_SECRET + bytes.fromhex(value)).hexdigest()


def local_reveal(commit: str, value: str) -> dict[str, Any]:
    """Return the body that reveals a local secret."""
    return {"commit": commit, "kind": "local", "value": value}


def nonce_reveal(commit: str, value: str, by: SigningKey | None = None) -> dict[str, Any]:
    """Return the body that reveals a nonce, signed by whoever drew it.

    Args:
        commit: hash of the commit that it was drawn for.
        value: 64 hexadecimal digits.
        by: the verifier's key; None leaves it unsigned, and weak.
    """
    body = {"commit": commit, "kind": "nonce", "value": value}
    if by is None:
        return body
    sig = base64.b64encode(by.sign(_signed(commit, value))).decode()
    return {**body, "by": by.public.hex, "sig": sig}


def beacon_reveal(commit: str, chain: str, number: int, signature: str) -> dict[str, Any]:
    """Return the body that reveals a drand round's value.

    Args:
        commit: hash of the commit.
        chain: hash of the beacon's chain.
        number: number of the round.
        signature: of the round, hexadecimal.

    Raises:
        FormatError: the signature is not hexadecimal.
    """
    try:
        value = hashlib.sha256(bytes.fromhex(signature)).hexdigest()
    except ValueError as error:
        raise FormatError("A beacon's signature must be hexadecimal.") from error
    body = {"commit": commit, "kind": "beacon", "value": value}
    return {**body, "chain": chain, "round": number, "signature": signature}


def read_round(path: Path, commit: str, chain: str) -> dict[str, Any]:
    """Return the body that reveals a drand round, from a file as drand's servers give it.

    Args:
        path: JSON with ``round`` and ``signature``.
        commit: hash of the commit.
        chain: hash of the beacon's chain.

    Raises:
        FormatError: not such a file.
    """
    value = parse_json(read_bytes(path, 1 << 16), str(path))
    if not isinstance(value, dict) or not isinstance(value.get("signature"), str):
        raise FormatError(f"{path}: a drand round was expected, with its number and signature.")
    return beacon_reveal(commit, chain, value.get("round", 0), value["signature"])


def reveal_problem(body: Mapping[str, Any], commit: Entry) -> str:
    """Return what is wrong with a reveal of a commit, else an empty text."""
    kind, value = body["kind"], body["value"]
    beside = set(body) - {"commit", "kind", "value"}
    if beside - _OPTIONAL[kind]:
        return f"a {kind} reveal has no field {sorted(beside - _OPTIONAL[kind])[0]!r}."
    if kind == "local" and commit.body.get("secret") != secret_hash(value):
        return "the secret is not the one whose hash stands in the commit."
    if kind == "nonce" and beside and not _holds(body):
        return "the signature under the nonce does not hold."
    if kind == "beacon":
        if beside != _OPTIONAL[kind]:
            return "a beacon's value needs chain, round and signature."
        if hashlib.sha256(bytes.fromhex(body["signature"])).hexdigest() != value:
            return "the value is not the hash of the beacon's signature."
    return ""


def label_of(body: Mapping[str, Any], owner: str, beacon_checked: bool = False) -> Label:
    """Return whether a reveal's value was out of its owner's hands.

    Args:
        body: of a reveal without a problem.
        owner: hexadecimal public key of the ledger.
        beacon_checked: whether the beacon's signature was verified, and its round came after an
            anchor of the commit.
    """
    if body["kind"] == "nonce" and body.get("by", owner) != owner:
        return "fresh"
    return "fresh" if body["kind"] == "beacon" and beacon_checked else "weak"


def _holds(body: Mapping[str, Any]) -> bool:
    try:
        sig = from_base64(body["sig"], "reveal")
        return public_key(body["by"]).verify(sig, _signed(body["commit"], body["value"]))
    except (FormatError, KeyError):
        return False


def _signed(commit: str, value: str) -> bytes:
    return _DOMAIN + f"{commit}\n{value}\n".encode()
