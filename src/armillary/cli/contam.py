"""Contam: did training data hold what is evaluated? And the index that says what they hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from armillary.cli.outcome import Outcome, facts
from armillary.cli.parse import Command
from armillary.cli.progress import bar
from armillary.core.errors import ConfigError

if TYPE_CHECKING:
    from armillary.proof.contamination import Evaluation
    from armillary.proof.contamination_rules import Rule

_SAID = {True: "holds", False: "does not hold", None: "cannot be decided here"}


@dataclass(frozen=True, kw_only=True)
class Contam(Command):
    """Hold training data against an evaluation: exact hashes, seeds, groups, neighbours, likeness.

    Exit code 0: nothing found; 1: contaminated; 2: something cannot be read; 4: cannot be decided
    here. It cannot show data that nobody lists: only fresh episodes can.

    e.g. armillary bench contam out/recording --manifest out/act/manifest.json --json
    """

    dataset: Positional[Path]
    """Dataset folder that was trained on."""
    manifest: Path | None = None
    """Manifest of the evaluation."""
    records: Path | None = None
    """Records of that manifest: their trajectories are compared too."""
    evaluation: Path | None = None
    """The evaluation as a dataset folder, instead of a manifest."""
    quadruplets: int | None = None
    """So many quadruplets of each concept of `armillary understand`'s TEST, instead of a
    manifest."""
    independent: Path | None = None
    """Dataset folder like the evaluation, recorded since: says how near chance comes."""
    draws: int = 400
    """Independent episodes that are held against the training data for comparison."""
    seed: int | None = None
    """Seed of these draws; else one that nobody could have known. It is told, for repeating."""
    seen: Path | None = None
    """Records on seeds that were trained on, to be compared with --fresh."""
    fresh: Path | None = None
    """Records on seeds that were not trained on."""

    def run(self) -> Outcome:
        """Check, and return named rules."""
        import secrets
        from dataclasses import replace

        from armillary.data import open_dataset
        from armillary.proof.contamination import Thoroughness, check_contamination

        seed = secrets.randbits(40) if self.seed is None else self.seed
        how = Thoroughness(seed, self.draws)
        training, evaluation = open_dataset(self.dataset), self._evaluation(seed)
        behaviour = self._behaviour()
        with bar("comparing") as progress:
            found = check_contamination(training, evaluation, how, progress)
        found = replace(found, rules=(*found.rules, *behaviour))
        value = {"seed": seed, **found.to_dict(), "scorecard": found.for_scorecard()}
        lines = (f"{found.verdict}: {self.dataset} against {evaluation.name}, seed {seed}",)
        lines += tuple(f"  {r.name}: {_SAID[r.ok]}. {r.detail}" for r in found.rules)
        errors = tuple(f"{r.name}: {r.detail}" for r in found.rules if _decides(r))
        return Outcome(value, lines, exit_code=found.exit_code, errors=errors)

    def _evaluation(self, seed: int) -> Evaluation:
        from armillary.control import load_manifest, read_records
        from armillary.proof.evaluations import (
            dataset_evaluation,
            manifest_evaluation,
            quadruplet_evaluation,
        )

        given = (self.manifest, self.evaluation, self.quadruplets)
        if sum(one is not None for one in given) != 1:
            raise ConfigError(
                "A contamination check needs what is evaluated: --manifest FILE, "
                "--evaluation DATASET or --quadruplets N, one of the three."
            )
        for name, needs in (("records", "manifest"), ("independent", "evaluation")):
            if getattr(self, name) is not None and getattr(self, needs) is None:
                raise ConfigError(f"--{name} says something only beside --{needs}.")
        if self.quadruplets is not None:
            return quadruplet_evaluation(self.quadruplets, seed)
        if self.evaluation is not None:
            return dataset_evaluation(self.evaluation, self.independent)
        assert self.manifest is not None
        records = read_records(self.records) if self.records else ()
        return manifest_evaluation(load_manifest(self.manifest), seed, records)

    def _behaviour(self) -> tuple[Rule, ...]:
        from armillary.control import read_records
        from armillary.proof.contamination_rules import behaviour_rule

        if self.seen is None and self.fresh is None:
            return ()
        if self.seen is None or self.fresh is None:
            raise ConfigError("Behaviour is compared on both: give --seen and --fresh records.")
        return (behaviour_rule(read_records(self.seen), read_records(self.fresh)),)


@dataclass(frozen=True, kw_only=True)
class Index(Command):
    """Write what a dataset holds as Merkle roots of exact hashes: data.json, and as Croissant.

    e.g. armillary bench index out/recording --out out/index
    """

    dataset: Positional[Path]
    """Dataset folder."""
    out: Path = Path("out/index")
    """Folder for data.json, data-episodes.jsonl and croissant.json."""
    url: str = ""
    """Where the dataset can be fetched, for Croissant; else its place on this disk."""

    def run(self) -> Outcome:
        """Hash the dataset."""
        from armillary.proof.data_manifest import data_digest, write_data_manifest

        with bar("hashing") as progress:
            value = write_data_manifest(self.dataset, self.out, self.url, progress)
        shown = {"digest": data_digest(value), **value}
        return Outcome(shown, facts({name: shown[name] for name in ("digest", "dataset", "roots")}))


def _decides(rule: Rule) -> bool:
    return rule.severity == "error" and rule.ok is not True
