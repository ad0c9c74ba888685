"""The ledger: it only grows, every change of the past is found, and the order is kept."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from pathlib import Path

import pytest
from ledgers import OWNER, STRANGER, TIME, VALUE, A, Book, M, S

from armillary.core.errors import CheckFailedError, ConfigError, FormatError, StorageError
from armillary.proof.attempts import attempts_of
from armillary.proof.entry import Entry, make_entry
from armillary.proof.ledger import (
    append,
    create_ledger,
    cut_torn_line,
    read_entries,
    read_ledger,
)
from armillary.proof.merkle import leaf_hash, tree_root, verify_consistency, verify_inclusion
from armillary.proof.note import cosign
from armillary.proof.reveal import label_of, local_reveal, nonce_reveal


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path)


def test_what_was_entered_is_read_and_proven(book: Book) -> None:
    run = book.started()
    book.chunk(run)
    book.end(run, 50)
    ledger = read_ledger(book.path)
    assert [entry.type for entry in ledger.entries] == [
        *("genesis", "suite", "commit", "reveal", "run_start", "chunk", "run_end")
    ]
    assert ledger.owner == OWNER.public
    lines = book.path.read_bytes().splitlines()
    for entry, line in zip(ledger.entries, lines, strict=True):
        value = json.loads(line)
        del value["sig"]
        # the hash as the format page defines it, from the file alone
        text = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
        assert entry.hash == leaf_hash(text).hex()
    assert ledger.root == tree_root([entry.leaf for entry in ledger.entries]).hex()
    proof = [bytes.fromhex(part) for part in ledger.prove(2)]
    root = bytes.fromhex(ledger.root)
    assert verify_inclusion(ledger.entries[2].leaf, 2, ledger.size, proof, root)
    grown = [bytes.fromhex(part) for part in ledger.consistency(3)]
    before = bytes.fromhex(ledger.root_at(3))
    assert verify_consistency(3, ledger.size, before, root, grown)
    assert ledger.find(run.hash[:8]) == run
    with pytest.raises(ConfigError, match="names 0 entries"):
        ledger.find("0" * 8)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("t", "2027-01-01T00:00:00Z"),
        ("seq", 9),
        ("prev", "1" * 64),
        ("type", "note"),
        ("key", STRANGER.public.id),
        ("body", {"id": "tiny", "digest": M}),
        ("sig", "A" * 86 + "=="),
    ],
)
def test_any_change_of_the_past_is_found(book: Book, name: str, value) -> None:
    book.committed()
    lines = book.path.read_bytes().splitlines()
    entry = json.loads(lines[1]) | {name: value}
    lines[1] = json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()
    book.path.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises((CheckFailedError, FormatError), match="line 2"):
        read_ledger(book.path)


def test_lines_cannot_be_removed_moved_or_repeated(book: Book) -> None:
    book.revealed()
    lines = book.path.read_bytes().splitlines(keepends=True)
    wrong = ([0, 2, 3], [0, 2, 1, 3], [0, 1, 1, 2, 3], [1, 2, 3])
    for places in wrong:
        book.path.write_bytes(b"".join(lines[place] for place in places))
        with pytest.raises(CheckFailedError, match=r"does not follow|begins with its genesis"):
            read_ledger(book.path)


def test_an_entry_signed_by_a_stranger_is_refuted(book: Book) -> None:
    last = read_ledger(book.path).entries[-1]
    forged = make_entry(last, "note", {"text": "hello"}, STRANGER)
    book.path.write_bytes(book.path.read_bytes() + forged.line)
    with pytest.raises(CheckFailedError, match="not signed by the ledger's key"):
        read_ledger(book.path)


def test_another_spelling_of_the_same_line_is_refused(book: Book) -> None:
    line = book.path.read_bytes().replace(b'"v":1', b'"v": 1')
    book.path.write_bytes(line)
    with pytest.raises(FormatError, match="not written as canonical JSON"):
        read_ledger(book.path)


def test_a_torn_line_is_named_and_cut_on_demand(book: Book) -> None:
    whole = book.path.read_bytes()
    book.path.write_bytes(whole + b'{"body":{"te')
    for attempt in (read_ledger, lambda path: append(path, OWNER, "note", {"text": "x"})):
        with pytest.raises(FormatError, match=r"the last line has no end \(12 bytes\).* --cut"):
            attempt(book.path)
    assert cut_torn_line(book.path) == 12
    assert cut_torn_line(book.path) == 0
    assert book.path.read_bytes() == whole


def test_a_full_disk_leaves_the_ledger_as_it_was(book: Book, monkeypatch) -> None:
    whole = book.path.read_bytes()

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="the disk is full"):
        book.add("note", text="hello")
    assert book.path.read_bytes() == whole


def test_a_full_disk_leaves_no_ledger_that_was_never_begun(tmp_path: Path, monkeypatch) -> None:
    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="the disk is full"):
            create_ledger(tmp_path / "ledger.jsonl", STRANGER)
    assert not any(tmp_path.iterdir())
    assert create_ledger(tmp_path / "ledger.jsonl", STRANGER).size == 1
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.jsonl"]


def test_who_may_write_and_where(book: Book, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="kept by another key"):
        append(book.path, STRANGER, "note", {"text": "x"})
    with pytest.raises(ConfigError, match="never begun again"):
        create_ledger(book.path, OWNER)
    with pytest.raises(FormatError, match="there is no ledger"):
        read_ledger(tmp_path / "other")
    (tmp_path / "link").symlink_to(book.path)
    with pytest.raises(FormatError, match="there is no ledger"):
        read_ledger(tmp_path / "link")
    with pytest.raises(ConfigError, match="no ledger entry type called 'comit'"):
        append(book.path, OWNER, "comit", {})
    for body in ({}, {"text": 1}, {"text": "x", "more": 1}, {"text": "x" * 3000}):
        with pytest.raises(FormatError, match="note"):
            append(book.path, OWNER, "note", body)


def test_time_never_runs_backwards(book: Book) -> None:
    entry = append(book.path, OWNER, "note", {"text": "x"}, "2020-01-01T00:00:00Z")[0]
    assert entry.t == TIME


def _append_many(path: Path, who: int) -> None:
    for number in range(5):
        append(path, OWNER, "note", {"text": f"{who} {number}"})


def test_several_processes_append_without_losing_anything(book: Book) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_append_many, args=(book.path, who)) for who in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    said = {entry.body["text"] for entry in read_ledger(book.path).entries[1:]}
    assert said == {f"{who} {number}" for who in range(4) for number in range(5)}


def forbidden(book: Book, kind: str, said: str, /, **body) -> None:
    """The entry is refused, and a ledger into which it was forced is refuted."""
    before = book.path.read_bytes()
    with pytest.raises(ConfigError, match=said):
        book.add(kind, **body)
    assert book.path.read_bytes() == before
    last = read_entries(book.path)[-1]
    book.path.write_bytes(before + make_entry(last, kind, body, OWNER, TIME).line)
    with pytest.raises(CheckFailedError, match=said):
        read_ledger(book.path)
    book.path.write_bytes(before)


def test_an_agent_is_committed_before_its_seeds_exist(book: Book) -> None:
    body = {"suite": {"id": "tiny", "digest": S}, "agent": A, "parameters": 1, "rule": "none"}
    forbidden(book, "commit", "was not entered before the commit", **body)
    forbidden(book, "reveal", "no commit that came before", **local_reveal(M, VALUE))
    commit, reveal = book.revealed()
    again = local_reveal(commit.hash, VALUE)
    forbidden(book, "reveal", "was revealed before", **again)
    later = book.add("commit", **commit.body)
    forbidden(
        book,
        "reveal",
        "was known before the agent was committed",
        **local_reveal(later.hash, VALUE),
    )
    start = {"manifests": {"reach": M}, "actors": ["agent"], "chunk": 50, "profile": "x", "env": M}
    forbidden(book, "run_start", "no reveal of its commit", commit=later.hash, reveal=M, **start)
    forbidden(
        book, "run_start", "no reveal of its commit", commit=later.hash, reveal=reveal.hash, **start
    )
    book.start(commit, reveal)
    forbidden(
        book, "run_start", "was used by a run", commit=commit.hash, reveal=reveal.hash, **start
    )


def test_a_secret_must_be_the_one_that_was_committed(book: Book) -> None:
    commit = book.committed()
    body = local_reveal(commit.hash, "8" * 64)
    forbidden(book, "reveal", "not the one whose hash", **body)


def test_runs_have_an_order_of_their_own(book: Book) -> None:
    run = book.started()
    row = {"task": "reach", "actor": "agent", "count": 50, "root": M}
    forbidden(book, "chunk", "numbered from 0", run=run.hash, index=1, **row)
    forbidden(
        book, "chunk", "has no row reach/oracle", run=run.hash, index=0, **row | {"actor": "oracle"}
    )
    forbidden(book, "score", "a run that ended", run=run.hash, card=M)
    book.chunk(run, 0)
    book.chunk(run, 1, count=20)
    end = {"run": run.hash, "root": M, "interruptions": 0}
    forbidden(book, "run_end", "other episodes", episodes=71, **end)
    book.add("note", text="killed", about=run.hash, kind="interrupted")
    forbidden(book, "run_end", "number of interruptions", episodes=70, **end)
    book.end(run, 70, interruptions=1)
    forbidden(book, "chunk", "no run that is going on", run=run.hash, index=2, **row)
    forbidden(book, "abort", "no run that is going on", run=run.hash, reason="bad luck")
    book.add("score", run=run.hash, card=M)
    forbidden(book, "retract", "no entry that came before", entry=M, reason="x")
    book.add("retract", entry=run.hash, reason="a bug")


def test_training_is_told_in_order(book: Book) -> None:
    start = {"run": "one", "config": M, "seed": "2a", "data": [M], "rule": "last"}
    forbidden(book, "ckpt", "no training 'one'", run="one", step=1, digest=M)
    book.add("train_start", **start)
    forbidden(book, "train_start", "started before", **start)
    book.add("ckpt", run="one", step=10, digest=M)
    forbidden(book, "ckpt", "went back", run="one", step=9, digest=M)
    book.add("suite", id="tiny", digest=S)
    commit = {"suite": {"id": "tiny", "digest": S}, "agent": A, "parameters": 1, "rule": "last"}
    forbidden(book, "commit", "has not ended", train="one", **commit)
    book.add("train_end", run="one", step=20, digest=M)
    forbidden(book, "ckpt", "no training 'one'", run="one", step=30, digest=M)
    book.add("commit", train="one", **commit)


def test_attempts_are_commits_whatever_became_of_them(book: Book) -> None:
    commit, reveal = book.revealed()
    run = book.start(commit, reveal)
    book.chunk(run)
    second = book.add("commit", **commit.body)
    # a new version of the suite does not begin at 1
    newer = {"id": "tiny", "digest": "6" * 64}
    book.add("suite", **newer)
    third = book.add("commit", **{**commit.body, "suite": newer})
    book.add("suite", id="other", digest=M)
    book.add("commit", **{**commit.body, "suite": {"id": "other", "digest": M}})
    found = attempts_of(read_ledger(book.path), third.hash)
    assert (found.k, found.failed, found.unopened) == (3, 1, 2)
    assert found.earlier == (commit.hash, second.hash)
    book.end(run, 50)
    assert attempts_of(read_ledger(book.path), commit.hash).failed == 0


def test_only_a_stranger_s_signed_nonce_is_fresh(book: Book) -> None:
    commit = book.committed()
    value, owner = "9" * 64, OWNER.public.hex
    signed = nonce_reveal(commit.hash, value, STRANGER)
    assert label_of(signed, owner) == "fresh"
    assert label_of(nonce_reveal(commit.hash, value, OWNER), owner) == "weak"
    assert label_of(nonce_reveal(commit.hash, value), owner) == "weak"
    assert label_of(local_reveal(commit.hash, VALUE), owner) == "weak"
    # signed for another commit, or cut out of a signed one
    forbidden(
        book,
        "reveal",
        "does not hold",
        **{**nonce_reveal(M, value, STRANGER), "commit": commit.hash},
    )
    forbidden(book, "reveal", "does not hold", **{**signed, "value": "8" * 64})
    half = {name: item for name, item in signed.items() if name != "sig"}
    forbidden(book, "reveal", "does not hold", **half)
    forbidden(book, "reveal", "has no field 'round'", **signed, round=3)
    book.add("reveal", **signed)


def test_a_beacon_s_value_is_the_hash_of_its_signature(book: Book) -> None:

    commit = book.committed()
    signature = "ab" * 48
    value = hashlib.sha256(bytes.fromhex(signature)).hexdigest()
    beside = {"chain": M, "round": 7, "signature": signature}
    body = {"commit": commit.hash, "kind": "beacon", "value": value, **beside}
    forbidden(book, "reveal", "not the hash of the beacon", **{**body, "value": VALUE})
    forbidden(
        book, "reveal", "needs chain, round", **{n: v for n, v in body.items() if n != "round"}
    )
    book.add("reveal", **body)
    assert label_of(body, OWNER.public.hex) == "weak"
    assert label_of(body, OWNER.public.hex, beacon_checked=True) == "fresh"


def test_a_witness_signs_this_past_and_no_other(book: Book) -> None:
    book.committed()
    ledger = read_ledger(book.path)
    good = cosign(ledger.genesis, 2, ledger.root_at(2), STRANGER, 1_780_000_000)
    forbidden(book, "cosign", "another past", **{**good, "size": 3})
    forbidden(book, "cosign", "does not hold", **{**good, "time": 1_780_000_001})
    book.add("cosign", **good)
    grown = read_ledger(book.path)
    sizes = range(1, grown.size + 1)
    assert [root.hex() for root in grown.history.roots] == [grown.root_at(n) for n in sizes]


def test_a_genesis_names_the_key_that_signs(book: Book, tmp_path: Path) -> None:
    body = {"public_key": STRANGER.public.hex, "name": "", "nonce": "0" * 32}
    forged: Entry = make_entry(None, "genesis", body, OWNER)
    path = tmp_path / "forged"
    path.write_bytes(forged.line)
    with pytest.raises(CheckFailedError, match="not signed by the ledger's key"):
        read_ledger(path)
    second = {**body, "public_key": OWNER.public.hex}
    forbidden(book, "genesis", "has only one", **second)
