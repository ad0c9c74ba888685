"""Sources: what the imagined world stands beside, a simulator or a recording.

Axes: A action of a model step (the actions of its world steps side by side), Z flattened latent,
T model steps of an episode, H W image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from armillary.core.errors import WorldError
from armillary.core.progress import Progress, silent
from armillary.core.protocols import BlindWorld, World
from armillary.core.values import ActionBounds, Observation
from armillary.data import Cache
from armillary.data.resize import as_size, resized, resized_lens
from armillary.evaluation.seeing import encode_observation
from armillary.evaluation.specs import observation_streams
from armillary.models import JEPA
from armillary.play.eye import Eye, SavesMoments
from armillary.play.memory import Memory, remember
from armillary.play.recorded import RecordedClouds, row_of
from armillary.play.scene import scene_episodes
from armillary.play.sensors import COLOUR, DEPTH, POINTS, Sensors
from armillary.recipes.recipe import point_sampling
from armillary.services.asking import whole_episode

Truth = Mapping[str, np.ndarray]
RGB = "rgb"


@dataclass(frozen=True)
class Seen:
    """One step of what is real.

    Attributes:
        state: its latent.
        picture: as the model's camera gives it, at the model's size.
        truth: of the simulator or the recording.
    """

    state: Float[Tensor, "1 Z"]
    picture: UInt8[np.ndarray, "H W 3"]
    truth: Truth


@dataclass(frozen=True)
class About:
    """What a source is, for the page.

    Attributes:
        name: of the world or the recording.
        kind: "world" or "recording".
        bounds: of one world step's action.
        discrete: whether an action is a choice: the largest of its numbers is taken.
        step_s: seconds of a model step.
        units: of truths, by name, where they are known.
    """

    name: str
    kind: str
    bounds: ActionBounds
    discrete: bool
    step_s: float
    units: Mapping[str, str]


@runtime_checkable
class Source(Protocol):
    """What is real, beside the model."""

    @property
    def about(self) -> About:
        """What it is."""
        ...

    @property
    def sensors(self) -> Sensors:
        """What it gives beside colour."""
        ...

    def begin(self, seed: int, progress: Progress = silent) -> tuple[Memory, Seen, str]:
        """Begin the scene of a seed; return its memory, its first step, and what it is in words."""
        ...

    def sense(self, kept: int | None) -> Observation:
        """Return what the sensors beside colour give, depth as large as the model's pictures.

        Args:
            kept: number of a kept picture of the scene; None for the present step.
        """
        ...

    def recorded(self) -> Float[np.ndarray, " A"] | None:
        """Return the action that leads on in a recording; None at its end, or for a world."""
        ...

    def go(self, action: Float[np.ndarray, " A"]) -> Seen | None:
        """Return what follows an action; None where nothing is known of it."""
        ...

    def why_over(self) -> str:
        """Return why nothing follows; empty where something does."""
        ...

    def close(self) -> None:
        """Give back what was held."""
        ...


class WorldSource:
    """A simulator.

    Args:
        model: encodes.
        world: any world whose observations the model sees.
        eye: its other sensors; None where it has no others, or cannot be put at a moment.
    """

    def __init__(self, model: JEPA, world: World, eye: Eye | None = None) -> None:
        self._model, self._world, self._eye = model, world, eye
        self._skip = model.config.frame_skip
        self._observes = observation_streams(model.config)
        self._size = model.config.encoder.image_size
        self._why = ""
        self._remembered: dict[int, _Remembered] = {}
        self._now: tuple[Observation, Any] = (Observation({}), None)

    @property
    def about(self) -> About:
        """What it is."""
        spec = self._world.spec
        discrete = bool(getattr(self._world, "discrete", False))
        units = {name: unit for name, (unit, _) in spec.units.items()}
        return About(spec.name, "world", spec.bounds, discrete, spec.step_s * self._skip, units)

    @property
    def sensors(self) -> Sensors:
        """What it gives beside colour: what it renders for the model, and what its eye does."""
        specs = [self._world.spec, *([self._eye.spec] if self._eye is not None else [])]
        given = {name for spec in specs for name in spec.sensors}
        beams = next((s.beams_rad["lidar"] for s in specs if "lidar" in s.beams_rad), None)
        names = [COLOUR]
        names += [DEPTH] if "depth" in given else []
        names += [POINTS] if "depth" in given or beams is not None else []
        return Sensors(tuple(names), beams)

    def begin(self, seed: int, progress: Progress = silent) -> tuple[Memory, Seen, str]:
        """Begin the scene of a seed.

        Raises:
            WorldError: the world raised.
        """
        if seed not in self._remembered:
            moments: list[Any] = []
            episodes = scene_episodes(
                self._world, seed, progress=progress, note=lambda: moments.append(self._moment())
            )
            cache = Cache.from_episodes(
                episodes, self._size, points=point_sampling(self._model.config)
            )
            remembered = _Remembered(remember(self._model, cache), cache, moments)
            self._remembered = {seed: remembered}
        self._why = ""
        seen = self._seen(self._world.reset(seed))
        memory = self._remembered[seed].memory
        return memory, seen, f"{len(memory.pictures)} pictures of this scene"

    def sense(self, kept: int | None) -> Observation:
        """Return what the sensors beside colour give, by the eye where the model has them not.

        Raises:
            WorldError: the world raised.
        """
        if kept is None:
            seen, moment = self._now
        else:
            (remembered,) = self._remembered.values()
            seen, moment = row_of(remembered.cache, kept), remembered.moments[kept]
        if self._eye is not None and not {*self._eye.spec.sensors} <= {*seen.streams}:
            seen = self._eye.at(moment)
        return _at_size(seen, self._size)

    def recorded(self) -> None:
        """Return nothing: a world waits for actions."""

    def go(self, action: Float[np.ndarray, " A"]) -> Seen | None:
        """Step the world through a model step; None once it has ended the episode."""
        if self._why:
            return None
        *before, last = np.asarray(action, np.float64).reshape(self._skip, -1)
        try:
            for one in before:
                if getattr(self._world, "ended", False):
                    break
                self._advance(one)
            if getattr(self._world, "ended", False):
                self._why = "The environment has ended this episode. Reset to drive on in it."
                return None
            return self._seen(self._world.step(last))
        except WorldError as error:
            self._why = f"The world stopped: {error}"
            return None

    def why_over(self) -> str:
        """Return why the world does not go on; empty where it does."""
        return self._why

    def close(self) -> None:
        """Close the world and its eye."""
        if self._eye is not None:
            self._eye.close()
        self._world.close()

    def _moment(self) -> Any:
        """Return the present moment, for the eye; None where there is none."""
        if self._eye is None or not isinstance(self._world, SavesMoments):
            return None
        return self._world.save_state()

    def _advance(self, action: Float[np.ndarray, " A"]) -> None:
        if isinstance(self._world, BlindWorld):
            self._world.advance(action)
        else:
            self._world.step(action)

    def _seen(self, observation: Observation) -> Seen:
        self._now = observation, self._moment()
        tokens = encode_observation(self._model, observation.only(self._observes), self._size)
        return Seen(tokens.flatten(2)[:, 0], self._picture(observation), self._world.truth())

    def _picture(self, observation: Observation) -> UInt8[np.ndarray, "H W 3"]:
        return resized(observation.streams[RGB], as_size(self._size), average=True)


@dataclass(frozen=True)
class _Remembered:
    """A scene: its memory, the frames that it is of, and the world's moment at each."""

    memory: Memory
    cache: Cache
    moments: list[Any]


