"""Leaderboard: a folder of submissions as one page, each of them checked while it is made."""

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
    """Check every submission of a folder and rank them on one static page.

    A card's level is that of the check made here, or what a key that you trust attested. What is
    not replayed stands in grey, what is refuted last. Exit code 0, whatever the cards are worth.

    e.g. armillary bench leaderboard results/proof --out out/leaderboard.html
    """

    folder: Positional[Path]
    """Folder with submissions, as NAME/run/scorecard.json, or runs, as NAME/scorecard.json."""
    out: Path = Path("out/leaderboard.html")
    """The page."""
    level: Literal[0, 1, 2] = 1
    """Checked here: 0 reads, 1 replays, 2 makes sampled decisions again."""
    trust: UseAppendAction[tuple[Path, ...]] = ()
    """Public key of a verifier whose attestations count; may be given several times."""
    suite: UseAppendAction[tuple[Path, ...]] = ()
    """A suite.json whose rules you trust, beside the built-in ones."""
    workers: int = 2
    """Processes; what is found does not depend on it."""

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
        from armillary.recipes.leaderboard import build_leaderboard

        trusted = tuple(map(load_public_key, self.trust))
        suites, levels = trusted_suites(self.suite), tuple(range(self.level + 1))

        with bar("checking") as progress:

            def verdict(card: Path) -> Verdict:
                how = How(suites=suites, workers=self.workers, progress=progress)
                return leaderboard_verdict(card, levels, trusted, how)

            command = again(self, "bench", "leaderboard")
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
