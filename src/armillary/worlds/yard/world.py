"""Yard: a vehicle with a planar LiDAR drives in a walled yard among boxes, posts and a walker.

An action is what odometry would call a command: speed ahead in m/s and turn rate in rad/s, held
for 0.25 s. Yard, start and walker are drawn per episode. What is in the way stops the vehicle.

A goal shows the scan at its place; its odometry pose is that of a drive which began there, so it
tells nothing of where that is.

Axes: N beams, A action. Convention: x right, y up, metres; the LiDAR looks ahead along x, y left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Float64

from armillary.core.errors import WorldError, unknown_name
from armillary.core.rng import generator
from armillary.core.values import ActionBounds, Goal, Observation, WorldSpec
from armillary.worlds.actions import validate_action
from armillary.worlds.beams import as_scanned, planar
from armillary.worlds.yard.drive import Pose, arc, drive
from armillary.worlds.yard.explore import ExploreState, explore
from armillary.worlds.yard.layout import (
    MOVER_RADIUS_M,
    MOVER_SPEED_M_S,
    VEHICLE_RADIUS_M,
    Layout,
    draw_layout,
)
from armillary.worlds.yard.picture import draw_map, draw_moment
from armillary.worlds.yard.planner import steer, ways_to
from armillary.worlds.yard.rays import cast
from armillary.worlds.yard.settings import SENSORS, YardSettings

MAX_SPEED_M_S = 0.8
MAX_TURN_RAD_S = 1.2
STEP_S = 0.25
TASKS = ("reach",)
_LIMITS = (MAX_SPEED_M_S, MAX_TURN_RAD_S)
_BUDGET = 60
_SUCCESS_M = 0.3
_GOAL_LEAST_M, _GOAL_MOST_M = 1.5, 6.0
_ROOM_M = VEHICLE_RADIUS_M + 0.1
_KIDNAP_M = 1.0
_TRIES = 10_000
_KEEP_OFF_M = 0.05  # the walker turns round before touching the vehicle
_HOME = Pose(0.0, 0.0, 0.0)
_UNITS = {
    "lidar": ("m", "lidar"),
    "proprio": ("m/s, rad/s", "vehicle"),
    "world_from_lidar": ("m", "odometry"),
    "vehicle_xy": ("m", "world"),
    "vehicle_yaw_rad": ("rad", "world"),
    "mover_xy": ("m", "world"),
}


@dataclass(frozen=True)
class YardState:
    """A moment: all that is not drawn from the seed alone.

    Attributes:
        seed: that drew the yard.
        step: since the start.
        pose: of the vehicle in the world.
        odometry: where it believes to be, from its start.
        wheels: ahead and turn as measured in the last step, metres and radians.
        walked_m: by the walker, along the way to and fro.
        mount: of the LiDAR on the vehicle; other than ``_HOME`` once it was knocked.
    """

    seed: int
    step: int
    pose: Pose
    odometry: Pose = _HOME
    wheels: tuple[float, float] = (0.0, 0.0)
    walked_m: float = 0.0
    mount: Pose = _HOME


class Yard:
    """The yard world.

    Args:
        settings: by name, of ``YardSettings``, e.g. ``beams=361, field_deg=180``.

    Raises:
        ConfigError: a setting that cannot be.
    """

    def __init__(self, **settings: Any) -> None:
        self._settings = YardSettings.of(settings)
        self._beams_rad = planar(self._settings.beams, float(np.radians(self._settings.field_deg)))
        self._spec = _make_spec(self._settings, self._beams_rad)
        self._now: YardState | None = None

    @property
    def spec(self) -> WorldSpec:
        """What this world promises."""
        return self._spec

    @property
    def layout(self) -> Layout:
        """What stands in the yard of the present episode."""
        self.save_state()
        return self._layout

    def reset(self, seed: int) -> Observation:
        """Draw a yard and a start from the seed alone."""
        seed = int(seed)
        rng = generator("yard.scene", seed)
        self._layout = draw_layout(rng, self._settings.num_things, self._settings.moving)
        path = self._layout.path
        walked = float(rng.uniform(0.0, 2.0)) * (path.length_m if path else 0.0)
        x, y = self._layout.draw_free(rng, _ROOM_M, self._mover(walked)).tolist()
        pose = Pose(x, y, float(rng.uniform(-np.pi, np.pi)))
        self._now = YardState(seed, 0, pose, walked_m=walked)
        # Of this episode's odometry: error of its scale, and turn per metre driven.
        self._drift = generator("yard.drift", seed).normal(0.0, self._settings.drift, 2)
        self._map = None
        return self.observe()

    def step(self, action: Any) -> Observation:
        """Drive at ``action`` [2] in m/s and rad/s for 0.25 s, or until something is in the way.

        Raises:
            ShapeError: wrong width, not finite, or out of bounds.
            WorldError: no episode was started.
        """
        self.advance(action)
        return self.observe()

    def advance(self, action: Any) -> None:
        """Step without a look.

        Raises:
            ShapeError: as ``step``.
            WorldError: as ``step``.
        """
        now = self.save_state()
        ahead, turn = (validate_action(self._spec, action) * STEP_S).tolist()
        walked = self._walk(now)
        mover = self._mover(walked)
        pose, driven = drive(
            now.pose,
            ahead,
            turn,
            VEHICLE_RADIUS_M,
            lambda places: self._layout.clearance(places, mover),
        )
        wheels = self._measured(now, driven, turn)
        self._now = replace(
            now,
            step=now.step + 1,
            pose=pose,
            odometry=arc(now.odometry, *wheels),
            wheels=wheels,
            walked_m=walked,
        )

    def observe(self) -> Observation:
        """Return what the sensors give now."""
        return self._look(self.save_state(), "now")

    def truth(self) -> Mapping[str, np.ndarray]:
        """Return ``vehicle_xy`` [2], ``vehicle_yaw_rad`` [1], ``mover_xy`` [2] (NaN if nobody)."""
        return self._truth(self.save_state())

    def draw_goal(self, task: str, rng: np.random.Generator) -> Goal:
        """Draw a place 1.5 m or more away, up to 6 m of way, looked at as one would arrive there.

        Raises:
            ConfigError: an unknown task.
        """
        if task not in TASKS:
            raise unknown_name("task of yard", task, TASKS)
        now = self.save_state()
        ways = ways_to(self._layout, now.pose.xy)
        while True:
            place = self._layout.draw_free(rng, _ROOM_M, self._mover(now.walked_m))
            far = float(np.hypot(*(place - now.pose.xy)))
            if far >= _GOAL_LEAST_M and ways.cost_from(place) <= _GOAL_MOST_M:
                break
        back = ways.way(place, 8)[-1] - place
        heading = float(np.arctan2(-back[1], -back[0]))
        there = Pose(float(place[0]), float(place[1]), heading)
        state = replace(now, pose=there, odometry=_HOME, wheels=(0.0, 0.0))
        return Goal(task, self._look(state, "goal"), self._truth(state))

    def distance(self, goal: Goal) -> float:
        """Return the straight distance of the vehicle from the goal's place, metres."""
        return float(np.linalg.norm(self.truth()["vehicle_xy"] - goal.truth["vehicle_xy"]))

    def expert(self, goal: Goal | None, rng: np.random.Generator) -> Float64[np.ndarray, " A"]:
        """Return the command along the shortest way to the goal; random without one."""
        if goal is None:
            return rng.uniform(self._spec.bounds.low, self._spec.bounds.high)
        now = self.save_state()
        place = goal.truth["vehicle_xy"].astype(np.float64)
        mover = self._mover(now.walked_m)
        return self._inside(steer(self._layout, now.pose, place, mover, _LIMITS, STEP_S))

    def explore(
        self, rng: np.random.Generator, state: ExploreState | None
    ) -> tuple[Float64[np.ndarray, " A"], ExploreState]:
        """Return an exploring command and the explorer's next state (None at the start)."""
        now = self.save_state()
        command, state = explore(self._layout, now.pose, rng, state, _LIMITS, STEP_S)
        return self._inside(command), state

    def teleport(self, xy: Float[np.ndarray, " 2"]) -> Observation:
        """Put the vehicle at ``xy``, metres; its heading stays, and its odometry knows nothing."""
        now = self.save_state()
        self._now = replace(now, pose=Pose(float(xy[0]), float(xy[1]), now.pose.yaw_rad))
        return self.observe()

    def teleport_away(self, rng: np.random.Generator, least_m: float) -> tuple[Observation, float]:
        """Put the vehicle at a free place at least ``least_m``, and at least 1 m, away.

        Returns:
            What is seen then, and how far it jumped in metres.

        Raises:
            WorldError: no free place is as far away.
        """
        now = self.save_state()
        for _ in range(_TRIES):
            place = self._layout.draw_free(rng, _ROOM_M, self._mover(now.walked_m))
            jump_m = float(np.hypot(*(place - now.pose.xy)))
            if jump_m >= max(least_m, _KIDNAP_M):
                return self.teleport(place), jump_m
        raise WorldError(f"yard: no free place is {least_m:g} m away; ask for less.")

    def nudge_camera(
        self, shift_m: Float64[np.ndarray, " 3"], turn_rad: Float64[np.ndarray, " 3"]
    ) -> Observation:
        """Knock the LiDAR on the vehicle until the next ``reset``; its pose as reported stays.

        Args:
            shift_m: along its right, up and backward directions; up has no effect.
            turn_rad: about the same axes; only the turn about up has one.
        """
        now = self.save_state()
        c, s = np.cos(now.mount.yaw_rad), np.sin(now.mount.yaw_rad)
        ahead, left = -shift_m[2], -shift_m[0]
        mount = Pose(
            float(now.mount.x_m + c * ahead - s * left),
            float(now.mount.y_m + s * ahead + c * left),
            float(now.mount.yaw_rad + turn_rad[1]),
        )
        self._now = replace(now, mount=mount)
        return self.observe()

    def save_state(self) -> YardState:
        """Return the present moment, to go back to with ``load_state``.

        Raises:
            WorldError: no episode was started.
        """
        if self._now is None:
            raise WorldError("yard: no episode is running; call reset(seed) first.")
        return self._now

    def load_state(self, state: YardState) -> Observation:
        """Go back to a saved moment (of any episode) and return what the sensors give there."""
        if self._now is None or state.seed != self._now.seed:
            self.reset(state.seed)
        self._now = state
        return self.observe()

    def close(self) -> None:
        """Hold nothing, give nothing back."""

    def _inside(self, command: Float64[np.ndarray, " A"]) -> Float64[np.ndarray, " A"]:
        return np.clip(command, self._spec.bounds.low, self._spec.bounds.high)

    def _mover(self, walked_m: float) -> Float64[np.ndarray, " 2"] | None:
        return None if self._layout.path is None else self._layout.path.at(walked_m)

    def _walk(self, now: YardState) -> float:
        """Return how far the walker is after a step: they turn round before the vehicle."""
        path = self._layout.path
        if path is None:
            return 0.0
        further = now.walked_m + MOVER_SPEED_M_S * STEP_S
        gap = float(np.hypot(*(path.at(further) - now.pose.xy)))
        if gap >= VEHICLE_RADIUS_M + MOVER_RADIUS_M + _KEEP_OFF_M:
            return further
        return -now.walked_m % (2 * path.length_m)

    def _measured(self, now: YardState, ahead_m: float, turn_rad: float) -> tuple[float, float]:
        """Return what wheels make of a step: nothing of standing still."""
        noise = generator("yard.wheels", now.seed, now.step).normal(0.0, self._settings.drift, 2)
        scale, bend = self._drift
        ahead = ahead_m * (1 + scale + noise[0])
        turn = turn_rad * (1 + scale + noise[1]) + abs(ahead_m) * bend
        return float(ahead), float(turn)

    def _look(self, state: YardState, purpose: str) -> Observation:
        streams: dict[str, np.ndarray] = {}
        for name in self._spec.sensors:
            if name == "lidar":
                streams[name] = self._scan(state, purpose)
            elif name == "proprio":
                streams[name] = np.array(state.wheels, np.float32) / np.float32(STEP_S)
            elif name == "world_from_lidar":
                streams[name] = state.odometry.matrix()
            else:
                if self._map is None:
                    self._map = draw_map(self._layout, self._settings.image_size)
                streams[name] = draw_moment(self._map, state.pose, self._mover(state.walked_m))
        return Observation(streams)

    def _scan(self, state: YardState, purpose: str) -> Float32[np.ndarray, " N"]:
        mover, circles = self._mover(state.walked_m), self._layout.circles_m
        if mover is not None:
            circles = np.concatenate([circles, [[*mover, MOVER_RADIUS_M]]])
        world_from_lidar = state.pose.matrix() @ state.mount.matrix()
        heading = state.pose.yaw_rad + state.mount.yaw_rad
        azimuth = heading + self._beams_rad[:, 0]
        ranges = cast(world_from_lidar[:2, 3], azimuth, self._layout.segments_m, circles)
        ranges = np.where(ranges <= self._settings.reach_m, ranges, np.nan)
        rng = generator(f"yard.scan.{purpose}", state.seed, state.step)
        noisy = as_scanned(ranges, rng, self._settings.noise_m, self._settings.dropout)
        return np.where(noisy <= self._settings.reach_m, noisy, np.float32(np.nan))

    def _truth(self, state: YardState) -> dict[str, np.ndarray]:
        mover = self._mover(state.walked_m)
        walker = np.full(2, np.nan) if mover is None else mover
        return {
            "vehicle_xy": state.pose.xy.astype(np.float32),
            "vehicle_yaw_rad": np.array([state.pose.yaw_rad], np.float32),
            "mover_xy": walker.astype(np.float32),
        }


def _make_spec(settings: YardSettings, beams_rad: Float64[np.ndarray, "N 2"]) -> WorldSpec:
    limit = np.array(_LIMITS)
    return WorldSpec(
        name="yard",
        bounds=ActionBounds(-limit, limit),
        step_s=STEP_S,
        tasks=TASKS,
        budget=_BUDGET,
        success_distance=_SUCCESS_M,
        distance_unit="m",
        sensors={name: SENSORS[name] for name in settings.sensors},
        units=_UNITS,
        beams_rad={"lidar": beams_rad} if "lidar" in settings.sensors else {},
    )
