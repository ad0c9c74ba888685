"""One recorded episode: a function of the world, the policy, the seed and the episode's number.

Axes: T time, A action.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from armillary.core.errors import ArmillaryError, WorldError
from armillary.core.protocols import World
from armillary.core.rng import generator, key
from armillary.core.values import Episode, Observation, Stream, WorldSpec
from armillary.worlds.actions import validate_action
from armillary.worlds.policies import RecordingPolicy
from armillary.worlds.registry import WORLDS

_CAMERA_KINDS = ("rgb", "depth", "segmentation")
_OURS = "CC0-1.0"


def episode_seed(seed: int, episode: int) -> int:
    """Return the seed that the world of a recorded episode is reset with (48 bits)."""
    return key("recorder.scene", seed, episode) >> 80


def record_episode(
    world: World, policy: RecordingPolicy, episode: int, steps: int, seed: int
) -> Episode:
    """Run one episode of ``steps`` steps (fewer where the world ends it) and return it.

    Args:
        world: any world; it is reset.
        policy: chooses the actions; they are rounded to float32 before they are sent, so that
            what is stored is what was done.
        episode: number of the episode; with ``seed`` it decides everything.
        steps: T.
        seed: of the whole recording.

    Raises:
        ShapeError: the policy sent an action of wrong width, NaN, or out of bounds.
        WorldError: the world raised; the sentence names episode and step.
    """
    scene = episode_seed(seed, episode)
    seen: list[Observation] = []
    truths: list[Mapping[str, np.ndarray]] = []
    actions: list[np.ndarray] = []
    state: Any = None
    try:
        seen.append(world.reset(scene))
        truths.append(world.truth())
        while len(seen) < steps and not getattr(world, "ended", False):
            rng = generator("recorder.policy", seed, episode, len(actions))
            wanted, state = policy(world, rng, state)
            action = validate_action(world.spec, wanted).astype(np.float32)
            seen.append(world.step(action))
            truths.append(world.truth())
            actions.append(action)
    except ArmillaryError as error:
        raise type(error)(f"Episode {episode}, step {len(actions)}: {error}") from error
    except Exception as error:
        raise WorldError(
            f"Episode {episode}, step {len(actions)}: {world.spec.name} raised "
            f"{type(error).__name__}: {error}."
        ) from error
    return _assemble(world.spec, seen, truths, actions, f"{world.spec.name} seed={scene}")


def _assemble(
    spec: WorldSpec,
    seen: list[Observation],
    truths: list[Mapping[str, np.ndarray]],
    actions: list[np.ndarray],
    source: str,
) -> Episode:
    streams = {name: _sensor(spec, name, seen) for name in spec.sensors}
    for name in truths[0]:
        values = np.stack([np.asarray(truth[name], np.float32) for truth in truths])
        unit, frame = spec.units.get(name, ("", ""))
        streams[name] = Stream("truth", values, unit, frame)
    return Episode(
        streams=streams,
        time_ns=np.arange(len(seen), dtype=np.int64) * round(spec.step_s * 1e9),
        actions=np.stack(actions) if actions else np.zeros((0, spec.bounds.width), np.float32),
        source=source,
        license=_license(spec),
    )


def _license(spec: WorldSpec) -> str:
    """Return under what a recording may be used; only of our own worlds is that known."""
    own, _, _ = spec.name.partition(" (")  # as in "tabletop (stuck)", which is perturbed
    return _OURS if own in WORLDS else ""


def _sensor(spec: WorldSpec, name: str, seen: list[Observation]) -> Stream:
    kind = spec.sensors[name]
    unit, frame = spec.units.get(name, ("", ""))
    intrinsics = seen[0].streams.get("intrinsics") if kind in _CAMERA_KINDS else None
    values = np.stack([observation.streams[name] for observation in seen])
    beams = spec.beams_rad.get(name) if kind == "lidar" else None
    return Stream(kind, values, unit, frame, intrinsics, beams_rad=beams)
