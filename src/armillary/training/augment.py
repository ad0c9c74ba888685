"""Augmentation: the same clip in a mirror, through a shifted lens, in other colours.

All keep the geometry exact, so that depth still unprojects to where things are. The mirror is the
world's plane x = 0: a point (x, y, z) goes to (-x, y, z), the picture is flipped left to right and
the camera's pose changes with it. A shift moves the picture by whole pixels and the principal
point with it; world points stay where they are.

Axes: B clips, T steps, H W image, A action.
Source: random shifts, Yarats et al. 2021 (DrQ-v2, 2107.09645).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from armillary.core.errors import ConfigError
from armillary.core.values import Batch
from armillary.training.colour_changes import ColourChanges, change_colours
from armillary.training.world_changes import WorldChanges, change_worlds


@dataclass(frozen=True)
class AugmentConfig:
    """How clips are varied.

    Attributes:
        mirror: share of the clips that are mirrored, in 0..1.
        mirrored_actions: which dimensions of a model step's action change sign in the mirror
            (those along x).
        shift_px: pictures are shifted by up to this many pixels, each clip by its own amount.
        world: how the world under them is changed, and their depth worsened.
        colour: how their colours and light are changed.
    """

    mirror: float = 0.0
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


def augment(batch: Batch, config: AugmentConfig, rng: np.random.Generator) -> Batch:
    """Return the clips varied by chance.

    Args:
        batch: clips.
        config: how.
        rng: one generator for the whole batch.
    """
    if config.mirror:
        chosen = torch.from_numpy(rng.random(len(batch.valid)) < config.mirror)
        batch = mirror(batch, chosen, config.mirrored_actions)
    if config.shift_px:
        offsets = rng.integers(-config.shift_px, config.shift_px + 1, (len(batch.valid), 2))
        batch = shift(batch, offsets)
    if config.world != WorldChanges():
        batch = change_worlds(batch, config.world, rng)
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


def mirror(batch: Batch, chosen: Bool[Tensor, " B"], flipped_actions: tuple[int, ...]) -> Batch:
    """Return the batch with the chosen clips mirrored.

    Args:
        batch: clips, clouds in the world's frame; proprioception is refused, because its axes are
            not known here, and so is a fan of beams.
        chosen: which clips.
        flipped_actions: action dimensions that change sign.

    Raises:
        ConfigError: the clips have proprioception or ranges, or fewer action dimensions.
    """
    if "lidar" in batch.streams:
        raise ConfigError("augment.mirror must be 0 with lidar: its beams have no mirror image.")
    if "proprio" in batch.streams:
        raise ConfigError("augment.mirror must be 0 with proprioception: its axes are not known.")
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
    return Batch(streams, _mirrored_actions(batch.actions, chosen, flipped_actions), batch.valid)


def _pictures(batch: Batch) -> list[str]:
    """Return the names of the pictures of all cameras, colour and depth."""
    return [name for name in batch.streams if name.startswith(("rgb", "depth"))]


def _mirrored_actions(
    actions: Tensor | None, chosen: Tensor, flipped: tuple[int, ...]
) -> Tensor | None:
    if actions is None or not flipped:
        return actions
    if max(flipped) >= actions.shape[-1]:
        raise ConfigError(
            f"augment.mirrored_actions names dimension {max(flipped)}, the data have "
            f"{actions.shape[-1]}."
        )
    signs = torch.ones(actions.shape[-1])
    signs[list(flipped)] = -1
    return torch.where(chosen[:, None, None], actions * signs, actions)


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
