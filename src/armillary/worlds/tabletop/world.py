"""Tabletop: a pusher and one to three objects on a table, in MuJoCo.

An action is the pusher's target velocity (x, y) in m/s, held for 0.1 s. Object 0 is the warm-hued
one that the push task is about. Scene, light and camera are drawn per episode from the seed.

World frame: origin in the middle of the table top, z up, metres. Axes: H W image, A action.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from armillary.core.errors import WorldError, unknown_name
from armillary.core.rng import generator
from armillary.core.values import ActionBounds, Goal, Observation, WorldSpec
from armillary.worlds.actions import validate_action
from armillary.worlds.gl import import_mujoco
from armillary.worlds.tabletop.explore import ExploreState, explore
from armillary.worlds.tabletop.looks import DriftingNoise, draw_patterns, with_look
from armillary.worlds.tabletop.rig import Rig, put_up
from armillary.worlds.tabletop.scene import PUSHER_REACH_M, Scene, draw_scene, scene_xml
from armillary.worlds.tabletop.sensors import Moment, Sensors, object_seen
from armillary.worlds.tabletop.settings import TabletopSettings, stream_name
from armillary.worlds.tabletop.tasks import (
    TASKS,
    Layout,
    draw_elsewhere,
    push_action,
    reach_action,
)

MAX_SPEED_M_S = 0.4
STEP_S = 0.1
_SUBSTEPS = 20
_SETTLE_SUBSTEPS = 60
# Drifting noise in the picture of a goal is that of another moment than the present one.
_GOAL_LATER_STEPS = 1000
_UNITS = {
    "proprio": ("m, m/s", "world"),
    "lidar": ("m", "lidar"),
    "world_from_lidar": ("m", "world"),
    "pusher_xy": ("m", "world"),
    "object_xy": ("m", "world"),
    "object_yaw_rad": ("rad", "world"),
    "objects_xyz": ("m", "world"),
}
_CAMERA_UNITS = {"depth": ("m", "camera"), "world_from_camera": ("m", "world")}


@dataclass(frozen=True)
class TabletopState:
    """Everything needed to go back to a moment: the scene's seed and MuJoCo's full state."""

    seed: int
    physics: Float64[np.ndarray, " N"]


class Tabletop:
    """The tabletop world.

    Args:
        settings: by name, of ``TabletopSettings``, e.g. ``image_size=32, samples=0``.

    Raises:
        ConfigError: a setting that cannot be.
        MissingExtraError: no off-screen OpenGL library is installed.
    """

    def __init__(self, **settings: Any) -> None:
        self._settings = TabletopSettings.of(settings)
        self._mujoco = import_mujoco()
        self._sensors = Sensors(self._mujoco, self._settings)
        self._spec = _make_spec(self._settings, self._sensors.beams_rad)
        self._seed: int | None = None
        self._closed = False

    @property
    def spec(self) -> WorldSpec:
        """What this world promises."""
        return self._spec

    @property
    def scene(self) -> Scene:
        """What was drawn for the present episode."""
        self._check_started()
        return self._scene

    def reset(self, seed: int) -> Observation:
        """Draw a scene and a start from the seed alone; everything has come to rest."""
        if self._closed:
            raise WorldError("tabletop: this world was closed; make a new one to go on.")
        self._seed = int(seed)
        self._scene = self._draw(self._seed)
        chosen = self._settings
        xml = scene_xml(self._scene, chosen.image_size, chosen.shadows, chosen.samples)
        self._model = self._mujoco.MjModel.from_xml_string(xml)
        if self._scene.textures == "patterns":
            rng = generator("tabletop.patterns", self._seed)
            _put_on(self._model, draw_patterns(rng, self._scene.pattern_shade))
        self._noise = None
        if self._scene.textures == "noise":
            self._noise = DriftingNoise(generator("tabletop.noise", self._seed))
        self._data = self._mujoco.MjData(self._model)
        self._data.qpos[:2] = self._scene.pusher_xy
        self._mujoco.mj_step(self._model, self._data, nstep=_SETTLE_SUBSTEPS)
        self._data.qvel[:] = 0.0
        self._data.time = 0.0
        self._mujoco.mj_forward(self._model, self._data)
        self._rig = Rig(self._mujoco, self._model, self._data, self._scene.orbit_rad_s)
        self._sensors.adopt(self._model)
        return self.observe()

    def step(self, action: Any) -> Observation:
        """Move the pusher at velocity ``action`` [2] in m/s for 0.1 s.

        Raises:
            ShapeError: wrong width, not finite, or out of bounds.
            WorldError: no episode was started, or the physics diverged.
        """
        self.advance(action)
        return self.observe()

    def advance(self, action: Any) -> None:
        """Step without a look: no picture is drawn.

        Raises:
            ShapeError: as ``step``.
            WorldError: as ``step``.
        """
        self._check_started()
        wanted = validate_action(self._spec, action)
        place = self._data.qpos[:2]
        # Never faster than would carry it to the edge of its reach in this step.
        self._data.ctrl[:] = np.clip(
            wanted, (-PUSHER_REACH_M - place) / STEP_S, (PUSHER_REACH_M - place) / STEP_S
        )
        self._mujoco.mj_step(self._model, self._data, nstep=_SUBSTEPS)
        if self._data.warning[self._mujoco.mjtWarning.mjWARN_BADQACC].number:
            raise WorldError(f"tabletop: the physics diverged in the episode of seed {self._seed}.")
        self._rig.move()
        # Contacts and body places belong to the state after the step only from here on.
        self._mujoco.mj_forward(self._model, self._data)

    def observe(self) -> Observation:
        """Return what the sensors give now."""
        return self._look("now")

    def truth(self) -> Mapping[str, np.ndarray]:
        """Return ``pusher_xy`` [2], ``object_xy`` [2], ``object_yaw_rad`` [1], ``objects_xyz`` [9].

        ``objects_xyz`` has three numbers for each of three places; NaN where there is no object.
        With an occluder also ``object_seen`` [cameras]: 1 where nothing is before object 0.
        """
        self._check_started()
        layout = self.layout()
        places = np.full(9, np.nan, np.float32)
        places[: layout.objects_xyz.size] = layout.objects_xyz.ravel()
        w, x, y, z = self._data.qpos[5:9]
        yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
        seen = {}
        if self._settings.occluder != "none":
            seen["object_seen"] = object_seen(self._mujoco, self._model, self._data, self._rig)
        return {
            "pusher_xy": layout.pusher_xy.astype(np.float32),
            "object_xy": layout.objects_xyz[0, :2].astype(np.float32),
            "object_yaw_rad": np.array([yaw], np.float32),
            "objects_xyz": places,
            **seen,
        }

    def layout(self) -> Layout:
        """Return where everything is, float64, for tasks and scripted policies."""
        objects = self._data.qpos[2:].reshape(-1, 7)[:, :3].copy()
        radii = tuple(body.radius_m for body in self._scene.bodies)
        return Layout(self._data.qpos[:2].copy(), objects, radii)

    def draw_goal(self, task: str, rng: np.random.Generator) -> Goal:
        """Draw a goal: "reach" (pusher elsewhere) or "push" (object 0 elsewhere).

        The world is left as it was, to the bit.

        Raises:
            ConfigError: an unknown task.
        """
        self._check_started()
        if task not in TASKS:
            raise unknown_name("task of tabletop", task, TASKS)
        pusher_xy, object_xy = TASKS[task](self.layout(), rng)
        before = self.save_state()
        self._data.qpos[:2] = pusher_xy
        self._data.qpos[2:4] = object_xy
        self._data.qvel[:] = 0.0
        self._mujoco.mj_forward(self._model, self._data)
        goal = Goal(task, self._look("goal"), self.truth())
        self._restore(before)
        return goal

    def distance(self, goal: Goal) -> float:
        """Return metres from the goal: of the pusher (reach) or of object 0 (push)."""
        name = "pusher_xy" if goal.task == "reach" else "object_xy"
        return float(np.linalg.norm(self.truth()[name] - goal.truth[name]))

    def expert(self, goal: Goal | None, rng: np.random.Generator) -> Float64[np.ndarray, " A"]:
        """Return the scripted action towards the goal; a random one without a goal."""
        if goal is None:
            return rng.uniform(self._spec.bounds.low, self._spec.bounds.high)
        if goal.task == "reach":
            wanted = reach_action(self.layout().pusher_xy, goal.truth["pusher_xy"], STEP_S)
        else:
            wanted = push_action(self.layout(), 0, goal.truth["object_xy"], STEP_S)
        return np.clip(wanted, self._spec.bounds.low, self._spec.bounds.high)

    def explore(
        self, rng: np.random.Generator, state: ExploreState | None
    ) -> tuple[Float64[np.ndarray, " A"], ExploreState]:
        """Return an exploring action and the explorer's next state (None at the start)."""
        action, state = explore(self.layout(), rng, state, STEP_S)
        return np.clip(action, self._spec.bounds.low, self._spec.bounds.high), state

    def teleport(self, xy: Float32[np.ndarray, " 2"] | Float64[np.ndarray, " 2"]) -> Observation:
        """Let object 0 jump to ``xy`` (metres, world), at rest; nothing else changes."""
        self._check_started()
        self._data.qpos[2:4] = xy
        self._data.qvel[2:8] = 0.0
        self._mujoco.mj_forward(self._model, self._data)
        return self.observe()

    def teleport_away(self, rng: np.random.Generator, least_m: float) -> tuple[Observation, float]:
        """Let object 0 jump to a free place at least ``least_m`` metres away.

        Returns:
            What is seen then, and how far it jumped in metres.
        """
        layout = self.layout()
        place = draw_elsewhere(layout, rng, least_m)
        jump_m = float(np.linalg.norm(place - layout.objects_xyz[0, :2]))
        return self.teleport(place), jump_m

    def nudge_camera(
        self, shift_m: Float64[np.ndarray, " 3"], turn_rad: Float64[np.ndarray, " 3"]
    ) -> Observation:
        """Knock the camera until the next ``reset``, unnoticed: the pose it reports stays.

        Args:
            shift_m: along the camera's right, up and backward directions, metres.
            turn_rad: rotation vector in the same axes, radians.
        """
        self._check_started()
        self._rig.nudge(shift_m, turn_rad)
        self._mujoco.mj_forward(self._model, self._data)
        return self.observe()

    def save_state(self) -> TabletopState:
        """Return the present moment, to go back to with ``load_state``."""
        self._check_started()
        assert self._seed is not None
        kind = self._mujoco.mjtState.mjSTATE_INTEGRATION
        physics = np.empty(self._mujoco.mj_stateSize(self._model, kind))
        self._mujoco.mj_getState(self._model, self._data, physics, kind)
        return TabletopState(self._seed, physics)

    def load_state(self, state: TabletopState) -> Observation:
        """Go back to a saved moment (of any episode) and return what the sensors give there."""
        if state.seed != self._seed:
            self.reset(state.seed)
        self._restore(state)
        return self.observe()

    def close(self) -> None:
        """Give the renderer back; a second call does nothing."""
        self._closed = True
        self._sensors.close()

    def _restore(self, state: TabletopState) -> None:
        kind = self._mujoco.mjtState.mjSTATE_INTEGRATION
        self._mujoco.mj_setState(self._model, self._data, state.physics, kind)
        self._rig.move()
        self._mujoco.mj_forward(self._model, self._data)
        # The forward pass above leaves its own warm start for the solver behind.
        self._mujoco.mj_setState(self._model, self._data, state.physics, kind)

    def _draw(self, seed: int) -> Scene:
        chosen = self._settings
        scene = draw_scene(
            generator("tabletop.scene", seed),
            chosen.num_objects,
            chosen.azimuth_deg,
            chosen.elevation_deg,
        )
        scene = with_look(scene, chosen.appearance, generator("tabletop.look", seed))
        return put_up(scene, generator("tabletop.rig", seed), chosen)

    def _look(self, purpose: str) -> Observation:
        self._check_started()
        assert self._seed is not None
        moment = Moment(purpose, self._seed, round(self._data.time / STEP_S))
        if self._noise is not None:
            later = _GOAL_LATER_STEPS if purpose == "goal" else 0
            _put_on(self._model, (self._noise.at(moment.step + later),))
            self._sensors.adopt(self._model)
        return Observation(self._sensors.look(self._model, self._data, self._rig, moment))

    def _check_started(self) -> None:
        if self._closed or self._seed is None:
            raise WorldError("tabletop: no episode is running; call reset(seed) first.")


def _put_on(model: Any, pictures: tuple[UInt8[np.ndarray, "H W 3"], ...]) -> None:
    """Write pictures into a model's textures."""
    for texture, picture in enumerate(pictures):
        start = int(model.tex_adr[texture])
        model.tex_data[start : start + picture.size] = picture.ravel()


def _make_spec(settings: TabletopSettings, beams_rad: Float64[np.ndarray, "N 2"]) -> WorldSpec:
    limit = np.full(2, MAX_SPEED_M_S)
    budget = {"reach": 30, "push": 60}
    success = {"reach": 0.03, "push": 0.04}
    task = settings.task
    cameras = range(settings.num_cameras)
    units = {stream_name(n, i): unit for n, unit in _CAMERA_UNITS.items() for i in cameras}
    return WorldSpec(
        name="tabletop",
        bounds=ActionBounds(-limit, limit),
        step_s=STEP_S,
        tasks=(task, *(name for name in TASKS if name != task)),
        budget=budget[task],
        success_distance=success[task],
        distance_unit="m",
        sensors=settings.streams(),
        units=units | _UNITS,
        extra={"budget": budget, "success_distance": success},
        beams_rad={"lidar": beams_rad} if "lidar" in settings.sensors else {},
    )
