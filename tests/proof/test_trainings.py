"""Trainings in a ledger: entered as they go, each part once, and held against the agent."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from agents import CONFIG, tiny_agent, tiny_folder
from ledgers import OWNER

from armillary.core.errors import ConfigError, FormatError
from armillary.core.files import write_json
from armillary.models import save_model, untrained
from armillary.proof.book import Book
from armillary.proof.builtin import builtin_suite
from armillary.proof.claim import commit_agent
from armillary.proof.data_manifest import data_digest, write_data_manifest
from armillary.proof.trainings import enter_training
from armillary.worlds import record


def training(folder: Path, seed: int = 0) -> Path:
    """Write what a training of 20 steps shows after 10."""
    settings = {"train": {"seed": seed, "steps": 20}, "model": {}, "digest": f"{seed:064x}"}
    write_json(folder / "run.json", settings)
    checkpoint(folder, 10)
    return folder


def checkpoint(folder: Path, step: int) -> None:
    model = untrained(CONFIG, step)
    save_model(model, folder / "checkpoints" / f"{step:06d}" / "pretrained_model")


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path / "ledger.jsonl", OWNER)


def said(book: Book) -> list[tuple[str, int | None]]:
    entries = book.read().entries[1:]
    return [(entry.type, entry.body.get("step")) for entry in entries]


def test_a_training_is_entered_as_it_goes_and_every_part_once(tmp_path: Path, book: Book) -> None:
    run = training(tmp_path / "run")
    enter_training(run, book, "first")
    assert enter_training(run, book, "first") == []
    checkpoint(run, 20)
    shutil.rmtree(run / "checkpoints" / "000010")  # only the newest are kept
    enter_training(run, book, "first")
    tiny_folder(run / "model")
    enter_training(run, book, "first")
    assert said(book) == [
        *(("train_start", None), ("ckpt", 10), ("ckpt", 20)),
        ("train_end", 20),
    ]
    assert not book.read().history.problems
    with pytest.raises(ConfigError, match="has ended in the ledger"):
        enter_training(run, book, "first")


def test_a_commit_names_the_training_that_its_agent_comes_from(tmp_path: Path, book: Book) -> None:
    suite, agent = builtin_suite("tiny"), tiny_agent(tmp_path)
    run = training(tmp_path / "run")
    enter_training(run, book, "first", rule="last")
    more = {"train": "first"}
    with pytest.raises(ConfigError, match="holds no training 'first' that ended"):
        commit_agent(book.path, OWNER, suite, agent, "last", more)
    tiny_folder(run / "model")
    enter_training(run, book, "first")
    other = tiny_agent(tmp_path, 1)
    with pytest.raises(ConfigError, match="ended with other weights than the agent has"):
        commit_agent(book.path, OWNER, suite, other, "last", more)
    with pytest.raises(ConfigError, match="began with the rule 'last'"):
        commit_agent(book.path, OWNER, suite, agent, "best-val", more)
    with pytest.raises(ConfigError, match="began with other data"):
        commit_agent(book.path, OWNER, suite, agent, "last", {**more, "data": "0" * 64})
    commit_agent(book.path, OWNER, suite, agent, "last", more)
    assert not book.read().history.problems


def test_data_are_named_by_their_digest_once(tmp_path: Path, book: Book) -> None:
    record("two_rooms", tmp_path / "data", 2, 3, workers=1)
    value = write_data_manifest(tmp_path / "data", tmp_path / "index")
    path = tmp_path / "index" / "data.json"
    enter_training(training(tmp_path / "a"), book, "a", [path])
    enter_training(training(tmp_path / "b", 1), book, "b", [path])
    entries = book.read().entries
    assert [entry.body["digest"] for entry in entries if entry.type == "data"] == [
        data_digest(value)
    ]
    starts = [entry for entry in entries if entry.type == "train_start"]
    assert all(start.body["data"] == [data_digest(value)] for start in starts)


def test_one_name_is_one_training(tmp_path: Path, book: Book) -> None:
    enter_training(training(tmp_path / "a"), book, "a")
    with pytest.raises(ConfigError, match="began with other settings, and a start is never"):
        enter_training(training(tmp_path / "b", 1), book, "a")
    with pytest.raises(ConfigError, match="began with other rule"):
        enter_training(tmp_path / "a", book, "a", rule="last")
    with pytest.raises(FormatError, match=r"training: ckpt\.run"):
        enter_training(tmp_path / "a", book, "bad name")


BROKEN = [
    *([], {}, {"train": {"seed": 0}, "digest": "0" * 64}, {"train": [], "digest": "0" * 64}),
    *({"train": {"seed": s, "steps": 1}, "digest": "0" * 64} for s in ("x", 1.5, -3)),
    *({"train": {"seed": 0, "steps": s}, "digest": "0" * 64} for s in ("many", None, 0)),
    {"train": {"seed": 0, "steps": 1}, "digest": "0"},
]


@pytest.mark.parametrize("value", BROKEN, ids=str)
def test_a_folder_that_is_no_training_is_one_sentence(tmp_path: Path, book: Book, value) -> None:
    write_json(tmp_path / "run.json", value)
    with pytest.raises(FormatError, match=r"run\.json"):
        enter_training(tmp_path, book, "a")
    assert not book.path.exists()
