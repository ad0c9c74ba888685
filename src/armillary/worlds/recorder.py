"""The recorder: episodes of a world into a dataset, by several processes, whatever happens.

Episode i depends on (seed, i) alone, so any number of workers writes the same bytes, and a
recording that was killed goes on where it stopped. An episode is reported once it is on disk.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import Any

from armillary.core.errors import (
    ArmillaryError,
    ConfigError,
    StorageError,
    WorldError,
    unknown_name,
)
from armillary.core.interrupts import deaf_to_interrupts
from armillary.core.on_ray import ray_address, run_on_ray
from armillary.core.progress import Progress, silent
from armillary.core.protocols import World
from armillary.data.writer import DatasetWriter
from armillary.worlds.policies import POLICIES
from armillary.worlds.recording import record_episode
from armillary.worlds.registry import make_world

WorldFactory = Callable[..., World]

# One thread per process: two processes of one thread each outrun one process of two.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


# What ``pose`` means where a world has no camera.
_POSE_OF = {"yard": "world_from_lidar"}


@dataclass(frozen=True)
class RecordSummary:
    """What a recording did.

    Attributes:
        episodes: complete in the dataset, those of earlier runs included.
        frames: recorded by this run.
        seconds: that this run took.
        out: the dataset's folder.
    """

    episodes: int
    frames: int
    seconds: float
    out: Path


@dataclass(frozen=True)
class _Job:
    """All that a worker needs, besides the number of the episode."""

    world: str | WorldFactory
    settings: Mapping[str, Any]
    policy: str
    steps: int
    seed: int
    out: Path

    def __call__(self) -> Callable[[int], int]:
        """Return what records an episode, for an actor of Ray."""
        return _Recorder(self).record_once

    def make_world(self) -> World:
        """Make the job's world."""
        if isinstance(self.world, str):
            return make_world(self.world, **self.settings)
        return self.world(**self.settings)

    def about(self) -> dict[str, Any]:
        """Return what the dataset says of how it was made."""
        name = self.world if isinstance(self.world, str) else self.world.__name__
        settings = {k: list(v) if isinstance(v, tuple) else v for k, v in self.settings.items()}
        return {
            "world": name,
            "settings": settings,
            "policy": self.policy,
            "steps": self.steps,
            "seed": self.seed,
        }


@dataclass
class _Recorder:
    """A world and a writer, kept by a process from episode to episode."""

    job: _Job
    world: World = field(init=False)
    writer: DatasetWriter = field(init=False)

    def __post_init__(self) -> None:
        self.world = self.job.make_world()
        spec = self.world.spec
        self.writer = DatasetWriter(
            self.job.out,
            fps=round(1 / spec.step_s, 6),
            robot_type=spec.name,
            task=f"{self.job.policy} in {spec.name}",
            about=self.job.about(),
        )

    def record_once(self, episode: int) -> int:
        """Record an episode unless it is there: an actor may die after it has written one."""
        if self.writer.has(episode):
            return 0
        return self.record(episode)

    def record(self, episode: int) -> int:
        """Record and write one episode; return its number of frames."""
        job = self.job
        recorded = record_episode(self.world, POLICIES[job.policy], episode, job.steps, job.seed)
        self.writer.write(episode, recorded)
        return len(recorded)


