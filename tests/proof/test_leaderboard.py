"""A leaderboard computes everything anew, believes nobody, and survives any file."""

import base64
import hashlib
import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from armillary.core.errors import ConfigError, FormatError
from armillary.proof.leaderboard import make_leaderboard
from armillary.proof.leaderboard_cards import (
    Verdict,
    read_card,
    read_outcomes,
)
from armillary.proof.rows import adjusted_lower, clopper_pearson
from armillary.recipes.leaderboard import build_leaderboard


def card(folder, name, solved=(150, 120), n=200, beside=True, **more):
    rows = []
    lines = []
    for task, count in zip(("cross", "reach"), solved, strict=False):
        floors = {"random": [n // 20, n], "noop": [0, n], "oracle": [n, n]}
        rows.append({"task": task, "n": n, "succ": count, "controls": floors, "ci95": ["9", "9"]})
        lines += [{"id": f"{task}-{i:05d}", "success": i < count} for i in range(n)]
    value = {
        "suite": {"id": "rooms", "digest": "d1"},
        "agent": {"name": name, "digest": "a" * 64, "params": 1000},
        "seed": {"kind": "drand", "round": 7, "value": "c0ffee", "fresh": True},
        "attempts": {"k": 1, "aborted": 0, "earlier": []},
        "rows": rows,
        "level": "challenged",
        **more,
    }
    if beside:
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text)
    (folder / f"{name}.json").write_text(json.dumps(value))
    return folder / f"{name}.json"


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


def test_an_envelope_is_read_like_a_plain_card(tmp_path):
    plain = card(tmp_path, "a")
    statement = {"_type": "https://in-toto.io/Statement/v1", "predicate": read_json(plain)}
    payload = base64.b64encode(json.dumps(statement).encode()).decode()
    (tmp_path / "sealed.json").write_text(json.dumps({"payload": payload, "signatures": []}))
    assert read_card(tmp_path / "sealed.json").rows == read_card(plain).rows


def read_json(path):
    return json.loads(path.read_text())


def test_what_was_replayed_ranks_before_any_boast(tmp_path):
    card(tmp_path, "modest", (100, 100))
    card(tmp_path, "boast", (200, 200))
    card(tmp_path, "liar", (199, 199))
    said = {"modest": Verdict("audited", True), "liar": Verdict("challenged", False, "Refuted.")}
    [board] = make_leaderboard(
        tmp_path, lambda path: said.get(path.stem, Verdict("self", True))
    ).boards
    assert [one.agent[0] for one in board.cards] == ["modest", "boast", "liar"]


def test_a_task_left_out_costs_its_place_and_attempts_cost_theirs(tmp_path):
    card(tmp_path, "whole", (150, 150))
    card(tmp_path, "half", (190,))
    card(tmp_path, "lucky", (150, 150), attempts={"k": 500})
    [board] = make_leaderboard(tmp_path, believing()).boards
    assert [one.agent[0] for one in board.cards] == ["whole", "lucky", "half"]
    assert board.tasks == ("cross", "reach")


def test_cards_of_one_reveal_are_paired_episode_by_episode(tmp_path):
    for name, solved in (("a", (150, 120)), ("b", (120, 120)), ("c", (150, 119))):
        card(tmp_path, name, solved)
    card(tmp_path, "other", seed={"kind": "drand", "value": "another"})
    [board] = make_leaderboard(tmp_path, believing()).boards
    assert len(board.paired) == 6  # three pairs, two tasks; "other" ran other episodes
    found = {(one.first, one.second, one.task): one for one in board.paired}
    one = found["a", "b", "cross"]
    assert (one.only_first, one.only_second, one.n) == (30, 0, 200)
    assert one.p_value == pytest.approx(2 / 2**30)
    assert one.p_holm == pytest.approx(6 * one.p_value)
    assert found["a", "c", "cross"].p_holm == 1.0


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"id": "reach-00000", "success": false}', "stands there twice"),
        ('{"id": "reach-99999", "success": true}', "not add up to the counts"),
        ('{"id": "reach-99999", "success": 1}', "not an outcome"),
        ("[]", "not an outcome"),
        ("nonsense", "not an outcome"),
    ],
)
def test_outcomes_that_do_not_fit_the_card_are_told_and_not_compared(tmp_path, line, reason):
    card(tmp_path, "a"), card(tmp_path, "b")
    with (tmp_path / "b.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(FormatError, match=reason):
        read_outcomes(read_card(tmp_path / "b.json"))
    [board] = make_leaderboard(tmp_path, believing()).boards
    assert board.paired == () and reason in board.unpaired[0]


def test_outcomes_must_be_the_file_that_the_card_names(tmp_path):
    path = card(tmp_path, "a", episodes={"root": "E", "file": "0" * 64})
    with pytest.raises(FormatError, match="is not the file of outcomes that the card names"):
        read_outcomes(read_card(path))
    right = hashlib.sha256((tmp_path / "a.jsonl").read_bytes()).hexdigest()
    named = card(tmp_path, "a", episodes={"root": "E", "file": right})
    assert sum(read_outcomes(read_card(named))["cross"].values()) == 150
    alone = card(tmp_path, "alone", beside=False)
    with pytest.raises(FormatError, match="has no file of outcomes"):
        read_outcomes(read_card(alone))


def run_folder(folder, name, solved, task="reach"):
    """Write a run's folder: the card in an envelope, the records by task."""
    place = folder / name / "records" / task
    place.mkdir(parents=True)
    lines = [
        {"body": {"id": f"{task}-{i:05d}", "outcome": "success" if i < solved else "timeout"}}
        for i in range(200)
    ]
    (place / "agent.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    sha256 = hashlib.sha256((place / "agent.jsonl").read_bytes()).hexdigest()
    counts = {"n": 200, "succ": solved, "crashes": 0, "timeouts": 200 - solved}
    value = {
        "suite": {"id": "rooms", "digest": "d1", "headline": True},
        "agent": {"digest": "a" * 64, "parameters": 7},
        "seed": {"kind": "nonce", "value": "c0ffee", "label": "fresh"},
        "attempts": {"k": 2, "failed": 1, "unopened": 0, "earlier": []},
        "rows": [{"task": task, **counts, "controls": {"random": counts | {"succ": 3}},
                  "budget": {"limit": None}}],
        "episodes": {"root": "E", "count": 200, "files": {f"{task}/agent": sha256}},
    }  # fmt: skip
    payload = base64.b64encode(json.dumps({"predicate": value}).encode()).decode()
    (folder / name / "scorecard.json").write_text(json.dumps({"payload": payload}))
    return folder / name / "scorecard.json"


def test_runs_are_read_where_they_were_made(tmp_path):
    run_folder(tmp_path, "tycho", 150), run_folder(tmp_path, "brahe", 100)
    [board] = make_leaderboard(tmp_path, believing()).boards
    assert [(c.agent[0], c.params, c.attempts, c.aborted) for c in board.cards] == [
        ("tycho", 7, 2, 1),
        ("brahe", 7, 2, 1),
    ]
    assert board.cards[0].rows[0].floors == {"random": (3, 200)}
    assert [(one.only_first, one.only_second) for one in board.paired] == [(50, 0)]
    with (tmp_path / "brahe" / "records" / "reach" / "agent.jsonl").open("a") as file:
        file.write("\n")
    [board] = make_leaderboard(tmp_path, believing()).boards
    assert "is not the file of outcomes that the card names" in board.unpaired[0]


def test_a_task_name_cannot_lead_out_of_the_folder(tmp_path):
    card_ = read_card(run_folder(tmp_path, "tycho", 150, "x"))
    for name in ("..", "../../etc", "a/b", ""):
        rows = (replace(card_.rows[0], task=name),)
        with pytest.raises(FormatError, match="is refused in a path"):
            read_outcomes(replace(card_, rows=rows))


@pytest.mark.parametrize(
    "change",
    [
        {"rows": []},
        {"rows": [{"task": "t", "n": 10, "succ": 11}]},
        {"rows": [{"task": "t", "n": 0, "succ": 0}]},
        {"rows": [{"task": "t", "n": 10, "succ": True}]},
        {"rows": [{"task": "t", "n": 10, "succ": 1.5}]},
        {"rows": [{"task": "t", "n": 10, "succ": 1, "controls": {"random": [3]}}]},
        {"rows": [{"task": "t", "n": 10, "succ": 1, "controls": {"random": [3, 2]}}]},
        {"rows": [{"task": "t", "n": 10, "succ": 1}] * 2},
        {"rows": [{"task": "t", "n": 10, "succ": 1}] * 201},
        {"rows": "many"},
        {"agent": {"digest": 7}},
        {"agent": []},
        {"suite": None},
        {"attempts": {"k": -1}},
        {"attempts": {"k": 10**30}},
        {"seed": {"kind": "drand"}},
    ],
)
def test_a_card_that_cannot_be_is_one_sentence_and_the_others_stay(tmp_path, change):
    card(tmp_path, "good")
    card(tmp_path, "bad", **change)
    with pytest.raises(FormatError, match="not a scorecard"):
        read_card(tmp_path / "bad.json")
    found = make_leaderboard(tmp_path)
    assert len(found.boards) == 1 and len(found.unreadable) == 1
    assert found.unreadable[0].startswith("bad.json: not a scorecard")


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda c: (
            st.lists(c)
            | st.dictionaries(
                st.sampled_from(
                    ["suite", "agent", "rows", "seed", "digest", "payload", "predicate"]
                ),
                c,
            )
        ),
    )
)
def test_no_json_breaks_the_reader(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("any") / "card.json"
    path.write_text(json.dumps(value))
    with pytest.raises(FormatError):
        read_card(path)


def test_a_card_that_is_too_large_and_a_folder_that_is_not_there(tmp_path):
    (tmp_path / "big.json").write_bytes(b" " * (4 << 20) + b"{}")
    assert "larger than 4 MiB" in make_leaderboard(tmp_path).unreadable[0]
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
    evil = "<script>alert(1)</script>"
    card(tmp_path, "b", agent={"name": evil, "digest": "b"})
    out = tmp_path / "page" / "index.html"
    build_leaderboard(
        tmp_path, out, lambda path: Verdict("replayed" if path.stem == "a" else "self", True)
    )
    text = out.read_text()
    tags = Tags()
    tags.feed(text)
    assert tags.loads == [] and tags.grey == 1
    assert evil not in text and "&lt;script&gt;" in text
    for wanted in ("68.4 to 80.8 %", "n = 200", "1 attempt", "McNemar", "no-op"):
        assert wanted in text, wanted


def test_an_empty_folder_is_a_page_too(tmp_path):
    (tmp_path / "cards").mkdir()
    build_leaderboard(tmp_path / "cards", tmp_path / "page.html")
    assert "No scorecard could be read here." in (tmp_path / "page.html").read_text()
