"""The sensors of the tabletop: what cameras and LiDAR give at a moment, as real ones would.

Chance (noise, holes, dropout) is keyed by the episode's seed and the step, so looking twice shows
the same, and looking is no event.

Axes: H W image, N beams.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

from armillary.core.rng import generator
from armillary.spatial import depth_holes, noisy_depth
from armillary.worlds.beams import as_scanned, beam_directions, fan
from armillary.worlds.camera_renderer import CameraRenderer
from armillary.worlds.tabletop.rig import Rig
from armillary.worlds.tabletop.settings import CAMERA_SENSORS, TabletopSettings, stream_name
from armillary.worlds.tabletop.views import FOVY_DEG

# Geoms 0..9 are floor, table, rims and walls; see tabletop_scene.
_NUM_SCENERY = 10
_SCREEN_LABEL = 6
_LIDAR_REACH_M = 6.0
# The LiDAR looks along the camera's z: x ahead, y left, z up.
_CAMERA_FROM_LIDAR = np.array(
    [[0.0, -1.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)


@dataclass(frozen=True)
class Moment:
    """What chance in a look is keyed by: the purpose, the episode's seed, the step."""

    purpose: str
    seed: int
    step: int

    def rng(self, sensor: str, camera: int = 0) -> np.random.Generator:
        """Return the generator of one sensor."""
        return generator(f"tabletop.{self.purpose}.{sensor}", self.seed, self.step, camera)


