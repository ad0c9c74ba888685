"""World of quadruplets: an episode is a quadruplet, its steps are its clips, an action a surprise.

Concept, number and order of the clips are drawn from the episode's seed, so that they do not exist
before the agent is committed. The concepts are those that no copy of the last picture can solve.
An episode is solved where D > 0 by the rule of the comprehension suite (``scoring.py``); a tie
counts as wrong. Before all four clips are judged, nothing is solved.

An action of 0 says nothing. The change of the pixels then stands in its place, so that the control
that does nothing is the baseline in pixels.

Axes: T steps of a clip, H W picture. A clip is shown as one picture, its steps below each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float64, UInt8

from armillary.core.errors import WorldError, unknown_name
from armillary.core.rng import generator
from armillary.core.values import ActionBounds, Goal, Observation, WorldSpec
from armillary.understanding.suites.quadruplets.concepts import CONCEPTS, make_quadruplet
from armillary.understanding.suites.quadruplets.quadruplet import CELLS, Quadruplet
from armillary.understanding.suites.quadruplets.scoring import double_difference
from armillary.worlds.actions import validate_action
from armillary.worlds.stage.crossing import STEPS
from armillary.worlds.stage.scene import STAGE

TASK = "order"
ASKED = tuple(name for name, concept in CONCEPTS.items() if concept.copy == 50)
MOST = 1e9  # surprise
SIDE = int(STAGE)  # of a picture, pixels
_NUMBERS = 1 << 20
_REDRAWS = 8
_POSSIBLE, _IMPOSSIBLE = 1.0, 2.0  # what the oracle says


@dataclass(frozen=True)
class Drawn:
    """What an episode's seed draws.

    Attributes:
        concept: a key of ``CONCEPTS``.
        cells: context and outcome of the four clips, in the order in which they are shown.
        number: of the quadruplet; the first that is tried.
    """

    concept: str
    cells: tuple[tuple[int, int], ...]
    number: int


def drawn(seed: int) -> Drawn:
    """Return what a seed draws; nothing is painted."""
    rng = generator("proof.quadruplet", int(seed))
    concept = ASKED[int(rng.integers(len(ASKED)))]
    cells = tuple(CELLS[place] for place in rng.permutation(len(CELLS)))
    return Drawn(concept, cells, int(rng.integers(_NUMBERS)))


def margin(seed: int, surprise: Sequence[float]) -> float:
    """Return D over the summed surprise, from -1 to 1; above 0 the impossible clips surprise more.

    Args:
        seed: of the episode.
        surprise: of its four clips, as shown; where an episode broke, of fewer.
    """
    pairs = list(zip(drawn(seed).cells, map(float, surprise), strict=False))
    size = math.fsum(abs(value) for _, value in pairs)
    signed = (value if context != outcome else -value for (context, outcome), value in pairs)
    return math.fsum(signed) / size if size else 0.0


def possible_clips(seed: int) -> list[UInt8[np.ndarray, "T H W 3"]]:
    """Return the two possible clips of an episode; the impossible ones are made of their pictures.

    Raises:
        WorldError: no two scenes that fit were found.
    """
    made = _Episode(int(seed), drawn(seed)).made
    return [made.frames[context, outcome] for context, outcome in CELLS if context == outcome]


def film_of(frames: np.ndarray) -> np.ndarray:
    """Return a clip [T H W 3] as one picture [T*H W 3]."""
    return np.ascontiguousarray(frames.reshape(-1, *frames.shape[2:]))


def clip_of(film: np.ndarray) -> np.ndarray:
    """Return the clip [T H W 3] of a picture [T*H W 3]."""
    return film.reshape(-1, SIDE, *film.shape[1:])


@dataclass(frozen=True)
class _Episode:
    """One quadruplet, painted when somebody looks: most actors and most checks never do."""

    seed: int
    drawn: Drawn

    @cached_property
    def made(self) -> Quadruplet:
        """The four clips.

        Raises:
            WorldError: no two scenes that fit were found.
        """
        first = self.drawn.number
        for number in range(first, first + _REDRAWS):
            with suppress(WorldError):
                return make_quadruplet(self.drawn.concept, number, self.seed)
        return make_quadruplet(self.drawn.concept, first + _REDRAWS, self.seed)


@dataclass(frozen=True)
class _Seen(Mapping[str, np.ndarray]):
    """The streams of one clip, painted when they are read."""

    episode: _Episode
    cell: tuple[int, int]

    def __getitem__(self, name: str) -> np.ndarray:
        if name == "film":
            return film_of(self.episode.made.frames[self.cell])
        if name == "pans":
            return np.array(self.episode.made.pans[self.cell], np.float32).ravel()
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(("film", "pans"))

    def __len__(self) -> int:
        return 2


class Quadruplets:
    """The world."""

    def __init__(self) -> None:
        self._spec = _make_spec()
        self._episode: _Episode | None = None
        self._said: list[float] = []

    @property
    def spec(self) -> WorldSpec:
        """What this world promises."""
        return self._spec

    def reset(self, seed: int) -> Observation:
        """Draw a quadruplet from the seed alone and show its first clip."""
        self._episode, self._said = _Episode(int(seed), drawn(seed)), []
        return self._shown()

    def step(self, action: Any) -> Observation:
        """Take the surprise [1] of the clip that is shown, and show the next; the last one stays.

        Raises:
            ShapeError: wrong width, not finite, or out of bounds.
        """
        self.advance(action)
        return self._shown()

    def advance(self, action: Any) -> None:
        """Take a surprise without a look at the next clip.

        Raises:
            ShapeError: as ``step``.
        """
        said = float(validate_action(self._spec, action)[0])
        if len(self._said) < len(CELLS):
            self._said.append(said or self._change())

    def truth(self) -> Mapping[str, np.ndarray]:
        """Return what was drawn: ``concept`` [1], ``cells`` [4 2], ``event`` [1] and ``said`` [4].

        ``concept`` is its place in ``ASKED``; what was not said yet is 0.
        """
        now = self._present()
        said = np.zeros(len(CELLS))
        said[: len(self._said)] = self._said
        return {
            "concept": np.array([ASKED.index(now.drawn.concept)], np.float32),
            "cells": np.array(now.drawn.cells, np.float32),
            "event": np.array([now.made.event], np.float32),
            "said": said,
        }

    def draw_goal(self, task: str, rng: np.random.Generator) -> Goal:
        """Return the only goal there is; it shows nothing.

        Raises:
            ConfigError: an unknown task.
        """
        if task != TASK:
            raise unknown_name("task of quadruplets", task, (TASK,))
        film, pans = np.zeros((STEPS * SIDE, SIDE, 3), np.uint8), np.zeros(2 * (STEPS - 1))
        return Goal(task, Observation({"film": film, "pans": pans.astype(np.float32)}))

    def distance(self, goal: Goal) -> float:
        """Return 0 where the impossible clips surprised more, else 1; before the end, 1."""
        cells = self._present().drawn.cells
        if len(self._said) < len(CELLS):
            return 1.0
        by_cell = {cell: np.array([v]) for cell, v in zip(cells, self._said, strict=True)}
        return 1.0 - float(double_difference(by_cell) == 1)

    def expert(self, goal: Goal | None, rng: np.random.Generator) -> Float64[np.ndarray, " A"]:
        """Return the surprise of one who knows which clips are possible."""
        context, outcome = self._cell()
        return np.array([_POSSIBLE if context == outcome else _IMPOSSIBLE])

    def close(self) -> None:
        """Hold nothing."""

    def _present(self) -> _Episode:
        if self._episode is None:
            raise WorldError("quadruplets: no episode is running; call reset(seed) first.")
        return self._episode

    def _cell(self) -> tuple[int, int]:
        """Return context and outcome of the clip that is shown."""
        return self._present().drawn.cells[min(len(self._said), len(CELLS) - 1)]

    def _shown(self) -> Observation:
        return Observation(_Seen(self._present(), self._cell()))

    def _change(self) -> float:
        """Return the summed absolute change of the picture over the shown clip, in grey levels."""
        frames = self._present().made.frames[self._cell()].astype(np.int64)
        return float(np.abs(np.diff(frames, axis=0)).sum())


def _make_spec() -> WorldSpec:
    return WorldSpec(
        name="quadruplets",
        bounds=ActionBounds(np.array([0.0]), np.array([MOST])),
        step_s=1.0,
        tasks=(TASK,),
        budget=len(CELLS),
        success_distance=0.5,
        distance_unit="0 right, 1 wrong",
        sensors={"film": "rgb", "pans": "proprio"},
    )
