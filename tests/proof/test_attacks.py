"""Every known way to fudge is caught, its honest twin is not, and every rule has its reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from stages import under_portable

from armillary.proof.attack.plan import Attack
from armillary.proof.attack.suite import ATTACKS, Arena
from armillary.proof.attack.teaching import TEACHING
from armillary.proof.verify.rules import Check
from armillary.proof.verify.verdict import CHECKS

NEEDED = [check for check in CHECKS if check.needed]
SLOW = {attack.name for attack in TEACHING}


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
