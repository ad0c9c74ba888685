"""Senses: one tokenizer for each sensor, and which of them have something to say of a frame.

Sensors on the patches of a picture are summed there; a sensor that is not there is a missing
summand. Sensors with tokens of their own come after them, and are masked out where they are not.

Axes: F frames (B times T flattened), P patches, M other tokens, C features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from armillary.core.errors import ConfigError
from armillary.models.clouds import CloudTokenizer, ScanTokenizer, thinned
from armillary.models.config import LOOSE, STREAMS_OF, JEPAConfig
from armillary.models.depth_clouds import depth_cloud, filled_cloud
from armillary.models.normalizer import Normalizer
from armillary.models.tokenizers import (
    ConvolutionalRGBTokenizer,
    DepthTokenizer,
    PointMapTokenizer,
    ProprioTokenizer,
    RaysTokenizer,
    RGBTokenizer,
)
from armillary.models.tokens import Tokens, joined
from armillary.models.trunks import FEATURES, TrunkTokenizer

Frames = Mapping[str, Tensor]
# By sensor, for each clip whether it is used; False leaves the sensor out altogether.
Kept = Mapping[str, Tensor | bool]


@dataclass(frozen=True)
class _How:
    """How frames are read, beside what is learned.

    Attributes:
        scales: that the model was trained with.
        config: of the model.
    """

    scales: Normalizer
    config: JEPAConfig


class Senses(nn.ModuleDict):
    """The tokenizers of a model, by sensor.

    Args:
        config: of the model.
    """

    def __init__(self, config: JEPAConfig) -> None:
        chosen = [name for name in STREAMS_OF if name in config.sensors]
        super().__init__({name: _made(name, config) for name in chosen})
        self.config = config
        self.camera_marks = None
        if config.cameras:
            # what a patch of each further camera has beside what it shows
            marks = torch.zeros(len(config.cameras), config.encoder.patch_hidden)
            self.camera_marks = nn.Parameter(marks)

    def forward(
        self,
        frames: Frames,
        scales: Normalizer,
        grid: Float[Tensor, "P 3"],
        kept: Kept,
    ) -> tuple[Tokens | None, Tokens | None]:
        """Return what the sensors say: on the patches of a picture, and in no order.

        Args:
            frames: streams [F ...]; what is not there is not seen.
            scales: that the model was trained with.
            grid: where patches lie where depth is unknown.
            kept: by sensor, in which frames it is used [F]; what it does not name is used in all.
        """
        seen = [
            name
            for name in self
            if kept.get(name, True) is not False and frames.keys() >= self._streams(name)
        ]
        on_grid = [name for name in seen if name not in LOOSE]
        how = _How(scales, self.config)
        loose = [self._loose(name, frames, how, kept) for name in seen if name in LOOSE]
        return (
            self._on_grid(on_grid, frames, how, grid, kept) if on_grid else None,
            joined(loose) if loose else None,
        )

    def _on_grid(
        self, names: list[str], frames: Frames, how: _How, grid: Tensor, kept: Kept
    ) -> Tokens:
        terms, there = [], []
        count = len(frames[STREAMS_OF[names[0]][0]])
        places = grid.expand(count, -1, -1)
        for name in reversed(names):  # the world's places, seen last, count before the camera's
            features, found = _SAID[name](self[name], frames, how)
            used = kept.get(name, True)
            if isinstance(used, Tensor):
                features = features * used[:, None, None]
                there.append(used)
                found = None if found is None else torch.where(used[:, None, None], found, places)
            terms.insert(0, features.expand(-1, grid.shape[0], -1))
            places = places if found is None else found
        present = None
        if len(there) == len(names):  # else there is a sensor that is always there
            present = torch.stack(there).any(0)[:, None].expand(-1, grid.shape[0])
        first = Tokens(sum(terms[1:], start=terms[0]), places, present)
        if not self.config.cameras:
            return first
        return joined([first, *self._further("rgb" in names, frames, how, grid, kept, count)])

    def _further(
        self, seen: bool, frames: Frames, how: _How, grid: Tensor, kept: Kept, count: int
    ) -> list[Tokens]:
        """Return the patches of the further cameras: zeros, and masked out, without colour."""
        assert self.camera_marks is not None
        used = kept.get("rgb", True) if seen else grid.new_zeros(count, dtype=torch.bool)
        places, found = grid.expand(count, -1, -1), []
        for name, mark in zip(self.config.cameras, self.camera_marks, strict=True):
            features = mark.expand(count, len(grid), -1)
            if seen:
                features = features + _rgb(self["rgb"], {"rgb": frames[name]}, how)[0]
            present = None
            if isinstance(used, Tensor):
                features = features * used[:, None, None]
                present = used[:, None].expand(-1, len(grid))
            found.append(Tokens(features, places, present))
        return found

    def _streams(self, name: str) -> set[str]:
        return {*STREAMS_OF[name], *(self.config.cameras if name == "rgb" else ())}

    def _loose(self, name: str, frames: Frames, how: _How, kept: Kept) -> Tokens:
        used = kept.get(name, True)
        if not isinstance(used, Tensor):
            return _SAID[name](self[name], frames, how)
        rows = used.nonzero()[:, 0]
        if not len(rows):
            rows = rows.new_zeros(1)  # masked out below; its weights keep their gradients, of 0
        some = {stream: frames[stream][rows] for stream in STREAMS_OF[name]}
        tokens = _SAID[name](self[name], some, how).of_rows(rows, len(used))
        return replace(tokens, present=tokens.present & used[:, None])


def _made(name: str, config: JEPAConfig) -> nn.Module:
    patch, width = config.encoder.patch, config.encoder.patch_hidden
    if name in ("points", "points_camera"):
        return PointMapTokenizer(patch, config.point_stride, width)
    if name in ("cloud", "depth_cloud", "filled_cloud"):
        extra = {"cloud": config.cloud_features, "filled_cloud": 1}.get(name, 0)
        return CloudTokenizer(config.cloud_tokens, config.cloud_near, extra, width)
    if name == "scan":
        if not config.azimuths_rad:
            raise ConfigError("A model that sees scan needs model.azimuths_rad, one for each beam.")
        fan = config.azimuths_rad, config.elevations_rad
        return ScanTokenizer(*fan, config.scan_patch, width)
    if name == "proprio":
        if not config.proprio_width:
            raise ConfigError("A model that sees proprio needs model.proprio_width above 0.")
        return ProprioTokenizer(config.proprio_width, width)
    if name == "rgb":
        return rgb_tokenizer(config)
    simple = {"depth": DepthTokenizer, "pose": RaysTokenizer}
    return simple[name](patch, width)


def rgb_tokenizer(
    config: JEPAConfig,
) -> RGBTokenizer | ConvolutionalRGBTokenizer | TrunkTokenizer:
    """Return the tokenizer of colour: patches, convolutions or a trunk.

    Args:
        config: of the model.

    Raises:
        ConfigError: a trunk is named, and how many features it has is not known.
    """
    patch, width = config.encoder.patch, config.encoder.patch_hidden
    if config.trunk:
        if not config.trunk_channels:
            raise ConfigError("A model with a trunk needs model.trunk_channels; a recipe has 0.")
        cells = config.encoder.image_size // patch
        return TrunkTokenizer(config.trunk, config.trunk_channels, config.trunk_width, cells, width)
    if config.encoder.stem == "convolutions":
        return ConvolutionalRGBTokenizer(patch, width)
    return RGBTokenizer(patch, width)


def _geometry(frames: Frames) -> tuple[Tensor, Tensor, Tensor]:
    return frames["depth_m"], frames["intrinsics"], frames["world_from_camera"]


def _rgb(made: Any, frames: Frames, how: _How) -> Any:
    if not isinstance(made, TrunkTokenizer):
        return made(frames["rgb"], how.scales.colour_mean, how.scales.colour_whitening), None
    return made(frames[FEATURES] if FEATURES in frames else made.features(frames["rgb"])), None


def _points(made: Any, frames: Frames, how: _How) -> Any:
    return made(*_geometry(frames), how.scales.point_mean_m, how.scales.point_scale_m)


def _points_camera(made: Any, frames: Frames, how: _How) -> Any:
    depth_m = frames["depth_m"]
    here = torch.eye(4, device=depth_m.device).expand(len(depth_m), 4, 4)
    return made(
        depth_m, frames["intrinsics"], here, how.scales.camera_mean_m, how.scales.camera_scale_m
    )


def _depth(made: Any, frames: Frames, how: _How) -> Any:
    return made(frames["depth_m"], how.scales.camera_mean_m[2], how.scales.camera_scale_m), None


def _pose(made: Any, frames: Frames, how: _How) -> Any:
    camera = frames["intrinsics"], frames["world_from_camera"], how.config.encoder.image_size
    return made(*camera, how.scales.point_mean_m, how.scales.point_scale_m), None


def _cloud(made: Any, frames: Frames, how: _How) -> Any:
    points_m = thinned(
        frames["points"][..., : 3 + how.config.cloud_features], how.config.cloud_points
    )
    return made(points_m, how.scales.point_mean_m, how.scales.point_scale_m)


def _depth_cloud(made: Any, frames: Frames, how: _How) -> Any:
    scene = how.scales.point_mean_m, how.scales.point_reach_m
    points_m = depth_cloud(*_geometry(frames), *scene, how.config.cloud_points)
    return made(points_m, how.scales.point_mean_m, how.scales.point_scale_m)


def _filled_cloud(made: Any, frames: Frames, how: _How) -> Any:
    scene = how.scales.point_mean_m, how.scales.point_reach_m
    points = filled_cloud(frames["rgb"], *_geometry(frames), *scene, how.config.cloud_points)
    return made(points, how.scales.point_mean_m, how.scales.point_scale_m)


_SAID: dict[str, Callable[[Any, Frames, _How], Any]] = {
    "rgb": _rgb,
    "points": _points,
    "proprio": lambda made, frames, how: (
        made(how.scales.proprio(frames["proprio"])),
        None,
    ),
    "depth": _depth,
    "points_camera": _points_camera,
    "pose": _pose,
    "cloud": _cloud,
    "depth_cloud": _depth_cloud,
    "filled_cloud": _filled_cloud,
    "scan": lambda made, frames, how: made(frames["lidar"], how.scales.scan_scale_m),
}


def clip_masks(kept: Kept, steps: int) -> dict[str, Bool[Tensor, " F"] | bool]:
    """Return masks of clips [B] as masks of their frames [B * steps]."""
    return {
        name: used.repeat_interleave(steps) if isinstance(used, Tensor) else used
        for name, used in kept.items()
    }
