"""Compare: record files of one manifest, every pair of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command


@dataclass(frozen=True, kw_only=True)
class Compare(Command):
    """Compare policies on the same episodes, with p-values.

    Success is compared by McNemar's exact test, final distances by a permutation test. The p-values
    are adjusted by Holm's method.

    e.g. armillary proof compare out/a/records.jsonl out/b/records.jsonl --json
    """

    records: Positional[tuple[Path, ...]]
    """Two or more record files of the same manifest."""
    seed: int = 0
    """Seed of the bootstrap and of the permutations."""

    def run(self) -> Outcome:
        """Compare every pair."""
        from armillary.proof.compare import compare_files, table

        pairs = compare_files(self.records, self.seed)
        value = {"pairs": [pair.to_dict() for pair in pairs], "seed": self.seed}
        said = "p-values: McNemar's exact test for success, a permutation test for final distances."
        return Outcome(value, (said,), table(pairs))
