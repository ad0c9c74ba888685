"""Interleaving: the episodes of several tasks in one shuffled row, played by one policy process.

Nothing that the policy gets says which task an episode belongs to: same bounds, same streams of the
same shapes, no names. What a goal shows still tells; that cannot be hidden from who must reach it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from armillary.control.lockstep import run_episodes
from armillary.control.manifest import Manifest
from armillary.control.processes import one_thread
from armillary.control.records import Record
from armillary.control.worlds import WorldFactory, WorldSource
from armillary.core.errors import ConfigError
from armillary.core.protocols import World
from armillary.core.rng import key
from armillary.core.values import Observation
from armillary.proof.grader import RemoteSpec


def interleave(manifests: Sequence[Manifest], seed: int) -> tuple[tuple[int, int], ...]:
    """Return the order in which to play all episodes: (place of the manifest, of the episode).

    Sorted by a hash, so that it is the same with every version of every library.
    """
    places = [
        (place, position)
        for place, manifest in enumerate(manifests)
        for position in range(len(manifest.episodes))
    ]
    return tuple(sorted(places, key=lambda one: key("proof.interleave", seed, *one)))


def interleaved_records(
    manifests: Sequence[Manifest],
    spec: RemoteSpec,
    seed: int,
    world_factories: Sequence[WorldSource] | None = None,
) -> Iterator[tuple[int, Record]]:
    """Play the episodes of all manifests in one row; yield (place of the manifest, record).

    Records are equal to those of ``control.evaluate``, which plays one manifest at a time.

    Args:
        manifests: the tasks.
        spec: of the policy; one process plays them all.
        seed: of the order.
        world_factories: one per manifest; None for the manifests' own.

    Raises:
        ConfigError: the tasks differ in bounds or in what the policy would see.
        PolicyProcessError: the policy did not get ready.
    """
    own = [WorldFactory(manifest.world, manifest.settings) for manifest in manifests]
    factories = list(world_factories or own)
    identity = spec.identity()
    with one_thread():
        worlds = [factory() for factory in factories]
        policy = spec(worlds[0].spec)
        try:
            check_one_schema(manifests, worlds, policy.observes)
            for place, position in interleave(manifests, seed):
                manifest = manifests[place]
                episodes = manifest.episodes[position : position + 1]
                (record,) = run_episodes([worlds[place]], policy, manifest, episodes, identity)
                if record.outcome == "crash":  # whoever it was, the next one gets a new world
                    _close(worlds[place])
                    worlds[place] = factories[place]()
                yield place, record
        finally:
            policy.close()
            for world in worlds:
                _close(world)


def check_one_schema(
    manifests: Sequence[Manifest], worlds: Sequence[World], observes: Sequence[str]
) -> None:
    """Check that what a policy gets has the same form in all tasks.

    Args:
        manifests: the tasks.
        worlds: theirs, in any state; they are reset.
        observes: streams that the policy sees.

    Raises:
        ConfigError: it does not.
    """
    forms = [
        _form(world, manifest, observes) for manifest, world in zip(manifests, worlds, strict=True)
    ]
    for manifest, form in zip(manifests, forms, strict=True):
        if form != forms[0]:
            raise ConfigError(
                f"{manifest.world} {manifest.task} would show the policy {form}, "
                f"{manifests[0].world} {manifests[0].task} {forms[0]}; tasks that are played in "
                "one row need the same bounds and streams."
            )


def _form(world: World, manifest: Manifest, observes: Sequence[str]) -> dict[str, object]:
    bounds = world.spec.bounds
    first: Observation = world.reset(manifest.episodes[0].seed)
    streams = {
        name: (values.dtype.name, values.shape)
        for name, values in first.only(tuple(observes)).streams.items()
    }
    return {"bounds": (bounds.low.tolist(), bounds.high.tolist()), "streams": streams}


def _close(world: World) -> None:
    with suppress(Exception):  # a broken world may not even close
        world.close()