class Sensors:
    """The sensors of all episodes; holds the OpenGL context.

    Args:
        mujoco: the module.
        settings: which streams, and how noisy.
    """

    def __init__(self, mujoco: Any, settings: TabletopSettings) -> None:
        self._mujoco, self._settings = mujoco, settings
        self._names = tuple(settings.streams())
        self._renderer: CameraRenderer | None = None
        half = np.radians(FOVY_DEG) / 2
        self.beams_rad = fan(settings.lidar_beams, (-half, half), (-half, half))
        self._rays = beam_directions(self.beams_rad)

    def adopt(self, model: Any) -> None:
        """Take over a new episode's model."""
        size = self._settings.image_size
        if self._renderer is None:
            self._renderer = CameraRenderer(model, size, size, self._settings.shadows)
        self._renderer.adopt(model)

    def look(self, model: Any, data: Any, rig: Rig, moment: Moment) -> dict[str, np.ndarray]:
        """Return all streams of the present state, and ``intrinsics``."""
        names = self._settings.sensors
        streams: dict[str, np.ndarray] = {}
        for camera in range(self._settings.num_cameras):
            shown = self._camera(model, data, camera, moment)
            if "world_from_camera" in names:
                shown["world_from_camera"] = rig.reported_pose(camera)
            streams |= {stream_name(name, camera): shown[name] for name in shown}
        if "proprio" in names:
            state = np.concatenate([data.qpos[:2], data.qvel[:2]])
            streams["proprio"] = state.astype(np.float32)
        if "lidar" in names:
            streams["lidar"] = self._lidar(model, data, rig, moment)
        if "world_from_lidar" in names:
            streams["world_from_lidar"] = rig.reported_pose(0) @ _CAMERA_FROM_LIDAR
        streams = {name: streams[name] for name in self._names}
        return {**streams, "intrinsics": self._intrinsics()}

    def close(self) -> None:
        """Give the OpenGL context back; a second call does nothing."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _camera(self, model: Any, data: Any, camera: int, moment: Moment) -> dict[str, np.ndarray]:
        names = self._settings.sensors
        shown: dict[str, np.ndarray] = {}
        if not any(name in names for name in CAMERA_SENSORS if name != "world_from_camera"):
            return shown
        assert self._renderer is not None
        self._renderer.update(model, data, camera)
        if "rgb" in names:
            shown["rgb"] = self._renderer.rgb()
        if "depth" in names or "segmentation" in names:
            depth, labels = self._renderer.depth_and_labels(model.ngeom)
            if "depth" in names:
                shown["depth"] = self._as_sensed(depth, moment, camera)
            if "segmentation" in names:
                screen = self._settings.occluder == "screen"
                shown["segmentation"] = _entities(model.ngeom, screen)[labels]
        return shown

    def _as_sensed(
        self, depth_m: Float32[np.ndarray, "H W"], moment: Moment, camera: int
    ) -> Float32[np.ndarray, "H W"]:
        chosen = self._settings
        edges, blobs = chosen.depth_edge_holes, chosen.depth_holes
        holes = depth_m
        if edges > 0 or blobs > 0:
            rng = moment.rng("holes", camera)
            holes = depth_holes(depth_m, rng, edge_share=edges, blob_share=blobs)
        if chosen.depth_noise > 0:
            holes = noisy_depth(holes, moment.rng("depth", camera), chosen.depth_noise)
        return holes

    def _lidar(self, model: Any, data: Any, rig: Rig, moment: Moment) -> Float32[np.ndarray, " N"]:
        pose = rig.true_pose(0) @ _CAMERA_FROM_LIDAR
        ranges = _cast(self._mujoco, model, data, pose[:3, 3], self._rays @ pose[:3, :3].T)
        return as_scanned(
            ranges,
            moment.rng("lidar"),
            self._settings.lidar_noise_m,
            self._settings.lidar_dropout,
        )

    def _intrinsics(self) -> np.ndarray:
        size = self._settings.image_size
        focal = size / 2 / np.tan(np.radians(FOVY_DEG) / 2)
        centre = (size - 1) / 2
        return np.array([[focal, 0.0, centre], [0.0, focal, centre], [0.0, 0.0, 1.0]])


def object_seen(mujoco: Any, model: Any, data: Any, rig: Rig) -> Float32[np.ndarray, " V"]:
    """Return for each camera 1 where the line to the centre of object 0 is free, else 0."""
    body = model.body("object0").id
    own = int(model.body_geomadr[body])
    seen = np.zeros(model.ncam, np.float32)
    hit = np.zeros(1, np.int32)
    for camera in range(model.ncam):
        eye = rig.true_pose(camera)[:3, 3]
        mujoco.mj_ray(model, data, eye, data.xpos[body] - eye, None, True, -1, hit)
        seen[camera] = float(hit[0] == own)
    return seen


def _cast(
    mujoco: Any,
    model: Any,
    data: Any,
    eye: Float64[np.ndarray, " 3"],
    rays: Float64[np.ndarray, "N 3"],
) -> Float64[np.ndarray, " N"]:
    """Return how far each ray goes to what is seen, metres; NaN beyond the LiDAR's reach."""
    count = len(rays)
    ranges, hit = np.empty(count), np.empty(count, np.int32)
    flat = np.ascontiguousarray(rays).ravel()
    mujoco.mj_multiRay(
        model, data, eye, flat, None, True, -1, hit, ranges, None, count, _LIDAR_REACH_M
    )
    # MuJoCo 4.0.0's many rays miss the floor where they are steep (1 % do); single ones do not.
    for ray in np.flatnonzero(hit < 0):
        ranges[ray] = mujoco.mj_ray(model, data, eye, rays[ray], None, True, -1, hit[ray : ray + 1])
    return np.where((ranges >= 0) & (ranges <= _LIDAR_REACH_M), ranges, np.nan)


def _entities(num_geoms: int, screen: bool) -> np.ndarray:
    """Return the segmentation's value for each geom number plus one."""
    entities = np.ones(num_geoms + 1, np.uint8)
    entities[:2] = 0  # nothing, floor
    entities[_NUM_SCENERY + 1 :] = np.arange(2, num_geoms - _NUM_SCENERY + 2)
    if screen:
        entities[-1] = _SCREEN_LABEL
    return entities