def record(
    world: str | WorldFactory,
    out: Path | str,
    episodes: int,
    steps: int,
    policy: str = "explore",
    sensors: tuple[str, ...] | None = None,
    workers: int = 2,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    resume: bool = False,
    progress: Progress = silent,
    on: str = "",
) -> RecordSummary:
    """Record a dataset of a world.

    Args:
        world: its name, or a function that makes it (importable, where ``workers`` > 1).
        out: the dataset's folder.
        episodes: how many.
        steps: T of each episode: T observations, T-1 actions.
        policy: one of ``POLICIES``.
        sensors: streams to record, ``pose`` for that of the world's camera or LiDAR; the world's
            default if None.
        workers: processes; 1 records in this process.
        seed: of the recording.
        settings: of the world, beside ``sensors``.
        resume: go on with a recording that was begun here with the same arguments.
        progress: told about each episode after it is safe on disk.
        on: ``ray`` for actors of Ray on this machine, ``ray://HOST:PORT`` for those of a cluster,
            whose machines share the disk that ``out`` is on; "" for processes.

    Raises:
        ConfigError: an argument that cannot be, or ``out`` holds something and not ``resume``; Ray
            is not installed, or the cluster cannot be reached.
        WorldError: the world raised; episode and step are named, finished episodes are kept.
        StorageError: the disk is full or not writable, or is not that of the cluster's machines;
            finished episodes are kept.
    """
    _check(policy, episodes, steps, workers, seed)
    address = ray_address(on) if on else None
    chosen = dict(settings or {})
    if sensors is not None:
        pose = _POSE_OF.get(str(world), "world_from_camera")
        chosen["sensors"] = tuple(pose if name == "pose" else name for name in sensors)
    # whole, because actors of Ray have another working directory
    job = _Job(world, chosen, policy, steps, seed, Path(out).absolute() if on else Path(out))
    _check_out(job.out, resume)
    begun = time.monotonic()
    recorder = _Recorder(job)
    finished = recorder.writer.finished()
    missing = [episode for episode in range(episodes) if episode not in finished]
    if on:
        run = run_on_ray(address, job, missing, workers)
    else:
        run = _run_here(recorder, missing) if workers == 1 else _run_pool(job, missing, workers)
    frames = 0
    done, total = len(finished), len(finished) + len(missing)
    try:
        for count in run:
            frames += count
            done += 1
            speed = frames / (time.monotonic() - begun)
            progress(done, total, f"{speed:.0f} frames/s")
        if on and (elsewhere := {*range(episodes)} - recorder.writer.finished()):
            raise StorageError(
                f"{len(elsewhere)} episodes were recorded but are not in {job.out}. --out must be "
                "on a disk that all machines of the cluster share."
            )
        recorder.writer.finalize()
    except ArmillaryError as error:
        kept = len(recorder.writer.finished())
        raise type(error)(
            f"{error} {kept} of {episodes} episodes are kept in {job.out}; --resume continues."
        ) from error
    finally:
        recorder.world.close()
    return RecordSummary(done, frames, time.monotonic() - begun, job.out)


def _check(policy: str, episodes: int, steps: int, workers: int, seed: int) -> None:
    if policy not in POLICIES:
        raise unknown_name("recording policy", policy, POLICIES)
    for name, value, least in (
        ("episodes", episodes, 1),
        ("steps", steps, 2),
        ("workers", workers, 1),
        ("seed", seed, 0),
    ):
        if value < least:
            raise ConfigError(f"A recording needs --{name} of {least} or more; got {value}.")


def _check_out(out: Path, resume: bool) -> None:
    if not resume and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(
            f"{out}: exists already. Add --resume to continue it, or choose another --out."
        )


def _run_here(recorder: _Recorder, missing: list[int]) -> Iterator[int]:
    for episode in missing:
        yield recorder.record(episode)


def _run_pool(job: _Job, missing: list[int], workers: int) -> Iterator[int]:
    """Yield the number of frames of each episode as it is finished, in any order.

    Only twice as many episodes as workers are handed out at a time, so that little is recorded in
    vain after an error or Ctrl-C; those being recorded then are finished and kept.
    """
    todo = iter(missing)
    with (
        _one_thread(),
        ProcessPoolExecutor(
            max_workers=min(workers, max(len(missing), 1)),
            mp_context=get_context("spawn"),
            initializer=_begin_worker,
            initargs=(job,),
        ) as pool,
    ):
        with deaf_to_interrupts():
            running = {pool.submit(_work, e) for e in islice(todo, 2 * workers)}
        try:
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
                    running |= {pool.submit(_work, e) for e in islice(todo, 1)}
        except BrokenProcessPool as error:
            raise WorldError(
                "A recording process ended: it was killed, ran out of memory, or the world crashed."
            ) from error
        finally:
            for future in running:
                future.cancel()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let processes started inside use one thread each."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


_worker: _Recorder | None = None


def _begin_worker(job: _Job) -> None:
    """Set a process up; it leaves Ctrl-C to its parent, and ends when the parent does."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    global _worker
    _worker = _Recorder(job)


def _die_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _work(episode: int) -> int:
    assert _worker is not None
    return _worker.record(episode)
