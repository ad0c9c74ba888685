"""Keys and envelopes: the specification's example, and what is refused."""

from __future__ import annotations

import base64
import copy
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from armillary.core.errors import CheckFailedError, ConfigError, FormatError
from armillary.proof.envelope import Statement, open_envelope, pae, read_unverified, sign_statement
from armillary.proof.keys import (
    PublicKey,
    SigningKey,
    load_key,
    load_public_key,
    make_key,
    public_key,
    public_path,
)

CLAIM = Statement({"agent": "ab" * 32}, "https://example.org/claim/v1", {"solved": 3})


def seeded(byte: int) -> SigningKey:
    return SigningKey(Ed25519PrivateKey.from_private_bytes(bytes([byte]) * 32))


def test_pae_of_the_specification() -> None:
    # github.com/secure-systems-lab/dsse, protocol.md: test vector
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_ed25519_is_the_standard_s() -> None:
    # RFC 8032, section 7.1, test 2
    secret = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    key = SigningKey(Ed25519PrivateKey.from_private_bytes(secret))
    assert key.public.hex == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    assert key.sign(b"\x72").hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )


def test_what_was_signed_comes_out() -> None:
    key = seeded(1)
    envelope = json.loads(json.dumps(sign_statement(CLAIM, key)))
    before = copy.deepcopy(envelope)
    opened = open_envelope(envelope, [seeded(2).public, key.public])
    assert (opened.statement, opened.signers) == (CLAIM, (key.public.id,))
    assert envelope == before
    assert read_unverified(envelope) == CLAIM


def test_a_changed_payload_is_refuted() -> None:
    envelope = sign_statement(CLAIM, seeded(1))
    more = Statement(CLAIM.subject, CLAIM.predicate_type, {"solved": 4})
    envelope["payload"] = sign_statement(more, seeded(2))["payload"]
    with pytest.raises(CheckFailedError, match="changed after it was signed"):
        open_envelope(envelope, [seeded(1).public])


def test_a_stranger_s_signature_counts_for_nothing() -> None:
    envelope = sign_statement(CLAIM, seeded(2))
    with pytest.raises(CheckFailedError, match="by no key that is trusted here"):
        open_envelope(envelope, [seeded(1).public])
    envelope["signatures"][0]["keyid"] = seeded(1).public.id
    with pytest.raises(CheckFailedError, match="does not hold"):
        open_envelope(envelope, [seeded(1).public])
    envelope["signatures"] = []
    with pytest.raises(CheckFailedError, match="signed by nobody"):
        open_envelope(envelope, [seeded(1).public])


def test_several_sign() -> None:
    envelope = sign_statement(CLAIM, seeded(1), seeded(2))
    signers = open_envelope(envelope, [seeded(1).public, seeded(2).public]).signers
    assert set(signers) == {seeded(1).public.id, seeded(2).public.id}
    with pytest.raises(ConfigError, match="at least one key"):
        sign_statement(CLAIM)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"payloadType": "text/plain"}, "its payload is 'text/plain'"),
        ({"payload": "%%%"}, "not base64"),
        ({"payload": "aGk"}, "not base64"),
        ({"payload": base64.b64encode(b'{"a": 1}').decode()}, "not written as canonical"),
        ({"payload": base64.b64encode(b"{}").decode()}, "'_type' is missing"),
        ({"extra": 1}, "unknown field 'extra'"),
        ({"signatures": [{"keyid": "x", "sig": ""}]}, "keyid"),
        ({"signatures": {}}, "a list of"),
    ],
)
def test_malformed_envelopes_are_one_sentence(change, said: str) -> None:
    envelope = sign_statement(CLAIM, seeded(1)) | change
    with pytest.raises(FormatError, match=said):
        read_unverified(envelope)


def test_one_key_twice_is_malformed() -> None:
    envelope = sign_statement(CLAIM, seeded(1))
    envelope["signatures"] *= 2
    with pytest.raises(FormatError, match="stands twice"):
        open_envelope(envelope, [seeded(1).public])


def test_keys_are_files_of_their_owner(tmp_path) -> None:
    path = tmp_path / "keys" / "mine"
    key = make_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_key(path).public == key.public == load_public_key(public_path(path))
    assert public_key(key.public.hex) == key.public
    assert [file.name for file in sorted(path.parent.iterdir())] == ["mine", "mine.pub"]
    with pytest.raises(ConfigError, match="a key is never overwritten"):
        make_key(path)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_key(path)


def test_what_is_no_key_is_refused(tmp_path) -> None:
    path = tmp_path / "key"
    path.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    path.chmod(0o600)
    with pytest.raises(FormatError, match="not an Ed25519 private key"):
        load_key(path)
    with pytest.raises(FormatError, match="not an Ed25519 public key"):
        load_public_key(path)
    for text in ("zz", "ab", ""):
        with pytest.raises(FormatError, match="is not an Ed25519 public key"):
            public_key(text)
    assert not PublicKey(b"short").verify(b"", b"")
