"""The attack suite: every attack against the installed verifier, and its honest twin beside it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from armillary.core.progress import Progress, silent
from armillary.proof.attack.acts import ACTS
from armillary.proof.attack.lies import LIES
from armillary.proof.attack.memorising import MEMORISING
from armillary.proof.attack.paper import PAPER
from armillary.proof.attack.plan import Attack, Planted, honest_twin
from armillary.proof.attack.stage import Stage, set_stage
from armillary.proof.attack.teaching import TEACHING
from armillary.proof.verify.case import How
from armillary.proof.verify.verdict import Report, verify

ATTACKS: tuple[Attack, ...] = tuple(
    sorted(
        (*PAPER, *LIES, *ACTS, *MEMORISING, *TEACHING),
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
            return bool(self.exposed_by) and not exposing(self.twin)
        return self.report.verdict == self.attack.expected

    @property
    def exposed_by(self) -> str:
        """The warning whose number shows it, and the number."""
        return exposing(self.report)

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


def exposing(report: Report) -> str:
    """Return which number of a report shows a router; empty where none does."""
    shown = [rule for rule in report.rules if rule.name == "audit.shared" and rule.ok is False]
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
        self._planted: dict[str, Planted] = {}
        self._reports: dict[tuple[Any, ...], Report] = {}

    def attack(self, attack: Attack, without: Collection[str] = ()) -> Report:
        """Return what the verifier says of an attack, with some rules left out."""
        return self._verified(self.plant(attack), attack.levels, without)

    def twin(self, attack: Attack) -> Report:
        """Return what the verifier says of an attack's honest twin."""
        planted = self._place(f"{attack.name}-twin", attack.twin or honest_twin)
        if attack.twin is None:  # the same freedom as the attack: fewer decisions, for example
            planted = replace(planted, how=self.plant(attack).how)
        return self._verified(planted, attack.levels, ())

    def plant(self, attack: Attack) -> Planted:
        """Return where an attack was planted; it is planted once."""
        return self._place(attack.name, attack.plant)

    def run(self, attack: Attack) -> Outcome:
        """Plant an attack and its twin and verify both."""
        return Outcome(attack, self.attack(attack), self.twin(attack))

    def _place(self, name: str, plant: Any) -> Planted:
        if name not in self._planted:
            self._planted[name] = plant(self.stage, self.folder / name)
        return self._planted[name]

    def _verified(
        self, planted: Planted, levels: tuple[int, ...], without: Collection[str]
    ) -> Report:
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
            self._reports[key] = verify(planted.where, How(**settings), levels, without)
        return self._reports[key]


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
