"""Verify: check somebody's result, level by level; attack the checks; hand in a result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional, UseAppendAction

from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command
from armillary.cli.progress import bar
from armillary.cli.proof import LEDGER
from armillary.core.errors import ConfigError

if TYPE_CHECKING:
    from armillary.proof.verify.verdict import Report

_SAID = {True: "holds", False: "does not hold", None: "cannot be decided here"}
_HEX = set("0123456789abcdef")


@dataclass(frozen=True, kw_only=True)
class _Check(Command):
    """What all checks of a submission have."""

    card: Positional[Path]
    """Folder of a submission or of a run, or a scorecard.json."""
    nonce: str = ""
    """64 hexadecimal digits that choose the samples; else they are drawn, and told."""
    agent: Path | None = None
    """The agent's folder, where it is not agent/ beside the run."""
    ledger: Path | None = None
    """The ledger, where it is not ledger.jsonl beside the run."""
    owner: Path | None = None
    """Public key that must have signed; else the ledger's own."""
    suite: UseAppendAction[tuple[Path, ...]] = ()
    """A suite.json whose rules you trust, beside the built-in ones."""
    arithmetic: Literal["", "same", "other-isa", "other-graphics", "bfloat16"] = ""
    """How far decisions may differ; empty: by what the claim's machine and this one share."""
    profile: Literal["", "portable", "fast"] = ""
    """Numeric profile to check under; empty: the suite's own. Under another, decisions may differ
    a little."""
    workers: int = 2
    """Processes; what is found does not depend on it."""
    key: Path | None = None
    """Your private key: signs what was found, into attestations/ of the submission."""

    def prepare(self) -> None:
        """Go on under the numeric profile to check under."""
        from armillary.proof.profiles import ensure, profile_of_suite

        ensure(self.profile or profile_of_suite(str(_suite_file(self.card))))

    def _checked(self, levels: tuple[int, ...], **how: Any) -> Outcome:
        """Verify, attest if a key was given, and show the rules."""
        from armillary.proof.keys import load_key
        from armillary.proof.verify.attestation import write_attestation
        from armillary.proof.verify.submission import find_submission
        from armillary.proof.verify.verdict import verify

        where = find_submission(self.card, self.agent, self.ledger)
        with bar("verifying") as progress:
            report = verify(where, self._how(progress=progress, **how), levels)
        lines = _lines(report)
        if self.key is not None:
            path = write_attestation(where.attestations, report, load_key(self.key))
            lines = (*lines, f"Signed: {path}")
        errors = tuple(f"{rule.name}: {rule.detail}" for rule in report.refuting)
        return Outcome(report.to_dict(), lines, exit_code=report.exit_code, errors=errors)

    def _how(self, **more: Any) -> Any:
        from armillary.proof.keys import load_public_key
        from armillary.proof.verify.case import How, trusted_suites

        given: dict[str, Any] = {"nonce": _nonce(self.nonce)} if self.nonce else {}
        owner = load_public_key(self.owner) if self.owner else None
        given |= {"arithmetic": self.arithmetic, "workers": self.workers, **more}
        return How(key=owner, suites=trusted_suites(self.suite), **given)


@dataclass(frozen=True, kw_only=True)
class Verify(_Check):
    """Check a result without trusting who made it.

    Level 0 reads, 1 replays all recorded actions in the world, 2 makes sampled decisions again
    with the agent, 3 runs sampled episodes again, 4 runs fresh ones. Exit code 0: it holds; 1:
    refuted; 2: damaged; 4: cannot be decided here.

    e.g. armillary bench verify results/proof/tabletop --level 2
    """

    level: int = 1
    """The highest level: 0 to 4; those below are checked first."""
    data: Path | None = None
    """Dataset that was trained on: it must not hold the test."""

    def run(self) -> Outcome:
        """Verify."""
        if not 0 <= self.level <= 4:
            raise ConfigError(f"There are levels 0 to 4; got {self.level}.")
        return self._checked(tuple(range(self.level + 1)), data=self.data)


@dataclass(frozen=True, kw_only=True)
class Audit(_Check):
    """Make sampled decisions again with the agent, and run sampled episodes again.

    e.g. armillary bench audit results/proof/tabletop --steps 200 --key verifier
    """

    steps: int = 40
    """Decisions that are made again."""
    episodes: int = 30
    """Episodes that are run again, from start to end; 0 leaves that out."""

    def run(self) -> Outcome:
        """Audit."""
        if self.steps < 1 or self.episodes < 0:
            raise ConfigError(
                f"An audit makes at least 1 decision again; got {self.steps} and {self.episodes}."
            )
        levels = (0, 1, 2, 3) if self.episodes else (0, 1, 2)
        return self._checked(levels, decisions=self.steps, episodes=self.episodes)


