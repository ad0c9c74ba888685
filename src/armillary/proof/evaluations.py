"""Evaluations: what training data are held against, from a manifest or from a dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from armillary.control import Manifest, Record, make_manifest
from armillary.core.errors import ConfigError
from armillary.data import open_dataset
from armillary.proof.contamination import Evaluation
from armillary.proof.footage import (
    Footage,
    dataset_footage,
    evaluation_footage,
    is_registered,
)
from armillary.proof.likeness import RUN

STEPS = 12  # the first pictures of an episode show best whose scene it is


def manifest_evaluation(
    manifest: Manifest, chance: int, records: Sequence[Record] = (), steps: int = STEPS
) -> Evaluation:
    """Return the evaluation of a manifest; independent episodes are drawn as it was drawn.

    Args:
        manifest: the evaluation's.
        chance: seed of the independent episodes; not to be known when training data are made.
        records: whose actions are walked for the exact hashes.
        steps: actions that the world's expert walks in each episode.

    Raises:
        ConfigError: fewer steps than a run of pictures needs, or records of another manifest.
    """
    if not RUN - 1 <= steps <= 10_000:
        raise ConfigError(
            f"A run of {RUN} pictures takes {RUN - 1} to 10000 steps of an episode; got {steps}."
        )
    if any(record.manifest != manifest.sha256 for record in records):
        raise ConfigError("The records belong to another manifest than the one that was given.")
    acted = {record.id: record for record in records}

    def independent(count: int) -> Iterator[Footage]:
        drawn = make_manifest(
            manifest.world,
            manifest.task,
            count,
            chance,
            manifest.settings,
            manifest.budget,
            manifest.success_distance,
        )
        return evaluation_footage(drawn, steps=steps)

    known = is_registered(manifest.world, manifest.settings)
    return Evaluation(
        name=f"manifest {manifest.sha256[:16]}",
        episodes=lambda: evaluation_footage(manifest, steps=steps),
        independent=independent if known else None,
        acted=lambda: evaluation_footage(manifest, acted, manifest.budget) if acted else iter(()),
    )


def dataset_evaluation(path: Path, independent: Path | None = None) -> Evaluation:
    """Return the evaluation of a dataset; its goals are where its episodes end.

    Args:
        path: the dataset's folder.
        independent: a dataset of the same kind, recorded after the training data were made.

    Raises:
        ConfigError: the independent dataset is the evaluation itself.
        DatasetError: a dataset cannot be read.
    """
    opened = open_dataset(path)
    others = None if independent is None else open_dataset(independent)
    if others is not None and others.identity() == opened.identity():
        raise ConfigError(f"{independent}: is the evaluation itself; record others with new seeds.")

    def drawn(count: int) -> Iterator[Footage]:
        assert others is not None
        return islice(dataset_footage(others), count)

    return Evaluation(
        name=f"dataset {path}",
        episodes=lambda: dataset_footage(opened),
        independent=None if others is None else drawn,
    )
