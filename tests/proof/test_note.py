"""Signed notes: the example of the Go implementation, and the ledger's own checkpoint."""

from __future__ import annotations

import base64

import pytest
from ledgers import OWNER, STRANGER

from armillary.core.errors import CheckFailedError, FormatError
from armillary.proof.keys import PublicKey
from armillary.proof.note import (
    Checkpoint,
    cosign,
    cosignature_line,
    cosigned,
    key_hash,
    open_checkpoint,
    open_note,
    sign_checkpoint,
    sign_note,
    verifier_key,
)

# pkg.go.dev/golang.org/x/mod/sumdb/note: examples
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SAID = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
NOTE = (
    SAID
    + "\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngo"
    "tpRZb6KE6RyyBwJnAM=\n"
)


def peter() -> PublicKey:
    return PublicKey(base64.b64decode(PETER.split("+", 2)[2])[1:])


def test_the_published_note_opens() -> None:
    assert verifier_key("PeterNeumann", peter()) == PETER
    assert open_note(NOTE, "PeterNeumann", peter()) == SAID
    with pytest.raises(CheckFailedError, match="does not hold"):
        open_note(NOTE.replace("answer", "Answer"), "PeterNeumann", peter())
    with pytest.raises(CheckFailedError, match="not signed by Peter with"):
        open_note(NOTE, "Peter", peter())


def test_a_checkpoint_comes_back() -> None:
    checkpoint = Checkpoint("armillary.ledger/" + "a" * 64, 31, "b" * 64)
    note = sign_checkpoint(checkpoint, OWNER)
    assert note.splitlines()[1] == "31"
    assert open_checkpoint(note, OWNER.public) == checkpoint
    with pytest.raises(CheckFailedError, match="not signed by"):
        open_checkpoint(note, STRANGER.public)
    with pytest.raises(CheckFailedError, match="does not hold"):
        open_checkpoint(note.replace("\n31\n", "\n32\n"), OWNER.public)


@pytest.mark.parametrize(
    "text", ["", "x\n", "x\n1\n", "x\n01\nAAAA\n", "x\n-1\nAAAA\n", "x\n1\nAAAA\n", "x\n٣\nAAAA\n"]
)
def test_what_is_no_checkpoint_is_one_sentence(text: str) -> None:
    note = sign_note(text, "x", OWNER) if text else ""
    with pytest.raises(FormatError, match=r"Not a|not base64"):
        open_checkpoint(note, OWNER.public)


@pytest.mark.parametrize("below", ["", "- x AAAA\n", "— x\n", "— x AAAA\n", "— x %\n"])
def test_what_is_no_note_is_one_sentence(below: str) -> None:
    with pytest.raises(FormatError, match=r"signed note|not base64"):
        open_note("hello\n\n" + below, "x", OWNER.public)


def test_a_witness_s_line_is_as_the_format_says() -> None:
    genesis, root, time = "c" * 64, "d" * 64, 1_780_000_000
    body = cosign(genesis, 5, root, STRANGER, time)
    assert cosigned(genesis, body)
    assert not cosigned("e" * 64, body)
    dash, name, text = cosignature_line(genesis, body, "witness.example").split()
    raw = base64.b64decode(text)
    assert (dash, name) == ("—", "witness.example")
    assert raw[:4] == key_hash(name, STRANGER.public, b"\x04")
    assert int.from_bytes(raw[4:12], "big") == time
    root64 = base64.b64encode(bytes.fromhex(root)).decode()
    message = f"cosignature/v1\ntime {time}\narmillary.ledger/{genesis}\n5\n{root64}\n"
    assert STRANGER.public.verify(raw[12:], message.encode())