@dataclass(frozen=True, kw_only=True)
class Challenge(_Check):
    """Run the agent on episodes that do not exist before you draw your nonce.

    e.g. armillary bench challenge results/proof/tabletop --n 200
    """

    n: int = 200
    """Fresh episodes per task."""

    def run(self) -> Outcome:
        """Challenge."""
        if not 1 <= self.n <= 100_000:
            raise ConfigError(f"A challenge has 1 to 100000 episodes per task; got {self.n}.")
        return self._checked((0, 4), fresh=self.n)


@dataclass(frozen=True, kw_only=True)
class Attack(Command):
    """Attack the installed verifier with every known way to fudge, each beside an honest twin.

    Takes a minute or two. Exit code 1: an attack passed, or an honest twin did not.

    e.g. armillary bench attack --json
    """

    out: Path | None = None
    """Folder for what is planted; else it is removed afterwards."""

    def prepare(self) -> None:
        """Go on under the portable numeric profile."""
        from armillary.proof.profiles import ensure

        ensure("portable")

    def run(self) -> Outcome:
        """Attack."""
        from tempfile import TemporaryDirectory

        from armillary.proof.attack.suite import run_attacks

        if self.out is not None and self.out.exists() and any(self.out.iterdir()):
            raise ConfigError(f"{self.out}: is not empty; name a new folder.")
        with TemporaryDirectory() as spare, bar("attacking") as progress:
            outcomes = run_attacks(self.out or Path(spare), progress=progress)
        passed = [one for one in outcomes if not one.held]
        value = {one.attack.name: one.to_dict() for one in outcomes}
        said = (f"{len(outcomes) - len(passed)} of {len(outcomes)} attacks ended as they must.",)
        errors = tuple(f"{one.attack.name}: {_failed(one)}" for one in passed)
        rows = [_row(one) for one in outcomes]
        return Outcome(
            {"attacks": value, "passed": len(passed)}, said, rows, int(bool(passed)), errors
        )


@dataclass(frozen=True, kw_only=True)
class Submit(Command):
    """Put agent, run, ledger and public key into one folder that a stranger can check.

    e.g. armillary bench submit results/proof/mine --agent out/agent --run-folder out/proof/run
    """

    out: Positional[Path]
    """The new folder."""
    agent: Path
    """Folder of the agent."""
    run_folder: Path = Path("out/proof/run")
    """Folder of the run, with its scorecard."""
    ledger: Path = LEDGER
    """The ledger."""

    def run(self) -> Outcome:
        """Put it together."""
        from armillary.proof.verify.submission import find_submission
        from armillary.proof.verify.submitting import make_submission

        where = find_submission(self.run_folder, self.agent, self.ledger)
        report = make_submission(where, self.out)
        said = (
            f"{self.out}: {report.verdict} at level 0.",
            f"Check it with: sh {self.out}/verify.sh",
        )
        return Outcome({"path": self.out, **report.to_dict()}, said)


def _suite_file(card: Path) -> Path:
    """Return where the suite of a submission would be; whoever reads it finds what is wrong."""
    folders = (card / "run", card, card.parent)
    return next((f / "suite.json" for f in folders if (f / "suite.json").is_file()), card)


def _nonce(text: str) -> str:
    if len(text) != 64 or set(text) - _HEX:
        raise ConfigError("--nonce takes 64 lower-case hexadecimal digits.")
    return text


def _lines(report: Report) -> tuple[str, ...]:
    held = sum(rule.ok is True for rule in report.rules)
    head = (
        f"{report.verdict}: {held} of {len(report.rules)} rules hold; level {report.reached}, "
        f"{report.seconds:.1f} s, nonce {report.nonce}",
    )
    claims = tuple(
        f"  {row['task']}: {row['succ']} of {row['n']} are claimed, 95 % {row['ci95'][0]} to "
        f"{row['ci95'][1]}{_mark(row)}"
        for row in report.rows
    )
    if boundary := report.about.get("boundary"):
        claims += (f"  the agent's process, by its owner's word: {boundary}",)
    shown = (rule for rule in report.rules if rule.ok is not True or rule.level > 0)
    return (
        head
        + claims
        + tuple(
            f"  {rule.name} ({rule.severity}): {_SAID[rule.ok]}. {rule.detail}" for rule in shown
        )
    )


def _mark(row: Mapping[str, Any]) -> str:
    from armillary.proof.rows import tuned

    return f"; {tuned(row)}" if tuned(row) else ""


def _failed(one: Any) -> str:
    if not one.caught:
        return f"ended as {one.report.verdict}; {one.attack.expected} was to be."
    return f"is caught, but its honest twin was {one.twin.verdict}."


def _row(one: Any) -> dict[str, str]:
    found = one.to_dict()
    return {
        "attack": f"{found['number'] or ''} {one.attack.name}".strip(),
        "verdict": "exposed" if found["exposed_by"] else found["verdict"],
        "level": "" if found["level"] is None else str(found["level"]),
        "by": ", ".join(found["caught_by"][:3]) or found["exposed_by"][:60],
        "honest twin": one.twin.verdict,
    }
