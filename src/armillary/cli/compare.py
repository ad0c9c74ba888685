"""Compare: record files of one manifest, every pair of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command


@dataclass(frozen=True, kw_only=True)
class Compare(Command):
    """Compare policies on the same episodes: McNemar and permutation tests, adjusted by Holm.

    e.g. armillary bench compare out/a/records.jsonl out/b/records.jsonl --json
    """

    records: Positional[tuple[Path, ...]]
    """Record files of the same manifest, two or more."""
    seed: int = 0
    """Seed of the bootstrap and the permutations."""

    def run(self) -> Outcome:
        """Compare every pair."""
        from armillary.proof.compare import compare_files, table

        pairs = compare_files(self.records, self.seed)
        value = {"pairs": [pair.to_dict() for pair in pairs], "seed": self.seed}
        said = "p: McNemar's exact test, and a permutation test of the final distances."
        return Outcome(value, (said,), table(pairs))
