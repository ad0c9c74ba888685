"""Augmentation: the same clip in a mirror, through a shifted lens, in other colours.

All keep the geometry exact, so that depth still unprojects to where things are. The mirror is the
world's plane x = 0: a point (x, y, z) goes to (-x, y, z), the picture is flipped left to right and
the camera's pose changes with it; or, where a flat world is seen from above and something lies
askew in it, a line at 45 degrees. A shift moves the picture by whole pixels and the principal
point with it; world points stay where they are.

Axes: B clips, T steps, H W image, A action of a world step, k world steps of a model step.
Source: random shifts, Yarats et al. 2021 (DrQ-v2, 2107.09645).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from armillary.core.errors import ConfigError, unknown_name
from armillary.core.values import Batch
from armillary.training.colour_changes import ColourChanges, change_colours
from armillary.training.world_changes import WorldChanges, change_worlds, world_step_width

_Line = Literal["upright", "rising"]


@dataclass(frozen=True)
class AugmentConfig:
    """How clips are varied.

    Attributes:
        mirror: share of the clips that are mirrored, in 0..1.
        mirror_line: what the picture is flipped over: ``upright``, so that left and right change
            places, or ``rising``, the diagonal from bottom left to top right, so that right and
            up do. The latter is for square colour pictures alone.
        swapped_actions: dimensions of a world step's action that change places in the mirror, two
            by two (x and y, where the line is rising).
        mirrored_actions: dimensions that then change sign (those along x; where the line is rising
            and y points down, both x and y).
        shift_px: pictures are shifted by up to this many pixels, each clip by its own amount.
        world: how the world under them is changed, and their depth worsened.
        colour: how their colours and light are changed.
    """

    mirror: float = 0.0
    mirror_line: _Line = "upright"
    swapped_actions: tuple[int, ...] = ()
    mirrored_actions: tuple[int, ...] = ()
    shift_px: int = 0
    world: WorldChanges = field(default_factory=WorldChanges)
    colour: ColourChanges = field(default_factory=ColourChanges)

    def __post_init__(self) -> None:
        if not 0 <= self.mirror <= 1 or self.shift_px < 0:
            raise ConfigError(
                "augment.mirror must be in 0..1 and augment.shift_px at least 0, got "
                f"{self.mirror} and {self.shift_px}."
            )
        if self.mirror_line not in get_args(_Line):
            raise unknown_name("mirror_line", self.mirror_line, get_args(_Line))
        swapped = self.swapped_actions
        if min((*swapped, *self.mirrored_actions, 0)) < 0:
            raise ConfigError(
                "augment.swapped_actions and augment.mirrored_actions are dimensions from 0 on; "
                f"got {swapped} and {self.mirrored_actions}."
            )
        if len(swapped) % 2 or len({*swapped}) < len(swapped):
            raise ConfigError(
                f"augment.swapped_actions are dimensions two by two, each once; got {swapped}."
            )


def augment(
    batch: Batch, config: AugmentConfig, rng: np.random.Generator, frame_skip: int
) -> Batch:
    """Return the clips varied by chance.

    Args:
        batch: clips.
        config: how.
        rng: one generator for the whole batch.
        frame_skip: k, world steps whose actions stand side by side in one of the batch.
    """
    if config.mirror:
        chosen = torch.from_numpy(rng.random(len(batch.valid)) < config.mirror)
        batch = mirror(batch, chosen, config, frame_skip)
    if config.shift_px:
        offsets = rng.integers(-config.shift_px, config.shift_px + 1, (len(batch.valid), 2))
        batch = shift(batch, offsets)
    if config.world != WorldChanges():
        batch = change_worlds(batch, config.world, rng, frame_skip)
    if config.colour != ColourChanges():
        batch = change_colours(batch, config.colour, rng)
    return batch


def shift(batch: Batch, offsets: Int[np.ndarray, "B 2"]) -> Batch:
    """Return the clips with each picture moved by whole pixels.

    Args:
        batch: clips.
        offsets: (rows, columns) by which a clip's pictures move down and right.

    Convention: what comes in from outside repeats the edge in colour and is invalid in depth.
    """
    streams = dict(batch.streams)
    for name in _pictures(batch):
        streams[name] = _shifted(streams[name], offsets, edge=name.startswith("rgb"))
    if "intrinsics" in streams:
        lens = streams["intrinsics"].clone()
        # K's last column is (columns, rows)
        lens[:, :, :2, 2] += torch.from_numpy(offsets[:, None, ::-1].copy()).to(lens)
        streams["intrinsics"] = lens
    return Batch(streams, batch.actions, batch.valid)


def mirror(
    batch: Batch, chosen: Bool[Tensor, " B"], config: AugmentConfig, frame_skip: int
) -> Batch:
    """Return the batch with the chosen clips mirrored.

    Args:
        batch: clips, clouds in the world's frame; proprioception is refused, because its axes are
            not known here, and so is a fan of beams.
        chosen: which clips.
        config: over which line, and what becomes of the actions.
        frame_skip: as in ``augment``.

    Raises:
        ConfigError: the clips have proprioception or ranges, or fewer action dimensions; over a
            rising line, anything but square colour pictures.
    """
    if "lidar" in batch.streams:
        raise ConfigError("augment.mirror must be 0 with lidar: its beams have no mirror image.")
    if "proprio" in batch.streams:
        raise ConfigError("augment.mirror must be 0 with proprioception: its axes are not known.")
    flip = _over_upright if config.mirror_line == "upright" else _over_rising
    actions = batch.actions
    if actions is not None:
        actions = _where(chosen, mirrored_actions(actions, config, frame_skip), actions)
    return Batch(flip(batch, chosen), actions, batch.valid)


def mirrored_actions(
    actions: Float[Tensor, "*lead kA"], config: AugmentConfig, frame_skip: int
) -> Float[Tensor, "*lead kA"]:
    """Return actions as they are in the mirror.

    Args:
        actions: of model steps.
        config: which dimensions of a world step's action change places and signs.
        frame_skip: as in ``augment``.

    Raises:
        ConfigError: they have fewer dimensions, or the line is rising and none change places.
    """
    if config.mirror_line == "rising" and not config.swapped_actions:
        raise ConfigError(
            "Over a rising mirror_line x and y change places: say which dimensions of an action "
            "they are in augment.swapped_actions."
        )
    width = world_step_width(actions, frame_skip)
    for name in ("swapped_actions", "mirrored_actions"):
        named: tuple[int, ...] = getattr(config, name)
        if named and max(named) >= width:
            raise ConfigError(
                f"augment.{name} names dimension {max(named)}, an action of a world step has "
                f"{width}."
            )
    source, signs = list(range(width)), torch.ones(width)
    for one, other in zip(config.swapped_actions[::2], config.swapped_actions[1::2], strict=True):
        source[one], source[other] = other, one
    signs[list(config.mirrored_actions)] = -1
    each = actions.unflatten(-1, (frame_skip, width))
    return (each[..., source] * signs).flatten(-2)


def _over_upright(batch: Batch, chosen: Bool[Tensor, " B"]) -> dict[str, Tensor]:
    streams = dict(batch.streams)
    for name in _pictures(batch):
        streams[name] = _where(chosen, streams[name].flip(3), streams[name])
    signs = torch.tensor([-1.0, 1.0, 1.0, 1.0])
    for name in [name for name in streams if name.startswith("world_from_camera")]:
        pose = streams[name]
        # mirrored world from flipped camera: both sides of the pose change the sign of x
        streams[name] = _where(chosen, pose * (signs[:, None] * signs), pose)
    if "points" in streams:
        flipped = torch.cat([-streams["points"][..., :1], streams["points"][..., 1:]], -1)
        streams["points"] = _where(chosen, flipped, streams["points"])
    if "intrinsics" in streams and _pictures(batch):
        lens = streams["intrinsics"].clone()
        width = streams[_pictures(batch)[0]].shape[3]
        lens[chosen, :, 0, 2] = width - 1 - lens[chosen, :, 0, 2]
        streams["intrinsics"] = lens
    return streams


def _over_rising(batch: Batch, chosen: Bool[Tensor, " B"]) -> dict[str, Tensor]:
    for name, stream in batch.streams.items():
        if not name.startswith("rgb") or stream.shape[2] != stream.shape[3]:
            raise ConfigError(
                "augment.mirror_line 'rising' is for square colour pictures alone; the clips have "
                f"{name!r} {list(stream.shape[2:])}."
            )
    # rows and columns change places, and both run the other way
    return {
        name: _where(chosen, stream.transpose(2, 3).flip(2, 3), stream)
        for name, stream in batch.streams.items()
    }


def _pictures(batch: Batch) -> list[str]:
    """Return the names of the pictures of all cameras, colour and depth."""
    return [name for name in batch.streams if name.startswith(("rgb", "depth"))]


def _shifted(pictures: Tensor, offsets: np.ndarray, edge: bool) -> Tensor:
    moved = pictures.clone() if edge else torch.zeros_like(pictures)
    height, width = pictures.shape[2:4]
    for clip, (down, right) in enumerate(offsets.tolist()):
        rows = slice(max(down, 0), height + min(down, 0))
        columns = slice(max(right, 0), width + min(right, 0))
        source = pictures[clip, :, rows.start - down : rows.stop - down]
        source = source[:, :, columns.start - right : columns.stop - right]
        moved[clip, :, rows, columns] = source
        if edge:
            _repeat_edge(moved[clip], rows, columns)
    return moved


def _repeat_edge(frames: Tensor, rows: slice, columns: slice) -> None:
    """Fill what lies outside rows and columns [T H W C] with the nearest picture inside."""
    frames[:, : rows.start] = frames[:, rows.start : rows.start + 1]
    frames[:, rows.stop :] = frames[:, rows.stop - 1 : rows.stop]
    frames[:, :, : columns.start] = frames[:, :, columns.start : columns.start + 1]
    frames[:, :, columns.stop :] = frames[:, :, columns.stop - 1 : columns.stop]


def _where(chosen: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(chosen.view(-1, *(1,) * (old.ndim - 1)), new, old)
