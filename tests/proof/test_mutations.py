"""Broken and hostile files: nothing that means something else is accepted, nothing falls over.

The mutator is deterministic: a number names a mutation, so that a failure can be made again.
"""

from __future__ import annotations

import json
import random
import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stages import small_suite, under_portable

from armillary.core.errors import ArmillaryError
from armillary.proof.attack.mutating import changed, dumped, mutate, mutated, targets
from armillary.proof.attack.stage import OWNER, Stage, set_stage
from armillary.proof.canonical import canonical_bytes
from armillary.proof.entry import make_entry, parse_entry
from armillary.proof.envelope import Statement, sign_statement
from armillary.proof.keys import load_public_key
from armillary.proof.scorecard import PREDICATE_TYPE, read_card_file
from armillary.proof.verify.case import How
from armillary.proof.verify.sources import file_hash
from armillary.proof.verify.submission import Submission, find_submission
from armillary.proof.verify.verdict import Report, verify

FILES = (
    *("run/scorecard.json", "ledger.jsonl", "run/records/two_rooms-reach/agent.jsonl"),
    *("run/records/two_rooms-reach/oracle.jsonl", "run/suite.json", "run/env.json"),
    *("run/manifests/two_rooms-reach.json", "agent/planner.json", "agent/config.json"),
    *("agent/model.safetensors", "key.pub"),
)
FEW, MANY, PART = 300, 10_000, 50


@pytest.fixture(scope="module")
def stage(tmp_path_factory) -> Iterator[Stage]:
    with under_portable():
        yield set_stage(tmp_path_factory.mktemp("stage"), small_suite("fuzz"), False)


def checked(stage: Stage, where: Path) -> Report:
    how = How(nonce="8" * 64, suites=(stage.suite,))
    try:
        return verify(find_submission(where), how, (0,))
    except ArmillaryError as error:  # a sentence, as the command line shows it
        assert str(error)
        raise


def same_meaning(name: str, before: bytes, path: Path) -> bool:
    """Tell whether a file that was accepted says what it said before."""
    after = path.read_bytes()
    if after == before:
        return True
    if name == "key.pub":
        beside = path.with_name("before.pub")
        beside.write_bytes(before)
        return load_public_key(path) == load_public_key(beside)
    return name.endswith(".json") and json.loads(before) == json.loads(after)


def mutate_and_check(stage: Stage, folder: Path, number: int) -> str:
    rng = random.Random(number)
    name = FILES[number % len(FILES)]
    path = folder / name
    before = path.read_bytes()
    path.write_bytes(mutated(before, name, rng))
    began = time.monotonic()
    report = checked(stage, folder)
    accepted = report.verdict == "accepted"
    assert not accepted or same_meaning(name, before, path), f"mutation {number} of {name} passed"
    assert time.monotonic() - began < 60, f"mutation {number} of {name} took too long"
    path.write_bytes(before)
    return report.verdict


def run_part(stage: Stage, folder: Path, numbers: range) -> None:
    copy = folder / "copy"
    shutil.copytree(stage.honest.root, copy)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    verdicts = [mutate_and_check(stage, copy, number) for number in numbers]
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 400 << 10, f"{grown >> 10} MiB more"
    assert {"malformed", "refuted"} <= set(verdicts)
    assert checked(stage, copy).verdict == "accepted"


@pytest.mark.parametrize("start", range(0, FEW, PART))
def test_no_mutation_is_accepted(stage: Stage, tmp_path: Path, start: int) -> None:
    run_part(stage, tmp_path, range(start, start + PART))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_thousand_mutations(stage: Stage, tmp_path: Path) -> None:
    run_part(stage, tmp_path, range(FEW, FEW + MANY))


