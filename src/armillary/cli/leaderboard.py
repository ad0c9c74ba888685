"""Leaderboard: check a folder of submissions, and rank them on one page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional, UseAppendAction

from armillary.cli.again import again
from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command

if TYPE_CHECKING:
    from armillary.proof.leaderboard_cards import Card, Verdict


@dataclass(frozen=True, kw_only=True)
class Leaderboard(Command):
    """Check every submission of a folder, and rank them on one static page.

    The level of a card comes from the check made here, or from the attestation of a key that you
    trust. Cards that were not replayed are grey. Refuted cards come last. The exit code is 0 in
    every case.

    e.g. armillary proof leaderboard results/proof --out out/leaderboard.html
    """

    folder: Positional[Path]
    """Folder with NAME/run/scorecard.json or NAME/scorecard.json."""
    out: Path = Path("out/leaderboard.html")
    """File of the page."""
    level: Literal[0, 1, 2, 3] = 1
    """Level to check: 0 reads, 1 replays, 2 repeats sampled decisions, 3 sampled
    episodes."""
    trust: UseAppendAction[tuple[Path, ...]] = ()
    """Public key of a verifier to trust."""
    suite: UseAppendAction[tuple[Path, ...]] = ()
    """A suite.json to trust beside the built-in suites."""
    workers: int = 2
    """Number of processes. The result does not depend on it."""

    def prepare(self) -> None:
        """Go on under the portable numeric profile."""
        from armillary.proof.profiles import ensure

        ensure("portable")

    def run(self) -> Outcome:
        """Check, rank and write."""
        from armillary.cli.progress import bar
        from armillary.proof.keys import load_public_key
        from armillary.proof.verify.attestation import leaderboard_verdict
        from armillary.proof.verify.case import How, trusted_suites
        from armillary.services.leaderboard import build_leaderboard

        trusted = tuple(map(load_public_key, self.trust))
        suites, levels = trusted_suites(self.suite), tuple(range(self.level + 1))

        with bar("checking") as progress:

            def verdict(card: Path) -> Verdict:
                how = How(suites=suites, workers=self.workers, progress=progress)
                return leaderboard_verdict(card, levels, trusted, how)

            command = again(self, "proof", "leaderboard")
            found = build_leaderboard(self.folder, self.out, verdict, command=command)
        cards = [card for board in found.boards for card in board.cards]
        rows = [_shown(card) for card in cards]
        value = {
            "path": self.out,
            "cards": [_value(card) for card in cards],
            "unreadable": list(found.unreadable),
        }
        said = (f"{len(cards)} cards: {self.out}", *found.unreadable)
        return Outcome(value, said, rows)


def _value(card: Card) -> dict[str, Any]:
    rows = {row.task: {"n": row.n, "succ": row.succ} for row in card.rows}
    verdict = {"level": card.verdict.level, "ok": card.verdict.ok, "detail": card.verdict.detail}
    named = {"name": card.name, "suite": list(card.suite), "agent": card.agent}
    return {**named, **verdict, "attempts": card.attempts, "rows": rows}


def _shown(card: Card) -> dict[str, str]:
    solved = ", ".join(
        f"{row.task} {row.succ}/{row.n}{' (tuned)' if row.tuned else ''}" for row in card.rows
    )
    checked = card.verdict.level if card.verdict.ok else "refuted"
    return {"name": card.name, "suite": card.suite[0], "checked": checked, "solved": solved}
