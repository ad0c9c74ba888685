"""Opening: a model, and what stands beside it, checked before anything is served."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from armillary.core.errors import ConfigError, DatasetError, ShapeError
from armillary.core.files import read_json
from armillary.core.progress import Progress, silent
from armillary.core.values import WorldSpec
from armillary.data import Cache, Dataset, open_dataset, prepare
from armillary.data.layout import ABOUT, first_of_kind
from armillary.evaluation.specs import check_action_width, observation_streams
from armillary.evaluation.worlds import WorldFactory
from armillary.models import JEPA, load_model
from armillary.play.eye import Eye, SavesMoments
from armillary.play.recorded import recorded_sensors
from armillary.play.session import Session
from armillary.play.sources import RGB, RecordingSource, WorldSource
from armillary.recipes.recipe import point_sampling
from armillary.services.asking import learned_from, step_of, stride_of
from armillary.zoo import PREFIX, zoo_folder, zoo_model
from armillary.zoo.finding import find_model

_GYM = "gym:"
_NO_LIMIT = 1_000_000_000  # steps: an environment's time limit would end a drive in seconds
_MOST_EPISODES, _MOST_FRAMES = 64, 1500
_ALIKE = 10.0  # root mean square of what mean pictures of episodes differ by, of 255
_COARSE = 16  # pixels of a mean picture
# What an eye looks with, the first that a world has: depth makes a picture and points.
_EYES = (("depth", "world_from_camera"), ("lidar", "world_from_lidar"))
_COSTLY = ("depth", "segmentation", "lidar", "points")  # kinds that take time to render


@dataclass(frozen=True)
class Opening:
    """What is played.

    Attributes:
        title: of the model and what stands beside it.
        session: makes a session; in the thread that will step it.
    """

    title: Mapping[str, str]
    session: Callable[[], Session]


def open_world(name: str, world: str = "", settings: Mapping[str, Any] | None = None) -> Opening:
    """Open a model beside a simulator.

    Args:
        name: model folder, run folder, ``zoo:NAME`` or Hub id.
        world: name of the world; empty for the one that the model's recording is of.
        settings: of the world, over those of that recording.

    Raises:
        CheckpointError: not a model.
        ConfigError: an unknown world or setting, no world is known, or it does not give what the
            model sees.
        ShapeError: the model's actions are not the world's.
    """
    model = load_model(find_model(name))
    recorded = _recorded_world(name)
    world = world or recorded.get("world", "")
    if not world:
        raise ConfigError(
            f"{name}: the recording that it learned from is not here any more. Name the world, or "
            "a recording with --data."
        )
    usual = recorded.get("settings", {}) if recorded.get("world") == world else {}
    factory = WorldFactory(world, _settings(world, model, {**usual, **(settings or {})}))
    factory = _checked(factory, model)
    looks = _eye(factory)
    if looks is not None:
        factory = _without_idle(factory, model)
    title = {"model": name, "beside": world, "kind": "world"}

    def session() -> Session:
        eye = None if looks is None else Eye(*looks)
        return Session(model, WorldSource(model, factory(), eye))

    return Opening(title, session)


def open_recording(
    name: str, path: str | Path, episode: int = 0, progress: Progress = silent
) -> Opening:
    """Open a model beside an episode of a recording.

    Args:
        name: model folder, run folder, ``zoo:NAME`` or Hub id.
        path: the dataset.
        episode: its number.
        progress: called while episodes are prepared.

    Raises:
        CheckpointError: not a model.
        DatasetError: not a dataset, no such episode, one of a single step, or another step rate.
        ShapeError: the dataset lacks what the model sees.
    """
    model = load_model(find_model(name))
    dataset = open_dataset(path)
    others = _with_actions(_prepared(dataset, model, episode, progress), model, str(path))
    cache = _only(others, _alike_positions(others))
    stride = stride_of(model, step_of(name, model), cache, str(path))
    if int(cache.lengths[0]) <= stride:
        raise DatasetError(
            f"{path}: episode {episode} has {cache.lengths[0]} steps, which is less than two steps "
            "of the model. Choose another --episode."
        )
    title = {"model": name, "beside": f"{path}, episode {episode}", "kind": "recording"}
    label = Path(path).resolve().name
    units = {n: s.unit for n, s in dataset.read_low(episode).streams.items() if s.kind == "truth"}

    def session() -> Session:
        sensors, clouds = recorded_sensors(cache, dataset, episode)
        source = RecordingSource(
            model, cache, others, label, stride, units, sensors=sensors, clouds=clouds
        )
        return Session(model, source)

    session()  # what is wrong with it is reported now
    return Opening(title, session)


def own_recording(name: str) -> Path | None:
    """Return the recording that travels with a model of the zoo; None where none does.

    Args:
        name: of any model.

    Raises:
        CheckpointError: a file of the zoo is damaged.
        ConfigError: the zoo has no such model.
    """
    if not name.startswith(PREFIX) or zoo_model(name).world:
        return None
    return zoo_folder(name) / "recording"


def _recorded_world(name: str) -> dict[str, Any]:
    """Return world and settings that a model learned from, where they are known here."""
    if name.startswith(PREFIX):
        model = zoo_model(name)
        return {"world": model.world, "settings": model.settings}
    dataset = learned_from(name)
    if dataset is None or not (dataset / ABOUT).is_file():
        return {}
    found = read_json(dataset / ABOUT).get("about", {})
    known = isinstance(found, dict) and isinstance(found.get("world"), str)
    return found if known else {}


def _settings(world: str, model: JEPA, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with pictures of the model's size, and without a time limit."""
    settings: dict[str, Any] = {"image_size": model.config.encoder.image_size, **chosen}
    if world.startswith(_GYM):
        own = settings.get("env_settings", {})
        settings["env_settings"] = {"max_episode_steps": _NO_LIMIT, **own}
    return settings


