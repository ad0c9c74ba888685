"""Driving in the yard: what a command does to the vehicle, exactly, and where it is stopped.

The vehicle is a disc that goes ahead at v and turns at w: an arc of a circle. Where something is
in the way it stays in touch and only turns on. Odometry sums up what wheels measured, which is
never quite what was driven.

Axes: K places along an arc.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

Clearance = Callable[[Float64[np.ndarray, "K 2"]], Float64[np.ndarray, " K"]]

# The way to an obstacle is looked at this closely, then halved until contact is known to 1e-6 m.
_STRIDE_M = 0.002
_HALVINGS = 12


@dataclass(frozen=True)
class Pose:
    """A place and a heading in the plane: metres, radians."""

    x_m: float
    y_m: float
    yaw_rad: float

    @property
    def xy(self) -> Float64[np.ndarray, " 2"]:
        """The place."""
        return np.array([self.x_m, self.y_m])

    def matrix(self) -> Float64[np.ndarray, "4 4"]:
        """Return the pose as a 4x4 matrix; z is 0."""
        c, s = np.cos(self.yaw_rad), np.sin(self.yaw_rad)
        matrix = np.eye(4)
        matrix[:2, :2] = [[c, -s], [s, c]]
        matrix[:2, 3] = self.x_m, self.y_m
        return matrix


def arc(pose: Pose, ahead_m: float, turn_rad: float) -> Pose:
    """Return where an arc of this length and turn leads, turning evenly along it.

    Source: the exponential of a planar twist; Thrun, Burgard & Fox 2005, eq. 5.9.
    """
    half = turn_rad / 2
    chord = ahead_m * float(np.sinc(half / np.pi))
    heading = pose.yaw_rad + half
    return Pose(
        float(pose.x_m + chord * np.cos(heading)),
        float(pose.y_m + chord * np.sin(heading)),
        _wrapped(pose.yaw_rad + turn_rad),
    )


def drive(
    pose: Pose, ahead_m: float, turn_rad: float, radius_m: float, clearance: Clearance
) -> tuple[Pose, float]:
    """Drive an arc, or as much of it as is free, and turn the rest on the spot.

    Args:
        pose: of the vehicle; free.
        ahead_m: length of the arc; below zero backwards.
        turn_rad: on the way.
        radius_m: of the vehicle.
        clearance: metres from places to the nearest thing.

    Returns:
        The new pose, and the length that was driven.
    """
    length = abs(ahead_m)
    if float(clearance(pose.xy[None])[0]) - radius_m >= length:
        return arc(pose, ahead_m, turn_rad), ahead_m
    shares = np.linspace(0.0, 1.0, int(np.ceil(length / _STRIDE_M)) + 1)
    blocked = np.flatnonzero(clearance(_along(pose, ahead_m, turn_rad, shares)) < radius_m)
    blocked = blocked[blocked > 0]
    if not len(blocked):
        return arc(pose, ahead_m, turn_rad), ahead_m
    low, high = shares[blocked[0] - 1], shares[blocked[0]]
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        free = clearance(_along(pose, ahead_m, turn_rad, np.array([middle])))[0] >= radius_m
        low, high = (middle, high) if free else (low, middle)
    there = arc(pose, ahead_m * low, turn_rad * low)
    turned = _wrapped(pose.yaw_rad + turn_rad)
    return Pose(there.x_m, there.y_m, turned), float(ahead_m * low)


def _along(
    pose: Pose, ahead_m: float, turn_rad: float, shares: Float64[np.ndarray, " K"]
) -> Float64[np.ndarray, "K 2"]:
    half = turn_rad * shares / 2
    chord = ahead_m * shares * np.sinc(half / np.pi)
    heading = pose.yaw_rad + half
    return pose.xy + chord[:, None] * np.stack([np.cos(heading), np.sin(heading)], axis=-1)


def _wrapped(angle_rad: float) -> float:
    """Return the angle within -pi to pi."""
    return float((angle_rad + np.pi) % (2 * np.pi) - np.pi)
