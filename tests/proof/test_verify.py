"""The verifier: levels, verdicts, samples, attestations, and claims that were interrupted."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from scipy.stats import fisher_exact, hypergeom
from stages import small_suite, under_portable

from armillary.cli.main import main
from armillary.core.errors import CheckFailedError, ConfigError, FormatError
from armillary.core.files import read_json
from armillary.core.values import WorldSpec
from armillary.evaluation.model_policy import ModelPolicy
from armillary.evaluation.records import Record, actions_of, read_records
from armillary.evaluation.specs import ModelSpec
from armillary.proof.agent import pack_agent
from armillary.proof.attack.forge import Forge
from armillary.proof.attack.paper import crash
from armillary.proof.attack.stage import OWNER, STRANGER, VALUE, VERIFIER, Stage, set_stage
from armillary.proof.book import Book
from armillary.proof.canonical import canonical_bytes
from armillary.proof.claim import commit_agent, reveal_commit
from armillary.proof.entry import make_entry
from armillary.proof.episodes import RunFolder
from armillary.proof.keys import make_key
from armillary.proof.ledger import read_entries
from armillary.proof.reveal import nonce_reveal
from armillary.proof.run import run_suite
from armillary.proof.scorecard import read_card_file, score_run
from armillary.proof.verify import audit, rerunning
from armillary.proof.verify.attestation import (
    attest,
    attestations,
    leaderboard_verdict,
    read_attestation,
    verdict_of,
    write_attestation,
)
from armillary.proof.verify.audit import Audited
from armillary.proof.verify.case import Case, How, load_case
from armillary.proof.verify.redoing import Redoing, Redone
from armillary.proof.verify.rules import Said
from armillary.proof.verify.sampling import (
    caught,
    falsified_of,
    fisher_less,
    most_flips,
    picked,
    sample_size,
    stratified,
)
from armillary.proof.verify.submission import find_submission
from armillary.proof.verify.submitting import make_submission
from armillary.proof.verify.verdict import Report, verify

TASK = "two_rooms-reach"
NONCE = "8" * 64


@pytest.fixture(scope="module")
def stage(tmp_path_factory) -> Iterator[Stage]:
    with under_portable():
        suite = small_suite("verified", episodes=4, budget=3)
        yield set_stage(tmp_path_factory.mktemp("stage"), suite, boundary=False)


def how(stage: Stage, **more) -> How:
    return How(**{"nonce": NONCE, "suites": (stage.suite,), "decisions": 6, "fresh": 8, **more})


@pytest.fixture(scope="module")
def report(stage: Stage) -> Report:
    return verify(stage.honest, how(stage), (0, 1, 2, 3))


def test_an_honest_run_holds_level_by_level(stage: Stage, report: Report) -> None:
    assert (report.verdict, report.exit_code) == ("accepted", 0), report.refuting
    assert (report.level, report.reached) == (3, "rerun")
    assert all(rule.ok for rule in report.rules if rule.severity == "error")
    # a claim of 4 episodes is too high by one, and all successes were run again
    assert report.rule("rerun.power").ok and report.power == 1
    value = json.loads(json.dumps(report.to_dict()))
    assert {"name", "severity", "ok", "detail"} <= set(value["rules"][0])
    assert value["rows"][0]["task"] == TASK and value["seconds"] > 0


def test_the_same_nonce_gives_the_same_samples_and_another_gives_others(stage: Stage) -> None:
    def steps(nonce: str) -> list[tuple[str, int]]:
        case = load_case(stage.honest, how(stage, nonce=nonce))
        return [(one.episode, one.step) for part in audit.audited(case) for one in part.redone]

    assert steps(NONCE) == steps(NONCE) != steps("9" * 64)
    assert len(steps(NONCE)) == 6


def test_an_audit_that_looks_at_little_is_none(stage: Stage) -> None:
    found = verify(stage.honest, how(stage, decisions=1), (0, 1, 2))
    assert found.verdict == "accepted" and found.reached == "replayed"
    whole = verify(stage.honest, how(stage, decisions=100), (0, 1, 2))
    assert whole.reached == "audited"
    assert verify(stage.honest, how(stage), (0, 1)).power == 0


def test_what_its_owner_does_later_does_not_refute_a_card(stage: Stage, tmp_path: Path) -> None:
    where = find_submission(shutil.copytree(stage.honest.root, tmp_path / "later"))
    assert verify(where, how(stage), (0,)).rule("attempts.later").ok
    entries = read_entries(where.ledger)
    commit = next(entry for entry in entries if entry.type == "commit")
    again = make_entry(entries[-1], "commit", dict(commit.body), OWNER, entries[-1].t)
    where.ledger.write_bytes(where.ledger.read_bytes() + again.line)
    found = verify(where, how(stage), (0,))
    assert found.verdict == "accepted", found.refuting
    assert "1 followed: read it as one of 2" in found.rule("attempts.later").detail


def test_a_weak_challenge_lifts_nothing(stage: Stage) -> None:
    found = verify(stage.honest, how(stage), (0, 4))
    assert found.verdict == "accepted" and found.reached == "self"
    assert found.rule("challenge.power").ok is False
    with_own = verify(stage.honest, how(stage, nonce=VALUE), (0, 4))
    assert with_own.verdict == "refuted" and "needs a new one" in with_own.refuting[0].detail


def test_what_nobody_knows_is_undecided(stage: Stage) -> None:
    found = verify(stage.honest, how(stage, suites=()), (0,))
    assert (found.verdict, found.exit_code) == ("undecided", 4)
    assert found.rule("suite.known").ok is None and "--suite" in found.rule("suite.known").detail


def test_another_key_than_was_asked_for_refutes(stage: Stage) -> None:
    found = verify(stage.honest, how(stage, key=STRANGER.public), (0,))
    assert [rule.name for rule in found.refuting] == ["key.same"]


@pytest.mark.parametrize("lost", ["ledger.jsonl", "agent/planner.json", "run/env.json"])
def test_a_missing_file_is_malformed(stage: Stage, tmp_path: Path, lost: str) -> None:
    shutil.copytree(stage.honest.root, tmp_path / "copy")
    (tmp_path / "copy" / lost).unlink()
    found = verify(find_submission(tmp_path / "copy"), how(stage), (0,))
    assert (found.verdict, found.exit_code, found.reached) == ("malformed", 2, "none")
    with pytest.raises(ConfigError, match="cannot be attested"):
        attest(found, VERIFIER)
    with pytest.raises(FormatError, match=r"holds no scorecard\.json"):
        find_submission(tmp_path)


def test_a_driver_is_not_named_where_none_draws(stage: Stage, tmp_path: Path) -> None:
    """It would let actions differ as much as drivers do, and turn what is refuted into unknown."""
    shutil.copytree(stage.honest.root, tmp_path / "copy")
    env = tmp_path / "copy" / "run" / "env.json"
    env.write_bytes(canonical_bytes({**read_json(env), "graphics": "nobody's"}))
    found = verify(find_submission(tmp_path / "copy"), how(stage), (0,))
    assert (found.verdict, found.exit_code) == ("malformed", 2)


def within(stage: Stage, arithmetic: str, beyond: int, of: int = 200) -> bool | None:
    """Return what the audit says of so many decisions that are 0.01 off."""
    case = load_case(stage.honest, how(stage, arithmetic=arithmetic))
    redone = tuple(Redone("e", n, action=0.01 if n < beyond else 0.0) for n in range(of))
    case.__dict__["audited"] = (Audited(TASK, redone),)
    return audit.actions(case).ok


def test_how_many_decisions_may_differ_follows_from_the_arithmetic(stage: Stage) -> None:
    assert [within(stage, "same", n) for n in (0, 1)] == [True, False]
    few = most_flips(200, 0.005)
    assert [within(stage, "other-isa", n) for n in (0, 1, few, few + 1)] == [
        *(True, None, None, False)
    ]
    assert [within(stage, "bfloat16", n) for n in (4, 5, 20)] == [True, None, False]


def test_another_processor_is_no_same_arithmetic(stage: Stage) -> None:
    case = load_case(stage.honest, how(stage))
    assert case.arithmetic == "same"
    case.__dict__["here"] = {**case.here, "flags": "neon"}
    assert case.arithmetic == "other-isa"


def processor(stage: Stage, monkeypatch, ending: int, moved: int = 0) -> Said:
    """Return what a re-run on another processor says.

    Args:
        ending: of how many episodes it ends otherwise.
        moved: of how many decisions of each of these the record has another action.
    """
    case = load_case(stage.honest, how(stage, arithmetic="other-isa", episodes=4))
    row = case.sources.rows[TASK]
    others = {one.id for one in row["agent"][:ending]}
    shown = [nudged(one, moved) if one.id in others else one for one in row["agent"]]
    case.sources.__dict__["rows"] = {TASK: {**row, "agent": tuple(shown)}}

    def differing(_case: Case, _task: str, sample: list[Record]) -> list[Record]:
        return [one for one in sample if one.id in others]

    monkeypatch.setattr(rerunning, "_differing", differing)
    return rerunning.outcomes(case)


def nudged(record: Record, moved: int) -> Record:
    """Return a record in which the last actions are others."""
    actions = actions_of(record).copy()
    if moved:
        actions[-moved:] += 0.01
    return replace(record, actions=tuple(map(tuple, actions.tolist())))


def test_another_processor_explains_an_end_only_if_all_decisions_are_the_agents(
    stage: Stage, monkeypatch
) -> None:
    found = processor(stage, monkeypatch, ending=0)
    assert found.ok and "0 end otherwise." in found.detail
    found = processor(stage, monkeypatch, ending=1)
    assert found.ok and found.detail.endswith("all are the agent's.")
    # one of 4 may end otherwise by rounding, and 4 of 4 cannot
    assert [processor(stage, monkeypatch, ending=n).ok for n in (2, 3, 4)] == [None, None, False]
    found = processor(stage, monkeypatch, ending=1, moved=1)
    assert found.ok is None and "1 are not the agent's" in found.detail
    assert processor(stage, monkeypatch, ending=1, moved=3).ok is False
    assert processor(stage, monkeypatch, ending=4, moved=1).ok is False


def test_a_rerun_is_as_sharp_on_another_processor(stage: Stage) -> None:
    for arithmetic in ("same", "other-isa"):
        case = load_case(stage.honest, how(stage, arithmetic=arithmetic))
        assert rerunning.power(case).ok


def test_samples_are_as_large_as_they_must_be() -> None:
    # the table of the reference, without replacement
    assert [sample_size(50, n) for n in (3, 5, 10)] == [39, 29, 17]
    assert [sample_size(100, n) for n in (5, 10)] == [59, 36]
    assert [sample_size(n, n // 20) for n in (200, 500)] == [73, 83]
    assert [sample_size(1000, n) for n in (10, 20, 50, 100)] == [368, 204, 86, 43]
    # the same tail, told the other way round: 39 of 50 meet one of 3 with 99 %, 38 do not
    assert caught(50, 3, 39) >= 0.99 > caught(50, 3, 38)
    assert caught(10, 3, 10, allowed=2) == 1 and caught(10, 3, 10, allowed=3) == 0
    assert caught(4, 9, 1) == 1 and caught(5, 1, 0) == 0
    assert falsified_of(200) == 10 and falsified_of(4) == 1
    assert 0.9 <= caught(189, 10, sample_size(189, 10, 0.9)) < 0.92
    n = sample_size(60, 7)
    assert hypergeom(60, 7, n).pmf(0) <= 0.01 < hypergeom(60, 7, n - 1).pmf(0)


@pytest.mark.parametrize(
    ("claimed", "fresh"), [((7, 8), (20, 100)), ((0, 9), (3, 5)), ((5, 5), (0, 7))]
)
def test_the_challenge_is_fishers_exact_test(claimed, fresh) -> None:
    table = [[fresh[0], fresh[1] - fresh[0]], [claimed[0], claimed[1] - claimed[0]]]
    expected = fisher_exact(table, alternative="less").pvalue
    assert fisher_less(claimed, fresh) == pytest.approx(expected)


def test_samples_lean_towards_claimed_successes() -> None:
    def rank(one: int) -> bytes:
        return bytes([one * 37 % 251])

    likely, others = list(range(100)), list(range(100, 200))
    chosen = stratified(likely, others, 40, rank)
    assert len(set(chosen)) == 40 and sum(one < 100 for one in chosen) == 30
    assert len(stratified(likely[:5], others, 40, rank)) == 40
    assert len(stratified([], others[:7], 40, rank)) == 7
    assert picked(likely, 3, rank) == sorted(likely, key=rank)[:3]


def test_only_other_keys_lift_a_level(stage: Stage, report: Report, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="others must attest"):
        attest(report, OWNER)
    where = find_submission(shutil.copytree(stage.honest.root, tmp_path / "copy"))
    checked = replace(report, level=0)
    path = write_attestation(where.attestations, report, VERIFIER)
    # a second key costs its owner nothing: nobody's word counts who was not named
    assert verdict_of(where, checked).level == "self"
    assert verdict_of(where, report).level == "rerun"
    assert verdict_of(where, checked, [VERIFIER.public]).level == "rerun"
    assert verdict_of(where, checked, [STRANGER.public]).level == "self"
    [said] = attestations(where, OWNER.public)
    assert (said.result, said.level, said.verifier) == ("accepted", "rerun", VERIFIER.public)
    assert said.card == read_card_file(where.run.card).digest
    with pytest.raises(CheckFailedError, match="own key"):
        read_attestation(path, VERIFIER.public)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(FormatError, match="is a link"):
        write_attestation(tmp_path / "link", report, VERIFIER)
    refuted = replace(report, verdict="refuted")
    write_attestation(where.attestations, replace(refuted, nonce="7" * 64), STRANGER)
    assert verdict_of(where, report).ok
    assert not verdict_of(where, report, [STRANGER.public]).ok
    text = path.read_text()
    path.write_text(text.replace(text[40:44], text[41:45], 1))
    assert len(attestations(where, OWNER.public)) == 1  # what does not hold says nothing
    where.run.card.write_bytes(where.run.card.read_bytes() + b"\n")
    assert attestations(where, OWNER.public) == ()


def test_a_leaderboard_is_checked_while_it_is_made(stage: Stage, tmp_path: Path, capsys) -> None:
    stage.suite.save(tmp_path / "suite.json")
    board = tmp_path / "board"
    shutil.copytree(stage.honest.root, board / "honest")
    boast = shutil.copytree(stage.honest.root, board / "boast") / "run" / "records" / TASK
    records = (boast / "agent.jsonl").read_bytes()
    (boast / "agent.jsonl").write_bytes(records.replace(b'"failure"', b'"success"', 1))
    (board / "empty" / "run").mkdir(parents=True)
    (board / "empty" / "run" / "scorecard.json").write_text("{}")
    words = ["proof", "leaderboard", str(board), "--out", str(tmp_path / "page.html"), "--json"]
    assert main([*words, "--suite", str(tmp_path / "suite.json"), "--workers", "1"]) == 0
    value = json.loads(capsys.readouterr().out)
    found = {one["name"]: (one["level"], one["ok"]) for one in value["cards"]}
    assert found == {"honest": ("replayed", True), "boast": ("self", False)}
    assert value["unreadable"][0].startswith("empty/run/scorecard.json")
    assert "Checked here: replayed." in (tmp_path / "page.html").read_text()


def test_a_leaderboard_shows_what_nobody_can_refute_or_decide(stage: Stage, tmp_path: Path) -> None:
    shown = leaderboard_verdict(stage.honest.run.card)  # its suite is not built in
    assert (shown.level, shown.ok) == ("self", True) and "decided" in shown.detail
    (tmp_path / "card.json").write_text("{}")
    assert not leaderboard_verdict(tmp_path / "card.json").ok


def test_an_agent_that_sees_what_policies_may_not_is_not_asked(stage: Stage) -> None:
    @dataclass(frozen=True)
    class Peeking(ModelSpec):
        def searching(self, world: WorldSpec) -> ModelPolicy:
            return replace(super().searching(world), observes=("truth",))

    spec = stage.agent.spec
    agent = replace(stage.agent, spec=Peeking(spec.folder, spec.planning))
    manifest = load_case(stage.honest, how(stage)).sources.manifests[TASK]
    with pytest.raises(ConfigError, match="asks for 'truth'"):
        Redoing(manifest, agent)()


def test_the_card_that_is_named_is_the_one_that_is_checked(stage: Stage, tmp_path: Path) -> None:
    honest = shutil.copytree(stage.honest.root, tmp_path / "copy")
    boast = honest / "scorecard.json"
    shutil.copy(honest / "run" / "scorecard.json", boast)
    assert find_submission(honest).run.card == honest / "run" / "scorecard.json"
    assert find_submission(boast).run.card == boast


def test_a_success_that_tells_of_an_error_is_refuted(stage: Stage, tmp_path: Path) -> None:
    forge = Forge.of(stage)
    records = forge.rows[TASK]["agent"]
    records[0] = replace(records[0], error="The policy raised RuntimeError: and went on")
    found = verify(forge.write(tmp_path / "told"), how(stage), (0,))
    assert [rule.name for rule in found.refuting] == ["records.counts"]


def test_a_crash_is_a_failure_in_the_record_and_in_the_card(stage: Stage, tmp_path: Path) -> None:
    forge = Forge.of(stage)
    crash(forge)
    where = forge.write(tmp_path / "crashed")
    found = verify(where, how(stage), (0, 1, 2))
    assert found.verdict == "accepted", found.refuting
    assert found.rows[0]["crashes"] == 1 and found.rows[0]["n"] == 4


def claimed(stage: Stage, folder: Path, kill_at: int = -1, workers: int = 1) -> Case:
    """Claim the stage's agent again: killed once, or with other processes."""
    run, book = RunFolder(folder / "run"), Book(folder / "ledger.jsonl", OWNER)
    commit = commit_agent(book.path, OWNER, stage.suite, stage.agent)
    reveal_commit(book.path, OWNER, commit.hash, nonce_reveal(commit.hash, VALUE, VERIFIER))

    class Killed(BaseException):
        pass

    def kill(done: int, total: int, note: str = "") -> None:
        if done == kill_at:
            raise Killed

    words = (run, book, commit.hash, stage.suite, stage.agent, workers)
    if kill_at >= 0:
        with pytest.raises(Killed):
            run_suite(*words, progress=kill, boundary=False)
    run_suite(*words, boundary=False)
    score_run(run, book, commit.hash, stage.suite, stage.agent)
    made = find_submission(run.path, stage.agent.folder, book.path)
    make_submission(made, folder / "handed-in", how(stage))
    return load_case(find_submission(folder / "handed-in"), how(stage))


