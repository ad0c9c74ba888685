"""Verify: check a result level by level, attack the verifier, submit a result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional, UseAppendAction

from armillary.cli.committing import LEDGER
from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command
from armillary.cli.progress import bar
from armillary.core.errors import ConfigError

if TYPE_CHECKING:
    from armillary.proof.verify.verdict import Report

_SAID = {True: "holds", False: "does not hold", None: "cannot be decided here"}
_HEX = set("0123456789abcdef")


@dataclass(frozen=True, kw_only=True)
class _Check(Command):
    """The options of all checks of a submission."""

    card: Positional[Path]
    """Folder of a submission or a run, or a scorecard.json."""
    nonce: str = ""
    """64 hexadecimal digits that select the samples. Default: drawn and printed."""
    agent: Path | None = None
    """Folder of the agent. Default: agent/ beside the run."""
    ledger: Path | None = None
    """File of the ledger. Default: ledger.jsonl beside the run."""
    owner: Path | None = None
    """Public key that must have signed. Default: that of the ledger."""
    suite: UseAppendAction[tuple[Path, ...]] = ()
    """A suite.json to trust beside the built-in suites."""
    arithmetic: Literal["", "same", "other-isa", "other-graphics", "bfloat16"] = ""
    """How far decisions may differ between the two machines. Default: found out."""
    profile: Literal["", "portable", "fast"] = ""
    """Numeric profile of the check. Default: that of the suite.
    Under another profile, decisions may differ slightly."""
    workers: int = 2
    """Number of processes. The result does not depend on it."""
    key: Path | None = None
    """Private key that signs the result, in attestations/ of the submission."""

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
    """Check a result without trusting its author.

    Level 0 reads the files. Level 1 replays all recorded actions in the world. Level 2 repeats
    sampled decisions of the agent. Level 3 repeats sampled episodes. Level 4 runs fresh episodes.

    The exit code is 0 if the result holds, 1 if it is refuted, 2 if files are damaged, and 4 if it
    cannot be decided here.

    The last line says how probably a claim that is five points too high would have been refuted.

    e.g. armillary proof verify results/proof/tabletop
    """

    level: int = 3
    """Highest level to check, 0 to 4. Lower levels are checked first. 1 needs no agent, 2 takes
    seconds, 3 minutes."""
    data: Path | None = None
    """Training dataset. It must not contain the test episodes."""

    def run(self) -> Outcome:
        """Verify."""
        if not 0 <= self.level <= 4:
            raise ConfigError(f"--level takes 0 to 4; got {self.level}.")
        return self._checked(tuple(range(self.level + 1)), data=self.data)


@dataclass(frozen=True, kw_only=True)
class Audit(_Check):
    """Repeat sampled decisions and sampled episodes with the agent.

    e.g. armillary proof audit results/proof/tabletop --steps 200 --key verifier
    """

    steps: int = 80
    """Number of decisions to repeat."""
    episodes: int | None = None
    """Number of whole episodes to repeat, 0 for none. Default: as many as refute a claim that is
    five points too high with 90 %."""

    def run(self) -> Outcome:
        """Audit."""
        if self.steps < 1 or (self.episodes is not None and self.episodes < 0):
            raise ConfigError(
                "--steps takes 1 or more, and --episodes 0 or more; got "
                f"{self.steps} and {self.episodes}."
            )
        levels = (0, 1, 2) if self.episodes == 0 else (0, 1, 2, 3)
        return self._checked(levels, decisions=self.steps, episodes=self.episodes)


@dataclass(frozen=True, kw_only=True)
class Challenge(_Check):
    """Run the agent on fresh episodes, which your own nonce selects.

    e.g. armillary proof challenge results/proof/tabletop --n 200
    """

    n: int = 200
    """Number of fresh episodes per task."""

    def run(self) -> Outcome:
        """Challenge."""
        if not 1 <= self.n <= 100_000:
            raise ConfigError(f"--n takes 1 to 100000 episodes per task; got {self.n}.")
        return self._checked((0, 4), fresh=self.n)


@dataclass(frozen=True, kw_only=True)
class Attack(Command):
    """Test the verifier with every known way to cheat, each beside an honest control.

    Takes some minutes. The exit code is 1 if an attack passed or an honest control failed.

    e.g. armillary proof attack --json
    """

    out: Path | None = None
    """Folder to keep the forged files in. Default: they are deleted."""

    def prepare(self) -> None:
        """Go on under the portable numeric profile."""
        from armillary.proof.profiles import ensure

        ensure("portable")

    def run(self) -> Outcome:
        """Attack."""
        from tempfile import TemporaryDirectory

        from armillary.proof.attack.suite import run_attacks
        from armillary.services.attacks import EVERY_ATTACK

        if self.out is not None and self.out.exists() and any(self.out.iterdir()):
            raise ConfigError(f"{self.out}: this folder is not empty; choose a new one with --out.")
        with TemporaryDirectory() as spare, bar("attacking") as progress:
            outcomes = run_attacks(self.out or Path(spare), EVERY_ATTACK, progress)
        passed = [one for one in outcomes if not one.held]
        value = {one.attack.name: one.to_dict() for one in outcomes}
        said = (f"{len(outcomes) - len(passed)} of {len(outcomes)} attacks ended as expected.",)
        errors = tuple(f"{one.attack.name}: {_failed(one)}" for one in passed)
        rows = [_row(one) for one in outcomes]
        return Outcome(
            {"attacks": value, "passed": len(passed)}, said, rows, int(bool(passed)), errors
        )


@dataclass(frozen=True, kw_only=True)
class Submit(Command):
    """Collect agent, run, ledger and public key in one folder that others can verify.

    e.g. armillary proof submit results/proof/mine --agent out/agent --run-folder out/proof/run
    """

    out: Positional[Path]
    """New folder of the submission."""
    agent: Path
    """Folder of the agent."""
    run_folder: Path = Path("out/proof/run")
    """Folder of the run with its scorecard."""
    ledger: Path = LEDGER
    """File of the ledger."""

    def run(self) -> Outcome:
        """Put it together."""
        from armillary.proof.verify.submission import find_submission
        from armillary.proof.verify.submitting import make_submission

        where = find_submission(self.run_folder, self.agent, self.ledger)
        report = make_submission(where, self.out)
        said = (
            f"{self.out}: {report.verdict} at level 0.",
            f"Verify it with: sh {self.out}/verify.sh",
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
        f"  {row['task']}: {row['succ']} of {row['n']} claimed, 95 % interval {row['ci95'][0]} to "
        f"{row['ci95'][1]}{_mark(row)}"
        for row in report.rows
    )
    if boundary := report.about.get("boundary"):
        claims += (f"  isolation of the agent, as its owner states it: {boundary}",)
    shown = (rule for rule in report.rules if rule.ok is not True or rule.level > 0)
    rules = tuple(
        f"  {rule.name} ({rule.severity}): {_SAID[rule.ok]}. {rule.detail}" for rule in shown
    )
    power = (
        "A claim 5 points too high, forged with care, would have been refuted with probability "
        f"{report.power:.2f}."
    )
    return head + claims + rules + (() if report.verdict == "malformed" else (power,))


def _mark(row: Mapping[str, Any]) -> str:
    from armillary.proof.rows import tuned

    return f"; {tuned(row)}" if tuned(row) else ""


def _failed(one: Any) -> str:
    if not one.caught:
        return f"ended as {one.report.verdict}; {one.attack.expected} was expected."
    return f"was caught, but its honest control was {one.twin.verdict}."


def _row(one: Any) -> dict[str, str]:
    found = one.to_dict()
    return {
        "attack": f"{found['number'] or ''} {one.attack.name}".strip(),
        "verdict": "exposed" if found["exposed_by"] else found["verdict"],
        "level": "" if found["level"] is None else str(found["level"]),
        "by": ", ".join(found["caught_by"][:3]) or found["exposed_by"][:60],
        "honest control": one.twin.verdict,
    }