def _checked(factory: WorldFactory, model: JEPA) -> WorldFactory:
    """Return the factory of a world that gives what the model sees, and colour to be shown.

    Raises:
        ConfigError: it does not.
        ShapeError: its actions are not the model's.
    """
    needed = _needed(model)
    given = _spec(factory, model).sensors
    if {*needed} <= {*given}:
        return factory
    wanted = WorldFactory(
        factory.name, {**factory.settings, "sensors": tuple(dict.fromkeys((*given, *needed)))}
    )
    try:
        _spec(wanted, model)
    except ConfigError as error:
        missing = ", ".join(name for name in needed if name not in given)
        raise ConfigError(
            f"Play needs {missing}, which {factory.name} does not give. Use the world that the "
            "model was trained in."
        ) from error
    return wanted


def _needed(model: JEPA) -> tuple[str, ...]:
    """Return the streams that a world must give: what the model sees, and colour."""
    names = (name for name in observation_streams(model.config) if name != "intrinsics")
    return tuple(dict.fromkeys((*names, RGB)))


def _eye(factory: WorldFactory) -> tuple[WorldFactory, WorldSpec] | None:
    """Return what makes a world's other sensors, and what they are; None where it has none."""
    if factory.name.startswith(_GYM):  # colour and the environment's own observation
        return None
    for sensors in _EYES:
        other = WorldFactory(factory.name, {**factory.settings, "sensors": sensors})
        try:
            world = other()
        except ConfigError:
            continue
        try:
            if isinstance(world, SavesMoments):
                return other, world.spec
        finally:
            world.close()
    return None


def _without_idle(factory: WorldFactory, model: JEPA) -> WorldFactory:
    """Return the factory of a world that renders nothing costly that the model does not see."""
    given, needed = _spec(factory, model).sensors, _needed(model)
    kept = tuple(n for n, kind in given.items() if kind not in _COSTLY or n in needed)
    try:
        fewer = WorldFactory(factory.name, {**factory.settings, "sensors": kept})
        _spec(fewer, model)
    except ConfigError:  # streams that settings do not name, as those of a second camera
        return factory
    return fewer


def _spec(factory: WorldFactory, model: JEPA) -> WorldSpec:
    world = factory()
    try:
        check_action_width(model, world.spec.bounds, model.config.frame_skip)
        return world.spec
    finally:
        world.close()


def _prepared(dataset: Dataset, model: JEPA, episode: int, progress: Progress) -> Cache:
    """Return an episode, and others from all over the dataset."""
    dataset.check_index(episode)
    others = [index for index in range(len(dataset)) if index != episode]
    spread = np.linspace(0, len(others) - 1, min(len(others), _MOST_EPISODES - 1))
    chosen = [episode, *(others[int(place)] for place in spread)]
    size, points = model.config.encoder.image_size, point_sampling(model.config)
    return prepare(dataset, size, episodes=chosen, points=points, progress=progress)


def _with_actions(cache: Cache, model: JEPA, where: str) -> Cache:
    """Return a cache with actions as wide as the model's; without any for a model of plain video.

    Raises:
        ShapeError: its actions are others.
    """
    wanted, found = model.config.action_width, cache.action_width * model.config.frame_skip
    if not wanted:
        return replace(cache, arrays={n: v for n, v in cache.arrays.items() if n != "actions"})
    if wanted != found:
        raise ShapeError(
            f"The model takes {wanted} action numbers per model step, and {where} has {found}. "
            "Give a recording of the world that it was trained in."
        )
    return cache


def _alike_positions(cache: Cache) -> list[int]:
    """Return the first episode, and those of which the mean picture is nearly the same."""
    camera = first_of_kind(cache.kinds) or first_of_kind(cache.kinds, "depth")
    if camera is None:
        return [0]
    means = [_mean_picture(cache, camera, position) for position in range(len(cache))]
    apart = [float(np.sqrt(((mean - means[0]) ** 2).mean())) for mean in means]
    found, frames = [0], int(cache.lengths[0])
    for position in np.argsort(apart, kind="stable").tolist():
        frames += int(cache.lengths[position])
        if position and apart[position] <= _ALIKE and frames <= _MOST_FRAMES:
            found.append(position)
    return found


def _mean_picture(cache: Cache, camera: str, position: int) -> np.ndarray:
    frames = cache.arrays[camera][int(cache.starts[position]) : int(cache.starts[position + 1])]
    mean = np.asarray(frames, np.float64).mean(0)
    step = max(1, min(mean.shape[:2]) // _COARSE)
    return mean[::step, ::step]


def _only(cache: Cache, positions: list[int]) -> Cache:
    """Return a cache of some of the episodes, in memory."""
    bounds = [(int(cache.starts[p]), int(cache.starts[p + 1])) for p in positions]
    rows = np.concatenate([np.arange(low, high) for low, high in bounds])
    starts = np.cumsum([0, *(high - low for low, high in bounds)]).astype(np.int64)
    return Cache(
        {name: np.take(values, rows, axis=0) for name, values in cache.arrays.items()},
        cache.kinds,
        starts,
        cache.episodes[positions],
        cache.size,
        cache.fps,
        None if cache.intrinsics is None else cache.intrinsics[positions],
        cache.about,
    )
