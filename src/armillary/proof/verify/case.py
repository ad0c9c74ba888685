"""Case: a submission with its card, how it is to be checked, and what was found so far."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from armillary.core.progress import Progress, silent
from armillary.proof.builtin import BUILTIN, builtin_suite
from armillary.proof.keys import PublicKey
from armillary.proof.profiles import TOLERANCES, Tolerance, facts, tolerance_between
from armillary.proof.scorecard import CardFile, read_card_file
from armillary.proof.suite import Suite, load_suite
from armillary.proof.verify.sources import Sources, load_sources
from armillary.proof.verify.submission import Submission


@dataclass(frozen=True)
class How:
    """How a submission is checked.

    Attributes:
        nonce: 64 hexadecimal digits that whoever made the submission cannot have known; drawn here
            where none is given.
        key: the public key that must have signed; None takes the ledger's.
        suites: whose rules are trusted; None for the built-in ones.
        decisions: that the audit makes again, at most.
        episodes: that the re-run runs again, at most; None for as many as refute a claim that is
            five points too high with 90 %.
        fresh: new episodes per task of a challenge.
        arithmetic: a row of ``profiles.TOLERANCES``; empty chooses by what differs.
        data: training data that are held against the episodes; None leaves that out.
        draws: independent episodes that they are compared with.
        workers: processes.
        progress: told of the work.
    """

    nonce: str = field(default_factory=lambda: secrets.token_hex(32))
    key: PublicKey | None = None
    suites: tuple[Suite, ...] | None = None
    decisions: int = 80
    episodes: int | None = None
    fresh: int = 200
    arithmetic: str = ""
    data: Path | None = None
    draws: int = 400
    workers: int = 1
    progress: Progress = silent

    @property
    def trusted(self) -> tuple[Suite, ...]:
        """Suites whose rules are trusted."""
        return trusted_suites() if self.suites is None else self.suites


def trusted_suites(files: Sequence[Path] = ()) -> tuple[Suite, ...]:
    """Return the built-in suites, and those of ``suite.json`` files that the reader trusts.

    Raises:
        FormatError: a file is not a suite.
        ConfigError: a suite that cannot be.
    """
    return (*map(builtin_suite, BUILTIN), *map(load_suite, files))


@dataclass(frozen=True)
class Case:
    """What checks look at.

    Attributes:
        sources: everything but the card.
        card: the card.
        how: how it is checked.
    """

    sources: Sources
    card: CardFile
    how: How

    @cached_property
    def here(self) -> dict[str, str]:
        """What arithmetic depends on here."""
        return facts(self.sources.suite.drawn)

    @property
    def arithmetic(self) -> str:
        """Which row of tolerances applies between the claim and this machine."""
        if self.how.arithmetic:
            return self.how.arithmetic
        row = tolerance_between(self.sources.env, self.here)
        # The portable profile does not repeat convolutions to the bit on another processor: from an
        # EPYC to a Xeon actions differed by 1.5e-8, and 3 of 42 episodes ended otherwise.
        other = self.sources.env.get("flags") != self.here["flags"]
        return "other-isa" if row == "same" and other else row

    @property
    def tolerance(self) -> Tolerance:
        """How far a decision that is made again may be from the recorded one."""
        return TOLERANCES[self.arithmetic]

    def rank(self, purpose: str, *names: object) -> bytes:
        """Return what a sample is sorted by: a hash of the nonce and of what was signed."""
        parts = ("armillary-verify/1", purpose, self.how.nonce, self.card.digest, *names)
        return hashlib.sha256("|".join(map(str, parts)).encode()).digest()


def load_case(where: Submission, how: How) -> Case:
    """Read a submission with its card.

    Raises:
        FormatError: something is missing, damaged, or larger than is read here.
        ConfigError: a suite or a planner that cannot be.
        CheckpointError: the agent's folder is not one.
    """
    card = read_card_file(where.run.card)
    start = card.value["ledger"]["inclusion"]["run_start"]["hash"]
    return Case(load_sources(where, start), card, how)
