"""Two rooms: an agent, seen from above, and a wall with a door, both drawn per episode.

An action is a displacement (dx, dy) in metres; what is in the way stops the agent. Evaluation
layouts are held out: ``split="held_out"`` shares no wall and door with ``split="train"``.

Axes: H W image (row 0 is the top), A action.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, UInt8

from armillary.core.errors import ConfigError, WorldError, unknown_name
from armillary.core.rng import generator
from armillary.core.values import ActionBounds, Goal, Observation, StreamKind, WorldSpec
from armillary.worlds.actions import validate_action
from armillary.worlds.two_rooms.layout import (
    AGENT_RADIUS_M,
    ARENA_M,
    BORDER_M,
    WALL_HALF_M,
    Layout,
    draw_free,
    layouts,
)

MAX_STEP_M = 0.025
TASKS = ("reach", "cross")
SPLITS = ("train", "held_out")
_SENSORS: dict[str, StreamKind] = {"rgb": "rgb", "proprio": "proprio"}
_LEAST_GOAL_M = 0.1
_SUCCESS_M = 0.03
_TRIPS, _STRAIGHT, _STRAIGHT_STEPS = 0.35, 0.25, 40  # shares of what explorers begin; steps
_ARRIVED_M, _TRIP_STEPS = 0.01, 150  # noise may keep a trip from its end; it is then given up
_BUDGET = {"reach": 60, "cross": 80}
_FLOOR_RGB, _WALL_RGB, _AGENT_RGB = (236, 233, 224), (62, 74, 94), (226, 84, 44)


@dataclass(frozen=True)
class TwoRoomsState:
    """A moment: the seed that drew the layout, and where the agent is."""

    seed: int
    xy: tuple[float, float]


@dataclass(frozen=True)
class Wander:
    """What the explorer is doing: heading somewhere, or wandering, for some more steps.

    Attributes:
        steps_left: until it does something else.
        target: where it heads, metres; None while it wanders.
        heading_rad: where it wanders.
        round_walls: whether it heads there round the wall, or straight at it.
    """

    steps_left: int
    target: tuple[float, float] | None
    heading_rad: float
    round_walls: bool = True


class TwoRooms:
    """The two-rooms world.

    Args:
        image_size: H = W of the pictures, pixels.
        split: "train" or "held_out": which layouts are drawn from.
        sensors: of rgb and proprio (the agent's place [2] in metres; off by default, it gives the
            answer away).
        task: the default task: "reach" (a place in any room) or "cross" (in the other room).
        max_step_m: bound of an action along x and along y, metres.

    Raises:
        ConfigError: a setting that cannot be.
    """

    def __init__(
        self,
        image_size: int = 64,
        split: str = "train",
        sensors: tuple[str, ...] = ("rgb",),
        task: str = "reach",
        max_step_m: float = MAX_STEP_M,
    ) -> None:
        if not 16 <= image_size <= 1024:
            raise ConfigError(f"two_rooms: image_size is 16 to 1024 pixels, got {image_size}.")
        for what, name, known in (("split", split, SPLITS), ("task", task, TASKS)):
            if name not in known:
                raise unknown_name(f"{what} of two_rooms", name, known)
        for name in sensors:
            if name not in _SENSORS:
                raise unknown_name("sensor of two_rooms", name, _SENSORS)
        if not 0 < max_step_m <= WALL_HALF_M * 2:
            raise ConfigError(
                f"two_rooms: max_step_m is above 0 and at most the wall's {2 * WALL_HALF_M} m, "
                f"got {max_step_m}."
            )
        self._size, self._max_step_m = image_size, max_step_m
        self._layouts = layouts("train" if split == "train" else "held_out")
        self._spec = _make_spec(sensors, task, max_step_m)
        self._seed: int | None = None
        self._xy = (0.0, 0.0)

    @property
    def spec(self) -> WorldSpec:
        """What this world promises."""
        return self._spec

    @property
    def layout(self) -> Layout:
        """Wall and door of the present episode."""
        self._check_started()
        return self._layout

    def reset(self, seed: int) -> Observation:
        """Draw a layout of the split, and a start, from the seed alone."""
        rng = generator("two_rooms.scene", int(seed))
        self._seed = int(seed)
        self._layout = self._layouts[int(rng.integers(len(self._layouts)))]
        self._xy = draw_free(rng, self._layout, None)
        self._empty = _draw_layout(self._layout, self._size)
        return self.observe()

    def step(self, action: Any) -> Observation:
        """Move by ``action`` [2] in metres, or as far as nothing is in the way.

        Raises:
            ShapeError: wrong width, not finite, or out of bounds.
        """
        self.advance(action)
        return self.observe()

    def advance(self, action: Any) -> None:
        """Move without a look: no picture is drawn.

        Raises:
            ShapeError: as ``step``.
        """
        self._check_started()
        dx, dy = validate_action(self._spec, action).tolist()
        self._xy = self._layout.move(*self._xy, dx, dy)

    def observe(self) -> Observation:
        """Return what the sensors give now."""
        streams: dict[str, np.ndarray] = {}
        if "rgb" in self._spec.sensors:
            streams["rgb"] = _with_agent(self._empty, self._xy)
        if "proprio" in self._spec.sensors:
            streams["proprio"] = np.array(self._xy, np.float32)
        return Observation(streams)

    def truth(self) -> Mapping[str, np.ndarray]:
        """Return ``agent_xy`` [2], ``wall_x`` [1] and ``door_y`` [1] in metres."""
        self._check_started()
        return {
            "agent_xy": np.array(self._xy, np.float32),
            "wall_x": np.array([self._layout.wall_x_m], np.float32),
            "door_y": np.array([self._layout.door_y_m], np.float32),
        }

    def draw_goal(self, task: str, rng: np.random.Generator) -> Goal:
        """Draw a place at least 0.1 m away: in any room ("reach"), or in the other ("cross").

        Raises:
            ConfigError: an unknown task.
        """
        if task not in TASKS:
            raise unknown_name("task of two_rooms", task, TASKS)
        start = self._xy
        room = None if task == "reach" else not self.layout.is_right(start[0])
        while True:
            place = draw_free(rng, self.layout, room)
            if np.hypot(place[0] - start[0], place[1] - start[1]) >= _LEAST_GOAL_M:
                break
        self._xy = place
        goal = Goal(task, self.observe(), self.truth())
        self._xy = start
        return goal

    def distance(self, goal: Goal) -> float:
        """Return the straight distance of the agent from the goal, metres."""
        return float(np.linalg.norm(self.truth()["agent_xy"] - goal.truth["agent_xy"]))

    def expert(self, goal: Goal | None, rng: np.random.Generator) -> Float64[np.ndarray, " A"]:
        """Return the action towards the goal, through the door if need be; random without one."""
        if goal is None:
            return rng.uniform(self._spec.bounds.low, self._spec.bounds.high)
        x, y = goal.truth["agent_xy"].tolist()
        return self._towards((x, y))

    def explore(
        self, rng: np.random.Generator, state: Wander | None
    ) -> tuple[Float64[np.ndarray, " A"], Wander]:
        """Return an exploring action: of a walk, a trip, or a straight way that walls may stop.

        Trips go all the way to a drawn place, half of them through the door, which a walk rarely
        finds. A model that never saw somebody push against a wall foresees that they pass it.
        """
        if state is None or state.steps_left <= 0 or self._is_there(state):
            state = self._begin(rng)
        if state.target is not None:
            way = self._towards if state.round_walls else self._straight
            action = way(state.target) + rng.normal(0.0, 0.003, 2)
        else:
            heading = state.heading_rad + float(rng.vonmises(0.0, 5.0))
            state = replace(state, heading_rad=heading)
            length = self._max_step_m * rng.uniform(0.2, 1.0)
            action = length * np.array([np.cos(heading), np.sin(heading)])
        action = np.clip(action, self._spec.bounds.low, self._spec.bounds.high)
        return action, replace(state, steps_left=state.steps_left - 1)

    def teleport(self, xy: Float[np.ndarray, " 2"]) -> Observation:
        """Let the agent jump to ``xy``, metres."""
        self._check_started()
        self._xy = (float(xy[0]), float(xy[1]))
        return self.observe()

    def save_state(self) -> TwoRoomsState:
        """Return the present moment, to go back to with ``load_state``."""
        self._check_started()
        assert self._seed is not None
        return TwoRoomsState(self._seed, self._xy)

    def load_state(self, state: TwoRoomsState) -> Observation:
        """Go back to a saved moment and return what the sensors give there."""
        if state.seed != self._seed:
            self.reset(state.seed)
        self._xy = state.xy
        return self.observe()

    def close(self) -> None:
        """Hold nothing, give nothing back."""

    def _begin(self, rng: np.random.Generator) -> Wander:
        kind = rng.uniform()
        if kind < _TRIPS + _STRAIGHT:
            cross = None if rng.uniform() < 0.5 else not self._layout.is_right(self._xy[0])
            target = draw_free(rng, self._layout, cross)
            if kind < _TRIPS:
                return Wander(_TRIP_STEPS, target, 0.0)
            return Wander(int(rng.integers(10, _STRAIGHT_STEPS)), target, 0.0, round_walls=False)
        return Wander(int(rng.integers(5, 20)), None, float(rng.uniform(0, 2 * np.pi)))

    def _is_there(self, state: Wander) -> bool:
        return state.target is not None and math.dist(self._xy, state.target) < _ARRIVED_M

    def _towards(self, target: tuple[float, float]) -> Float64[np.ndarray, " A"]:
        """Return the action along the shortest way round the wall's corners."""
        layout, (x, _) = self._layout, self._xy
        beside = WALL_HALF_M + AGENT_RADIUS_M + 0.005
        side = 1.0 if layout.is_right(target[0]) else -1.0
        gate = target
        if layout.in_doorway(x):
            gate = (layout.wall_x_m + side * beside, layout.door_y_m)
        elif layout.is_right(x) != layout.is_right(target[0]):
            near = (layout.wall_x_m - side * beside, layout.door_y_m)
            at_gate = np.hypot(near[0] - x, near[1] - self._xy[1]) < 0.012
            gate = (layout.wall_x_m + side * beside, layout.door_y_m) if at_gate else near
        return self._straight(gate)

    def _straight(self, target: tuple[float, float]) -> Float64[np.ndarray, " A"]:
        """Return the action straight towards a place."""
        gap = np.subtract(target, self._xy)
        action = gap / max(1.0, float(np.abs(gap).max()) / self._max_step_m)
        # rounding must not carry it an ulp over the bound
        return np.clip(action, self._spec.bounds.low, self._spec.bounds.high)

    def _check_started(self) -> None:
        if self._seed is None:
            raise WorldError("two_rooms: no episode is running; call reset(seed) first.")


