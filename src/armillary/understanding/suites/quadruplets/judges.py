"""Judges: whatever says at every step of a clip how surprising it is.

``SurpriseModel`` is what anybody can write; armillary's models come through ``JepaJudges``. The
others here are what a reviewer asks for: they know nothing of physics, and where one of them leaves
50 %, the concept can be solved by a shortcut.

Axes: B clips, T steps. Values at index t belong to step t+1; larger is more surprising.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from armillary.core.errors import ConfigError
from armillary.core.rng import generator
from armillary.core.values import Latent
from armillary.models import JEPA
from armillary.objectives.whitening import Whitening
from armillary.understanding.suites.quadruplets.expectation import (
    Expectation,
    errors,
    look,
    squared_error,
)

Frames = UInt8[np.ndarray, "B T H W 3"]
Pans = Float32[np.ndarray, "B _ _"]
Surprise = Float32[np.ndarray, "B _"]
_LEVELS = 16  # that are distinguished in each channel
_LEVEL = 256 // _LEVELS
View = Literal[
    "model",
    "plain",
    "unexpected",
    "copy_last",
    "one_frame",
    "shuffled_context",
    "foreign_context",
]


@runtime_checkable
class SurpriseModel(Protocol):
    """Says how surprising each step of a clip is, after all the steps before it."""

    def surprise(self, frames: Frames, pans: Pans) -> Surprise:
        """Return one number for each of the steps 1 to T-1 of each clip.

        Args:
            frames: the clips; what a judge says of one must not depend on the others.
            pans: how the camera moves from each step to the next, units of 1/64 picture width.
        """
        ...


Panel = Callable[[Frames, Pans], dict[str, Surprise]]


@dataclass(frozen=True)
class Judges:
    """A panel of judges that have nothing in common."""

    members: Mapping[str, SurpriseModel]

    def __call__(self, frames: Frames, pans: Pans) -> dict[str, Surprise]:
        """Return what each says, by its name."""
        return {name: judge.surprise(frames, pans) for name, judge in self.members.items()}


@dataclass(frozen=True)
class JepaJudges:
    """A world model that sees a clip in several ways: the squared error of its predictions.

    Attributes:
        model: of pictures; actions, if it takes any, are the camera's moves.
        normal: its errors in possible clips, which whiten all others; None for no whitening.
        views: ``model``: predicts each step from all before it. ``plain``: the same, never
            whitened. ``unexpected``: by how much that errs more than is usual for what is seen.
            ``copy_last``: predicts no change. ``one_frame``: from the step before alone.
            ``foreign_context``: what was before that step is of another clip, which takes the
            answer away. ``shuffled_context``: it is remembered in another order, which leaves all
            that was seen.
        prefix: put before the names of views.
        expectation: what is usual; needed for ``unexpected``.
    """

    model: JEPA
    normal: Whitening | None = None
    views: tuple[View, ...] = ("model",)
    prefix: str = ""
    expectation: Expectation | None = None

    @torch.no_grad()
    def __call__(self, frames: Frames, pans: Pans) -> dict[str, Surprise]:
        """Return the mean squared error of the latent over its dimensions, by view."""
        seen = look(self.model, frames, pans)
        wrong = errors(self.model, seen)
        return {self.prefix + view: self._surprise(seen, wrong, view) for view in self.views}

    def _surprise(
        self, seen: Latent, wrong: Float32[np.ndarray, "B steps Z"], view: View
    ) -> Surprise:
        if view == "plain":
            return squared_error(wrong, None)
        if view in ("model", "unexpected"):
            surprise = squared_error(wrong, self.normal)
            if view == "model":
                return surprise
            if self.expectation is None:
                raise ConfigError("The view 'unexpected' needs an expectation; fit one.")
            return self.expectation.beyond(surprise, seen.tokens.flatten(2).numpy())
        otherwise = seen.tokens[:, 1:] - self._predicted(seen, view)
        return squared_error(otherwise.flatten(2).float().numpy(), self.normal)

    def _predicted(self, seen: Latent, view: View) -> Tensor:
        if view == "copy_last":
            return seen.tokens[:, :-1]
        states = seen.tokens.flatten(2)
        actions = states.new_zeros(len(states), states.shape[1] - 1, 0)
        if seen.actions is not None:
            actions = self.model.normalizer.actions(seen.actions)
        predictor, predicted = self.model.predictor, []
        running = empty = predictor.start(states[:, 0])
        for step in range(states.shape[1] - 1):
            memory = empty if view == "one_frame" else running.roll(1, dims=0)
            if view == "shuffled_context":
                memory = self._shuffled(states, actions, step)
            predicted.append(predictor(states[:, step], actions[:, step], memory)[0])
            running = predictor.remember(states[:, step], actions[:, step], running)
        return torch.stack(predicted, 1).unflatten(2, seen.tokens.shape[2:])

    def _shuffled(self, states: Tensor, actions: Tensor, step: int) -> Tensor:
        """Return the memory of the steps before this one, remembered in another order."""
        memory = self.model.predictor.start(states[:, 0])
        for earlier in generator("shuffled context", step).permutation(step).tolist():
            memory = self.model.predictor.remember(states[:, earlier], actions[:, earlier], memory)
        return memory


@dataclass(frozen=True)
class Constant:
    """Is never surprised."""

    def surprise(self, frames: Frames, pans: Pans) -> Surprise:
        """Return 1 everywhere."""
        return np.ones((len(frames), frames.shape[1] - 1), np.float32)


@dataclass(frozen=True)
class Coin:
    """Tosses a coin for every clip; a clip that comes again gets the same."""

    def surprise(self, frames: Frames, pans: Pans) -> Surprise:
        """Return numbers that depend on the whole clip and on nothing that is in it."""
        found = [
            hashlib.sha256(clip.tobytes() + pan.tobytes()).digest()
            for clip, pan in zip(frames, pans, strict=True)
        ]
        seeds = [int.from_bytes(one[:8], "little") for one in found]
        steps = frames.shape[1] - 1
        return np.stack(
            [np.random.Generator(np.random.Philox(key=s)).random(steps) for s in seeds]
        ).astype(np.float32)


@dataclass(frozen=True)
class CopyLast:
    """Expects the last picture again."""

    def surprise(self, frames: Frames, pans: Pans) -> Surprise:
        """Return the summed absolute change of the picture, in grey levels."""
        return _per_clip(frames, lambda change: _summed(np.abs(change)))


@dataclass(frozen=True)
class MotionEnergy:
    """Is surprised by motion."""

    def surprise(self, frames: Frames, pans: Pans) -> Surprise:
        """Return the summed squared change of the picture, in thousands of squared grey levels."""
        return _per_clip(frames, lambda change: _summed(change.astype(np.int32) ** 2) / 1024)


@dataclass(frozen=True)
class LargestDifference:
    """Is surprised by the largest change of any pixel."""

    def surprise(self, frames: Frames, pans: Pans) -> Surprise:
        """Return it, in grey levels."""
        return _per_clip(frames, lambda change: np.abs(change).max(axis=(1, 2, 3)))


@dataclass(frozen=True)
class ConstantVelocity:
    """Expects every pixel to change as it did last."""

    def surprise(self, frames: Frames, pans: Pans) -> Surprise:
        """Return the summed absolute error, in grey levels; at the first step, of no change."""
        return _per_clip(frames, lambda change: _summed(np.abs(np.diff(change, axis=0, prepend=0))))


@dataclass(frozen=True)
class Palette:
    """Remembers how much of each colour there was at most, without order, place or motion.

    It is no shortcut: it has to remember what went behind a screen. It says how far a memory comes
    that knows nothing of physics, and in which a shuffled clip leaves the same.
    """

    def surprise(self, frames: Frames, pans: Pans) -> Surprise:
        """Return how many pixels have a colour beyond the most of it in any picture before."""
        return np.stack([_beyond_seen(clip) for clip in frames])


CONTROLS: dict[str, SurpriseModel] = {
    "constant": Constant(),
    "coin": Coin(),
    "copy_last_pixels": CopyLast(),
    "motion_energy": MotionEnergy(),
    "largest_difference": LargestDifference(),
    "constant_velocity": ConstantVelocity(),
    "palette": Palette(),
}


def _per_clip(frames: Frames, judged: Callable[[np.ndarray], np.ndarray]) -> Surprise:
    changes = (np.diff(clip.astype(np.int16), axis=0) for clip in frames)
    return np.stack([judged(change) for change in changes]).astype(np.float32)


def _beyond_seen(clip: UInt8[np.ndarray, "T H W 3"]) -> Float32[np.ndarray, " _"]:
    levels = (clip // _LEVEL).reshape(len(clip), -1, 3).astype(np.int64)
    names = levels @ np.array([_LEVELS**2, _LEVELS, 1])
    counts = np.stack([np.bincount(step, minlength=_LEVELS**3) for step in names])
    most = np.maximum.accumulate(counts)
    # whole numbers, so that ties are ties
    return np.maximum(counts[1:] - most[:-1], 0).sum(axis=1).astype(np.float32)


def _summed(values: np.ndarray) -> np.ndarray:
    # whole numbers below 2**24: exact in float32, so that ties are ties
    return values.sum(axis=(1, 2, 3), dtype=np.int64)
