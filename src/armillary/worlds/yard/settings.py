"""Settings of the yard: what may be chosen, and what cannot be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from armillary.core.errors import ConfigError, unknown_name
from armillary.core.settings import as_declared
from armillary.core.values import StreamKind

SENSORS: dict[str, StreamKind] = {
    "lidar": "lidar",
    "proprio": "proprio",
    "world_from_lidar": "pose",
    "rgb": "rgb",
}
_MOST_BEAMS = 4096


@dataclass(frozen=True)
class YardSettings:
    """What may be chosen of a yard. The same seed draws the same yard under all sensors.

    Attributes:
        image_size: H = W of the ``rgb`` stream, pixels.
        sensors: of lidar, proprio (speed and turn rate that the wheels measured in the last step
            [2]), world_from_lidar (odometry: where those lead, from the episode's start on) and
            rgb (the yard from above, north up: for people, and to compare with; off by default).
        beams: of the LiDAR.
        field_deg: its field of view, ahead in the middle; 360 is all around.
        reach_m: beyond it nothing returns.
        noise_m: sigma of its ranges.
        dropout: share of its beams that do not return.
        drift: of the odometry: sigma of its scale, of its turn in rad per metre (both per
            episode), and of each step over that step's length.
        num_things: fewest and most boxes and posts.
        moving: whether somebody walks to and fro in the yard.

    Raises:
        ConfigError: a setting that cannot be.
    """

    image_size: int = 64
    sensors: tuple[str, ...] = ("lidar", "proprio", "world_from_lidar")
    beams: int = 128
    field_deg: float = 360.0
    reach_m: float = 10.0
    noise_m: float = 0.01
    dropout: float = 0.01
    drift: float = 0.02
    num_things: tuple[int, int] = (4, 9)
    moving: bool = True

    @classmethod
    def of(cls, chosen: Mapping[str, Any]) -> YardSettings:
        """Return settings as they come from a command line."""
        return cls(**as_declared("yard", get_type_hints(cls), chosen))

    def __post_init__(self) -> None:
        for name in self.sensors:
            if name not in SENSORS:
                raise unknown_name("sensor of yard", name, SENSORS)
        few, many = self.num_things
        for what, holds, wanted in (
            ("image_size", 16 <= self.image_size <= 1024, "16 to 1024 pixels"),
            ("beams", 2 <= self.beams <= _MOST_BEAMS, f"2 to {_MOST_BEAMS}"),
            ("field_deg", 0 < self.field_deg <= 360, "above 0 and at most 360"),
            ("reach_m", 0 < self.reach_m < math.inf, "above 0 m and finite"),
            ("noise_m", 0 <= self.noise_m < 1, "0 or more and below 1 m"),
            ("dropout", 0 <= self.dropout <= 1, "0 to 1"),
            ("drift", 0 <= self.drift < 1, "0 or more and below 1"),
            ("num_things", 0 <= few <= many <= 30, "(fewest, most) within 0 to 30"),
        ):
            if not holds:
                raise ConfigError(f"yard: {what} is {wanted}, got {getattr(self, what)}.")
