"""The commands of a claim, from key to card, and what goes wrong in one sentence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from agents import tiny_folder

from armillary.cli.main import main
from armillary.proof.builtin import builtin_suite
from armillary.proof.keys import load_public_key
from armillary.proof.note import open_checkpoint
from armillary.proof.profiles import PROFILES
from armillary.proof.scorecard import read_card


def said(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    code = main(["proof", *words, "--json"])
    out = capsys.readouterr().out
    assert code == 0, out
    return json.loads(out)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(["proof", *words])
    return code, capsys.readouterr().err


def test_from_key_to_card(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in PROFILES["portable"].items():
        monkeypatch.setenv(name, value)
    tiny_folder(tmp_path / "model")
    tiny = builtin_suite("tiny")
    replace(tiny, id="small", tasks=(replace(tiny.tasks[0], budget=3),)).save(Path("suite.json"))
    suite = ("--suite", "suite.json")
    key = said(capsys, "keygen")
    plan = [word for pair in ("length=2", "samples=6", "elites=2") for word in ("--plan", pair)]
    more = ("--planner", "cem", "--plan", "iterations=1")
    own = ("--override", "two_rooms-reach:samples=8")
    agent = said(capsys, "pack", "model", "--out", "agent", *more, *plan, *own)
    commit = said(capsys, "commit", "agent", *suite)["commit"]
    said(capsys, "keygen", "verifier")
    said(capsys, "nonce", commit, "--key", "verifier", "--out", "nonce.json")
    code, error = refused(capsys, "run", commit, "--agent", "agent", *suite)
    assert code == 2 and "are not revealed yet" in error
    assert said(capsys, "reveal", commit, "--nonce", "nonce.json")["label"] == "fresh"
    end = said(capsys, "run", commit[:12], "--agent", "agent", *suite, "--workers", "1")
    card = said(capsys, "score", commit, "--agent", "agent", *suite)
    assert card["episodes"]["root"] == end["root"]
    assert card["rows"][0]["overrides"] == {"samples": "8"}
    owner = load_public_key(tmp_path / "out" / "proof" / "key.pub")
    assert owner.id == key["id"]
    assert read_card(tmp_path / "out" / "proof" / "run" / "scorecard.json", owner).value == card
    assert card["agent"]["digest"] == agent["digest"]
    assert card["env"]["boundary"].startswith("enforced: ")  # the agent acted in another process
    ledger = said(capsys, "ledger", "--prove", "2", "--checkpoint", "ledger.ckpt")
    assert ledger["entries"][-1]["type"] == "score" and ledger["inclusion"]["proof"]
    checkpoint = open_checkpoint((tmp_path / "ledger.ckpt").read_text(), owner)
    assert (checkpoint.size, checkpoint.root) == (ledger["size"], ledger["root"])


def test_a_damaged_ledger_is_one_sentence(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    code, error = refused(capsys, "ledger", "none.jsonl")
    assert code == 2 and "there is no ledger" in error
    said(capsys, "keygen")
    from armillary.proof.keys import load_key
    from armillary.proof.ledger import append, create_ledger

    path, key = tmp_path / "ledger.jsonl", load_key(tmp_path / "out" / "proof" / "key")
    create_ledger(path, key)
    append(path, key, "note", {"text": "one"})
    whole = path.read_bytes()
    path.write_bytes(whole + b"{")
    code, error = refused(capsys, "ledger", "ledger.jsonl")
    assert code == 2 and "--cut" in error and error.count("\n") == 1
    assert said(capsys, "ledger", "ledger.jsonl", "--cut")["cut_bytes"] == 1
    path.write_bytes(whole.replace(b"one", b"two"))
    code, error = refused(capsys, "ledger", "ledger.jsonl")
    assert code == 1 and "not signed by the ledger's key, or changed since" in error