def _make_spec(sensors: tuple[str, ...], task: str, max_step_m: float) -> WorldSpec:
    limit = np.full(2, max_step_m)
    place = ("m", "world")
    return WorldSpec(
        name="two_rooms",
        bounds=ActionBounds(-limit, limit),
        step_s=0.1,
        tasks=(task, *(name for name in TASKS if name != task)),
        budget=_BUDGET[task],
        success_distance=_SUCCESS_M,
        distance_unit="m",
        sensors={name: _SENSORS[name] for name in sensors},
        units=dict.fromkeys(("proprio", "agent_xy", "wall_x", "door_y"), place),
        extra={
            "budget": _BUDGET,
            "success_distance": dict.fromkeys(TASKS, _SUCCESS_M),
            "evaluation": {"split": "held_out"},
        },
    )


def _draw_layout(layout: Layout, size: int) -> UInt8[np.ndarray, "H W 3"]:
    """Return the picture without the agent; edges are smooth, so places finer than a pixel show."""
    edges = np.arange(size + 1) * (ARENA_M / size)
    solid = 1 - np.outer(*[_cover(edges, BORDER_M, ARENA_M - BORDER_M)] * 2)
    for left, right, low, high in layout.solid_boxes():
        solid = np.maximum(solid, np.outer(_cover(edges, low, high), _cover(edges, left, right)))
    picture = solid[..., None] * _WALL_RGB + (1 - solid[..., None]) * _FLOOR_RGB
    return np.ascontiguousarray(picture[::-1].round().astype(np.uint8))


