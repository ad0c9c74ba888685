"""World changes: clips of the same world turned, moved, scaled, and sensed worse.

A clip's change is drawn once and applied to all that speaks of places: poses, depth, clouds in the
world's frame and actions along the world's axes, so that depth still unprojects to where things
are and actions still lead there. Pictures stay: the world has changed under the camera's feet.

Axes: B clips, T steps, H W image, A action of a world step, k world steps of a model step.
Source: R3D (2604.15281): policies on points overfit without changes of this kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from armillary.core.errors import ConfigError
from armillary.core.values import Batch
from armillary.spatial import Change, Changes, depth_holes, drop_points, hole_blobs, noisy_depth
from armillary.training.clean import with_clean


@dataclass(frozen=True)
class WorldChanges:
    """How far a clip's world is changed, and how bad its depth is.

    Attributes:
        yaw_rad: turned about z by up to so much, to either side.
        scale: all lengths by up to this factor, or its inverse.
        shift_m: moved by up to so much along x, y and z.
        actions: dimensions of a world step's action that are lengths or speeds along the world's
            axes, in pairs (x, y); of every mover, or goals would be missed.
        depth_noise: share of the depth at 1 m that is noise (0.01 to 0.02 for real sensors).
        depth_holes: share of each depth picture lost in blobs.
        depth_edge_holes: share of the pixels on the far side of edges that are lost.
        point_dropout: share of the points of clouds that are lost.
        flicker: whether the blobs lie elsewhere in every frame; else they stay for the whole clip.
    """

    yaw_rad: float = 0.0
    scale: float = 1.0
    shift_m: tuple[float, ...] = (0.0, 0.0, 0.0)
    actions: tuple[int, ...] = ()
    depth_noise: float = 0.0
    depth_holes: float = 0.0
    depth_edge_holes: float = 0.0
    point_dropout: float = 0.0
    flicker: bool = False

    def __post_init__(self) -> None:
        if len(self.shift_m) != 3 or len(self.actions) % 2 or min(self.actions, default=0) < 0:
            raise ConfigError(
                "augment.world needs a shift_m of three numbers, and actions in pairs x, y; got "
                f"{self.shift_m} and {self.actions}."
            )
        self._changes()
        shares = self.depth_holes, self.depth_edge_holes, self.point_dropout
        if self.depth_noise < 0 or not all(0 <= share <= 1 for share in shares):
            raise ConfigError(
                "augment.world.depth_noise must be at least 0, and depth_holes, depth_edge_holes "
                f"and point_dropout within 0 to 1; got {self.depth_noise} and {shares}."
            )
        if self.flicker and not self.depth_holes:
            raise ConfigError("augment.world.flicker needs depth_holes above 0.")

    @property
    def moves(self) -> bool:
        """Whether anything is turned, moved or scaled."""
        return bool(self.yaw_rad) or self.scale != 1 or any(self.shift_m)

    @property
    def worsens_depth(self) -> bool:
        """Whether depth is not what it was."""
        return bool(self.depth_noise or self.depth_holes or self.depth_edge_holes)

    def with_depth_as_it_is(self) -> WorldChanges:
        """Return the same changes without those that worsen depth."""
        return replace(self, depth_noise=0.0, depth_holes=0.0, depth_edge_holes=0.0, flicker=False)

    def with_places_as_they_are(self) -> WorldChanges:
        """Return the same changes without those that turn, move or scale the world."""
        return replace(self, yaw_rad=0.0, scale=1.0, shift_m=(0.0, 0.0, 0.0), actions=())

    def _changes(self) -> Changes:
        x, y, z = self.shift_m
        return Changes(self.yaw_rad, self.scale, (x, y, z))

    def draw(self, clips: int, rng: np.random.Generator) -> list[Change]:
        """Draw a change for each clip."""
        return [self._changes().draw(rng) for _ in range(clips)]


def change_worlds(
    batch: Batch, config: WorldChanges, rng: np.random.Generator, frame_skip: int
) -> Batch:
    """Return the clips with worlds changed and depth worsened by chance.

    Args:
        batch: clips.
        config: how far.
        rng: one generator for the whole batch.
        frame_skip: k, world steps whose actions stand side by side in one of the batch.

    Raises:
        ConfigError: something in the clips cannot follow.
    """
    if config.moves:
        batch = moved(batch, config.draw(len(batch.valid), rng), config.actions, frame_skip)
    return _worsened(batch, config, rng)


def moved(
    batch: Batch, changes: Sequence[Change], actions: tuple[int, ...], frame_skip: int
) -> Batch:
    """Return the clips, each in its changed world.

    Args:
        batch: clips; clouds are in the world's frame.
        changes: one for each clip.
        actions: as in ``WorldChanges``.
        frame_skip: as in ``change_worlds``.

    Raises:
        ConfigError: the clips have proprioception, whose axes are not known, actions of unknown
            axes, or fewer action dimensions than named.
    """
    _check_movable(batch, actions, frame_skip)
    streams = dict(batch.streams)
    for name, values in batch.streams.items():
        if name.startswith("world_from_"):
            streams[name] = _each(values, changes, Change.poses)
        elif name.startswith("depth") or name == "lidar":
            streams[name] = _each(values, changes, Change.lengths)
        elif name == "points":
            places = _each(values[..., :3], changes, Change.points)
            streams[name] = torch.cat([places, values[..., 3:]], -1)
    changed = batch.actions
    if changed is not None and changed.shape[-1]:
        each = changed.unflatten(-1, (frame_skip, -1))
        changed = _moved_actions(each, changes, actions).flatten(-2)
    return Batch(streams, changed, batch.valid)


def world_step_width(actions: Float[Tensor, "*lead kA"], frame_skip: int) -> int:
    """Return A, the width of a world step's action.

    Args:
        actions: of model steps.
        frame_skip: k.

    Raises:
        ConfigError: they are not of so many world steps.
    """
    width, rest = divmod(actions.shape[-1], frame_skip)
    if rest:
        raise ConfigError(
            f"Actions of width {actions.shape[-1]} are not those of {frame_skip} world steps side "
            "by side."
        )
    return width


def _moved_actions(
    actions: Float[Tensor, "B T k A"], changes: Sequence[Change], pairs: tuple[int, ...]
) -> Float[Tensor, "B T k A"]:
    changed = actions.clone()
    for x, y in zip(pairs[::2], pairs[1::2], strict=True):
        flat = torch.nn.functional.pad(actions[..., [x, y]], (0, 1))
        changed[..., [x, y]] = _each(flat, changes, Change.vectors)[..., :2]
    return changed


def _worsened(batch: Batch, config: WorldChanges, rng: np.random.Generator) -> Batch:
    streams = dict(batch.streams)
    if config.worsens_depth:
        streams = with_clean(streams, "depth_m")
    for name in sorted(streams):
        if name.startswith("depth"):
            streams[name] = _worse_depth(streams[name], config, rng)
    if config.point_dropout and "points" in streams:
        there = streams["points"].isfinite().all(-1).numpy()
        kept = torch.from_numpy(drop_points(there, rng, config.point_dropout))
        streams["points"] = torch.where(kept[..., None], streams["points"], math.nan)
    return Batch(streams, batch.actions, batch.valid)


def _worse_depth(depth_m: Tensor, config: WorldChanges, rng: np.random.Generator) -> Tensor:
    worse = depth_m.numpy()
    if config.depth_noise:
        worse = noisy_depth(worse, rng, config.depth_noise)
    if config.depth_edge_holes:
        worse = depth_holes(worse, rng, config.depth_edge_holes, 0.0)
    if config.depth_holes:
        clips, steps, *picture = worse.shape
        lost = hole_blobs((clips, 1, *picture), rng, config.depth_holes, tiles=config.flicker)
        if config.flicker:
            lost = _elsewhere(lost, steps, rng)
        worse = np.where(lost, np.nan, worse)
    return torch.from_numpy(np.nan_to_num(worse, nan=0.0))


def _elsewhere(
    lost: Bool[np.ndarray, "B 1 H W"], steps: int, rng: np.random.Generator
) -> Bool[np.ndarray, "B T H W"]:
    """Return each clip's blobs moved round the picture's edges by chance, once for every step."""
    clips, _, rows, columns = lost.shape
    down, right = (rng.integers(0, side, (clips, steps, 1)) for side in (rows, columns))
    row = (np.arange(rows) + down) % rows
    column = (np.arange(columns) + right) % columns
    clip = np.arange(clips)[:, None, None, None]
    return lost[clip, 0, row[..., None], column[..., None, :]]


def _each(
    values: Tensor,
    changes: Sequence[Change],
    how: Callable[[Change, np.ndarray], np.ndarray],
) -> Tensor:
    clips = zip(values.numpy(), changes, strict=True)
    return torch.from_numpy(np.stack([how(change, clip) for clip, change in clips]))


def _check_movable(batch: Batch, actions: tuple[int, ...], frame_skip: int) -> None:
    if "proprio" in batch.streams:
        raise ConfigError(
            "augment.world must not move clips with proprioception: its axes are not known."
        )
    if batch.actions is None or not batch.actions.shape[-1]:
        return
    width = world_step_width(batch.actions, frame_skip)
    if not actions or max(actions) >= width:
        raise ConfigError(
            f"augment.world.actions must name those of the {width} dimensions of a world step's "
            f"action that lie along the world's x and y, in pairs; got {actions}."
        )