def _at_size(seen: Observation, size: int) -> Observation:
    """Return an observation with its depth, and the lens of it, at the size of the pictures."""
    depth = seen.streams.get("depth")
    if depth is None or depth.shape == as_size(size):
        return seen
    small = {"depth": resized(depth, as_size(size), average=False)}
    if "intrinsics" in seen.streams:
        before = (depth.shape[0], depth.shape[1])
        small["intrinsics"] = resized_lens(seen.streams["intrinsics"], before, as_size(size))
    return Observation({**seen.streams, **small})


@dataclass
class RecordingSource:
    """An episode of a recording, from which one may depart.

    Attributes:
        model: encodes.
        cache: the episode first, then others that look alike.
        others: it and more episodes, which tell places and usual errors.
        episode: its number in the dataset.
        name: of the dataset.
        stride: recorded steps of a model step.
        units: of truths, by name, where they are known.
        discrete: whether an action is a choice.
        sensors: what it gives beside colour.
        clouds: its points; None where none were recorded.
    """

    model: JEPA
    cache: Cache
    others: Cache
    name: str
    stride: int
    units: Mapping[str, str] = field(default_factory=dict)
    discrete: bool = False
    sensors: Sensors = field(default_factory=Sensors)
    clouds: RecordedClouds | None = None
    _at: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        clip = whole_episode(self.model, self.cache, 0, self.stride)
        with torch.no_grad():
            self._states = self.model.encode(clip).tokens[0].flatten(1)
        self._actions = None if clip.actions is None else clip.actions[0].numpy()
        end = int(self.cache.starts[1])
        self._rows = np.arange(0, end, self.stride)[: len(self._states)]
        self._memory = remember(self.model, self.cache, self.others)

    @property
    def about(self) -> About:
        """What it is; the box of actions is that of the recorded ones."""
        actions = self.cache.actions
        width = self.model.config.action_width // self.model.config.frame_skip
        low, high = np.zeros(width), np.zeros(width)
        if actions is not None and width:
            low, high = actions.min(0).astype(np.float64), actions.max(0).astype(np.float64)
        return About(
            self.name,
            "recording",
            ActionBounds(low, high),
            self.discrete,
            self.stride / self.cache.fps,
            self.units,
        )

    def begin(self, seed: int, progress: Progress = silent) -> tuple[Memory, Seen, str]:
        """Go back to the first step; a recording has no seeds."""
        self._at = 0
        alike = self.cache.num_episodes - 1
        words = f"{len(self._memory.pictures)} pictures of this episode "
        words += f"and {alike} that look alike" if alike else "alone"
        return self._memory, self._seen(), words

    def sense(self, kept: int | None) -> Observation:
        """Return what was recorded beside colour.

        Raises:
            DatasetError: a file of clouds is damaged or missing.
        """
        row = int(self._rows[self._at]) if kept is None else kept
        seen = row_of(self.cache, row)
        if self.clouds is None:
            return seen
        return Observation({**seen.streams, "points": self.clouds.at(row)})

    def back_to(self, step: int) -> Seen:
        """Go back to a step, and return it."""
        self._at = step
        return self._seen()

    @property
    def at(self) -> int:
        """The present step."""
        return self._at

    def recorded(self) -> Float[np.ndarray, " A"] | None:
        """Return the recorded action; None at the end."""
        if self._at + 1 >= len(self._states):
            return None
        if self._actions is None or not self.model.config.action_width:
            return np.zeros(self.model.config.action_width, np.float32)
        return self._actions[self._at]

    def go(self, action: Float[np.ndarray, " A"]) -> Seen | None:
        """Return the next recorded step, whatever the action; None at the end."""
        if self._at + 1 >= len(self._states):
            return None
        self._at += 1
        return self._seen()

    def why_over(self) -> str:
        """Return that the recording has ended, where it has."""
        if self._at + 1 < len(self._states):
            return ""
        return "The recording ends here. Drive on in the model, or reset."

    def close(self) -> None:
        """Hold nothing, give nothing back."""

    def _seen(self) -> Seen:
        row = int(self._rows[self._at])
        truth = {
            name: np.asarray(self.cache.arrays[name][row])
            for name, kind in self.cache.kinds.items()
            if kind == "truth"
        }
        return Seen(self._states[self._at][None], self._memory.pictures[row], truth)
