"""Settings of the tabletop: what may be chosen, and what cannot be.

Ranges are (lowest, highest) and are drawn from per episode; a single number fixes the value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from armillary.core.errors import ConfigError, unknown_name
from armillary.core.settings import as_declared
from armillary.core.values import StreamKind
from armillary.worlds.tabletop.looks import APPEARANCES
from armillary.worlds.tabletop.tasks import TASKS

Range = tuple[float, float]

OCCLUDERS = ("none", "screen")
# Streams of a camera come once per camera, the others once.
CAMERA_SENSORS: dict[str, StreamKind] = {
    "rgb": "rgb",
    "depth": "depth",
    "world_from_camera": "pose",
    "segmentation": "segmentation",
}
SENSORS: dict[str, StreamKind] = {
    **CAMERA_SENSORS,
    "proprio": "proprio",
    "lidar": "lidar",
    "world_from_lidar": "pose",
}
_MOST_CAMERAS = 4
_MOST_SAMPLES = 64
_MOST_BEAMS = 65_536
_RANGES = {
    "azimuth_deg": (-360.0, 360.0),
    "elevation_deg": (10.0, 85.0),
    "orbit_deg_s": (-180.0, 180.0),
}
_SHARES = ("depth_holes", "depth_edge_holes", "lidar_dropout")
_SIZES = ("depth_noise", "lidar_noise_m")


@dataclass(frozen=True)
class TabletopSettings:
    """What may be chosen of a tabletop. The same seed shows the same scene under all of them.

    Attributes:
        image_size: H = W of the pictures, pixels.
        sensors: which streams an observation holds, of rgb, depth, world_from_camera, proprio
            (pusher position and velocity [4]; off by default, it gives the answer away),
            segmentation (0 floor, 1 table, 2 pusher, 3 + i object i, 6 the screen), lidar (rides
            on camera 0: x ahead, y left, z up) and world_from_lidar.
        num_objects: smallest and largest number of objects, 1 to 3.
        task: the default task, "reach" or "push"; sets budget and success distance.
        shadows: draw shadows (10-20 times slower without a GPU).
        samples: colour samples per pixel; 4 smooths the edges, so that a picture tells places
            finer than a pixel, and takes three times as long as 0 (measured: 1,400 and 4,700
            pictures per second and process at 64 pixels).
        azimuth_deg: range of the cameras' turn round the table away from the usual view.
        elevation_deg: range of how steeply they look down.
        orbit_deg_s: range of the speed at which they go round the table, either way.
        num_cameras: 1 to 4; what a camera shows comes also as ``rgb_1`` and so on.
        camera_gap_deg: how much further round the table each camera stands than the one before.
        depth_noise: sigma over depth at one metre (``spatial.noisy_depth``).
        depth_holes: share of a depth picture's pixels lost in blobs.
        depth_edge_holes: share of the pixels lost on the far side of edges, on top.
        appearance: "usual"; "new": colours, patterns and light that the usual one never has;
            "grey": pusher and objects in one grey, table and floor in others; "textured": strong
            patterns on table and floor; "moving": coloured noise drifts over the floor with
            every step. In "grey" only its shape tells object 0 from others.
        occluder: "none", or "screen": a board above the table, out of everything's way, in camera
            0's line of sight to where object 0 starts, at a moment of the first 3 s.
        lidar_beams: rows and columns of the LiDAR's fan, over camera 0's field of view.
        lidar_noise_m: sigma of its ranges.
        lidar_dropout: share of its beams that do not return.

    Raises:
        ConfigError: a setting that cannot be.
    """

    image_size: int = 64
    sensors: tuple[str, ...] = ("rgb", "depth", "world_from_camera")
    num_objects: tuple[int, int] = (1, 3)
    task: str = "reach"
    shadows: bool = False
    samples: int = 4
    azimuth_deg: Range = (-15.0, 15.0)
    elevation_deg: Range = (45.0, 65.0)
    orbit_deg_s: Range = (0.0, 0.0)
    num_cameras: int = 1
    camera_gap_deg: float = 90.0
    depth_noise: float = 0.0
    depth_holes: float = 0.0
    depth_edge_holes: float = 0.0
    appearance: str = "usual"
    occluder: str = "none"
    lidar_beams: tuple[int, int] = (16, 64)
    lidar_noise_m: float = 0.0
    lidar_dropout: float = 0.0

    @classmethod
    def of(cls, chosen: Mapping[str, Any]) -> TabletopSettings:
        """Return settings as they come from a command line."""
        return cls(**as_declared("tabletop", get_type_hints(cls), chosen))

    def __post_init__(self) -> None:
        if not 16 <= self.image_size <= 1024:
            raise ConfigError(f"tabletop: image_size is 16 to 1024 pixels, got {self.image_size}.")
        if not 0 <= self.samples <= _MOST_SAMPLES:
            raise ConfigError(f"tabletop: samples is 0 to {_MOST_SAMPLES}, got {self.samples}.")
        if not 1 <= self.num_objects[0] <= self.num_objects[1] <= 3:
            raise ConfigError(
                f"tabletop: num_objects is (fewest, most) within 1 to 3, got {self.num_objects}."
            )
        for name in self.sensors:
            if name not in SENSORS:
                raise unknown_name("sensor of tabletop", name, SENSORS)
        for what, known in (("task", TASKS), ("appearance", APPEARANCES), ("occluder", OCCLUDERS)):
            if getattr(self, what) not in known:
                raise unknown_name(f"{what} of tabletop", getattr(self, what), known)
        self._check_view()
        self._check_sensing()

    def streams(self) -> dict[str, StreamKind]:
        """Return name and kind of all streams: a camera's own ones once per camera."""
        return {
            stream_name(name, camera): SENSORS[name]
            for name in self.sensors
            for camera in range(self.num_cameras if name in CAMERA_SENSORS else 1)
        }

    def _check_view(self) -> None:
        for name, (least, most) in _RANGES.items():
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                raise ConfigError(
                    f"tabletop: {name} is (lowest, highest) within {least:g} to {most:g}, got "
                    f"({low:g}, {high:g})."
                )
        if not 0 <= self.camera_gap_deg <= 360:
            raise ConfigError(f"tabletop: camera_gap_deg is 0 to 360, got {self.camera_gap_deg:g}.")
        if not 1 <= self.num_cameras <= _MOST_CAMERAS:
            raise ConfigError(
                f"tabletop: num_cameras is 1 to {_MOST_CAMERAS}, got {self.num_cameras}."
            )

    def _check_sensing(self) -> None:
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"tabletop: {name} is 0 to 1, got {getattr(self, name):g}.")
        for name in _SIZES:
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(
                    f"tabletop: {name} is 0 or more and below 1, got {getattr(self, name):g}."
                )
        rows, columns = self.lidar_beams
        if not (rows >= 1 and columns >= 1 and rows * columns <= _MOST_BEAMS):
            raise ConfigError(
                f"tabletop: lidar_beams is (rows, columns) of 1 or more, {_MOST_BEAMS} together, "
                f"got {self.lidar_beams}."
            )


def stream_name(sensor: str, camera: int) -> str:
    """Return what a camera's stream is called; camera 0 has no number."""
    return sensor if camera == 0 else f"{sensor}_{camera}"
