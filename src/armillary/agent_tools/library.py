"""Library: the models and datasets of a catalogue, opened, and what is known of a pair of them.

What takes long is made once and kept: a sample of the dataset, its latents, and the read-outs.

Axes: F frames of a sample, X numbers of a latent (all tokens, flattened), C components.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64

from armillary.agent_tools.catalogue import Catalogue
from armillary.agent_tools.excerpts import Sample, cache_of, excerpt, sample_of
from armillary.api.acting import action_box
from armillary.core.errors import (
    ArmillaryError,
    ConfigError,
    DatasetError,
    ShapeError,
    unknown_name,
)
from armillary.core.files import read_json
from armillary.core.values import ActionBounds, Batch, Episode, Latent
from armillary.data import Cache, Dataset, open_dataset, split_episodes
from armillary.data.layout import ACTION, STATS
from armillary.models import JEPA, load_model
from armillary.models.goal_policy import GoalPolicy
from armillary.models.goal_policy_file import load_goal_policy
from armillary.services.asking import stride_of, whole_episode
from armillary.understanding.probe_suite import encode_frames
from armillary.understanding.read_out import ReadOut, fit_read_out
from armillary.understanding.recorded_places import place_streams
from armillary.zoo.finding import find_model

_COMPONENTS, _COMPONENT_FRAMES = 8, 1000
_MOST_PLACES = 4
_LEAST_EPISODES = 3  # for a read-out: two to fit on, one to judge


@dataclass(frozen=True)
class Seer:
    """A model that was opened.

    Attributes:
        name: as tools call it.
        network: the model.
        policy: its goal policy, where it has one.
    """

    name: str
    network: JEPA
    policy: GoalPolicy | None


@dataclass(frozen=True)
class Reference:
    """Latents of a sample, which say what is usual.

    Attributes:
        latents: of every frame [F X].
        episodes: number in the dataset of the episode of each [F].
        steps: recorded step of each [F].
        mean: of the latents [X].
        components: principal directions [C X].
        spread: standard deviation along each [C].
        shares: of the variance, along each [C].
        apart: root mean square difference of the latents of two frames drawn by chance.
    """

    latents: Float[np.ndarray, "F X"]
    episodes: Int64[np.ndarray, " F"]
    steps: Int64[np.ndarray, " F"]
    mean: Float[np.ndarray, " X"]
    components: Float[np.ndarray, "C X"]
    spread: Float[np.ndarray, " C"]
    shares: Float[np.ndarray, " C"]
    apart: float


class Pair:
    """A model and a dataset that it can see.

    Args:
        seer: the model.
        name: of the dataset.
        dataset: opened.

    Raises:
        ShapeError: the dataset lacks a stream that the model sees, or has other actions.
        DatasetError: it has no episode, a damaged one, or steps of another length than the model's.
    """

    def __init__(self, seer: Seer, name: str, dataset: Dataset) -> None:
        self.seer, self.name, self.dataset = seer, name, dataset
        self.network, self.config = seer.network, seer.network.config
        if not len(dataset):
            raise DatasetError(f"The dataset {name!r} has no episode.")
        # One picture is encoded, for that alone shows that nothing is missing.
        cache = self.cache([excerpt(dataset, 0, range(1), self.config)])
        self.stride = stride_of(self.network, self.network.step_s, cache, name)
        width = cache.action_width * self.stride
        if width and self.config.action_width and width != self.config.action_width:
            raise ShapeError(
                f"The model {seer.name!r} takes {self.config.action_width} action numbers a model "
                f"step, and the dataset {name!r} has {width}."
            )
        with torch.no_grad():
            self.network.encode(self.batch(cache))

    @property
    def step_s(self) -> float:
        """Seconds of a model step, as this dataset was recorded."""
        return self.stride / self.dataset.fps

    @property
    def world_action_width(self) -> int:
        """Numbers of the action of one recorded step; 0 without actions."""
        return self.config.action_width // self.stride

    def cache(self, parts: list[Episode]) -> Cache:
        """Return stretches of episodes as this model sees them."""
        return cache_of(parts, self.dataset, self.config)

    @cached_property
    def box(self) -> ActionBounds:
        """Bounds of the action of a recorded step.

        They hold the box that the model was trained in and all that the dataset recorded.
        """
        box = action_box(self.network)
        low, high = _recorded_range(self.dataset, box.width) or (box.low, box.high)
        return ActionBounds(np.minimum(box.low, low), np.maximum(box.high, high))

    def encoded(self, stretch: Episode) -> Latent:
        """Return the latents of the model steps of a stretch of an episode."""
        with torch.no_grad():
            return self.network.encode(self.batch(self.cache([stretch])))

    def batch(self, cache: Cache) -> Batch:
        """Return the first stretch of a cache as one clip of model steps."""
        return whole_episode(self.network, cache, 0, self.stride)

    @cached_property
    def sample(self) -> Sample:
        """A bounded sample of the dataset."""
        return sample_of(self.dataset, self.config)

    @cached_property
    def reference(self) -> Reference:
        """The latents of the sample."""
        every = np.arange(self.sample.cache.num_episodes)
        latents, place = encode_frames(self.network, self.sample.cache, every)
        steps = np.arange(len(place)) - self.sample.cache.starts[place] + self.sample.first[place]
        mean = latents.mean(axis=0)
        around = latents - mean
        some = around[:: -(-len(around) // _COMPONENT_FRAMES)]  # all of them take minutes
        _, sizes, directions = np.linalg.svd(some, full_matrices=False)
        count = min(_COMPONENTS, len(sizes))
        variance = float((some**2).sum()) or 1.0
        return Reference(
            latents=latents,
            episodes=self.sample.episodes[place],
            steps=steps.astype(np.int64),
            mean=mean,
            components=directions[:count],
            spread=np.maximum(sizes[:count] / len(some) ** 0.5, 1e-9),
            shares=sizes[:count] ** 2 / variance,
            apart=float((2 * (around**2).mean()) ** 0.5),
        )

    @cached_property
    def read_outs(self) -> Mapping[str, ReadOut]:
        """Linear read-outs of the places that the dataset records; empty where it records none."""
        cache = self.sample.cache
        if cache.num_episodes < _LEAST_EPISODES:
            return {}
        training, held_out = split_episodes(cache.num_episodes)
        found = {}
        for target in place_streams(cache)[:_MOST_PLACES]:
            try:
                found[target] = fit_read_out(self.network, cache, target, training, held_out)
            except DatasetError:  # the place is known in too few steps
                continue
        return found

    @cached_property
    def fitted_on(self) -> frozenset[int]:
        """Numbers of the episodes on which the read-outs were fitted."""
        training, _ = split_episodes(self.sample.cache.num_episodes)
        return frozenset(self.sample.episodes[training].tolist())


class Library:
    """All that may be asked about, opened.

    Args:
        catalogue: names and folders.

    Raises:
        CheckpointError: a folder is not a complete model.
        DatasetError: a folder is not a dataset.
        ConfigError: a dataset that none of the models can see, or a model that can see none.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.seers = {name: _opened(name, path) for name, path in catalogue.models.items()}
        self.datasets = {name: open_dataset(path) for name, path in catalogue.datasets.items()}
        self.pairs: dict[tuple[str, str], Pair] = {}
        self.misfits: dict[tuple[str, str], str] = {}
        for key in [(model, data) for model in self.seers for data in self.datasets]:
            try:
                self.pairs[key] = Pair(self.seers[key[0]], key[1], self.datasets[key[1]])
            except ArmillaryError as error:
                self.misfits[key] = str(error)
        for place, kind, names in ((0, "model", self.seers), (1, "dataset", self.datasets)):
            for name in names:
                if all(key[place] != name for key in self.pairs):
                    why = next(said for key, said in self.misfits.items() if key[place] == name)
                    raise ConfigError(f"The {kind} {name!r} fits nothing that was named: {why}")

    def dataset(self, name: str) -> Dataset:
        """Return a dataset by its name.

        Raises:
            ConfigError: there is none of this name.
        """
        if name not in self.datasets:
            raise unknown_name("dataset", name, self.datasets)
        return self.datasets[name]

    def pair(self, model: str, dataset: str) -> Pair:
        """Return a model and a dataset that it can see.

        Raises:
            ConfigError: there is none of this name, or the model cannot see the dataset.
        """
        if model not in self.seers:
            raise unknown_name("model", model, self.seers)
        self.dataset(dataset)
        if (model, dataset) in self.misfits:
            why = self.misfits[model, dataset]
            raise ConfigError(f"The model {model!r} cannot see the dataset {dataset!r}: {why}")
        return self.pairs[model, dataset]


def _recorded_range(dataset: Dataset, width: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Return lowest and highest recorded action, where the dataset's statistics say them."""
    try:
        known = read_json(dataset.path / STATS)[ACTION]
        low, high = (np.asarray(known[end], np.float64).ravel() for end in ("min", "max"))
    except (ArmillaryError, KeyError, TypeError, ValueError):
        return None
    fits = low.shape == high.shape == (width,) and np.isfinite([low, high]).all()
    return (low, high) if fits else None


def _opened(name: str, path: Path) -> Seer:
    folder = find_model(path)
    network = load_model(folder).requires_grad_(False)
    return Seer(name, network, load_goal_policy(folder, network))
