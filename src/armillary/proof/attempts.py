"""Attempts: how often somebody tried a suite, counted from the ledger.

Every commit is an attempt, whether its seeds were ever revealed or not, and whether its run ended
or not; the best of many tries is not what one try is worth.
"""

from __future__ import annotations

from dataclasses import dataclass

from armillary.proof.ledger import Ledger
from armillary.proof.order import Run


@dataclass(frozen=True)
class Attempts:
    """Attempts of a ledger's key at a suite.

    Attributes:
        k: commits, this one and later ones included.
        failed: runs that began and did not end.
        unopened: commits without a run.
        earlier: hashes of the commits before this one.
    """

    k: int
    failed: int
    unopened: int
    earlier: tuple[str, ...]


def attempts_of(ledger: Ledger, commit: str, size: int | None = None) -> Attempts:
    """Count the attempts at the suite of a commit.

    A suite is the same if its id or its digest is, so that a new version does not begin at 1.

    Args:
        ledger: all that the key ever did.
        commit: hash of the commit that is asked about.
        size: how many entries the ledger had; None for all that it has.

    Raises:
        ConfigError: there is no such commit.
    """
    this, size = ledger.find(commit), ledger.size if size is None else size
    suite = this.body["suite"]
    commits = [
        entry
        for entry in ledger.history.commits.values()
        if entry.seq < size
        and (
            entry.body["suite"]["id"] == suite["id"]
            or entry.body["suite"]["digest"] == suite["digest"]
        )
    ]
    begun = [run for run in ledger.history.runs.values() if run.start.seq < size]
    runs = {run.start.body["commit"]: run for run in begun}
    return Attempts(
        k=len(commits),
        failed=sum(one.hash in runs and not _ended(runs[one.hash], size) for one in commits),
        unopened=sum(one.hash not in runs for one in commits),
        earlier=tuple(one.hash for one in commits if one.seq < this.seq),
    )


def _ended(run: Run, size: int) -> bool:
    return run.end is not None and run.end.seq < size
