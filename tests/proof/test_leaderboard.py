"""A leaderboard computes everything anew, believes nobody, and survives any file."""

import hashlib
import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledgers import OWNER
from scipy.stats import binom

from armillary.core.errors import ConfigError, FormatError
from armillary.evaluation.records import Record, write_records
from armillary.proof.canonical import canonical_bytes
from armillary.proof.envelope import Statement, sign_statement
from armillary.proof.leaderboard import make_leaderboard
from armillary.proof.leaderboard_cards import Verdict, read_card, read_outcomes
from armillary.proof.rows import adjusted_lower, clopper_pearson, row_of
from armillary.proof.scorecard import PREDICATE_TYPE
from armillary.services.leaderboard import build_leaderboard

A, H = "a" * 64, "5" * 64


def record(task, index, success, limit=0.1):
    found = (0.05 if success else 0.5,)
    outcome = "success" if success else "failure"
    name = f"{task}-{index:05d}"
    return Record(name, index, index, H, "a", False, outcome, "", limit, found, (), ())


def some(task, solved, n):
    return tuple(record(task, index, index < solved) for index in range(n))


def card(folder, name, solved=(150, 120), n=200, value=H, attempts=1, sub="run", **more):
    """Write a run's folder as a submission has it: the card, and the agent's records."""
    run = folder / name / sub
    rows, files = [], {}
    for task, count in zip(("cross", "reach"), solved, strict=False):
        own = some(task, count, n)
        floors = {"random": some(task, n // 20, n), "noop": some(task, 0, n)}
        floors["oracle"] = some(task, n, n)
        path = run / "records" / task / "agent.jsonl"
        write_records(path, own)
        files[f"{task}/agent"] = hashlib.sha256(path.read_bytes()).hexdigest()
        rows.append(row_of(task, {"agent": own, **floors}, attempts, None))
    proven = {"seq": 0, "hash": H, "proof": []}
    fields = {
        "v": 1,
        "suite": {"id": "rooms", "digest": H, "headline": True},
        "agent": {"digest": A, "parameters": 1000},
        "rule": "none",
        "seed": {"kind": "nonce", "value": value, "label": "fresh"},
        "attempts": {"k": attempts, "failed": attempts - 1, "unopened": 0, "earlier": []},
        "rows": rows,
        "episodes": {"root": H, "count": n, "files": files},
        "manifests": {},
        "interruptions": 0,
        "data": None,
        "env": {},
        "ledger": {
            "genesis": H,
            "owner": OWNER.public.hex,
            "size": 9,
            "root": H,
            "inclusion": dict.fromkeys(("commit", "reveal", "run_start", "run_end"), proven),
        },
        "level": "self",
        **more,
    }
    sealed = sign_statement(Statement({"agent": A}, PREDICATE_TYPE, fields), OWNER)
    (run / "scorecard.json").parent.mkdir(parents=True, exist_ok=True)
    (run / "scorecard.json").write_bytes(canonical_bytes(sealed))
    return run / "scorecard.json"


def named(path):
    return path.parent.parent.name


def believing(level="replayed"):
    return lambda path: Verdict(level, True, "Replayed.")


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # section 4 of the house's reference, in per cent
    [(45, 50, 78, 97), (48, 50, 86, 99.5), (180, 200, 85, 94), (450, 500, 87, 92.5)],
)
def test_exact_intervals_known(successes, n, low, high):
    found = clopper_pearson(successes, n)
    assert 100 * found[0] == pytest.approx(low, abs=0.6)
    assert 100 * found[1] == pytest.approx(high, abs=0.6)


@given(st.integers(1, 300), st.data())
def test_exact_intervals_leave_the_tails_that_they_promise(n, data):
    k = data.draw(st.integers(0, n))
    low, high = clopper_pearson(k, n)
    assert 0 <= low <= k / n <= high <= 1
    assert k == 0 or binom.sf(k - 1, n, low) == pytest.approx(0.025, rel=1e-6)
    assert k == n or binom.cdf(k, n, high) == pytest.approx(0.025, rel=1e-6)


def test_the_best_of_many_attempts_is_worth_less():
    wanted = {(41, 50, 1): 70.7, (41, 50, 27): 61.9, (164, 200, 1): 76.9, (164, 200, 27): 73.0}
    for (successes, n, k), bound in wanted.items():
        assert 100 * adjusted_lower(successes, n, k) == pytest.approx(bound, abs=0.06)
    with pytest.raises(ConfigError, match=r"0\.\.n of n at least 1; got 3 of 0"):
        clopper_pearson(3, 0)


def test_what_a_card_claims_of_itself_is_not_taken_over(tmp_path):
    read = read_card(card(tmp_path, "a"))
    assert read.verdict.level == "self" and not read.believed
    assert read.rows[0].exact95 == clopper_pearson(150, 200)
    assert read.rows[0].normalised == pytest.approx((0.75 - 0.05) / 0.95)
    [board] = make_leaderboard(tmp_path).boards
    assert not board.cards[0].believed


def test_what_was_replayed_ranks_before_any_boast(tmp_path):
    card(tmp_path, "modest", (100, 100))
    card(tmp_path, "boast", (200, 200))
    card(tmp_path, "liar", (199, 199))
    said = {"modest": Verdict("audited", True), "liar": Verdict("challenged", False, "Refuted.")}
    [board] = make_leaderboard(
        tmp_path, lambda path: said.get(named(path), Verdict("self", True))
    ).boards
    assert [one.name for one in board.cards] == ["modest", "boast", "liar"]


def test_a_task_left_out_costs_its_place_and_attempts_cost_theirs(tmp_path):
    card(tmp_path, "whole", (150, 150))
    card(tmp_path, "half", (190,))
    card(tmp_path, "lucky", (150, 150), attempts=500)
    [board] = make_leaderboard(tmp_path, believing()).boards
    assert [one.name for one in board.cards] == ["whole", "lucky", "half"]
    assert board.tasks == ("cross", "reach")


def test_cards_of_one_reveal_are_paired_episode_by_episode(tmp_path):
    for name, solved in (("a", (150, 120)), ("b", (120, 120)), ("c", (150, 119))):
        card(tmp_path, name, solved)
    card(tmp_path, "other", value="6" * 64)
    # by their owners' words alone nobody solves more than another
    assert not make_leaderboard(tmp_path).boards[0].paired
    [board] = make_leaderboard(tmp_path, believing()).boards
    assert len(board.paired) == 6  # three pairs, two tasks; "other" ran other episodes
    found = {(one.first, one.second, one.task): one for one in board.paired}
    one = found["a", "b", "cross"]
    assert (one.only_first, one.only_second, one.n) == (30, 0, 200)
    assert one.p_value == pytest.approx(2 / 2**30)
    assert one.p_holm == pytest.approx(6 * one.p_value)
    assert found["a", "c", "cross"].p_holm == 1.0


def test_records_that_do_not_fit_the_card_are_told_and_not_compared(tmp_path):
    first, second = card(tmp_path, "a"), card(tmp_path, "b")
    path = second.parent / "records" / "cross" / "agent.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines(keepends=True)[0])
    read = read_card(second)
    with pytest.raises(FormatError, match="is not the file of records that the card names"):
        read_outcomes(read)
    [board] = make_leaderboard(tmp_path, believing()).boards
    assert board.paired == () and "is not the file" in board.unpaired[0]
    files = {"cross/agent": hashlib.sha256(path.read_bytes()).hexdigest()}
    with pytest.raises(FormatError, match="stands there twice"):
        read_outcomes(replace(read, files={**read.files, **files}))
    path.write_bytes(whole)
    fewer = replace(read.rows[0], succ=149)
    with pytest.raises(FormatError, match="do not add up to the counts"):
        read_outcomes(replace(read, rows=(fewer,)))
    path.unlink()
    path.symlink_to(first)
    with pytest.raises(FormatError, match="there is no such file"):
        read_outcomes(read)


def test_submissions_and_runs_are_read_where_they_are(tmp_path):
    card(tmp_path, "tycho", attempts=2), card(tmp_path, "brahe", (100, 100), sub=".")
    (tmp_path / "notes.json").write_text("{}")
    [board] = make_leaderboard(tmp_path, believing()).boards
    assert [(c.name, c.params, c.attempts, c.failed) for c in board.cards] == [
        ("tycho", 1000, 2, 1),
        ("brahe", 1000, 1, 0),
    ]
    assert board.cards[0].rows[0].floors["random"] == (10, 200)
    assert [(one.only_first, one.only_second) for one in board.paired] == [(50, 0), (20, 0)]


def broken(folder, **more):
    return card(folder, "bad", (1,), 10, **more)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": []}, "a list of 1 to 64 items"),
        ({"rows": "many"}, "a list of 1 to 64 items"),
        ({"agent": {"digest": 7, "parameters": 1}}, "text of at most 64"),
        ({"suite": None}, "an object was expected"),
        ({"interruptions": -1}, "an integer from 0"),
        ({"level": "challenged"}, "one of self"),
        ({"unknown": 1}, "unknown field"),
    ],
)
def test_a_card_that_cannot_be_is_one_sentence_and_the_others_stay(tmp_path, change, said):
    card(tmp_path, "good")
    with pytest.raises(FormatError, match=said):
        read_card(broken(tmp_path, **change))
    found = make_leaderboard(tmp_path)
    assert len(found.boards) == 1 and len(found.unreadable) == 1
    assert found.unreadable[0].startswith("bad/run/scorecard.json")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"task": "../../etc"}, "text like"),
        ({"n": 0}, "an integer from 1"),
        ({"succ": True}, "an integer from 0"),
        ({"succ": 11}, "more episodes solved than there are"),
        ({"controls": {"noop": {"n": 2, "succ": 3, "crashes": 0, "timeouts": 0}}}, "more episodes"),
        ({}, "a task has two rows"),
    ],
)
def test_a_row_that_cannot_be_is_one_sentence(tmp_path, change, said):
    row = row_of("cross", {"agent": some("cross", 1, 10)}, 1, None)
    rows = [{**row, **change}] * (1 if change else 2)
    with pytest.raises(FormatError, match=said):
        read_card(broken(tmp_path, rows=rows))


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda c: (
            st.lists(c)
            | st.dictionaries(st.sampled_from(["payload", "payloadType", "signatures"]), c)
        ),
    )
)
def test_no_json_breaks_the_reader(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("any") / "card.json"
    path.write_text(json.dumps(value))
    with pytest.raises(FormatError):
        read_card(path)


def test_a_card_that_is_too_large_and_a_folder_that_is_not_there(tmp_path):
    card(tmp_path, "big").write_bytes(b" " * (32 << 20) + b"{}")
    assert "larger than 33,554,432 bytes" in make_leaderboard(tmp_path).unreadable[0]
    with pytest.raises(FormatError, match="there is no such folder; one with scorecards"):
        make_leaderboard(tmp_path / "none")


class Tags(HTMLParser):
    """Collects what a page would load, and which parts are grey."""

    def __init__(self):
        super().__init__()
        self.loads, self.grey = [], 0

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag in ("script", "link", "iframe") or "src" in values:
            self.loads.append(tag)
        self.grey += tag == "tbody" and values.get("class") == "grey"


def test_the_page_loads_nothing_escapes_names_and_greys_the_unproven(tmp_path):
    card(tmp_path, "a")
    card(tmp_path, "b")
    evil = "<script>alert(1)<"
    card(tmp_path, evil)
    out = tmp_path / "page" / "index.html"
    believed = {"a": "replayed", "b": "replayed"}
    build_leaderboard(tmp_path, out, lambda path: Verdict(believed.get(named(path), "self"), True))
    text = out.read_text()
    tags = Tags()
    tags.feed(text)
    assert tags.loads == [] and tags.grey == 1
    assert evil not in text and "&lt;script&gt;alert(1)&lt;" in text
    for wanted in ("68.4 to 80.8 %", "n = 200", "1 attempt", "McNemar", "no-op"):
        assert wanted in text, wanted


def test_an_empty_folder_is_a_page_too(tmp_path):
    (tmp_path / "cards").mkdir()
    build_leaderboard(tmp_path / "cards", tmp_path / "page.html")
    assert "No scorecard could be read here." in (tmp_path / "page.html").read_text()
