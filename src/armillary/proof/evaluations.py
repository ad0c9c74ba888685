"""Evaluations: what training data are held against: a manifest, a dataset, or quadruplets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count as count_from
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from armillary.core.errors import ConfigError
from armillary.data import open_dataset
from armillary.evaluation import Manifest, Record, make_manifest
from armillary.proof.code import QUADRUPLETS
from armillary.proof.contamination import Evaluation
from armillary.proof.footage import (
    Footage,
    dataset_footage,
    evaluation_footage,
    is_registered,
)
from armillary.proof.likeness import RUN
from armillary.proof.quadruplets.world import possible_clips
from armillary.understanding.suites.quadruplets import CONCEPTS, SEEDS, make_quadruplet

STEPS = 12  # the first pictures of an episode show best whose scene it is


def manifest_evaluation(
    manifest: Manifest, chance: int, records: Sequence[Record] = (), steps: int = STEPS
) -> Evaluation:
    """Return the evaluation of a manifest; independent episodes are drawn as it was drawn.

    Args:
        manifest: the evaluation's.
        chance: seed of the independent episodes; not to be known when training data are made.
        records: whose actions are walked for the exact hashes; of quadruplets they show nothing.
        steps: actions that the world's expert walks in each episode; clips are shown whole.

    Raises:
        ConfigError: fewer steps than a run of pictures needs, or records of another manifest.
    """
    if not RUN - 1 <= steps <= 10_000:
        raise ConfigError(
            f"A run of {RUN} pictures takes {RUN - 1} to 10000 steps of an episode; got {steps}."
        )
    if any(record.manifest != manifest.sha256 for record in records):
        raise ConfigError("The records belong to another manifest than the one that was given.")
    if manifest.world == QUADRUPLETS:
        return _clips_evaluation(manifest, chance)
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


def _clips_evaluation(manifest: Manifest, chance: int) -> Evaluation:
    """Return the evaluation of a manifest of quadruplets: its possible clips, by their pictures."""

    def clips(of: Manifest) -> Iterator[Footage]:
        for episode in of.episodes:
            for context, frames in enumerate(possible_clips(episode.seed)):
                yield _clip(f"{episode.id}, context {context}", frames)

    def independent(count: int) -> Iterator[Footage]:
        episodes = -(-count // 2)
        drawn = make_manifest(manifest.world, manifest.task, episodes, chance, manifest.settings)
        return islice(clips(drawn), count)

    name = f"manifest {manifest.sha256[:16]}"
    return Evaluation(name=name, episodes=lambda: clips(manifest), independent=independent)


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


def quadruplet_evaluation(
    count: int, chance: int, seed: int = SEEDS["test"], concepts: Sequence[str] = tuple(CONCEPTS)
) -> Evaluation:
    """Return a set of quadruplets as an evaluation: its possible clips, by their pictures alone.

    Impossible clips are made of the pictures of possible ones, so these are all there are.

    Args:
        count: quadruplets of each concept.
        chance: seed of the independent ones; not to be known when training data are made.
        seed: of the set; TEST's, or a model's FRESH.
        concepts: keys of ``CONCEPTS``.

    Raises:
        ConfigError: no quadruplets.
    """
    if count < 1:
        raise ConfigError(f"An evaluation needs at least 1 quadruplet of a concept; got {count}.")

    def clips(of_seed: int) -> Iterator[Footage]:
        for index in count_from(0):
            for concept in concepts:
                frames = make_quadruplet(concept, index, of_seed).frames
                for context in (0, 1):
                    yield _clip(f"{concept} {index}, context {context}", frames[context, context])

    return Evaluation(
        name=f"{count} quadruplets each of {len(concepts)} concepts, seed {seed}",
        episodes=lambda: islice(clips(seed), 2 * count * len(concepts)),
        independent=lambda number: islice(clips(chance), number),
    )


def _clip(name: str, frames: UInt8[np.ndarray, "T H W 3"]) -> Footage:
    return Footage(name=name, pictures=lambda: iter(frames))
