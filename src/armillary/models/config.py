"""Shape of a JEPA: its sensors, and the sizes of its parts.

    rgb            colour patches
    depth          depth as one more channel of the picture, in metres and nothing else
    points         depth as a point map in the world's frame
    points_camera  depth as a point map in the camera's own frame
    pose           where the camera stands and looks: the ray of every patch in the world
    proprio        the body's own numbers
    cloud          an unordered cloud (stream ``points``)
    depth_cloud    the same, made of depth: its highest points in the world's frame
    filled_cloud   the same, where colour tells how high what has no depth may be
    scan           ranges of a fixed fan of beams (stream ``lidar``)

The first six share the patches of one picture, where their features are summed. The others are
tokens of their own, in no order. Further colour cameras (``cameras``) have patches of their own,
which are read by the weights of ``rgb``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from armillary.core.errors import ConfigError, unknown_name
from armillary.models.encoder import EncoderConfig
from armillary.models.predictor import PredictorConfig
from armillary.models.sizes import SIZES, Size
from armillary.models.trunks.names import FEATURES, pinned

Sensor = Literal[
    "rgb",
    "points",
    "proprio",
    "depth",
    "points_camera",
    "pose",
    "cloud",
    "depth_cloud",
    "scan",
    "filled_cloud",
]
# In this order they are made: the weights of a seed depend on it.
STREAMS_OF: dict[str, tuple[str, ...]] = {
    "rgb": ("rgb",),
    "points": ("depth_m", "world_from_camera", "intrinsics"),
    "proprio": ("proprio",),
    "depth": ("depth_m",),
    "points_camera": ("depth_m", "intrinsics"),
    "pose": ("world_from_camera", "intrinsics"),
    "cloud": ("points",),
    "depth_cloud": ("depth_m", "world_from_camera", "intrinsics"),
    "scan": ("lidar",),
    "filled_cloud": ("rgb", "depth_m", "world_from_camera", "intrinsics"),
}
MOST_CAMERAS = 15  # beside rgb; a configuration that was read must not make patches without end
LOOSE: tuple[str, ...] = ("cloud", "depth_cloud", "scan", "filled_cloud")


@dataclass(frozen=True)
class JEPAConfig:
    """Shape of the whole model.

    Attributes:
        sensors: what it sees: rgb, depth, points or points_camera, pose, cloud, depth_cloud, scan,
            filled_cloud, proprio.
        encoder: shape of the encoder.
        predictor: shape of the predictor.
        cameras: further colour cameras that it sees beside ``rgb``: names of streams, e.g.
            ``rgb_1``. Their pictures have the same size and come with ``rgb`` or not at all.
        size: ``tiny`` takes encoder and predictor as they are given; small, base and large replace
            both by a vision transformer at 224 px and a predictor of its tokens.
        point_stride: every how many pixels depth becomes a point of a point map.
        frame_skip: world steps per model step; actions in between are concatenated. 0 leaves it
            to training: 0.1 s.
        action_width: A of one model step; 0 for plain video.
        proprio_width: Q; 0 without proprioception.
        optional_sensors: those of ``sensors`` that a batch may lack, and that training leaves out
            by chance (``objective.sensor_dropout``).
        cloud_tokens: groups that a cloud is cut into.
        cloud_near: points of a group.
        cloud_points: most points of a cloud that are looked at: taken at equal strides from one
            that came as it is, the highest of one made of depth.
        cloud_features: numbers of a point after x y z.
        scan_patch: neighbouring beams of a token.
        azimuths_rad: of every beam of ``lidar``; taken from the data where it is left out.
        elevations_rad: likewise; empty for a level fan.
        trunk: a frozen pretrained encoder that sees the pictures in place of the stem
            (``models/trunks``): its name, and after the training also its digest. Empty for none.
        trunk_channels: features of a place that the trunk gives; taken from it.
        trunk_width: how many principal components of them are kept.
    """

    sensors: tuple[Sensor, ...] = ("rgb", "points")
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    point_stride: int = 2
    frame_skip: int = 1
    action_width: int = 2
    proprio_width: int = 0
    optional_sensors: tuple[Sensor, ...] = ()
    cloud_tokens: int = 32
    cloud_near: int = 16
    cloud_points: int = 256
    cloud_features: int = 0
    scan_patch: int = 16
    azimuths_rad: tuple[float, ...] = ()
    elevations_rad: tuple[float, ...] = ()
    size: Size = "tiny"
    trunk: str = ""
    trunk_channels: int = 0
    trunk_width: int = 64
    cameras: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.size != "tiny":
            if self.size not in SIZES:
                raise unknown_name("size", self.size, ("tiny", *SIZES))
            for part, shape in zip(("encoder", "predictor"), SIZES[self.size], strict=True):
                object.__setattr__(self, part, shape)
        for sensor in self.sensors:
            if sensor not in STREAMS_OF:
                raise unknown_name("sensor", sensor, STREAMS_OF)
        if len({*self.sensors}) < len(self.sensors):
            raise ConfigError(
                f"model.sensors must name each sensor once, of {', '.join(STREAMS_OF)}."
            )
        if strange := [name for name in self.optional_sensors if name not in self.sensors]:
            raise ConfigError(
                f"model.optional_sensors names {strange[0]!r}, which is not in model.sensors "
                f"({', '.join(self.sensors)})."
            )
        self._check_sizes()
        if self.cameras:
            self._check_cameras()
        if self.trunk:
            self._check_trunk()

    def _check_cameras(self) -> None:
        if len({*self.cameras, "rgb"}) <= len(self.cameras) or len(self.cameras) > MOST_CAMERAS:
            raise ConfigError(
                "model.cameras names colour cameras beside rgb, each once and at most "
                f"{MOST_CAMERAS}; got {', '.join(self.cameras)}."
            )
        if self.sensors and "rgb" not in self.sensors:
            raise ConfigError(
                f"model.cameras ({', '.join(self.cameras)}) needs rgb among model.sensors "
                f"({', '.join(self.sensors)}); another camera can be the first at ingest."
            )
        if self.trunk:
            raise ConfigError(
                "A model with a trunk sees one camera; leave model.cameras or model.trunk out."
            )

    def _check_trunk(self) -> None:
        pinned(self.trunk)
        if self.sensors and "rgb" not in self.sensors:
            raise ConfigError(
                f"A trunk sees colour: model.trunk is {self.trunk!r}, and model.sensors "
                f"({', '.join(self.sensors)}) lacks rgb."
            )
        width = self.trunk_width
        if width < 1 or self.trunk_channels < 0 or 0 < self.trunk_channels < width:
            raise ConfigError(
                "model.trunk_width must be at least 1 and no more than the features of the trunk, "
                f"got {width} of {self.trunk_channels}."
            )

    def _check_sizes(self) -> None:
        stride = self.point_stride
        if self.frame_skip < 0 or stride < 1 or self.encoder.patch % stride:
            raise ConfigError(
                "model.frame_skip must be at least 0 and model.point_stride must divide "
                f"encoder.patch, got {self.frame_skip}, {stride}, {self.encoder.patch}."
            )
        if min(self.action_width, self.proprio_width, self.cloud_features) < 0:
            raise ConfigError(
                "model.action_width, model.proprio_width and model.cloud_features must be at "
                f"least 0, got {self.action_width}, {self.proprio_width}, {self.cloud_features}."
            )
        groups = self.cloud_tokens, self.cloud_near, self.scan_patch
        if min(groups) < 1 or max(self.cloud_tokens, self.cloud_near) > self.cloud_points:
            raise ConfigError(
                "model.cloud_tokens, cloud_near and scan_patch must be at least 1, and "
                f"cloud_points no fewer than either of the first, got {groups} and "
                f"{self.cloud_points}."
            )
        if self.elevations_rad and len(self.elevations_rad) != len(self.azimuths_rad):
            raise ConfigError(
                "model.elevations_rad must be empty or have a number for every beam, got "
                f"{len(self.elevations_rad)} for {len(self.azimuths_rad)} beams."
            )

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the batch streams that the model reads."""
        names = [name for sensor in self.sensors for name in STREAMS_OF[sensor]]
        return tuple(dict.fromkeys([*names, *self.cameras]))

    @property
    def derived_streams(self) -> tuple[str, ...]:
        """Names of streams that the model makes of others, and reads where a batch has them."""
        return (FEATURES,) if self.trunk else ()

    @property
    def required_streams(self) -> tuple[str, ...]:
        """Names of those that a batch must have."""
        needed = [sensor for sensor in self.sensors if sensor not in self.optional_sensors]
        names = [name for sensor in needed for name in STREAMS_OF[sensor]]
        cameras = self.cameras if "rgb" in needed else ()
        return tuple(dict.fromkeys([*names, *cameras]))

    @property
    def on_grid(self) -> bool:
        """Whether any sensor has features on the patches of a picture."""
        return any(sensor not in LOOSE for sensor in self.sensors)

    @property
    def loose(self) -> bool:
        """Whether any sensor has tokens in no order."""
        return any(sensor in LOOSE for sensor in self.sensors)

    @property
    def latent_width(self) -> int:
        """Z, the width of the flattened latent."""
        return self.encoder.tokens * self.encoder.width


def config_values(value: Any) -> Any:
    """Return a configuration as plain values, without trunk and cameras where there are none.

    So digests and stored configurations are those of before there were any.

    Args:
        value: a dataclass with a ``JEPAConfig`` in any place, or such a config itself.
    """
    return _without_none(asdict(value))


def _without_none(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    left_out = ("trunk", "trunk_channels", "trunk_width") if value.get("trunk") == "" else ()
    if value.get("cameras") == ():
        left_out += ("cameras",)
    return {name: _without_none(one) for name, one in value.items() if name not in left_out}
