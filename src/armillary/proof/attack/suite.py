"""The attack suite: every attack against the installed verifier, and its honest twin beside it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from armillary.core.errors import ArmillaryError
from armillary.core.progress import Progress, silent
from armillary.proof.attack.acts import ACTS
from armillary.proof.attack.hostile import HOSTILE
from armillary.proof.attack.lies import LIES
from armillary.proof.attack.memorising import MEMORISING
from armillary.proof.attack.order import ORDER
from armillary.proof.attack.paper import PAPER
from armillary.proof.attack.plan import Asked, Attack, Planted, honest_twin
from armillary.proof.attack.readers import READERS
from armillary.proof.attack.reported import REPORTED
from armillary.proof.attack.stage import Stage, set_stage
from armillary.proof.attack.teaching import TEACHING
from armillary.proof.verify.case import How
from armillary.proof.verify.rules import Rule
from armillary.proof.verify.submission import find_submission
from armillary.proof.verify.verdict import Report, Word, verify

ATTACKS: tuple[Attack, ...] = tuple(
    sorted(
        (*PAPER, *LIES, *ACTS, *MEMORISING, *TEACHING, *ORDER, *HOSTILE, *REPORTED, *READERS),
        key=lambda one: (one.number or 1000, one.name),
    )
)
_NONCE = "8" * 64
_DECISIONS, _FRESH = 20, 100


@dataclass(frozen=True)
class Outcome:
    """How one attack ended.

    Attributes:
        attack: which one.
        report: of what was planted.
        twin: of its honest twin.
    """

    attack: Attack
    report: Report
    twin: Report

    @property
    def caught(self) -> bool:
        """Whether it ended as it must: refuted, undecided, or exposed by a number."""
        if self.attack.expected == "exposed":
            return bool(self.exposed_by) and not exposing(self.twin, self.attack.shows)
        return self.report.verdict == self.attack.expected

    @property
    def exposed_by(self) -> str:
        """The warning whose number shows it, and the number."""
        return exposing(self.report, self.attack.shows)

    @property
    def held(self) -> bool:
        """Whether it ended as it must, and its honest twin was accepted."""
        return self.caught and self.twin.verdict == "accepted"

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        caught_by = [rule.name for rule in self.report.refuting]
        level = min((rule.level for rule in self.report.refuting), default=None)
        return {
            "number": self.attack.number,
            "about": self.attack.about,
            "refuted": self.report.verdict == "refuted",
            "verdict": self.report.verdict,
            "expected": self.attack.expected,
            "level": level,
            "caught_by": caught_by,
            "exposed_by": self.exposed_by,
            "twin_accepted": self.twin.verdict == "accepted",
            "held": self.held,
        }


def exposing(report: Report, name: str) -> str:
    """Return what a warning of a report shows; empty where it shows nothing."""
    shown = [rule for rule in report.rules if rule.name == name and rule.ok is False]
    return "; ".join(f"{rule.name}: {rule.detail}" for rule in shown)


class Arena:
    """A stage, and everything that was planted and verified on it so far.

    Args:
        folder: an empty one.
        boundary: as in ``run_suite``.
    """

    def __init__(self, folder: Path, boundary: bool = True) -> None:
        self.stage: Stage = set_stage(folder / "stage", boundary=boundary)
        self.folder = folder
        self._planted: dict[str, Planted | Asked] = {}
        self._reports: dict[tuple[Any, ...], Report] = {}

    def attack(self, attack: Attack, without: Collection[str] = ()) -> Report:
        """Return what the verifier says of an attack, with some rules left out."""
        return self._verified(self.plant(attack), attack.levels, without)

    def twin(self, attack: Attack) -> Report:
        """Return what the verifier says of an attack's honest twin."""
        planted, own = self._place(f"{attack.name}-twin", attack.twin or honest_twin), None
        if attack.twin is None:  # the same freedom as the attack: fewer decisions, for example
            own = self.plant(attack)
        if isinstance(own, Planted) and isinstance(planted, Planted):
            planted = replace(planted, how=own.how)
        return self._verified(planted, attack.levels, ())

    def again(self, attack: Attack) -> Report:
        """Return what is said of an attack now: nothing from before, and nothing for later."""
        self._reports.clear()
        try:
            return self.attack(attack)
        finally:
            self._reports.clear()

    def plant(self, attack: Attack) -> Planted | Asked:
        """Return where an attack was planted; it is planted once."""
        return self._place(attack.name, attack.plant)

    def run(self, attack: Attack) -> Outcome:
        """Plant an attack and its twin and verify both."""
        return Outcome(attack, self.attack(attack), self.twin(attack))

    def _place(self, name: str, plant: Any) -> Planted | Asked:
        if name not in self._planted:
            self._planted[name] = plant(self.stage, self.folder / name)
        return self._planted[name]

    def _verified(
        self, planted: Planted | Asked, levels: tuple[int, ...], without: Collection[str]
    ) -> Report:
        if isinstance(planted, Asked):
            return _answer(planted.answer)
        own = "suites" not in planted.how or planted.where == self.stage.honest
        suites = {"suites": (self.stage.suite,)} if own else {}
        how: Mapping[str, Any] = {**planted.how, **suites}
        key = (planted.where.root, levels, tuple(without), str(sorted(map(str, how.items()))))
        if key not in self._reports:
            settings: dict[str, Any] = {
                "nonce": _NONCE,
                "decisions": _DECISIONS,
                "fresh": _FRESH,
                **how,
            }
            self._reports[key] = _verified(planted.where.root, How(**settings), levels, without)
        return self._reports[key]


def _verified(folder: Path, how: How, levels: tuple[int, ...], without: Collection[str]) -> Report:
    """Return what the verifier says of a folder, as a stranger comes to it."""
    try:
        where = find_submission(folder)
    except ArmillaryError as error:
        return _answer(partial(_raise, error))
    return verify(where, how, levels, without)


def _raise(error: ArmillaryError) -> str:
    raise error


def _answer(answer: Callable[[], str]) -> Report:
    """Return what a reader says, as a report."""
    word: Word = "accepted"
    try:
        said = answer()
        word = "refuted" if said else word
    except ArmillaryError as error:
        said, word = str(error), "malformed"
    rule = Rule("reader", "error", word == "accepted", said or "Nothing is wrong.", 0)
    return Report(word, (rule,), -1, 0.0, _NONCE, {})


def run_attacks(
    folder: Path, attacks: Sequence[Attack] = ATTACKS, progress: Progress = silent
) -> list[Outcome]:
    """Run attacks and their twins against the installed verifier.

    Args:
        folder: an empty one.
        attacks: which ones.
        progress: told after each.

    Raises:
        ConfigError: this process is not under the suite's numeric profile.
    """
    arena = Arena(folder)
    outcomes = []
    for done, attack in enumerate(attacks, start=1):
        outcomes.append(arena.run(attack))
        progress(done, len(attacks), attack.name)
    return outcomes
