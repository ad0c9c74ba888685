"""Contam: does the training data contain the evaluation? And the index of a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from armillary.cli.outcome import Outcome, facts
from armillary.cli.parse import Command, existing
from armillary.cli.progress import bar
from armillary.core.errors import ConfigError

if TYPE_CHECKING:
    from armillary.proof.contamination import Evaluation
    from armillary.proof.contamination_rules import Rule

_SAID = {True: "holds", False: "does not hold", None: "cannot be decided here"}


@dataclass(frozen=True, kw_only=True)
class Contam(Command):
    """Check whether training data contains the evaluation.

    It compares exact hashes, seeds, groups, nearest neighbours and similar images. It cannot find
    training data that is not listed. Only fresh episodes can rule that out.

    The exit code is 0 if nothing was found, 1 if the data is contaminated, 2 if something cannot be
    read, and 4 if it cannot be decided here.

    e.g. armillary proof contam out/recording --manifest out/act/manifest.json --json
    """

    dataset: Positional[Path]
    """Training dataset."""
    manifest: Path | None = None
    """Manifest of the evaluation."""
    records: Path | None = None
    """Records of that manifest, to compare their trajectories too."""
    evaluation: Path | None = None
    """Dataset folder of the evaluation, in place of a manifest."""
    quadruplets: int | None = None
    """Number of test quadruplets per concept of `armillary understand`, in place of a manifest."""
    independent: Path | None = None
    """Newer dataset like the evaluation, to measure how similar chance alone is."""
    draws: int = 400
    """Number of independent episodes for that comparison."""
    seed: int | None = None
    """Seed of these draws. Default: a random one, which is printed."""
    training: Path | None = None
    """Records on training seeds, to compare with --fresh."""
    fresh: Path | None = None
    """Records on seeds that were not used in training."""

    def run(self) -> Outcome:
        """Check, and return named rules."""
        existing(self.dataset, "a dataset folder")
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
        lines = (f"{found.verdict}: {self.dataset} compared with {evaluation.name}, seed {seed}",)
        lines += tuple(f"  {r.name}: {_SAID[r.ok]}. {r.detail}" for r in found.rules)
        errors = tuple(f"{r.name}: {r.detail}" for r in found.rules if _decides(r))
        return Outcome(value, lines, exit_code=found.exit_code, errors=errors)

    def _evaluation(self, seed: int) -> Evaluation:
        from armillary.evaluation import read_records
        from armillary.proof.evaluations import (
            dataset_evaluation,
            manifest_evaluation,
            quadruplet_evaluation,
        )
        from armillary.proof.manifests import read_manifest

        given = (self.manifest, self.evaluation, self.quadruplets)
        if sum(one is not None for one in given) != 1:
            raise ConfigError(
                "A contamination check needs one of --manifest FILE, --evaluation DATASET and "
                "--quadruplets N."
            )
        for name, needs in (("records", "manifest"), ("independent", "evaluation")):
            if getattr(self, name) is not None and getattr(self, needs) is None:
                raise ConfigError(f"--{name} needs --{needs}, which was not given.")
        if self.quadruplets is not None:
            return quadruplet_evaluation(self.quadruplets, seed)
        if self.evaluation is not None:
            return dataset_evaluation(self.evaluation, self.independent)
        assert self.manifest is not None
        records = read_records(self.records) if self.records else ()
        return manifest_evaluation(read_manifest(self.manifest), seed, records)

    def _behaviour(self) -> tuple[Rule, ...]:
        from armillary.evaluation import read_records
        from armillary.proof.contamination_rules import behaviour_rule

        if self.training is None and self.fresh is None:
            return ()
        if self.training is None or self.fresh is None:
            raise ConfigError("--training and --fresh need each other: give both, or neither.")
        return (behaviour_rule(read_records(self.training), read_records(self.fresh)),)


@dataclass(frozen=True, kw_only=True)
class Index(Command):
    """Write an index of a dataset: Merkle roots of its hashes, and Croissant metadata.

    e.g. armillary proof index out/recording --out out/index
    """

    dataset: Positional[Path]
    """Dataset folder."""
    out: Path = Path("out/index")
    """Folder for data.json, data-episodes.jsonl and croissant.json."""
    url: str = ""
    """Download address for Croissant. Default: the path on this disk."""

    def run(self) -> Outcome:
        """Hash the dataset."""
        existing(self.dataset, "a dataset folder")
        from armillary.proof.data_manifest import data_digest, write_data_manifest

        with bar("hashing") as progress:
            value = write_data_manifest(self.dataset, self.out, self.url, progress)
        shown = {"digest": data_digest(value), **value}
        return Outcome(shown, facts({name: shown[name] for name in ("digest", "dataset", "roots")}))


def _decides(rule: Rule) -> bool:
    return rule.severity == "error" and rule.ok is not True
