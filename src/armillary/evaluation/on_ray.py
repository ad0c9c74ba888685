"""Evaluation by actors of Ray: the records that ``evaluate`` writes, made on other machines.

It is a file of its own because ``evaluate.py`` is part of the code that signed results name.
"""

from __future__ import annotations

from pathlib import Path

from armillary.core.on_ray import run_on_ray
from armillary.core.progress import Progress, silent
from armillary.evaluation.evaluate import _groups, _Job, resume_records
from armillary.evaluation.manifest import Manifest
from armillary.evaluation.records import append_record, write_records
from armillary.evaluation.specs import PolicyFactory, identity_of
from armillary.evaluation.worlds import WorldFactory


def evaluate_on_ray(
    manifest: Manifest,
    policy_factory: PolicyFactory,
    out: Path,
    address: str | None = None,
    workers: int = 2,
    progress: Progress = silent,
) -> None:
    """Run every episode of a manifest that has no record yet, and write its record.

    The records are those of ``evaluate``, with one difference: an episode whose actor died is run
    again by another one, and is no crash.

    Args:
        manifest: the episodes and the rules.
        policy_factory: makes the actor. Where it names a folder, the machines must share it.
        out: JSON lines, as of ``evaluate``; only this process writes there.
        address: HOST:PORT of a cluster's head; None for this machine.
        workers: actors.
        progress: told after each episode.

    Raises:
        ConfigError: ``out`` belongs to another evaluation, Ray is not installed, or the cluster
            cannot be reached.
        WorldError: an actor died too often.
        StorageError: ``out`` cannot be written.
    """
    identity, batch = identity_of(policy_factory), getattr(policy_factory, "batch", 1)
    world = WorldFactory(manifest.world, manifest.settings)
    job = _Job(manifest, policy_factory, world, identity)
    done = resume_records(out, manifest, identity)
    todo = _groups(manifest, manifest.episodes, batch, done)
    for records in run_on_ray(address, job, todo, workers):
        for record in records:
            if record.id not in done:
                append_record(out, record)
            done[record.id] = record
            solved = sum(one.success for one in done.values())
            progress(len(done), len(manifest.episodes), f"{solved} solved")
    if todo:
        write_records(out, tuple(done[episode.id] for episode in manifest.episodes))
