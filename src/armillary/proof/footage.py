"""Footage: an episode as the contamination checks see it, from a dataset or from an evaluation.

Pictures come one at a time, so that nobody ever holds a whole recording.

Axes: T time, A action, Q width of a state stream, H W image.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from armillary.core.errors import ConfigError, FormatError
from armillary.core.files import read_json
from armillary.core.protocols import World
from armillary.core.rng import generator
from armillary.core.values import Episode
from armillary.data import Dataset, layout
from armillary.evaluation import EpisodeSpec, Manifest, Record, WorldFactory
from armillary.evaluation.manifest import draw_goal
from armillary.worlds import WORLDS

_SEED = re.compile(r"(\S{1,200}) seed=(\d{1,80})")  # 80 digits hold a seed of 256 bits


@dataclass(frozen=True)
class Footage:
    """One episode.

    Attributes:
        name: in words, for a sentence about it.
        world: name of the world that it was made in; empty where unknown.
        seed: of the world's reset; None where unknown.
        source: where it came from.
        states: [T Q] float32 by stream: the simulator's truth, or what the body felt where there
            is no truth; may be empty.
        actions: [T-1 A] float32, or None.
        pictures: gives the colour pictures, uint8 [H W 3], anew each time it is called.
        goal: the state to be reached [Q] by stream; empty for a recording, whose goal is its end.
    """

    name: str
    world: str = ""
    seed: int | None = None
    source: str = ""
    states: Mapping[str, np.ndarray] = field(default_factory=dict)
    actions: np.ndarray | None = None
    pictures: Callable[[], Iterator[np.ndarray]] = lambda: iter(())
    goal: Mapping[str, np.ndarray] = field(default_factory=dict)

    def groups(self) -> dict[str, str]:
        """Return what it shares with episodes that must lie on the same side of a split."""
        scene = {} if self.seed is None else {"scene": f"{self.world} {self.seed:x}"}
        return scene | ({"source": self.source} if self.source else {})


def dataset_footage(dataset: Dataset) -> Iterator[Footage]:
    """Yield the episodes of a dataset.

    Raises:
        DatasetError: an episode is damaged.
    """
    for index in range(len(dataset)):
        yield episode_footage(dataset, index)


def episode_footage(dataset: Dataset, index: int) -> Footage:
    """Return one episode of a dataset.

    Raises:
        DatasetError: there is no such episode, or it is damaged.
    """
    episode = dataset.read_low(index)
    world, seed = world_and_seed(episode.source)
    colour = [name for name, kind in dataset.cameras.items() if kind == "rgb"]
    return Footage(
        name=f"episode {index}",
        world=world,
        seed=seed,
        source=episode.source,
        states=states_of(episode),
        actions=episode.actions,
        pictures=lambda: (image for name in colour for image in dataset.frames(index, name)),
    )


def states_of(episode: Episode) -> dict[str, np.ndarray]:
    """Return the state streams of an episode [T Q]: truth, or else what the body felt."""
    for kind in ("truth", "proprio"):
        found = {n: s.values for n, s in sorted(episode.streams.items()) if s.kind == kind}
        if found:
            return found
    return {}


def world_and_seed(source: str) -> tuple[str, int | None]:
    """Return what a recorder's ``source`` says: world and seed; ("", None) for other sources."""
    match = _SEED.fullmatch(source)
    return (match[1], int(match[2])) if match else ("", None)


def how_made(dataset: Dataset) -> dict[str, Any]:
    """Return what a recording says of its generator: world, settings, policy, steps, seed; or {}.

    Raises:
        FormatError: the file that says it is damaged.
    """
    path = dataset.path / layout.ABOUT
    if not path.is_file():
        return {}
    value = read_json(path)
    about = value.get("about") if isinstance(value, dict) else None
    if not isinstance(about, dict):
        raise FormatError(f"{path}: says nothing of how the dataset was made; record it again.")
    return about


def is_registered(world: Any, settings: Any) -> bool:
    """Say whether a world that a file names is one of ours, so that making it imports no stranger.

    ``gym:module:Env`` is refused: it would import a module that a file chose.
    """
    if not isinstance(settings, Mapping):
        return False
    names = [world, *([settings["base"]] if "base" in settings else [])]
    return all(isinstance(name, str) and name in WORLDS for name in names)


