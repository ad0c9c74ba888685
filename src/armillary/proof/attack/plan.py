"""Plan: one attack: what is planted, how far it is verified, and which rule must catch it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from armillary.proof.attack.stage import Stage
from armillary.proof.verify.submission import Submission

STATIC, REPLAY, AUDIT = (0,), (0, 1), (0, 1, 2)


@dataclass(frozen=True)
class Planted:
    """A submission, and what a verifier is shown or asks for beside it.

    Attributes:
        where: its files.
        how: fields of ``verify.case.How`` that differ from the stage's.
    """

    where: Submission
    how: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """A question to another reader of strangers' files than ``verify``.

    Attributes:
        answer: returns what is wrong, in a sentence, and an empty text where nothing is; raises
            ArmillaryError where the files are refused.
    """

    answer: Callable[[], str]


Plant = Callable[[Stage, Path], Planted | Asked]
Ending = Literal["refuted", "exposed", "undecided", "malformed"]


@dataclass(frozen=True)
class Attack:
    """One way to fudge.

    Attributes:
        name: its name.
        about: in a line.
        plant: writes it into a folder.
        levels: of verification that it meets.
        number: its place among the known frauds, which come first, 1 to 20; 0 for others.
        alone: the rule that is the only one to catch it; empty where several do.
        expected: ``exposed`` where a number shows it and nothing is refuted, ``malformed`` where
            the files are refused before anything is judged.
        twin: writes the honest twin; None for the stage's own honest run.
        shows: the warning whose number exposes it.
        guards: what refuses it and is no rule, as ``module:name``; without them it ends otherwise.
    """

    name: str
    about: str
    plant: Plant
    levels: tuple[int, ...] = STATIC
    number: int = 0
    alone: str = ""
    expected: Ending = "refuted"
    twin: Plant | None = None
    shows: str = "audit.shared"
    guards: tuple[str, ...] = ()


def honest_twin(stage: Stage, folder: Path) -> Planted:
    """Return the stage's own honest run."""
    return Planted(stage.honest)
