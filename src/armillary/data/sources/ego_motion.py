"""Ego-motion: how a sensor moved from step to step, as the action of a recording without commands.

Axes: T steps.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from armillary.spatial import log, relative

_LEAST_MOTION = 1e-3  # metres or radians in a step; a sensor that stands is not moved by rounding


def ego_motion(world_from_sensor: Float[np.ndarray, "T 4 4"]) -> Float[np.ndarray, "T-1 6"]:
    """Return the motion of a sensor from each step to the next, in its frame at the first.

    Args:
        world_from_sensor: its poses.

    Returns:
        Twists, float32: translation in metres, then rotation in radians.
    """
    poses = torch.from_numpy(np.asarray(world_from_sensor, np.float64))
    return log(relative(poses[:-1], poses[1:])).float().numpy()


def moves(world_from_sensor: Float[np.ndarray, "T 4 4"]) -> bool:
    """Say whether a sensor moves by more than rounding between any two steps."""
    return bool(np.abs(ego_motion(world_from_sensor)).max(initial=0.0) > _LEAST_MOTION)


def motion_said(sensor: str) -> str:
    """Return the sentence that tells a user where the actions come from.

    Args:
        sensor: name of the frame that moves.
    """
    return (
        f"no commands were read, so the action is the motion of the {sensor} from step to step "
        "(three numbers in m, three in rad, in its own frame). Pass --no-ego-motion to leave it "
        "out."
    )