def evaluation_footage(
    manifest: Manifest, records: Mapping[str, Record] | None = None, steps: int = 16
) -> Iterator[Footage]:
    """Yield the episodes of an evaluation, walked through in its world.

    Args:
        manifest: of a registered world; of any other only the seeds are given.
        records: by episode id; their actions are walked. Without one the world's expert walks.
        steps: most actions walked per episode.

    Raises:
        ConfigError: a setting that the world does not know.
        WorldError: the world broke.
    """
    if not is_registered(manifest.world, manifest.settings):
        for episode in manifest.episodes:
            yield Footage(episode.id, manifest.world, episode.seed)
        return
    world = WorldFactory(manifest.world, manifest.settings)()
    try:
        for episode in manifest.episodes:
            yield _walked(world, manifest.task, episode, (records or {}).get(episode.id), steps)
    finally:
        world.close()


def _walked(
    world: World, task: str, episode: EpisodeSpec, record: Record | None, steps: int
) -> Footage:
    seen, truths = [world.reset(episode.seed)], [world.truth()]
    goal = draw_goal(world, task, episode)
    actions = []
    for step in range(steps if record is None else min(steps, record.steps)):
        if record is None:
            rng = generator("contamination.walk", episode.seed, step)
            action = np.asarray(world.expert(goal, rng), np.float64)
        else:
            action = np.asarray(record.actions[step], np.float64)
        seen.append(world.step(action))
        truths.append(world.truth())
        actions.append(action.astype(np.float32))
    pictures = [one.streams["rgb"] for one in seen if "rgb" in one.streams]
    return Footage(
        name=episode.id,
        world=world.spec.name,
        seed=episode.seed,
        states={n: _stacked([truth[n] for truth in truths]) for n in sorted(truths[0])},
        actions=np.stack(actions) if actions else None,
        pictures=lambda: iter(pictures),
        goal={name: np.ravel(value).astype(np.float32) for name, value in goal.truth.items()},
    )


def _stacked(values: list[np.ndarray]) -> np.ndarray:
    return np.stack([np.ravel(value).astype(np.float32) for value in values])


def frame_digest(picture: np.ndarray) -> bytes:
    """Return the SHA-256 of a decoded picture: its type, its shape and its bytes."""
    digest = hashlib.sha256(f"{picture.dtype} {picture.shape}\n".encode())
    digest.update(np.ascontiguousarray(picture).tobytes())
    return digest.digest()


def trajectory_digest(footage: Footage, start: int = 0, stop: int | None = None) -> bytes:
    """Return the SHA-256 of states [start, stop] and the actions between them.

    Args:
        footage: the episode.
        start: first step.
        stop: last step, included; None for the last there is.
    """
    digest = hashlib.sha256(b"armillary-trajectory/1\n")
    last = None if stop is None else stop + 1
    parts = {name: values[start:last] for name, values in sorted(footage.states.items())}
    if footage.actions is not None:
        parts["actions"] = footage.actions[start:stop]
    for name, values in parts.items():
        digest.update(f"{name} {values.shape}\n".encode())
        digest.update(np.ascontiguousarray(values, "<f4").tobytes())
    return digest.digest()


def seed_digest(world: str, seed: int) -> bytes:
    """Return the SHA-256 of a world's seed, with a tag of its own."""
    return hashlib.sha256(f"armillary-seed/1|{world}|{seed:x}".encode()).digest()


def replayed_start(dataset: Dataset, index: int, world: World) -> bool:
    """Say whether the seed that an episode claims leads to the state that it begins with.

    Raises:
        ConfigError: the episode names no seed.
    """
    footage = episode_footage(dataset, index)
    if footage.seed is None:
        raise ConfigError(f"{dataset.path}: episode {index} names no seed to begin again from.")
    world.reset(footage.seed)
    truth = world.truth()
    common = [name for name in truth if name in footage.states]
    # a processor may round the last bit of a simulator's float differently
    return bool(common) and all(
        np.allclose(np.ravel(truth[name]), footage.states[name][0], 1e-5, 1e-6, equal_nan=True)
        for name in common
    )
