"""Interleaving: the episodes of several tasks in one row, played behind the boundary.

Nothing that a policy gets says which task an episode belongs to: no names, and tasks take turns in
an order that a hash decides. What a goal shows still tells; that cannot be hidden from who must
reach it. Tasks that look alike (bounds, streams and their shapes) share one policy and its process,
but for those that an agent has settings of its own for, which the card marks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from armillary.core.errors import ConfigError
from armillary.core.processes import Died, one_thread, run_in_processes
from armillary.core.protocols import World
from armillary.core.rng import key
from armillary.evaluation.episode import check_actor, crash_record
from armillary.evaluation.lockstep import run_episodes
from armillary.evaluation.manifest import Manifest
from armillary.evaluation.records import Record
from armillary.evaluation.specs import Actor, PolicyFactory
from armillary.evaluation.worlds import WorldSource
from armillary.proof.suite_worlds import SuiteWorld

# Place of the manifest, and of the episode in it.
Turn = tuple[int, int]


@dataclass(frozen=True)
class Part:
    """One task of those that are played in one row.

    Attributes:
        manifest: its episodes and rules.
        actor: makes the policy.
        identity: of the actor, in the records.
        world: makes the world; None for the manifest's.
    """

    manifest: Manifest
    actor: PolicyFactory
    identity: str
    world: WorldSource | None = None

    @property
    def source(self) -> WorldSource:
        """Makes the world."""
        return self.world or SuiteWorld.of(self.manifest)


def interleave(lengths: Sequence[int], seed: int) -> tuple[Turn, ...]:
    """Return the order in which to play all episodes of several tasks.

    Whose turn it is, a hash decides, so that it is the same with every version of every library; a
    task's own episodes keep their order, so that it is finished chunk by chunk.

    Args:
        lengths: episodes of each task.
        seed: of the order.
    """
    places = [place for place, length in enumerate(lengths) for _ in range(length)]
    ranks = sorted(range(len(places)), key=lambda rank: key("proof.interleave", seed, rank))
    next_of = [iter(range(length)) for length in lengths]
    return tuple((places[rank], next(next_of[places[rank]])) for rank in ranks)


def interleaved_records(
    parts: Sequence[Part],
    seed: int,
    workers: int = 1,
    done: Collection[Turn] = (),
) -> Iterator[tuple[int, Record]]:
    """Play the episodes of all tasks in one row; yield (place of the task, record) as they end.

    Records are equal to those of ``evaluation.evaluate``, which plays one task at a time.

    Args:
        parts: the tasks.
        seed: of the order.
        workers: processes, each with policies of its own; 1 runs in this one.
        done: turns that need not be played.

    Raises:
        ConfigError: fewer than one worker, or a policy that asks for what it may not see.
        PolicyProcessError: the policy did not get ready.
    """
    if workers < 1:
        raise ConfigError(f"workers must be at least 1; got {workers}.")
    lengths = [len(part.manifest.episodes) for part in parts]
    todo = [turn for turn in interleave(lengths, seed) if turn not in done]
    opener = _Opener(tuple(parts))
    if workers > 1:
        for (place, position), result in run_in_processes(opener, todo, workers):
            yield place, _as_record(parts[place], position, result)
        return
    with one_thread():
        players = _Players(parts)
        try:
            for turn in todo:
                yield turn[0], players.play(turn)
        finally:
            players.close()


def try_parts(parts: Sequence[Part]) -> None:
    """Make every world and every policy once, so that what cannot begin is known before it counts.

    Args:
        parts: the tasks.

    Raises:
        ArmillaryError: a world or a policy cannot be made, or a policy asks for what it may not
            see.
    """
    _Players(parts).close()


@dataclass(frozen=True)
class _Opener:
    """What a process needs to play turns."""

    parts: tuple[Part, ...]

    def __call__(self) -> Callable[[Turn], Record]:
        return _Players(self.parts).play


class _Players:
    """Owns a world for each task, and one policy for those that look and are played alike."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._worlds: list[World] = []
        self._policies: list[Actor] = []
        known: list[tuple[PolicyFactory, object, Actor]] = []
        try:
            for part in parts:
                world = part.source()
                self._worlds.append(world)
                form = _form(world, part.manifest)
                found = [one for actor, like, one in known if (actor, like) == (part.actor, form)]
                policy = found[0] if found else part.actor(part.manifest.ruled(world.spec))
                known.append((part.actor, form, policy))
                self._policies.append(policy)
                check_actor(policy, world.spec)
        except BaseException:
            self.close()
            raise

    def play(self, turn: Turn) -> Record:
        place, position = turn
        part, world = self._parts[place], self._worlds[place]
        policy, group = self._policies[place], part.manifest.episodes[position : position + 1]
        (record,) = run_episodes([world], policy, part.manifest, group, part.identity)
        if record.outcome == "crash":  # whoever it was, the next one gets a new world
            _close(world)
            self._worlds[place] = part.source()
        return record

    def close(self) -> None:
        for thing in (*self._policies, *self._worlds):
            _close(thing)


def _as_record(part: Part, position: int, result: Record | Died) -> Record:
    if isinstance(result, Record):
        return result
    sentence = f"The process that ran the episode died (exit code {result.exit_code})."
    return crash_record(part.manifest, part.manifest.episodes[position], part.identity, sentence)


def _form(world: World, manifest: Manifest) -> object:
    """Return what a policy could tell a task by, before it sees a goal: its deadline, too."""
    bounds, first = world.spec.bounds, world.reset(manifest.episodes[0].seed)
    streams = {name: (one.dtype.name, one.shape) for name, one in first.streams.items()}
    return bounds.low.tolist(), bounds.high.tolist(), streams, manifest.budget


def _close(thing: object) -> None:
    close = getattr(thing, "close", None)  # policies of this process have none
    with suppress(Exception):  # a broken world may not even close
        if close is not None:
            close()
