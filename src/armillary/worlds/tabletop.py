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
from jaxtyping import Float32, Float64

from armillary.core.errors import ConfigError, WorldError, unknown_name
from armillary.core.rng import generator
from armillary.core.values import ActionBounds, Goal, Observation, StreamKind, WorldSpec
from armillary.worlds.actions import validate_action
from armillary.worlds.camera_renderer import CameraRenderer
from armillary.worlds.gl import import_mujoco
from armillary.worlds.tabletop_explore import ExploreState, explore
from armillary.worlds.tabletop_scene import FOVY_DEG, PUSHER_REACH_M, Scene, draw_scene, scene_xml
from armillary.worlds.tabletop_tasks import (
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
_SENSORS: dict[str, StreamKind] = {
    "rgb": "rgb",
    "depth": "depth",
    "world_from_camera": "pose",
    "proprio": "proprio",
    "segmentation": "segmentation",
}
_UNITS = {
    "depth": ("m", "camera"),
    "world_from_camera": ("m", "world"),
    "proprio": ("m, m/s", "world"),
    "pusher_xy": ("m", "world"),
    "object_xy": ("m", "world"),
    "object_yaw_rad": ("rad", "world"),
    "objects_xyz": ("m", "world"),
}
# Geoms 0..9 are floor, table, rims and walls; see tabletop_scene.
_NUM_SCENERY = 10
_OPENCV_FROM_OPENGL = np.diag([1.0, -1.0, -1.0])


@dataclass(frozen=True)
class TabletopState:
    """Everything needed to go back to a moment: the scene's seed and MuJoCo's full state."""

    seed: int
    physics: Float64[np.ndarray, " N"]


class Tabletop:
    """The tabletop world.

    Args:
        image_size: H = W of the pictures, pixels.
        sensors: which streams an observation holds, of rgb, depth, world_from_camera, proprio
            (pusher position and velocity [4]; off by default, it gives the answer away),
            segmentation (0 floor, 1 table, 2 pusher, 3 + i object i).
        num_objects: smallest and largest number of objects, 1 to 3.
        task: the default task, "reach" or "push"; sets budget and success distance.
        shadows: draw shadows (10-20 times slower without a GPU).
        samples: colour samples per pixel; 4 smooths the edges, so that a picture tells places
            finer than a pixel, and takes three times as long as 0 (measured: 1,400 and 4,700
            pictures per second and process at 64 pixels).

    Raises:
        ConfigError: a setting that cannot be.
        MissingExtraError: no off-screen OpenGL library is installed.
    """

    def __init__(
        self,
        image_size: int = 64,
        sensors: tuple[str, ...] = ("rgb", "depth", "world_from_camera"),
        num_objects: tuple[int, int] = (1, 3),
        task: str = "reach",
        shadows: bool = False,
        samples: int = 4,
    ) -> None:
        _check_settings(image_size, sensors, num_objects, task)
        self._samples = samples
        self._mujoco = import_mujoco()
        self._size = image_size
        self._num_objects = num_objects
        self._shadows = shadows
        self._spec = _make_spec(sensors, task)
        self._renderer: CameraRenderer | None = None
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
        self._scene = draw_scene(generator("tabletop.scene", self._seed), self._num_objects)
        xml = scene_xml(self._scene, self._size, self._shadows, self._samples)
        self._model = self._mujoco.MjModel.from_xml_string(xml)
        self._data = self._mujoco.MjData(self._model)
        self._data.qpos[:2] = self._scene.pusher_xy
        self._mujoco.mj_step(self._model, self._data, nstep=_SETTLE_SUBSTEPS)
        self._data.qvel[:] = 0.0
        self._data.time = 0.0
        self._mujoco.mj_forward(self._model, self._data)
        self._reported_pose = self._world_from_camera()
        if self._renderer is None:
            self._renderer = CameraRenderer(self._model, self._size, self._size, self._shadows)
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
        # Contacts and body places belong to the state after the step only from here on.
        self._mujoco.mj_forward(self._model, self._data)

    def observe(self) -> Observation:
        """Return what the sensors give now."""
        self._check_started()
        assert self._renderer is not None
        names = self._spec.sensors
        streams: dict[str, np.ndarray] = {}
        self._renderer.update(self._model, self._data)
        if "rgb" in names:
            streams["rgb"] = self._renderer.rgb()
        if "depth" in names or "segmentation" in names:
            depth, labels = self._renderer.depth_and_labels(self._model.ngeom)
            streams["depth"] = depth
            streams["segmentation"] = _entities(self._model.ngeom)[labels]
        if "world_from_camera" in names:
            streams["world_from_camera"] = self._reported_pose.copy()
        if "proprio" in names:
            state = np.concatenate([self._data.qpos[:2], self._data.qvel[:2]])
            streams["proprio"] = state.astype(np.float32)
        streams = {name: streams[name] for name in names}
        return Observation({**streams, "intrinsics": self._intrinsics()})

    def truth(self) -> Mapping[str, np.ndarray]:
        """Return ``pusher_xy`` [2], ``object_xy`` [2], ``object_yaw_rad`` [1], ``objects_xyz`` [9].

        ``objects_xyz`` has three numbers for each of three places; NaN where there is no object.
        """
        self._check_started()
        layout = self.layout()
        places = np.full(9, np.nan, np.float32)
        places[: layout.objects_xyz.size] = layout.objects_xyz.ravel()
        w, x, y, z = self._data.qpos[5:9]
        yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
        return {
            "pusher_xy": layout.pusher_xy.astype(np.float32),
            "object_xy": layout.objects_xyz[0, :2].astype(np.float32),
            "object_yaw_rad": np.array([yaw], np.float32),
            "objects_xyz": places,
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
        goal = Goal(task, self.observe(), self.truth())
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
        camera = self._model.cam_quat[0].copy()
        turn, moved = np.zeros(4), np.zeros(3)
        angle = float(np.linalg.norm(turn_rad))
        self._mujoco.mju_axisAngle2Quat(turn, turn_rad / max(angle, 1e-12), angle)
        self._mujoco.mju_rotVecQuat(moved, shift_m, camera)
        self._mujoco.mju_mulQuat(self._model.cam_quat[0], camera, turn)
        self._model.cam_pos[0] += moved
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
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _restore(self, state: TabletopState) -> None:
        kind = self._mujoco.mjtState.mjSTATE_INTEGRATION
        self._mujoco.mj_setState(self._model, self._data, state.physics, kind)
        self._mujoco.mj_forward(self._model, self._data)
        # The forward pass above leaves its own warm start for the solver behind.
        self._mujoco.mj_setState(self._model, self._data, state.physics, kind)

    def _world_from_camera(self) -> np.ndarray:
        pose = np.eye(4)
        pose[:3, :3] = self._data.cam_xmat[0].reshape(3, 3) @ _OPENCV_FROM_OPENGL
        pose[:3, 3] = self._data.cam_xpos[0]
        return pose

    def _intrinsics(self) -> np.ndarray:
        focal = self._size / 2 / np.tan(np.radians(FOVY_DEG) / 2)
        centre = (self._size - 1) / 2
        return np.array([[focal, 0.0, centre], [0.0, focal, centre], [0.0, 0.0, 1.0]])

    def _check_started(self) -> None:
        if self._closed or self._seed is None:
            raise WorldError("tabletop: no episode is running; call reset(seed) first.")


def _entities(num_geoms: int) -> np.ndarray:
    """Return the segmentation's value for each geom number plus one."""
    entities = np.ones(num_geoms + 1, np.uint8)
    entities[:2] = 0  # nothing, floor
    entities[_NUM_SCENERY + 1 :] = np.arange(2, num_geoms - _NUM_SCENERY + 2)
    return entities


def _make_spec(sensors: tuple[str, ...], task: str) -> WorldSpec:
    limit = np.full(2, MAX_SPEED_M_S)
    budget = {"reach": 30, "push": 60}
    success = {"reach": 0.03, "push": 0.04}
    return WorldSpec(
        name="tabletop",
        bounds=ActionBounds(-limit, limit),
        step_s=STEP_S,
        tasks=(task, *(name for name in TASKS if name != task)),
        budget=budget[task],
        success_distance=success[task],
        distance_unit="m",
        sensors={name: _SENSORS[name] for name in sensors},
        units=_UNITS,
        extra={"budget": budget, "success_distance": success},
    )


def _check_settings(
    image_size: int, sensors: tuple[str, ...], num_objects: tuple[int, int], task: str
) -> None:
    if not 16 <= image_size <= 1024:
        raise ConfigError(f"tabletop: image_size is 16 to 1024 pixels, got {image_size}.")
    if not 1 <= num_objects[0] <= num_objects[1] <= 3:
        raise ConfigError(
            f"tabletop: num_objects is (fewest, most) within 1 to 3, got {num_objects}."
        )
    for name in sensors:
        if name not in _SENSORS:
            raise unknown_name("sensor of tabletop", name, _SENSORS)
    if task not in TASKS:
        raise unknown_name("task of tabletop", task, TASKS)
