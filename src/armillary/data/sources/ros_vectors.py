"""Vectors of ROS: odometry, joints, scans and commands as rows of numbers.

A row of odometry is position (3), the first two columns of the rotation (6), linear (3) and angular
velocity (3); of joints, positions, velocities and efforts as far as there are any.

Axes: N messages, Q numbers, P beams.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64

from armillary.core.errors import FormatError
from armillary.data.sources.ros_bag import Bag
from armillary.spatial import pose_from_quaternion

ODOMETRY = "nav_msgs/msg/Odometry"
JOINTS = "sensor_msgs/msg/JointState"
SCAN = "sensor_msgs/msg/LaserScan"
POSE = "foxglove.PoseInFrame"
MAX_WIDTH = 1 << 16


class UnevenError(FormatError):
    """A topic's messages do not make one table."""


def read_vectors(
    bag: Bag, topic: str, row: Callable[[Any], np.ndarray]
) -> tuple[Int64[np.ndarray, " N"], Float32[np.ndarray, "N Q"]]:
    """Return times, ascending, and rows of a topic.

    Raises:
        UnevenError: it has no message, rows of different lengths, or what ``row`` refuses.
        FormatError: the bag is damaged, or the type is not the known one.
    """
    stamps, rows = [], []
    for stamp_ns, message in bag.messages(topic):
        try:
            values = np.asarray(row(message), np.float32).reshape(-1)
        except FormatError as error:
            raise UnevenError(f"{bag.path}: {topic}: {error}") from error
        if not 0 < len(values) <= MAX_WIDTH or (rows and len(values) != len(rows[0])):
            before = len(rows[0]) if rows else f"1 to {MAX_WIDTH}"
            raise UnevenError(
                f"{bag.path}: {topic}: message {len(rows)} has {len(values)} numbers, {before} "
                "were expected."
            )
        stamps.append(stamp_ns)
        rows.append(values)
    if not rows:
        raise UnevenError(f"{bag.path}: the topic {topic} has no message.")
    order = np.argsort(np.array(stamps, np.int64), kind="stable")
    return np.array(stamps, np.int64)[order], np.stack(rows)[order]


def read_scans(
    bag: Bag, topic: str
) -> tuple[Int64[np.ndarray, " N"], Float32[np.ndarray, "N P"], Float64[np.ndarray, "P 2"]]:
    """Return times, ascending, ranges and beams of a LaserScan topic.

    Ranges are metres, NaN outside of what the scanner can measure; beams are azimuth (ascending,
    also of a scanner that turns clockwise) and elevation in its frame, radians.

    Raises:
        UnevenError: no message, or scans of different lengths or angles.
        FormatError: the bag is damaged, or the type is not the known one.
    """
    stamps_ns, rows = read_vectors(bag, topic, _scan_row)
    first_rad, step_rad = rows[0, :2].astype(np.float64)
    same = bool((rows[:, :2] == rows[0, :2]).all())  # never so for NaN
    if not same or not np.isfinite(step_rad) or step_rad == 0 or rows.shape[1] < 3:
        raise UnevenError(
            f"{bag.path}: {topic}: all scans of a topic must have beams at the same angles, "
            f"angle_increment apart; got {first_rad:g} and {step_rad:g} rad in the first. Record "
            "another setting of the scanner as another bag."
        )
    azimuth_rad = first_rad + step_rad * np.arange(rows.shape[1] - 2)
    beams_rad = np.stack([azimuth_rad, np.zeros_like(azimuth_rad)], axis=1)
    along = slice(None, None, 1 if step_rad > 0 else -1)
    return stamps_ns, rows[:, 2:][:, along], beams_rad[along]


def odometry_row(message: Any) -> np.ndarray:
    """Return an Odometry message as 15 numbers."""
    return np.array([*_pose_row(message), *_twist(message.twist)])


def _pose_row(message: Any) -> np.ndarray:
    """Return a pose as 9 numbers."""
    place, turn = message.pose.pose.position, message.pose.pose.orientation
    xyzw = torch.tensor([turn.x, turn.y, turn.z, turn.w], dtype=torch.float64)
    pose = pose_from_quaternion(xyzw, torch.zeros(3, dtype=torch.float64)).numpy()
    return np.array([place.x, place.y, place.z, *pose[:3, 0], *pose[:3, 1]])


class JointRows:
    """Turns JointState messages into positions, velocities and efforts, joints in order of name.

    Messages name their joints in any order, and those of another bag in another one.
    """

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self._begun = False

    def __call__(self, message: Any) -> np.ndarray:
        """Return the numbers of one message.

        Raises:
            FormatError: it is about other joints than the first one.
        """
        names = list(message.name)
        ordered = tuple(sorted(names))
        if self._begun and ordered != self.names:
            raise FormatError(
                f"a message is about the joints {', '.join(names) or 'without names'}, the first "
                f"one about {', '.join(self.names) or 'joints without names'}; record them as "
                "topics of their own."
            )
        self.names, self._begun = ordered, True
        order = sorted(range(len(names)), key=names.__getitem__)
        parts = [np.asarray(part) for part in (message.position, message.velocity, message.effort)]
        return np.concatenate([part[order] if len(part) == len(names) else part for part in parts])


def _scan_row(message: Any) -> np.ndarray:
    """Return a LaserScan's first angle, the next one's distance, and its ranges."""
    ranges = np.asarray(message.ranges, np.float64)
    with np.errstate(invalid="ignore"):
        valid = (ranges >= message.range_min) & (ranges <= message.range_max) & (ranges > 0)
    ranges = np.where(valid & np.isfinite(ranges), ranges, np.nan)
    return np.array([message.angle_min, message.angle_increment, *ranges])


def _twist(message: Any) -> list[float]:
    twist = getattr(message, "twist", message)
    line, turn = twist.linear, twist.angular
    return [line.x, line.y, line.z, turn.x, turn.y, turn.z]


def _twist_row(message: Any) -> np.ndarray:
    return np.array(_twist(message))


def _data_row(message: Any) -> np.ndarray:
    return np.asarray(message.data)


# By type, what makes the row of a message; made anew for every topic, as it may remember.
Rows = Callable[[], Callable[[Any], np.ndarray]]
ROWS: dict[str, Rows] = {
    ODOMETRY: lambda: odometry_row, JOINTS: JointRows, POSE: lambda: _pose_row,
}  # fmt: skip
COMMANDS: dict[str, Rows] = {
    "geometry_msgs/msg/Twist": lambda: _twist_row,
    "geometry_msgs/msg/TwistStamped": lambda: _twist_row,
    JOINTS: JointRows,
    "std_msgs/msg/Float64MultiArray": lambda: _data_row,
    "std_msgs/msg/Float32MultiArray": lambda: _data_row,
}
