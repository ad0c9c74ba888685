"""Stage: a world to watch. Things pass behind screens, bounce, fall and strike each other.

An action moves the camera (x, y in units; 64 are the picture's width) and nothing else, so that
most actions are zero. It is made for learning what is possible: ``armillary record stage``.

Axes: H W image (row 0 is the top), A action.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float64

from armillary.core.errors import ConfigError, WorldError, unknown_name
from armillary.core.rng import generator
from armillary.core.values import ActionBounds, Goal, Observation, WorldSpec
from armillary.worlds.actions import validate_action
from armillary.worlds.stage.appearance import appearance
from armillary.worlds.stage.crossing import STEPS
from armillary.worlds.stage.painter import paint_step
from armillary.worlds.stage.plays import PLAYS, draw_scene
from armillary.worlds.stage.scene import Scene

MAX_PAN = 2.5
SPLITS = ("train", "held_out")


class Stage:
    """The stage.

    Args:
        image_size: H = W of the pictures, pixels.
        split: "train" or "held_out": which looks and speeds are drawn from.
        play: which kind of scene; empty for all of them.
        sensors: rgb, the only one there is.

    Raises:
        ConfigError: a setting that cannot be.
    """

    def __init__(
        self,
        image_size: int = 64,
        split: str = "train",
        play: str = "",
        sensors: tuple[str, ...] = ("rgb",),
    ) -> None:
        if not 16 <= image_size <= 1024:
            raise ConfigError(f"stage: image_size is 16 to 1024 pixels, got {image_size}.")
        if split not in SPLITS:
            raise unknown_name("split of stage", split, SPLITS)
        if play not in ("", *PLAYS):
            raise unknown_name("play of stage", play, PLAYS)
        if tuple(sensors) != ("rgb",):
            raise ConfigError(f"stage: the only sensor is rgb, got {', '.join(sensors)}.")
        self._size, self._play = image_size, play
        self._looks = appearance("train" if split == "train" else "held_out")
        self._spec = _make_spec()
        self._scene: Scene | None = None
        self._step, self._camera = 0, np.zeros(2)

    @property
    def spec(self) -> WorldSpec:
        """What this world promises."""
        return self._spec

    @property
    def scene(self) -> Scene:
        """The scene of the present episode."""
        if self._scene is None:
            raise WorldError("stage: no episode is running; call reset(seed) first.")
        return self._scene

    def reset(self, seed: int) -> Observation:
        """Draw a scene from the seed alone."""
        self._scene = draw_scene(self._looks, generator("stage.scene", int(seed)), self._play)
        self._step, self._camera = 0, np.zeros(2)
        return self.observe()

    def step(self, action: Any) -> Observation:
        """Go on by a step, the camera moved by ``action`` [2]; scenes end in a standstill.

        Raises:
            ShapeError: wrong width, not finite, or out of bounds.
        """
        self.advance(action)
        return self.observe()

    def advance(self, action: Any) -> None:
        """Go on without a look: no picture is painted.

        Raises:
            ShapeError: as ``step``.
        """
        last = self.scene.steps - 1
        self._camera = self._camera + validate_action(self._spec, action)
        self._step = min(self._step + 1, last)

    def observe(self) -> Observation:
        """Return what the camera sees now."""
        picture = paint_step(self.scene, self._step, self._size, self._camera)
        return Observation({"rgb": picture})

    def truth(self) -> Mapping[str, np.ndarray]:
        """Return ``thing_xy`` [2] of the first thing; whether it is ``there`` and ``hidden``."""
        scene, step = self.scene, self._step
        there = bool(scene.things)
        place = scene.things[0].path[step] - self._camera if there else np.zeros(2)
        hidden = there and scene.hidden(scene.things[0], step)
        return {
            "thing_xy": place.astype(np.float32),
            "there": np.array([there], np.float32),
            "hidden": np.array([hidden], np.float32),
        }

    def explore(
        self, rng: np.random.Generator, state: None
    ) -> tuple[Float64[np.ndarray, " A"], None]:
        """Return the camera's move that the scene asks for; none in most scenes."""
        pans = self.scene.pans()
        return (pans[self._step] if self._step < len(pans) else np.zeros(2)), None

    def expert(self, goal: Goal | None, rng: np.random.Generator) -> Float64[np.ndarray, " A"]:
        """Return the camera's move that the scene asks for."""
        return self.explore(rng, None)[0]

    def draw_goal(self, task: str, rng: np.random.Generator) -> Goal:
        """Refuse: nothing can be reached here.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"stage: this world has no goal tasks; there is no goal {task!r}.")

    def distance(self, goal: Goal) -> float:
        """Refuse, as ``draw_goal``.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"stage: this world has no goal tasks; there is no goal {goal.task!r}.")

    def close(self) -> None:
        """Hold nothing, give nothing back."""


def _make_spec() -> WorldSpec:
    limit = np.full(2, MAX_PAN)
    return WorldSpec(
        name="stage",
        bounds=ActionBounds(-limit, limit),
        step_s=0.1,
        tasks=(),
        budget=STEPS - 1,
        success_distance=0.0,
        distance_unit="unit",
        sensors={"rgb": "rgb"},
        units={"thing_xy": ("unit", "picture"), "there": ("", ""), "hidden": ("", "")},
    )
