"""Augmentation: the same clip as it would have looked in a mirror, actions and camera included.

The mirror is the world's plane x = 0: a point (x, y, z) goes to (-x, y, z), the picture is flipped
left to right, and the camera's pose changes so that depth still unprojects to the mirrored points.

Axes: B clips, T steps, H W image, A action.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from armillary.core.errors import ConfigError
from armillary.core.values import Batch


@dataclass(frozen=True)
class MirrorConfig:
    """How clips are mirrored.

    Attributes:
        share: share of the clips that are, in 0..1.
        actions: which action dimensions change sign in the mirror (those along x).
    """

    share: float = 0.0
    actions: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ConfigError(f"mirror.share must be in 0..1, got {self.share}.")


def mirror(batch: Batch, chosen: Bool[Tensor, " B"], flipped_actions: tuple[int, ...]) -> Batch:
    """Return the batch with the chosen clips mirrored.

    Args:
        batch: clips; proprioception is refused, because its axes are not known here.
        chosen: which clips.
        flipped_actions: action dimensions that change sign.

    Raises:
        ConfigError: the clips have proprioception, or fewer action dimensions.
    """
    if "proprio" in batch.streams:
        raise ConfigError("mirror.share must be 0 with proprioception: its axes are not known.")
    streams = dict(batch.streams)
    for name in ("rgb", "depth_m"):
        if name in streams:
            streams[name] = _replaced(streams[name], chosen, streams[name][chosen].flip(3))
    if "world_from_camera" in streams:
        signs = torch.tensor([-1.0, 1.0, 1.0, 1.0])
        pose = streams["world_from_camera"]
        # mirrored world from flipped camera: both sides of the pose change the sign of x
        flip = signs[:, None] * signs
        streams["world_from_camera"] = _replaced(pose, chosen, pose[chosen] * flip)
    if "intrinsics" in streams and "rgb" in streams:
        lens = streams["intrinsics"].clone()
        lens[chosen, :, 0, 2] = streams["rgb"].shape[3] - 1 - lens[chosen, :, 0, 2]
        streams["intrinsics"] = lens
    return Batch(streams, _mirrored_actions(batch.actions, chosen, flipped_actions), batch.valid)


def _mirrored_actions(
    actions: Tensor | None, chosen: Tensor, flipped: tuple[int, ...]
) -> Tensor | None:
    if actions is None or not flipped:
        return actions
    if max(flipped) >= actions.shape[-1]:
        raise ConfigError(
            f"mirror.actions names dimension {max(flipped)}, the data have {actions.shape[-1]}."
        )
    signs = torch.ones(actions.shape[-1])
    signs[list(flipped)] = -1
    return torch.where(chosen[:, None, None], actions * signs, actions)


def _replaced(values: Tensor, chosen: Tensor, new: Tensor) -> Tensor:
    replaced = values.clone()
    replaced[chosen] = new
    return replaced
