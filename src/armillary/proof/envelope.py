"""Envelope: a statement, and who signed it (DSSE over an in-toto Statement v1).

What is signed is the canonical text of the statement together with its type, so that it cannot be
taken for anything else.

Source: DSSE 1.0 (secure-systems-lab/dsse); in-toto attestation framework, Statement v1.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, Signature, SSlibKey

from armillary.core.errors import CheckFailedError, ConfigError, FormatError
from armillary.proof.canonical import LIMITS, Limits, canonical_bytes, parse_canonical
from armillary.proof.keys import PublicKey, SigningKey
from armillary.proof.shapes import Anything, Fields, Hex, ListOf, Text

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_MAX_SIGNATURES = 16
_SIGNATURE = Fields({"keyid": Hex(64), "sig": Text(200)})
ENVELOPE = Fields(
    {
        "payload": Text(4 * LIMITS.bytes // 3 + 4),
        "payloadType": Text(200),
        "signatures": ListOf(_SIGNATURE, _MAX_SIGNATURES),
    }
)
_SUBJECT = Fields({"name": Text(200), "digest": Fields({"sha256": Hex(64)})})
_STATEMENT = Fields(
    {
        "_type": Text(200, choices=(STATEMENT_TYPE,)),
        "subject": ListOf(_SUBJECT, 64),
        "predicateType": Text(200),
        "predicate": Anything(),
    }
)


@dataclass(frozen=True)
class Statement:
    """What is claimed of what.

    Attributes:
        subject: SHA-256 by name.
        predicate_type: URI that says how to read the predicate.
        predicate: the claim, as JSON values.
    """

    subject: Mapping[str, str]
    predicate_type: str
    predicate: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return it as in-toto writes it."""
        subject = [{"name": n, "digest": {"sha256": d}} for n, d in sorted(self.subject.items())]
        return {
            "_type": STATEMENT_TYPE,
            "subject": subject,
            "predicateType": self.predicate_type,
            "predicate": dict(self.predicate),
        }


@dataclass(frozen=True)
class Opened:
    """A statement whose signatures hold.

    Attributes:
        statement: what was signed.
        signers: ids of the keys whose signatures were checked.
    """

    statement: Statement
    signers: tuple[str, ...]


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that DSSE signs."""
    return Envelope(payload, payload_type, {}).pae()


def sign_statement(statement: Statement, *keys: SigningKey) -> dict[str, Any]:
    """Return the envelope of a statement, signed with each of the keys, as JSON values.

    Raises:
        FormatError: the statement has no canonical text.
        ConfigError: no key was given.
    """
    if not keys:
        raise ConfigError("An envelope needs at least one key to sign with.")
    envelope = Envelope(canonical_bytes(statement.to_dict()), PAYLOAD_TYPE, {})
    for key in keys:
        envelope.sign(CryptoSigner(key.secret, _known(key.public)))
    return envelope.to_dict()


def open_envelope(value: Any, keys: Sequence[PublicKey], where: str = "envelope") -> Opened:
    """Check an envelope's signatures and return its statement.

    Args:
        value: from JSON.
        keys: that are trusted; one of them must have signed.
        where: what to call it in an error.

    Raises:
        FormatError: not an envelope over a canonical in-toto statement.
        CheckFailedError: no trusted key signed exactly this.
    """
    envelope = _envelope(value, where)
    trusted = {key.id: _known(key) for key in keys}
    held = []
    for name in envelope.signatures:
        if name in trusted:
            try:
                envelope.verify([trusted[name]], 1)
            except VerificationError as error:
                raise CheckFailedError(
                    f"{where}: the signature of key {name[:16]} does not hold; the statement was "
                    "changed after it was signed."
                ) from error
            held.append(name)
    if not held:
        signed = ", ".join(name[:16] for name in envelope.signatures) or "nobody"
        raise CheckFailedError(f"{where}: signed by {signed}, and by no key that is trusted here.")
    return Opened(_statement(envelope.payload, where), tuple(held))


def read_unverified(value: Any, where: str = "envelope") -> Statement:
    """Return what an envelope says without asking who signed it, e.g. to find the signer's key.

    Raises:
        FormatError: not an envelope over a canonical in-toto statement.
    """
    return _statement(_envelope(value, where).payload, where)


def _known(key: PublicKey) -> SSlibKey:
    return SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(key.raw), keyid=key.id)


def _envelope(value: Any, where: str) -> Envelope:
    ENVELOPE.check(value, where)
    if value["payloadType"] != PAYLOAD_TYPE:
        raise FormatError(f"{where}: its payload is {value['payloadType']!r}, not {PAYLOAD_TYPE}.")
    signatures: dict[str, Signature] = {}
    for one in value["signatures"]:
        if one["keyid"] in signatures:
            raise FormatError(f"{where}: key {one['keyid'][:16]} stands twice in its signatures.")
        raw = from_base64(one["sig"], f"{where}: signature")
        signatures[one["keyid"]] = Signature(one["keyid"], raw.hex())
    return Envelope(from_base64(value["payload"], f"{where}: payload"), PAYLOAD_TYPE, signatures)


def _statement(payload: bytes, where: str) -> Statement:
    value = parse_canonical(payload, f"{where}: payload", Limits(bytes=LIMITS.bytes))
    _STATEMENT.check(value, where)
    subject = {one["name"]: one["digest"]["sha256"] for one in value["subject"]}
    if len(subject) != len(value["subject"]):
        raise FormatError(f"{where}: a subject is named twice.")
    return Statement(subject, value["predicateType"], value["predicate"])


def from_base64(text: str, where: str) -> bytes:
    """Return the bytes of standard base64 with padding; every other spelling is refused.

    Raises:
        FormatError: not base64 as an encoder writes it.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FormatError(f"{where}: not base64.") from error
    if base64.b64encode(data).decode() != text:
        raise FormatError(f"{where}: not base64 as an encoder writes it.")
    return data
