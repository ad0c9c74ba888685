"""Evaluate: run a manifest's episodes with one actor; the only way to get a number.

Records do not depend on the number of processes nor on the order of episodes: every episode has
its own chance, every decision is a batch of its own, and all arithmetic runs on one thread. A
policy that wants to act for N episodes at once gets them N at a time as the manifest lists them;
it says so in its identity, since the shape of a batch can change the last bits of a decision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from armillary.core.errors import ConfigError
from armillary.core.processes import Died, one_thread, run_in_processes
from armillary.core.progress import Progress, silent
from armillary.core.protocols import World
from armillary.evaluation.episode import check_actor, crash_record
from armillary.evaluation.lockstep import run_episodes
from armillary.evaluation.manifest import EpisodeSpec, Manifest
from armillary.evaluation.records import Record, append_record, read_records, write_records
from armillary.evaluation.specs import PolicyFactory, identity_of
from armillary.evaluation.worlds import WorldFactory, WorldSource

# Episodes that run side by side.
_Group = tuple[EpisodeSpec, ...]


def evaluate(
    manifest: Manifest,
    policy_factory: PolicyFactory,
    world_factory: WorldSource | None = None,
    workers: int = 1,
    progress: Progress = silent,
    out: Path | None = None,
    order: Sequence[int] | None = None,
) -> tuple[Record, ...]:
    """Run every episode of a manifest and return its records, in the manifest's order.

    Args:
        manifest: the episodes and the rules.
        policy_factory: makes the actor from the world's promises; for several workers it is
            pickled, as the specs of this package can be.
        world_factory: makes the world; None for the manifest's.
        workers: processes; 1 runs in this one.
        progress: told after each episode.
        out: JSON lines, written episode by episode. Records that are already there (of the same
            manifest and policy) are kept, so that a killed evaluation goes on.
        order: positions in the manifest in the order in which to run them; None as they stand.

    Raises:
        ConfigError: fewer than one worker, an order that is not one, a policy that asks for what
            it may not see, or an ``out`` that belongs to another evaluation.
        StorageError: ``out`` cannot be written.
    """
    if workers < 1:
        raise ConfigError(f"workers must be at least 1; got {workers}.")
    identity, batch = identity_of(policy_factory), getattr(policy_factory, "batch", 1)
    if batch < 1:
        raise ConfigError(f"batch must be at least 1; got {batch}.")
    job = _Job(manifest, policy_factory, world_factory or _own_world(manifest), identity)
    done = {} if out is None else resume_records(out, manifest, identity)
    todo = _groups(manifest, _ordered(manifest, order), batch, done)
    total = len(manifest.episodes)
    for record in _run_all(job, todo, workers):
        if out is not None and record.id not in done:
            append_record(out, record)
        done[record.id] = record
        progress(len(done), total, f"{sum(r.success for r in done.values())} solved")
    records = tuple(done[episode.id] for episode in manifest.episodes)
    if out is not None and todo:
        write_records(out, records)
    return records


@dataclass(frozen=True)
class _Job:
    """What a process needs to run episodes of one evaluation."""

    manifest: Manifest
    policy_factory: PolicyFactory
    world_factory: WorldSource
    identity: str

    def __call__(self) -> Callable[[_Group], tuple[Record, ...]]:
        return _Runner(self).run


class _Runner:
    """Owns worlds and an actor; a world in which something broke is replaced by a new one."""

    def __init__(self, job: _Job) -> None:
        self.job = job
        self.worlds: list[World] = [job.world_factory()]
        spec = job.manifest.ruled(self.worlds[0].spec)
        self.actor = job.policy_factory(spec)
        check_actor(self.actor, spec)

    def run(self, group: _Group) -> tuple[Record, ...]:
        while len(self.worlds) < len(group):
            self.worlds.append(self.job.world_factory())
        job = self.job
        records = run_episodes(self.worlds, self.actor, job.manifest, group, job.identity)
        for place, record in enumerate(records):
            if record.outcome == "crash":
                self._close(self.worlds[place])
                self.worlds[place] = job.world_factory()
        return records

    def close(self) -> None:
        for world in self.worlds:
            self._close(world)

    def _close(self, world: World) -> None:
        try:
            world.close()
        except Exception:  # a broken world may not even close
            return


def _run_all(job: _Job, todo: Sequence[_Group], workers: int) -> Iterator[Record]:
    if not todo:
        return
    if workers == 1:
        yield from _run_here(job, todo)
        return
    for group, result in run_in_processes(job, todo, workers):
        yield from _as_records(job, group, result)


def _run_here(job: _Job, todo: Sequence[_Group]) -> Iterator[Record]:
    with one_thread():
        runner = _Runner(job)
        try:
            for group in todo:
                yield from runner.run(group)
        finally:
            runner.close()


def _as_records(job: _Job, group: _Group, result: Any) -> tuple[Record, ...]:
    if isinstance(result, Died):
        sentence = f"The process that ran the episode died (exit code {result.exit_code})."
        return tuple(crash_record(job.manifest, one, job.identity, sentence) for one in group)
    return result


def _own_world(manifest: Manifest) -> WorldFactory:
    return WorldFactory(manifest.world, manifest.settings)


def _ordered(manifest: Manifest, order: Sequence[int] | None) -> list[EpisodeSpec]:
    positions = range(len(manifest.episodes)) if order is None else order
    if sorted(positions) != list(range(len(manifest.episodes))):
        raise ConfigError(
            f"order must name each of the {len(manifest.episodes)} episodes once; "
            f"got {len(positions)} positions."
        )
    return [manifest.episodes[position] for position in positions]


def _groups(
    manifest: Manifest, ordered: Sequence[EpisodeSpec], batch: int, done: Mapping[str, Record]
) -> list[_Group]:
    """Return the groups that still lack a record, in the order of their first episodes."""
    episodes = manifest.episodes
    groups = [episodes[at : at + batch] for at in range(0, len(episodes), batch)]
    of = {episode.id: group for group in groups for episode in group}
    wanted = {of[episode.id][0].id: of[episode.id] for episode in ordered if episode.id not in done}
    return list(wanted.values())


def resume_records(out: Path, manifest: Manifest, identity: str) -> dict[str, Record]:
    """Return what a killed evaluation left in a file, by id, and make the file whole again.

    Raises:
        ConfigError: the records are of another manifest or policy.
        FormatError: the file is damaged before its last line.
        StorageError: it cannot be written.
    """
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        return {}
    records = read_records(out, cut_off=True)
    if any((r.manifest, r.policy) != (manifest.sha256, identity) for r in records):
        raise ConfigError(
            f"{out} holds records of another manifest or policy; choose another file or remove it."
        )
    write_records(out, records)
    return {record.id: record for record in records}
