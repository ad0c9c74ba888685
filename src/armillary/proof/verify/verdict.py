"""Verdict: all rules of the wanted levels, and what follows from them."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from armillary.core.errors import ArmillaryError, MissingExtraError
from armillary.proof.canonical import digest
from armillary.proof.sandbox import NO_BOUNDARY
from armillary.proof.verify.audit import AUDIT, too_small
from armillary.proof.verify.case import Case, How, load_case
from armillary.proof.verify.challenging import CHALLENGE
from armillary.proof.verify.replaying import REPLAY
from armillary.proof.verify.rerunning import RERUN
from armillary.proof.verify.rules import Check, Rule, apply, unexpected
from armillary.proof.verify.static import STATIC
from armillary.proof.verify.submission import Submission
from armillary.proof.verify.training_data import DATA

Word = Literal["accepted", "refuted", "malformed", "undecided"]
EXIT_CODES: dict[Word, int] = {"accepted": 0, "refuted": 1, "malformed": 2, "undecided": 4}
CHECKS: tuple[Check, ...] = (*STATIC, *DATA, *REPLAY, *AUDIT, *RERUN, *CHALLENGE)
# By the highest checked level up to which everything holds. A challenge stands without replay and
# audit: whatever was invented, the rate then holds.
LEVELS = ("self", "replayed", "audited", "rerun", "challenged")
_AUDITED = 2
# The rule of a level that says whether it was large enough to be called checked.
_SIZED = {3: "rerun.power", 4: "challenge.power"}


@dataclass(frozen=True)
class Report:
    """What a verification found.

    Attributes:
        verdict: in a word.
        rules: in the order in which they were checked.
        level: the highest level up to which every checked rule holds; -1 for none.
        seconds: it took.
        nonce: that chose the samples.
        about: digests of card, agent and suite, and which arithmetic applied; empty where the
            submission could not be read.
        rows: that the card claims.
    """

    verdict: Word
    rules: tuple[Rule, ...]
    level: int
    seconds: float
    nonce: str
    about: dict[str, str]
    rows: tuple[dict[str, Any], ...] = ()

    @property
    def exit_code(self) -> int:
        """0 accepted, 1 refuted, 2 malformed, 4 undecided."""
        return EXIT_CODES[self.verdict]

    @property
    def reached(self) -> str:
        """The level in a word."""
        return LEVELS[self.level] if self.level >= 0 else "none"

    @property
    def power(self) -> float:
        """Probability that a claim five points too high would have been refuted by levels 0 to 3.

        Levels 0 and 1 refute none that its owner forged and signed with care: 0.
        """
        told = [r.values for r in self.rules if r.name in ("audit.power", "rerun.power")]
        return max((float(values["power"]) for values in told if values), default=0.0)

    @property
    def refuting(self) -> tuple[Rule, ...]:
        """Rules that do not hold and decide."""
        return tuple(r for r in self.rules if r.severity == "error" and r.ok is False)

    def rule(self, name: str) -> Rule:
        """Return a rule by name."""
        return next(rule for rule in self.rules if rule.name == name)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "level": self.level,
            "reached": self.reached,
            "power": self.power,
            "seconds": round(self.seconds, 3),
            "nonce": self.nonce,
            **self.about,
            "rows": list(self.rows),
            "rules": [asdict(rule) for rule in self.rules],
        }


def verify(
    where: Submission,
    how: How | None = None,
    levels: Collection[int] = (0, 1),
    without: Collection[str] = (),
) -> Report:
    """Check a submission, level by level; the first level that does not hold is the last.

    Args:
        where: its files.
        how: how it is checked; None draws a nonce and takes the defaults.
        levels: of 0 to 4.
        without: names of rules to leave out, which shows what they are good for.

    Raises:
        MissingExtraError: an optional package is needed.
    """
    began, how = time.perf_counter(), how or How()
    try:
        case = load_case(where, how)
    except MissingExtraError:
        raise
    except ArmillaryError as error:
        rule = Rule("format", "error", False, str(error), 0)
        return Report("malformed", (rule,), -1, time.perf_counter() - began, how.nonce, {})
    except Exception as error:  # as in ``apply``
        rule = Rule("format", "error", None, unexpected(error), 0)
        return Report("undecided", (rule,), -1, time.perf_counter() - began, how.nonce, {})
    rules, reached = _applied(case, sorted(set(levels)), without)
    return Report(
        verdict=_verdict(rules),
        rules=tuple(rules),
        level=reached,
        seconds=time.perf_counter() - began,
        nonce=how.nonce,
        about={
            "card": case.card.digest,
            "agent": case.sources.agent.digest,
            "suite": case.sources.suite.digest,
            "owner": case.sources.ledger.owner.hex,
            "arithmetic": case.arithmetic,
            "boundary": case.sources.env.get("boundary", NO_BOUNDARY),
        },
        rows=tuple(case.card.value["rows"]),
    )


def rules_digest() -> str:
    """Return the hash of the table of rules, so that an attestation says which were applied."""
    return digest([[one.name, one.level, one.severity] for one in CHECKS])


def _applied(case: Case, levels: Sequence[int], without: Collection[str]) -> tuple[list[Rule], int]:
    rules: list[Rule] = []
    reached = -1
    for level in levels:
        chosen = [one for one in CHECKS if one.level == level and one.name not in without]
        rules += [apply(check, case) for check in chosen]
        decisive = [rule.ok for rule in rules if rule.severity == "error"]
        if False in decisive:
            break
        weak = _too_weak(case, level, rules)
        reached = level if all(decisive) and not weak else reached
    return rules, reached


def _too_weak(case: Case, level: int, rules: Sequence[Rule]) -> bool:
    """Tell whether so little was checked that a level may not be called by its name."""
    if level == _AUDITED:
        made = all(rule.ok is not None for rule in rules if rule.name.startswith("audit."))
        return not made or too_small(case)
    name = _SIZED.get(level)
    return any(rule.name == name and rule.ok is not True for rule in rules)


def _verdict(rules: Sequence[Rule]) -> Word:
    decisive = [rule.ok for rule in rules if rule.severity == "error"]
    if False in decisive:
        return "refuted"
    return "undecided" if None in decisive or not decisive else "accepted"