def test_a_killed_run_goes_on_as_one_attempt_and_holds(stage: Stage, tmp_path: Path) -> None:
    case = claimed(stage, tmp_path, kill_at=2)
    found = verify(case.sources.where, how(stage), (0, 1, 2, 3))
    assert found.verdict == "accepted", found.refuting
    assert case.card.value["interruptions"] == 1 and case.card.value["attempts"]["k"] == 1
    assert case.sources.rows == {task: dict(row) for task, row in stage.rows.items()}


def test_settings_for_one_task_are_made_again_with_them(stage: Stage, tmp_path: Path) -> None:
    own = {stage.suite.tasks[0].name: {"length": 2}}
    agent = pack_agent(stage.agent.folder, stage.agent.spec, tmp_path / "tuned", own)
    case = claimed(replace(stage, agent=agent), tmp_path)
    found = verify(case.sources.where, how(stage), (0, 1, 2, 3))
    assert found.verdict == "accepted", found.refuting
    assert found.rows[0]["overrides"] == {"length": "2"}


def untimed(rows) -> dict:
    """Return records without the milliseconds they took."""
    return {
        task: {name: [replace(one, ms_per_decision=()) for one in row[name]] for name in row}
        for task, row in rows.items()
    }


@pytest.mark.slow
def test_records_do_not_depend_on_the_processes(stage: Stage, tmp_path: Path) -> None:
    # two of several: the profile that this process pretends to have is real in new processes only
    case, other = (claimed(stage, tmp_path / str(n), workers=n) for n in (3, 2))
    assert untimed(case.sources.rows) == untimed(other.sources.rows)
    found = verify(case.sources.where, how(stage, workers=2), (0, 1, 2, 3))
    assert found.verdict == "accepted", found.refuting


