"""Every known way to fudge is caught, its honest twin is not, and every rule has its reason."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from stages import under_portable

from armillary.proof.attack.hostile import HOSTILE
from armillary.proof.attack.plan import Attack
from armillary.proof.attack.stage import attack_suite
from armillary.proof.attack.suite import Arena
from armillary.proof.attack.teaching import TEACHING
from armillary.proof.canonical import parse_json
from armillary.proof.suite import Suite, Task
from armillary.proof.verify.rules import FAULT, Check
from armillary.proof.verify.verdict import CHECKS
from armillary.services.attacks import EVERY_ATTACK as ATTACKS

NEEDED = [check for check in CHECKS if check.needed]
BEFORE = {"agent_per_row", "last_actions"}  # caught by several rules at once
SLOW = {*(attack.name for attack in TEACHING), "report_made_up"}
# Of these, attacks of today that were not among the first.
FIRST = 62
GUARDED = [attack for attack in ATTACKS if attack.guards]
# A pipe without its check would be waited at for ever.
UNGUARDED = {"a_pipe"}


def no_check(*arguments: Any, **options: Any) -> None:
    """Stands for a check that is not made."""


class NoShape:
    check = staticmethod(no_check)


class Everything(tuple):
    def __contains__(self, name: object) -> bool:
        return True


def unchecked_suite(path: Path) -> Suite:
    value = json.loads(path.read_bytes())
    return replace(attack_suite(), tasks=tuple(Task(**task) for task in value["tasks"]))


def cards_that_are_files(folder: Path) -> list[Path]:
    cards = (folder / place for place in ("run/scorecard.json", "scorecard.json"))
    return [card for card in cards if card.is_file()]


# What stands in the place of a guard that is switched off; ``no_check`` for all others.
OFF: dict[str, Any] = {
    "armillary.proof.keys:small_order": lambda raw: False,
    "armillary.proof.canonical:_object": dict,
    "armillary.proof.canonical:_refuse": float,
    "armillary.proof.canonical:_integer": int,
    "armillary.proof.verify.records:_CARRY": NoShape,
    "armillary.proof.agent:FILES": Everything(),
    "armillary.proof.scorecard:parse_canonical": parse_json,
    "armillary.proof.envelope:from_base64": lambda text, where: base64.b64decode(text),
    "armillary.proof.verify.sources:load_suite": unchecked_suite,
    "armillary.proof.verify.attestation:shown_level": lambda one, rows: one.level,
    "armillary.proof.verify.attestation:utc_now": lambda ahead: "9999-12-31T23:59:59Z",
    "armillary.proof.verify.attestation:_is_about": lambda one, card: True,
    "armillary.proof.verify.verdict:_too_weak": lambda case, level, rules: False,
    "armillary.proof.leaderboard:_entries": cards_that_are_files,
    "armillary.data.verify:_without_hash": lambda dataset: (),
    "armillary.data.layout:ABOUT": "nothing",
    "armillary.data.layout:is_inside": lambda name: True,
    "armillary.data.ingest:_is_alive": lambda process: True,
    "armillary.services.acting:alone_in": lambda *arguments: nullcontext(),
}


def switch_off(guard: str, patch: pytest.MonkeyPatch) -> None:
    module, _, name = guard.partition(":")
    home: Any = import_module(module)
    *outer, last = name.split(".")
    for part in outer:
        home = getattr(home, part)
    patch.setattr(home, last, OFF.get(guard, no_check))


def marked(attack: Attack) -> object:
    marks = [pytest.mark.slow] if attack.name in SLOW else []
    return pytest.param(attack, marks=marks, id=attack.name)


def rule_marked(check: Check) -> object:
    marks = [pytest.mark.slow] if check.name.startswith("data.") else []
    return pytest.param(check, marks=marks, id=check.name)


@pytest.fixture(scope="module")
def arena(tmp_path_factory) -> Iterator[Arena]:
    with under_portable():
        yield Arena(tmp_path_factory.mktemp("arena"), boundary=False)


@pytest.mark.parametrize("attack", [marked(attack) for attack in ATTACKS])
def test_an_attack_is_caught_and_its_honest_twin_is_accepted(arena: Arena, attack: Attack) -> None:
    outcome = arena.run(attack)
    assert outcome.caught, outcome.to_dict()
    assert [rule for rule in outcome.report.rules if FAULT in rule.detail] == []
    assert outcome.twin.verdict == "accepted", outcome.twin.refuting


@pytest.mark.parametrize("check", [rule_marked(check) for check in NEEDED])
def test_without_a_rule_an_attack_passes(arena: Arena, check: Check) -> None:
    alone = [attack for attack in ATTACKS if attack.alone == check.name]
    assert alone, f"no attack shows what {check.name} is good for"
    for attack in alone:
        against = [
            rule.name
            for rule in arena.attack(attack).rules
            if rule.severity == "error" and rule.ok is not True
        ]
        assert against == [check.name]
        assert arena.attack(attack, without=(check.name,)).verdict == "accepted"


@pytest.mark.parametrize("attack", GUARDED, ids=lambda attack: attack.name)
def test_without_its_guards_an_attack_ends_otherwise(
    arena: Arena, attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    arena.plant(attack)
    for guard in attack.guards:
        switch_off(guard, monkeypatch)
    try:
        verdict = arena.again(attack).verdict
    except Exception:  # a traceback where there was a sentence
        verdict = "traceback"
    assert verdict != attack.expected


@pytest.mark.parametrize(
    "attack",
    [one for one in HOSTILE if one.expected == "refuted" and not one.alone],
    ids=lambda attack: attack.name,
)
def test_without_all_rules_that_catch_it_an_attack_passes(arena: Arena, attack: Attack) -> None:
    report, off = arena.attack(attack), set[str]()
    while report.verdict == "refuted":
        off |= {rule.name for rule in report.refuting}
        report = arena.attack(attack, without=sorted(off))
    assert off and report.verdict == "accepted"


def test_every_attack_has_a_rule_or_a_guard_that_can_be_switched_off() -> None:
    first = {attack.name for attack in ATTACKS if attack.number or attack.name in BEFORE}
    swept = {attack.name for attack in HOSTILE if attack.expected == "refuted"}
    told = {attack.name for attack in ATTACKS if attack.expected == "exposed"}
    known = first | swept | told | UNGUARDED
    lone = [one.name for one in ATTACKS if not (one.alone or one.guards or one.name in known)]
    assert lone == []
    assert len(ATTACKS) >= FIRST + 40


def test_the_twenty_of_the_list_are_all_there() -> None:
    assert sorted(attack.number for attack in ATTACKS if attack.number) == list(range(1, 21))
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)
    assert {attack.alone for attack in ATTACKS} - {""} <= {check.name for check in NEEDED}


def test_a_router_is_exposed_by_a_number_and_not_refuted(arena: Arena) -> None:
    [router] = [attack for attack in ATTACKS if attack.name == "router"]
    outcome = arena.run(router)
    shared, honest = (report.rule("audit.shared") for report in (outcome.report, outcome.twin))
    assert outcome.report.verdict == "accepted" and shared.ok is False and honest.ok is True
    assert outcome.to_dict()["exposed_by"].startswith("audit.shared: ")