def _cover(edges: Float64[np.ndarray, " P"], low: float, high: float) -> np.ndarray:
    """Return the share of each pixel between two limits."""
    inside = np.clip(edges, low, high)
    return np.diff(inside) / (edges[1] - edges[0])


def _with_agent(
    empty: UInt8[np.ndarray, "H W 3"], xy: tuple[float, float]
) -> UInt8[np.ndarray, "H W 3"]:
    """Return the picture with the agent: a round, soft-edged dot on the pixels around it."""
    size = len(empty)
    scale = size / ARENA_M
    u, v, radius = xy[0] * scale - 0.5, size - 0.5 - xy[1] * scale, AGENT_RADIUS_M * scale
    reach = int(radius) + 2
    left, top = max(int(u) - reach, 0), max(int(v) - reach, 0)
    right, bottom = min(int(u) + reach + 2, size), min(int(v) + reach + 2, size)
    du, dv = np.arange(left, right) - u, np.arange(top, bottom) - v
    far = np.sqrt(dv[:, None] ** 2 + du**2)
    cover = np.clip(radius + 0.5 - far, 0.0, 1.0)[..., None]
    picture = empty.copy()
    patch = picture[top:bottom, left:right]
    patch[...] = (patch + cover * (np.array(_AGENT_RGB) - patch) + 0.5).astype(np.uint8)
    return picture