@pytest.mark.parametrize("start", range(0, 120, 40))
def test_no_card_that_its_owner_changes_and_signs_again_is_accepted(
    stage: Stage, tmp_path: Path, start: int
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(stage.honest.root, copy)
    where = find_submission(copy)
    honest, ledger = read_card_file(where.run.card).value, where.ledger.read_bytes()
    for number in range(start, start + 40):
        value = changed(dict(honest), random.Random(number))
        if not sign_again(where, honest, value, ledger):
            continue
        report = checked(stage, copy)
        assert report.verdict in ("refuted", "malformed"), (number, value)


def sign_again(where: Submission, honest: Any, value: Any, ledger: bytes) -> bool:
    """Sign a changed card and enter it; False where it cannot be written or says the same."""
    agent = {"agent": honest["agent"]["digest"]}
    try:
        statement = sign_statement(Statement(agent, PREDICATE_TYPE, value), OWNER)
        text = canonical_bytes(statement)
    except (ArmillaryError, AttributeError, TypeError, ValueError):
        return False
    if value == honest:
        return False
    where.run.card.write_bytes(text)
    entries = [parse_entry(line, "fuzz") for line in ledger.splitlines()]
    run = next(entry for entry in entries if entry.type == "run_start")
    body = {"run": run.hash, "card": file_hash(where.run.card, 1 << 26)}
    where.ledger.write_bytes(ledger + make_entry(entries[-1], "score", body, OWNER).line)
    return True


@pytest.mark.parametrize(
    ("kind", "count"),
    [("models", 60), ("datasets", 60), ("manifests", 300), ("records", 120), ("submissions", 40)],
)
def test_a_mutation_of_any_kind_is_refused_or_means_the_same(
    stage: Stage, tmp_path: Path, kind: str, count: int
) -> None:
    tally = mutate(targets(stage, tmp_path / "files")[kind], range(count), kind)
    assert tally.worst == []
    assert tally.endings["refused"] and tally.slowest_s < 20


@pytest.fixture
def copy(stage: Stage, tmp_path: Path) -> Path:
    shutil.copytree(stage.honest.root, tmp_path / "copy")
    return tmp_path / "copy"


def test_links_and_paths_that_lead_elsewhere_are_refused(stage: Stage, copy: Path) -> None:
    records = copy / "run" / "records" / "two_rooms-reach" / "agent.jsonl"
    records.rename(copy / "elsewhere.jsonl")
    records.symlink_to(copy / "elsewhere.jsonl")
    with pytest.raises(ArmillaryError, match="links are not followed"):
        find_submission(copy)
    records.unlink()
    (copy / "elsewhere.jsonl").rename(records)
    suite = copy / "run" / "suite.json"
    text = suite.read_bytes()
    suite.write_bytes(text.replace(b'"name":"two_rooms-reach"', b'"name":"../two_rooms"'))
    report = checked(stage, copy)
    assert report.verdict == "malformed" and "text like" in report.rules[0].detail
    (copy / "run").rename(copy / "elsewhere")
    (copy / "run").symlink_to(copy / "elsewhere")
    with pytest.raises(ArmillaryError, match="links are not followed"):
        find_submission(copy)
    (copy / "run").unlink()
    (copy / "elsewhere").rename(copy / "run")
    (copy / "agent" / "model.pkl").write_bytes(b"cos\nsystem\n")
    suite.write_bytes(text)
    assert checked(stage, copy).verdict == "malformed"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'"episodes":3', b'"episodes":100000', "are read here"),
        (b'"image_size":64', b'"image_size":100000', "16 to 1024 pixels"),
        (b'"image_size":64', b'"image_size":"64"', "cannot be made"),
        (b'"image_size":64', b'"import_me":64', "There is no setting of"),
        (b'"task":"reach"', b'"task":"fly"', "has no task 'fly'"),
    ],
)
def test_a_suite_that_asks_too_much_is_one_sentence(
    stage: Stage, copy: Path, old: bytes, new: bytes, said: str
) -> None:
    suite = copy / "run" / "suite.json"
    suite.write_bytes(suite.read_bytes().replace(old, new))
    report = checked(stage, copy)
    assert report.verdict == "malformed" and report.exit_code == 2
    assert said in report.rules[0].detail


def test_a_suite_cannot_write_into_a_simulator_s_scene(stage: Stage, copy: Path) -> None:
    suite = copy / "run" / "suite.json"
    value = json.loads(suite.read_bytes())
    inserted = '4"/><include file="/etc/passwd"/>'
    value["tasks"][0] |= {"world": "tabletop", "settings": {"samples": inserted}}
    suite.write_bytes(canonical_bytes(value))
    report = checked(stage, copy)
    assert (
        report.verdict == "malformed" and "samples takes a whole number" in report.rules[0].detail
    )


@pytest.mark.parametrize(
    ("field", "long", "said"),
    [
        ("distances", [0.5] * 50_000, "49,999 steps or decisions; an episode has 2 at most"),
        ("actions", [[0.0] * 1000] * 2, "another width than the world's 2"),
    ],
)
def test_a_record_longer_than_an_episode_is_not_kept(
    stage: Stage, copy: Path, field: str, long: list, said: str
) -> None:
    records = copy / "run" / "records" / "two_rooms-reach" / "agent.jsonl"
    lines = records.read_bytes().splitlines(keepends=True)
    value = json.loads(lines[0])
    value["body"][field] = long
    records.write_bytes(b"".join([dumped(value) + b"\n", *lines[1:]]))
    report = checked(stage, copy)
    assert report.verdict == "malformed" and said in report.rules[0].detail


def test_more_records_and_entries_than_can_be_are_refused(stage: Stage, copy: Path) -> None:
    records = copy / "run" / "records" / "two_rooms-reach" / "agent.jsonl"
    text = records.read_bytes()
    records.write_bytes(text * 40)
    assert "the suite has fewer" in checked(stage, copy).rules[0].detail
    records.write_bytes(text)
    ledger = copy / "ledger.jsonl"
    lines = ledger.read_bytes()
    ledger.write_bytes(lines + lines.splitlines(keepends=True)[-1] * 10_000)
    assert "entries is read here" in checked(stage, copy).rules[0].detail
