"""Views: the scene of a training step as terms compare it, from above or in the picture.

Where depth has a known place in the world, or there are clouds, the view is from above: it is the
same for all cameras. Any other camera has the view of its picture.

One frame in eight is compared, and of the depth every second pixel: what stands moves slowly, and
a target is then a small part of a training step.

Axes: F frames, P points, C channels.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.models import JEPAConfig
from armillary.objectives.visual_words import standing
from armillary.spatial import points_from_depth, transform_points
from armillary.training.terms.encoded_clips import EncodedClips

EVERY = 8
_PIXEL = 2
_COLOURED = {"rgb", "filled_cloud"}
_IN_WORLD = {"points", "depth_cloud", "filled_cloud"}  # depth whose place in the world is known
_DEPTH = {"depth", "points_camera"}


def view_of(model: JEPAConfig) -> Literal["above", "picture"] | None:
    """Return from where a model's scene is looked at; None where its sensors show no places."""
    sensors = {*model.sensors}
    if sensors & {"cloud", *_IN_WORLD}:
        return "above"
    return "picture" if sensors & (_COLOURED | _DEPTH) else None


def colours_from_above(model: JEPAConfig) -> bool:
    """Tell whether points that are seen from above have colours."""
    sensors = {*model.sensors}
    return bool(sensors & _COLOURED and sensors & _IN_WORLD) and "cloud" not in sensors


def picture_channels(model: JEPAConfig) -> int:
    """Return how many numbers a pixel has in the view of the picture, of the first camera."""
    sensors = {*model.sensors}
    return 3 * bool(sensors & _COLOURED) + bool(sensors & _DEPTH)


def streams_of(model: JEPAConfig) -> tuple[str, ...]:
    """Return the streams that a model's view is made of."""
    sensors, names = {*model.sensors}, []
    if sensors & _COLOURED:
        names.append("rgb")
    if "cloud" in sensors:
        names.append("points")
    elif sensors & _IN_WORLD:
        names += ["depth_m", "world_from_camera", "intrinsics"]
    if sensors & _DEPTH:
        names.append("depth_m")
    return tuple(dict.fromkeys([*names, *model.cameras]))


def from_above(clips: EncodedClips) -> tuple[Tensor, Tensor, Tensor]:
    """Return places, features and weights of points in the world, as ``standing`` does."""
    return clips.shared("from above", lambda: _from_above(clips))


def picture(
    clips: EncodedClips,
) -> tuple[Float[Tensor, "F H W 3"] | None, Float[Tensor, "F H W"] | None]:
    """Return colours, 0 to 255, and depth in metres; None for what the model does not see."""
    sensors, colours, depth_m = {*clips.model.config.sensors}, None, None
    if sensors & _COLOURED:
        colours = _some(clips, "rgb").float()
    if sensors & _DEPTH:
        depth_m = _some(clips, "depth_m")
        # what was not measured is as far as the rest, so that a hole does not stand out
        usual = depth_m.flatten(1).median(1).values[:, None, None]
        depth_m = torch.where(depth_m > 0, depth_m, usual)
    return colours, depth_m


def further_pictures(clips: EncodedClips) -> list[Float[Tensor, "F H W 3"]]:
    """Return colours, 0 to 255, of each further camera that the model sees."""
    return [_some(clips, name).float() for name in clips.model.config.cameras]


def _from_above(clips: EncodedClips) -> tuple[Tensor, Tensor, Tensor]:
    sensors = {*clips.model.config.sensors}
    if "cloud" in sensors:
        world = _some(clips, "points")[..., :3]
        valid = world.isfinite().all(-1)
        scene = clips.model.normalizer.scene(world.nan_to_num())
        return standing(scene, None, valid)
    depth_m = _some(clips, "depth_m")[:, ::_PIXEL, ::_PIXEL]
    # every second pixel is kept, so pixel (u, v) is now (u/2, v/2), with no shift of centres
    fewer = depth_m.new_tensor([1 / _PIXEL, 1 / _PIXEL, 1.0])
    lens = _some(clips, "intrinsics") * fewer[:, None]
    camera = points_from_depth(depth_m, lens).flatten(1, 2)
    world = transform_points(_some(clips, "world_from_camera"), camera)
    colours = None
    if sensors & _COLOURED:
        colours = _some(clips, "rgb")[:, ::_PIXEL, ::_PIXEL].flatten(1, 2).float() / 255
    return standing(clips.model.normalizer.scene(world), colours, (depth_m > 0).flatten(1))


def _some(clips: EncodedClips, name: str) -> Tensor:
    """Return the frames of a stream that are compared."""
    return clips.stream(name)[:, ::EVERY].flatten(0, 1)
