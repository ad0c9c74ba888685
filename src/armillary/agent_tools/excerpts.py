"""Excerpts: stretches of recorded episodes at a model's resolution, without reading the rest.

A recording may be hours long. So pictures are decoded for the wanted steps alone, and brought to
the size of the model one by one: memory is bounded by the number of steps.

Axes: T steps, H W image, P points.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from armillary.core.errors import ConfigError, MissingStepError, unknown_name
from armillary.core.values import Episode, Stream
from armillary.data import Cache, Dataset
from armillary.data.depth import to_metres
from armillary.data.layout import first_of_kind
from armillary.data.point_sampling import PointSampling, sampled
from armillary.data.resize import resized, resized_lens
from armillary.evaluation.specs import observation_streams
from armillary.models import JEPAConfig
from armillary.recipes.recipe import point_sampling

_SAMPLE_EPISODES, _LEAST_STRETCH = 60, 40
_SAMPLE_STEPS = 3000
_MOST_BYTES = 256 << 20  # of the pictures and clouds of an excerpt
_SAMPLE_NUMBERS = 1 << 26  # of all latents of a sample together: 256 MiB in float32


def check_step(dataset: Dataset, episode: int, step: int) -> None:
    """Refuse a step that was not recorded.

    Raises:
        MissingEpisodeError: there is no such episode.
        MissingStepError: the episode has no such step.
    """
    dataset.check_index(episode)
    length = int(dataset.lengths[episode])
    if not 0 <= step < length:
        raise MissingStepError(
            f"There is no step {step}; episode {episode} has {length}, from 0 to {length - 1}."
        )


def excerpt(dataset: Dataset, episode: int, steps: range, config: JEPAConfig) -> Episode:
    """Return a stretch of an episode with the streams that a model sees, the truth and colour.

    Args:
        dataset: an opened dataset.
        episode: number of it.
        steps: T recorded steps, one after another.
        config: of the model, which says how large pictures are.

    Returns:
        Pictures [T H W 3] and depth in metres [T H W] have the model's size.

    Raises:
        MissingStepError: a step outside the episode.
        DatasetError: there is no such episode, or a file is damaged.
        ConfigError: more steps than memory should hold.
    """
    for step in (steps[0], steps[-1]):
        check_step(dataset, episode, step)
    if len(steps) > most_steps(dataset, config):
        raise ConfigError(
            f"{len(steps)} steps take too much memory; ask for at most "
            f"{most_steps(dataset, config)}."
        )
    low = dataset.read_low(episode)
    rows = slice(steps[0], steps[-1] + 1)
    streams = {
        name: replace(stream, values=stream.values[rows]) for name, stream in low.streams.items()
    }
    for name in _cameras(dataset, config):
        streams[name] = _pictures(dataset, episode, name, steps, config.encoder.image_size)
    sampling = point_sampling(config)
    if sampling is not None:
        for name in dataset.clouds:
            streams[name] = _points(dataset, episode, name, steps, sampling)
    actions = None if low.actions is None else low.actions[steps[0] : steps[-1]]
    return Episode(streams, low.time_ns[rows] - low.time_ns[0], actions, low.source, low.license)


def most_steps(dataset: Dataset, config: JEPAConfig) -> int:
    """Return how many recorded steps an excerpt may have: 256 MiB of pictures and clouds."""
    pixels = config.encoder.image_size**2
    step = sum(
        pixels * (3 if dataset.cameras[n] == "rgb" else 4) for n in _cameras(dataset, config)
    )
    sampling = point_sampling(config)
    if sampling is not None:
        step += sum(sampling.count * len(dataset.columns(n)) * 4 for n in dataset.clouds)
    return max(_MOST_BYTES // max(step, 1), 2)


@dataclass(frozen=True)
class Sample:
    """Stretches of some episodes, evenly spread over a dataset.

    Attributes:
        cache: of the stretches; their positions are not the numbers of the episodes.
        episodes: number of each in the dataset [E].
        first: recorded step with which each begins [E].
    """

    cache: Cache
    episodes: np.ndarray
    first: np.ndarray

    def others(self, episode: int) -> np.ndarray:
        """Return the positions in the cache of all episodes but one."""
        return np.flatnonzero(self.episodes != episode)


def sample_of(dataset: Dataset, config: JEPAConfig) -> Sample:
    """Return a bounded sample: at most 60 episodes, of long ones the stretch in the middle.

    Raises:
        DatasetError: an episode is damaged.
    """
    most = min(_SAMPLE_STEPS, _SAMPLE_NUMBERS // config.latent_width, most_steps(dataset, config))
    # Of large models fewer episodes, for a stretch must be long enough to predict something.
    count = min(len(dataset), _SAMPLE_EPISODES, max(most // _LEAST_STRETCH, 3))
    chosen = np.unique(np.linspace(0, len(dataset) - 1, count).round().astype(np.int64))
    each = max(most // len(chosen), _LEAST_STRETCH)
    lengths = dataset.lengths[chosen]
    first = np.maximum((lengths - each) // 2, 0)
    parts = [
        excerpt(dataset, int(number), range(int(start), int(start + min(each, length))), config)
        for number, start, length in zip(chosen, first, lengths, strict=True)
    ]
    return Sample(cache_of(parts, dataset, config), chosen, first)


def cache_of(parts: Iterable[Episode], dataset: Dataset, config: JEPAConfig) -> Cache:
    """Return stretches as a cache in memory, at the rate of their dataset."""
    size, points = config.encoder.image_size, point_sampling(config)
    return Cache.from_episodes([*parts], size, fps=dataset.fps, points=points)


def camera_of(dataset: Dataset, wanted: str = "") -> str:
    """Return the camera that is shown: the one that was asked for, or else the colour camera.

    Raises:
        ConfigError: there is no such camera, or none at all.
    """
    cameras = dataset.cameras
    name = wanted or first_of_kind(cameras) or next(iter(cameras), "")
    if not cameras:
        raise ConfigError("The dataset has no camera, so there is no picture.")
    if name not in cameras:
        raise unknown_name("camera", name, cameras)
    return name


def _cameras(dataset: Dataset, config: JEPAConfig) -> list[str]:
    """Return the cameras that the model sees, and the colour camera for people."""
    wanted = {*observation_streams(config), first_of_kind(dataset.cameras)}
    return [name for name in dataset.cameras if name in wanted]


def _pictures(dataset: Dataset, episode: int, name: str, steps: range, side: int) -> Stream:
    camera = dataset.camera(episode, name)
    size, before, colour = (side, side), (side, side), camera.kind == "rgb"
    small = []
    for image in dataset.frames(episode, name, steps):
        before = image.shape[0], image.shape[1]
        small.append(resized(image, size, average=colour))
    lens = camera.intrinsics
    values = np.stack(small)
    return replace(
        camera,
        values=to_metres(values) if camera.kind == "depth" else values,
        intrinsics=None if lens is None else resized_lens(lens, before, size),
    )


def _points(
    dataset: Dataset, episode: int, name: str, steps: range, sampling: PointSampling
) -> Stream:
    clouds = [sampled(cloud, sampling) for cloud in dataset.points(episode, name, steps)]
    return Stream("points", np.stack(clouds), "m", columns=dataset.columns(name))
