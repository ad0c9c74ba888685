"""Submission: one folder that holds all that a stranger needs to check a result.

    agent/              the agent
    ledger.jsonl        the ledger of whoever made it
    run/                suite, environment, manifests, records and scorecard (``episodes.py``)
    key.pub             the owner's public key
    attestations/       what verifiers signed
    README.md, verify.sh

Nothing in it is executed, links are not followed, sizes are bounded before anything is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from armillary.core.errors import FormatError
from armillary.proof.episodes import RunFolder

MAX_RUN_BYTES = 1 << 30
MAX_AGENT_BYTES = 16 << 30
MAX_FILES = 2000
CARD = "scorecard.json"


@dataclass(frozen=True)
class Submission:
    """Where the parts of a submission are.

    Attributes:
        root: its folder.
        run: the run's folder.
        agent: the agent's folder.
        ledger: the ledger.
        key: the owner's public key; may be missing.
    """

    root: Path
    run: RunFolder
    agent: Path
    ledger: Path
    key: Path

    @property
    def attestations(self) -> Path:
        """What verifiers signed."""
        return self.root / "attestations"


def find_submission(
    path: Path, agent: Path | None = None, ledger: Path | None = None
) -> Submission:
    """Return the submission behind a folder or a scorecard.

    Args:
        path: a submission's folder, a run's folder, or its ``scorecard.json``.
        agent: the agent's folder, where it stands elsewhere.
        ledger: the ledger, where it stands elsewhere.

    Raises:
        FormatError: there is no scorecard, or the folder holds links or too much.
    """
    # who names a card means that card, whatever else lies in its folder
    run = path.parent if path.name == CARD else path
    if path.name != CARD and (run / "run" / CARD).is_file():
        run = run / "run"
    if not (run / CARD).is_file():
        raise FormatError(
            f"{path}: holds no {CARD}; a submission, a run's folder or a scorecard was expected."
        )
    root = run.parent
    agent = agent or root / "agent"
    _check_sizes(run, MAX_RUN_BYTES)
    _check_sizes(agent, MAX_AGENT_BYTES)
    found = Submission(
        root=root,
        run=RunFolder(run),
        agent=agent,
        ledger=ledger or root / "ledger.jsonl",
        key=root / "key.pub",
    )
    for beside in (found.ledger, found.key, found.attestations):
        _check_link(beside)  # one that leads nowhere would pass for a file that is not there
    return found


def _check_sizes(folder: Path, most: int) -> None:
    """Refuse links, and more than can be read here, before anything is opened."""
    _check_link(folder)
    total = 0
    for count, path in enumerate(folder.rglob("*"), start=1):
        _check_link(path)
        total += path.stat().st_size if path.is_file() else 0
        if count > MAX_FILES or total > most:
            raise FormatError(
                f"{folder}: more than {MAX_FILES} files or {most >> 20} MiB; refused."
            )


def _check_link(path: Path) -> None:
    if path.is_symlink():
        raise FormatError(f"{path}: is a link; links are not followed in a submission.")
