"""The rig of the tabletop: where cameras stand, how they go round the table, what hangs in the way.

The whole rig turns about the world's z axis, at constant speed, so a camera's pose at a time is
its pose at the start, turned.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float64

from armillary.worlds.tabletop.scene import Scene, Screen
from armillary.worlds.tabletop.settings import TabletopSettings
from armillary.worlds.tabletop.views import Camera, frame_camera

# Turns of the table, within a quarter, that a camera on its way round holds in its picture.
_HELD_TURNS = 8
_SCREEN_WITHIN_S = 3.0
# Middle of the screen above the table: its lower edge clears the pusher's top at 7.1 cm.
_SCREEN_HEIGHT_M = 0.13
_OPENCV_FROM_OPENGL = np.diag([1.0, -1.0, -1.0])


def put_up(scene: Scene, rng: np.random.Generator, settings: TabletopSettings) -> Scene:
    """Return the scene with its cameras and screen; as much is drawn whatever the settings."""
    speed = float(np.radians(rng.uniform(*settings.orbit_deg_s)))
    moment_s = rng.uniform(0.0, _SCREEN_WITHIN_S)
    gap = np.radians(settings.camera_gap_deg)
    views = [
        replace(scene.view, azimuth_rad=float(scene.view.azimuth_rad + i * gap))
        for i in range(settings.num_cameras)
    ]
    turns = _HELD_TURNS if settings.orbit_deg_s != (0.0, 0.0) else 1
    cameras = tuple(frame_camera(view, turns) for view in views)
    screen = None
    if settings.occluder == "screen":
        screen = _screen_before(cameras[0], speed * moment_s, scene.bodies[0].xy)
    return replace(scene, cameras=cameras, screen=screen, orbit_rad_s=speed)


def _screen_before(camera: Camera, turned_rad: float, xy: tuple[float, float]) -> Screen:
    """Return the board that faces a turned camera, on its line of sight to a place on the table."""
    axes = turn_about_z(turned_rad) @ np.array([camera.right, camera.up, camera.position_m]).T
    right, up, eye = axes.T
    target = np.array([*xy, 0.02])
    share = (_SCREEN_HEIGHT_M - target[2]) / (eye[2] - target[2])
    middle = target + share * (eye - target)
    return Screen(_floats(middle), _floats(right), _floats(up))


def turn_about_z(angle_rad: float) -> Float64[np.ndarray, "3 3"]:
    """Return the rotation about the world's z axis."""
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


class Rig:
    """The cameras of one episode's model: moves them, and tells the pose that they report.

    Args:
        mujoco: the module.
        model: compiled from the scene.
        data: its state; positions are computed.
        orbit_rad_s: how fast the rig turns.
    """

    def __init__(self, mujoco: Any, model: Any, data: Any, orbit_rad_s: float) -> None:
        self._mujoco, self._model, self._data = mujoco, model, data
        self._speed = orbit_rad_s
        self._position, self._turn = model.cam_pos.copy(), model.cam_quat.copy()
        self._reported = [self.true_pose(camera) for camera in range(model.ncam)]

    def move(self) -> None:
        """Put the cameras where they are at the present time; positions are to be computed then."""
        if self._speed == 0.0:
            return
        turn = np.zeros(4)
        angle = self._angle()
        self._mujoco.mju_axisAngle2Quat(turn, np.array([0.0, 0.0, 1.0]), angle)
        self._model.cam_pos[:] = self._position @ turn_about_z(angle).T
        for camera in range(self._model.ncam):
            self._mujoco.mju_mulQuat(self._model.cam_quat[camera], turn, self._turn[camera])

    def reported_pose(self, camera: int) -> Float64[np.ndarray, "4 4"]:
        """Return ``world_from_camera`` as the rig believes it to be."""
        pose = self._reported[camera].copy()
        if self._speed != 0.0:
            pose[:3] = turn_about_z(self._angle()) @ pose[:3]
        return pose

    def true_pose(self, camera: int) -> Float64[np.ndarray, "4 4"]:
        """Return ``world_from_camera`` as it is, knocks included."""
        pose = np.eye(4)
        pose[:3, :3] = self._data.cam_xmat[camera].reshape(3, 3) @ _OPENCV_FROM_OPENGL
        pose[:3, 3] = self._data.cam_xpos[camera]
        return pose

    def nudge(
        self, shift_m: Float64[np.ndarray, " 3"], turn_rad: Float64[np.ndarray, " 3"]
    ) -> None:
        """Knock camera 0, unnoticed, in its own axes (right, up, backward)."""
        camera = self._turn[0].copy()
        turn, moved = np.zeros(4), np.zeros(3)
        angle = float(np.linalg.norm(turn_rad))
        self._mujoco.mju_axisAngle2Quat(turn, turn_rad / max(angle, 1e-12), angle)
        self._mujoco.mju_rotVecQuat(moved, shift_m, camera)
        self._mujoco.mju_mulQuat(self._turn[0], camera, turn)
        self._position[0] += moved
        self._model.cam_pos[:], self._model.cam_quat[:] = self._position, self._turn
        self.move()

    def _angle(self) -> float:
        return self._speed * self._data.time


def _floats(vector: np.ndarray) -> tuple[float, float, float]:
    return float(vector[0]), float(vector[1]), float(vector[2])