def test_a_submission_is_one_new_folder_that_holds(stage: Stage, tmp_path: Path) -> None:
    root = stage.honest.root
    names = {"README.md", "agent", "key.pub", "ledger.jsonl", "run", "verify.sh"}
    assert {path.name for path in root.iterdir()} == names
    assert (root / "verify.sh").stat().st_mode & 0o100
    assert "sh verify.sh" in (root / "README.md").read_text()
    made = find_submission(stage.folder / "claim" / "run", stage.agent.folder)
    with pytest.raises(ConfigError, match="a submission is never changed"):
        make_submission(made, root)
    other = find_submission(stage.folder / "claim" / "run", stage.other.folder)
    with pytest.raises(CheckFailedError, match="cannot be handed in"):
        make_submission(other, tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()


@pytest.mark.parametrize("profile", ["portable", "fast"])
def test_an_honest_run_holds_under_either_arithmetic(
    stage: Stage, tmp_path: Path, profile: str
) -> None:
    stage.suite.save(tmp_path / "suite.json")
    words = ["proof", "verify", str(stage.honest.root), "--suite", str(tmp_path / "suite.json")]
    program = Path(sys.executable).with_name("armillary")
    command = [program, *words, "--level", "2", "--json"]
    done = subprocess.run([*command, "--profile", profile], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    actions = next(rule for rule in value["rules"] if rule["name"] == "audit.actions")
    assert actions["detail"].count("same" if profile == "portable" else "other-isa") == 1


def test_the_commands_say_what_they_found(stage: Stage, tmp_path: Path, capsys) -> None:
    suite = tmp_path / "suite.json"
    stage.suite.save(suite)
    copy = shutil.copytree(stage.honest.root, tmp_path / "copy")
    make_key(tmp_path / "mine")
    words = ["proof", "verify", str(copy), "--suite", str(suite), "--nonce", NONCE, "--json"]
    assert main([*words, "--level", "2", "--key", str(tmp_path / "mine")]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["verdict"], value["reached"], value["nonce"]) == ("accepted", "audited", NONCE)
    assert len(list((copy / "attestations").glob("*.json"))) == 1
    assert main(["proof", "verify", str(copy), "--level", "0"]) == 4
    assert "undecided" in capsys.readouterr().out
    records = copy / "run" / "records" / TASK / "agent.jsonl"
    assert read_records(records)
    records.write_bytes(records.read_bytes().replace(b'"failure"', b'"success"', 1))
    assert main([*words, "--level", "0"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert "records.hashes" in {rule["name"] for rule in found["rules"] if rule["ok"] is False}
    (copy / "ledger.jsonl").write_text("{")
    assert main(words) == 2
    assert main(["proof", "verify", str(tmp_path / "nowhere")]) == 2
    assert "holds no scorecard.json" in capsys.readouterr().err
    assert main(["proof", "verify", str(copy), "--nonce", "12"]) == 2
    assert "64 lower-case hexadecimal digits" in capsys.readouterr().err
    assert main(["proof", "verify", str(copy), "--level", "7"]) == 2
