"""Runs and scorecards: told as they go, gone on with after a kill, and the same for everybody."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from agents import tiny_agent
from ledgers import OWNER, STRANGER

from armillary.core.errors import CheckFailedError, ConfigError, FormatError
from armillary.evaluation import NoOpSpec, OracleSpec, RandomSpec, evaluate
from armillary.evaluation.records import Record, read_records, write_records
from armillary.proof import run as run_module
from armillary.proof.agent import Agent, Overrides
from armillary.proof.book import Book
from armillary.proof.builtin import builtin_suite
from armillary.proof.claim import (
    commit_agent,
    make_nonce,
    read_nonce,
    reveal_commit,
    secret_path,
)
from armillary.proof.contamination_report import write_report
from armillary.proof.entry import Entry
from armillary.proof.envelope import Statement, sign_statement
from armillary.proof.episodes import RunFolder, draw_manifests, records_root
from armillary.proof.ledger import read_ledger
from armillary.proof.merkle import verify_inclusion
from armillary.proof.profiles import PROFILES
from armillary.proof.run import run_suite
from armillary.proof.scorecard import (
    PREDICATE_TYPE,
    SCHEMA_FILE,
    card_value,
    read_card,
    schema,
    score_run,
)
from armillary.proof.suite import Suite


@pytest.fixture(scope="module", autouse=True)
def portable() -> Iterator[None]:
    # torch is loaded already: these records are compared with nothing of another process
    with pytest.MonkeyPatch.context() as patch:
        for name, value in PROFILES["portable"].items():
            patch.setenv(name, value)
        patch.setattr(run_module, "CHUNK", 3)
        yield


@pytest.fixture(scope="module")
def suite() -> Suite:
    tiny = builtin_suite("tiny")
    task = replace(tiny.tasks[0], budget=4, settings={**tiny.tasks[0].settings, "image_size": 16})
    return replace(tiny, id="smaller", tasks=(task,), golden=())


class Claim:
    """A claimant in a folder."""

    def __init__(self, folder: Path, suite: Suite, overrides: Overrides | None = None) -> None:
        self.suite, self.agent = suite, tiny_agent(folder, overrides=overrides)
        self.book, self.folder = Book(folder / "ledger.jsonl", OWNER), RunFolder(folder / "run")

    def commit(self, agent: Agent | None = None) -> Entry:
        return commit_agent(self.book.path, OWNER, self.suite, agent or self.agent)

    def ready(self) -> Entry:
        commit = self.commit()
        reveal_commit(self.book.path, OWNER, commit.hash)
        return commit

    def run(self, commit: Entry, **settings: Any) -> Entry:
        # the policy's process would have other arithmetic than this one, which only pretends
        words = {"suite": self.suite, "agent": self.agent, "boundary": False, **settings}
        return run_suite(self.folder, self.book, commit.hash, **words)

    def score(self, commit: Entry) -> Any:
        return score_run(self.folder, self.book, commit.hash, self.suite, self.agent)

    @property
    def records(self) -> Path:
        return self.folder.records("two_rooms-reach", "agent")


@pytest.fixture
def claim(tmp_path: Path, suite: Suite) -> Claim:
    return Claim(tmp_path, suite)


@pytest.fixture(scope="module")
def master(tmp_path_factory, suite: Suite, portable: None) -> tuple[Claim, Entry]:
    """A claim whose run has ended."""
    made = Claim(tmp_path_factory.mktemp("master"), suite)
    commit = made.ready()
    made.run(commit)
    return made, commit


@pytest.fixture
def ended(master: tuple[Claim, Entry], tmp_path: Path, suite: Suite) -> tuple[Claim, Entry]:
    """The same in a folder of its own."""
    made, commit = master
    copied = Claim(tmp_path / "other", suite)
    shutil.copytree(made.folder.path, copied.folder.path)
    shutil.copy(made.book.path, copied.book.path)
    return copied, commit


def types(claim: Claim) -> list[str]:
    return [entry.type for entry in claim.book.read().entries]


def test_a_claim_from_commit_to_card(claim: Claim) -> None:
    commit = claim.ready()
    end = claim.run(commit)
    assert end.body["episodes"] == 32
    assert types(claim) == [
        *("genesis", "suite", "commit", "reveal", "run_start"),
        *["chunk"] * 12,
        "run_end",
    ]
    assert claim.run(commit) == end  # nothing is run twice
    card = claim.score(commit)
    assert types(claim)[-1] == "score"
    assert claim.book.read().entries[-1].body["card"] == card.digest
    row = card.value["rows"][0]
    assert row["n"] == 8 and set(row["controls"]) == {"random", "noop", "oracle"}
    assert row["budget"]["most"] <= row["budget"]["limit"]
    assert (card.value["level"], card.value["seed"]["label"]) == ("self", "weak")
    assert card.value["attempts"] == {"k": 1, "failed": 0, "unopened": 0, "earlier": []}
    assert read_card(claim.folder.card).value == card.value
    assert read_card(claim.folder.card, OWNER.public) == card


def test_a_run_plays_its_tasks_by_turns_and_gives_the_records_of_each_alone(
    tmp_path, suite
) -> None:
    reach = suite.tasks[0]
    both = replace(suite, tasks=(reach, replace(reach, name="cross", task="cross")))
    claim, told = Claim(tmp_path, both), []
    commit = claim.ready()
    claim.run(commit, progress=lambda done, total, note: told.append(note.split()[0]))
    agents = told[:16]
    assert set(agents) == {"two_rooms-reach", "cross"}
    assert agents != sorted(agents) and agents != sorted(agents, reverse=True)
    value = claim.score(commit).value["seed"]["value"]
    for name, manifest in draw_manifests(both, value).items():
        found = read_records(claim.folder.records(name, "agent"))
        assert found == evaluate(manifest, claim.agent)


def test_settings_for_one_task_are_listed_and_mark_its_row(tmp_path: Path, suite: Suite) -> None:
    reach = suite.tasks[0]
    both = replace(suite, tasks=(reach, replace(reach, name="cross", task="cross")))
    claim = Claim(tmp_path, both, overrides={"cross": {"length": 2}})
    commit = claim.ready()
    claim.run(commit)
    rows = {row["task"]: row for row in claim.score(commit).value["rows"]}
    assert rows["cross"]["overrides"] == {"length": "2"}
    assert "overrides" not in rows["two_rooms-reach"]
    steps = {name: row["budget"]["most"] for name, row in rows.items()}
    assert steps["cross"] * 3 == steps["two_rooms-reach"] * 2  # of three predicted steps, two
    stray = Claim(tmp_path / "stray", suite, overrides={"cross": {"length": 2}})
    with pytest.raises(ConfigError, match="agent has settings for 'cross', which is no task of"):
        stray.commit()


def test_every_entry_that_the_card_rests_on_is_proven_in_it(ended) -> None:
    claim, commit = ended
    part = claim.score(commit).value["ledger"]
    ledger = claim.book.read()
    assert part["root"] == ledger.root_at(part["size"])
    for kind, one in part["inclusion"].items():
        entry = ledger.entries[one["seq"]]
        assert (entry.type, entry.hash) == (kind, one["hash"])
        proof = [bytes.fromhex(step) for step in one["proof"]]
        root = bytes.fromhex(part["root"])
        assert verify_inclusion(entry.leaf, one["seq"], part["size"], proof, root)


def test_the_published_schema_is_that_of_the_cards(ended) -> None:
    claim, commit = ended
    value = claim.score(commit).value
    published = json.loads(SCHEMA_FILE.read_text())
    assert published == json.loads(json.dumps(schema()))
    validator = jsonschema.Draft202012Validator(published)
    jsonschema.Draft202012Validator.check_schema(published)
    validator.validate(value)
    for change in ({"level": "audited"}, {"extra": 1}, {"rows": []}, {"v": 2}):
        assert not validator.is_valid({**value, **change})


def test_a_killed_run_goes_on_as_the_same_attempt(claim: Claim) -> None:
    commit = claim.ready()

    class Killed(BaseException):
        pass

    def kill(done: int, total: int, note: str = "") -> None:
        if done == 5:
            raise Killed

    with pytest.raises(Killed):
        claim.run(commit, progress=kill)
    with claim.records.open("ab") as file:
        file.write(b'{"body":{"half')  # as a kill in the middle of a line leaves it
    assert types(claim).count("chunk") == 1
    end = claim.run(commit)
    assert end.body["interruptions"] == 1
    assert types(claim).count("run_start") == 1
    assert types(claim)[6] == "note"
    card = claim.score(commit)
    assert card.value["interruptions"] == 1 and card.value["attempts"]["k"] == 1
    # the same as a run that nobody killed: the same actors on the same episodes
    manifests = draw_manifests(claim.suite, card.value["seed"]["value"])
    manifest = manifests["two_rooms-reach"]
    alone = [evaluate(manifest, actor) for actor in (claim.agent, RandomSpec(), NoOpSpec())]
    alone.append(evaluate(manifest, OracleSpec()))
    assert records_root(record for row in alone for record in row) == end.body["root"]


def test_records_that_change_after_they_were_entered_are_refuted(claim: Claim) -> None:
    commit = claim.ready()

    class Killed(BaseException):
        pass

    def kill(done: int, total: int, note: str = "") -> None:
        if done == 5:
            raise Killed

    with pytest.raises(Killed):
        claim.run(commit, progress=kill)
    records = list(read_records(claim.records))
    records[0] = replace(records[0], distances=(*records[0].distances[:-1], 0.0), outcome="success")
    write_records(claim.records, records)
    with pytest.raises(CheckFailedError, match="chunk 0 is not what was entered"):
        claim.run(commit)


CHANGES = {
    "7 records for 8 episodes": lambda r: [*r[1:]],
    "stands where": lambda r: [r[1], *r[1:]],
    "stands where .* belongs": lambda r: [r[1], r[0], *r[2:]],
    "has other seeds": lambda r: [replace(r[0], seed=r[0].seed + 1), *r[1:]],
    "another manifest, actor": lambda r: [replace(r[0], policy="agent x"), *r[1:]],
    "actor or rule": lambda r: [replace(r[0], success_distance=9.0), *r[1:]],
    "claims success and ends at another": lambda r: [replace(r[0], outcome="success"), *r[1:]],
    "took 3 steps": lambda r: [replace(r[0], actions=r[0].actions[:-1]), *r[1:]],
    "took 4 steps": lambda r: [replace(r[0], distances=r[0].distances[1:]), *r[1:]],
    "took 100000 model steps": lambda r: [with_model_steps(r[0], 10**5), *r[1:]],
    "not those that were entered": lambda r: [replace(r[0], actions=r[1].actions), *r[1:]],
}


def with_model_steps(record: Record, steps: int) -> Record:
    return replace(record, decisions=(replace(record.decisions[0], model_steps=steps),))


@pytest.mark.parametrize(("said", "change"), CHANGES.items(), ids=list(CHANGES))
def test_a_card_is_made_of_the_entered_records_only(ended, change, said: str) -> None:
    claim, commit = ended
    write_records(claim.records, change(list(read_records(claim.records))))
    with pytest.raises(CheckFailedError, match=said):
        claim.score(commit)
    assert not claim.folder.card.exists()


def test_what_was_not_committed_is_not_run(claim: Claim, tmp_path: Path) -> None:
    commit = claim.commit()
    with pytest.raises(ConfigError, match="not revealed yet"):
        claim.run(commit)
    reveal_commit(claim.book.path, OWNER, commit.hash)
    other = tiny_agent(tmp_path, 1)
    with pytest.raises(ConfigError, match="is about the agent"):
        claim.run(commit, agent=other)
    easier = replace(claim.suite, tasks=(replace(claim.suite.tasks[0], success_distance="1"),))
    with pytest.raises(ConfigError, match="is about another suite"):
        claim.run(commit, suite=easier)
    with pytest.raises(ConfigError, match="has not ended"):
        claim.score(commit)
    reveal = claim.book.read().history.reveals[commit.hash]
    with pytest.raises(ConfigError, match="is a reveal; a commit was expected"):
        claim.run(reveal)


def test_a_run_stays_in_its_environment(claim: Claim, monkeypatch) -> None:
    commit = claim.ready()
    monkeypatch.setenv("MKL_CBWR", "AVX2")
    with pytest.raises(ConfigError, match="under the numeric profile 'portable'"):
        claim.run(commit)
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")

    def stop(done: int, total: int, note: str = "") -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        claim.run(commit, progress=stop)
    monkeypatch.setattr(run_module, "facts", lambda drawn: {"torch": "another"})
    with pytest.raises(ConfigError, match=r"begun in another environment \(armillary, .*torch\)"):
        claim.run(commit)


def test_an_aborted_run_is_over(claim: Claim) -> None:
    commit = claim.ready()

    def stop(done: int, total: int, note: str = "") -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        claim.run(commit, progress=stop)
    start = next(e for e in claim.book.read().entries if e.type == "run_start")
    claim.book.add("abort", {"run": start.hash, "reason": "wrong machine"})
    with pytest.raises(ConfigError, match="was aborted; commit again"):
        claim.run(commit)
    again = claim.ready()
    shutil.rmtree(claim.folder.path)
    claim.run(again)
    card = claim.score(again)
    assert card.value["attempts"]["k"] == 2 and card.value["attempts"]["failed"] == 1


def test_what_training_data_were_held_against_stands_in_the_card(ended) -> None:
    claim, commit = ended
    found = {"verdict": "accepted", "exact": 0, "p": "0.5000"}
    report = {"data": "a" * 64, "chance": "0" * 10, "tasks": {"two_rooms-reach": found}}
    write_report(claim.folder.contamination, report)
    value = claim.score(commit).value
    assert value["contamination"] == report
    jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text())).validate(value)
    claim.folder.contamination.write_text("{}")
    with pytest.raises(FormatError, match=r"contamination\.json: the field 'chance' is missing"):
        claim.score(commit)


def test_a_report_about_other_data_than_were_committed_is_refused(claim: Claim) -> None:
    more = {"data": "b" * 64}
    commit = commit_agent(claim.book.path, OWNER, claim.suite, claim.agent, "none", more)
    reveal_commit(claim.book.path, OWNER, commit.hash)
    claim.run(commit)
    report = {"data": "a" * 64, "chance": "0" * 10, "tasks": {}}
    write_report(claim.folder.contamination, report)
    with pytest.raises(CheckFailedError, match="is about other training data than the commit"):
        claim.score(commit)


def test_what_cannot_begin_is_no_attempt(claim: Claim, monkeypatch) -> None:
    commit = claim.ready()
    with pytest.raises(ConfigError, match="workers must be at least 1"):
        claim.run(commit, workers=0)

    def broken(parts: object) -> None:
        raise ConfigError("The model does not fit.")

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "try_parts", broken)
        with pytest.raises(ConfigError, match="does not fit"):
            claim.run(commit)
    assert "run_start" not in types(claim)


def test_a_run_that_ended_is_where_it_is(ended, tmp_path: Path) -> None:
    claim, commit = ended
    claim.folder = RunFolder(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=r"ended at 20.*, and .*elsewhere does not hold it"):
        claim.run(commit)


def test_a_commit_is_run_by_one_process(claim: Claim, tmp_path: Path) -> None:
    commit = claim.ready()
    other = Claim.__new__(Claim)
    vars(other).update(vars(claim) | {"folder": RunFolder(tmp_path / "second")})

    def second(done: int, total: int, note: str = "") -> None:
        with pytest.raises(ConfigError, match="another process is at work here"):
            other.run(commit)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        claim.run(commit, progress=second)
    assert types(claim).count("note") == 0


def test_changed_weights_end_the_run(claim: Claim, monkeypatch) -> None:
    commit = claim.ready()
    path = claim.agent.folder / "model.safetensors"
    weights = path.read_bytes()

    def late(*_: object) -> None:
        raise RuntimeError("planted")

    def swap(done: int, total: int, note: str = "") -> None:
        if done == 2:
            path.write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
            monkeypatch.setattr("armillary.evaluation.model_policy.ModelPolicy.init", late)

    with pytest.raises(CheckFailedError, match="was changed after it was opened"):
        claim.run(commit, progress=swap)


def test_a_commit_that_can_only_fail_is_refused(tmp_path: Path, suite: Suite) -> None:
    greedy = Claim(tmp_path, suite, overrides={"two_rooms-reach": {"samples": 4000}})
    with pytest.raises(
        ConfigError, match="Task two_rooms-reach allows 10,000 model steps a decision"
    ):
        greedy.commit()
    assert not greedy.book.path.exists()


def test_one_folder_holds_one_run(ended) -> None:
    claim, _ = ended
    with pytest.raises(ConfigError, match="holds another run"):
        claim.run(claim.ready())


def test_a_stranger_s_nonce_makes_fresh_seeds(claim: Claim, tmp_path: Path) -> None:
    commit = claim.commit()
    path = tmp_path / "nonce.json"
    path.write_bytes(make_nonce(commit.hash, STRANGER))
    reveal_commit(claim.book.path, OWNER, commit.hash, read_nonce(path))
    claim.run(commit)
    card = claim.score(commit)
    assert card.value["seed"]["kind"] == "nonce" and card.value["seed"]["label"] == "fresh"
    later = claim.commit()
    with pytest.raises(ConfigError, match="was revealed before"):
        reveal_commit(claim.book.path, OWNER, later.hash, read_nonce(path))
    with pytest.raises(ConfigError, match="whole hash"):
        make_nonce("abcd", STRANGER)


def test_a_lost_secret_is_one_sentence(claim: Claim) -> None:
    commit = claim.commit()
    path = secret_path(claim.book.path, commit.body["secret"])
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("zz")
    with pytest.raises(FormatError, match="64 hexadecimal digits were expected"):
        reveal_commit(claim.book.path, OWNER, commit.hash)
    path.unlink()
    with pytest.raises(FormatError, match="there is no such file"):
        reveal_commit(claim.book.path, OWNER, commit.hash)


def test_a_card_says_who_signed_it(ended, tmp_path: Path) -> None:
    claim, commit = ended
    value = claim.score(commit).value
    assert value == card_value(
        claim.folder, read_ledger(claim.book.path), commit.hash, claim.suite, claim.agent
    ) | {"ledger": value["ledger"]}
    with pytest.raises(CheckFailedError, match="no key that is trusted here"):
        read_card(claim.folder.card, STRANGER.public)
    better = json.loads(json.dumps(value))
    better["rows"][0]["succ"] = 8
    path = tmp_path / "card.json"
    forge(path, better, value["agent"]["digest"], STRANGER)
    with pytest.raises(CheckFailedError, match="no key that is trusted here"):
        read_card(path)
    forge(path, value, "0" * 64, OWNER)
    with pytest.raises(CheckFailedError, match="its subject is another agent"):
        read_card(path)
    forge(path, value | {"level": "audited"}, value["agent"]["digest"], OWNER)
    with pytest.raises(FormatError, match="level: one of self"):
        read_card(path)
    better["ledger"]["owner"] = STRANGER.public.hex
    forge(path, better, value["agent"]["digest"], OWNER)
    with pytest.raises(CheckFailedError, match="another key than its ledger's"):
        read_card(path, OWNER.public)


def forge(path: Path, value: dict, agent: str, key) -> None:
    from armillary.proof.canonical import canonical_bytes

    statement = Statement({"agent": agent}, PREDICATE_TYPE, value)
    path.write_bytes(canonical_bytes(sign_statement(statement, key)))
