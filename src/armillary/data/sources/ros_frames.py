"""Frames of ROS: the tree that tf and odometry span, and where a frame was at each time.

Convention: a transform of ``child`` in ``parent`` is ``parent_from_child``; the root of the tree
is the world, z up (REP-105); quaternions xyzw. An optical frame has OpenCV's axes already.

Axes: T times, N transforms of one edge.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64

from armillary.core.errors import FormatError
from armillary.data.sources.recording import rigid
from armillary.data.sources.stamps import matched
from armillary.spatial import pose_from_quaternion

_SAYS = "ROS transforms parent_from_child, metres, unit quaternion xyzw"
_MAX_DEPTH = 100


@dataclass
class _Edge:
    """The transforms of one child: who its parents were, when, and seven numbers each."""

    parents: set[str] = field(default_factory=set)
    moves: bool = False
    stamps_ns: list[int] = field(default_factory=list)
    values: list[tuple[float, ...]] = field(default_factory=list)


class FrameTree:
    """Collects transforms; then gives poses of frames in the root of their tree.

    Args:
        where: the bag, for sentences.
        step: what gives the steps, in a word, for sentences.
    """

    def __init__(self, where: str, step: str = "picture") -> None:
        self._where, self._step = where, step
        self._edges: dict[str, _Edge] = {}
        self._passed_over: set[str] = set()

    def add(self, message: Any, *, moves: bool) -> None:
        """Add the transforms of a TFMessage; ``moves`` is False for static ones."""
        for one in message.transforms:
            stamp = one.header.stamp
            shift, turn = one.transform.translation, one.transform.rotation
            self._put(one.header.frame_id, one.child_frame_id, _ns(stamp), shift, turn, moves)

    def add_odometry(self, messages: Iterable[Any]) -> None:
        """Add the poses of Odometry messages, unless tf says where their child is, too."""
        taken = set(self._edges)
        for message in messages:
            if _plain(message.child_frame_id) in taken:
                self._passed_over.add(_plain(message.child_frame_id))
                continue
            pose = message.pose.pose
            parent, child = message.header.frame_id, message.child_frame_id
            self._put(
                parent, child, _ns(message.header.stamp), pose.position, pose.orientation, True
            )

    def knows(self, frame: str) -> bool:
        """Say whether the frame has a parent."""
        return _plain(frame) in self._edges

    def rests(self, frame: str) -> bool:
        """Say whether its root has nothing that moves below it, though something does elsewhere.

        What moves elsewhere may be odometry that was passed over, as tf places its child.
        """
        moving = [name for name, edge in self._edges.items() if edge.moves]
        root = self._root(frame)
        elsewhere = bool(moving) or bool(self.passed_over)
        return elsewhere and all(self._root(name) != root for name in moving)

    @property
    def passed_over(self) -> tuple[str, ...]:
        """Frames whose odometry is not used, as a transform of tf that stands still places them."""
        return tuple(sorted(n for n in self._passed_over if not self._edges[n].moves))

    def _root(self, frame: str) -> str:
        child, passed = _plain(frame), set()
        while child in self._edges and child not in passed:
            passed.add(child)
            child = min(self._edges[child].parents)
        return child

    def poses(
        self, frame: str, times_ns: Int64[np.ndarray, " T"], tolerance_s: float
    ) -> tuple[str, Float[np.ndarray, "T 4 4"], Bool[np.ndarray, " T"]]:
        """Return the root, ``root_from_frame`` at each time, and where it is known.

        Raises:
            FormatError: the tree loops, a frame has two parents, or a rotation is none.
        """
        poses = np.tile(np.eye(4), (len(times_ns), 1, 1))
        known = np.ones(len(times_ns), bool)
        child = _plain(frame)
        for _ in range(_MAX_DEPTH):
            if child not in self._edges:
                return child, poses, known
            edge = self._edges[child]
            if len(edge.parents) > 1:
                names = ", ".join(sorted(edge.parents))
                raise FormatError(f"{self._where}: the frame {child} has the parents {names}.")
            step = self._at(child, edge, times_ns, tolerance_s)
            poses, known = self._matrices(child, edge, step) @ poses, known & (step >= 0)
            child = next(iter(edge.parents))
        raise FormatError(f"{self._where}: the tf tree above the frame {frame} loops.")

    def _put(self, parent: str, child: str, ns: int, shift: Any, turn: Any, moves: bool) -> None:
        edge = self._edges.setdefault(_plain(child), _Edge())
        edge.parents.add(_plain(parent))
        edge.moves |= moves
        edge.stamps_ns.append(ns)
        edge.values.append((shift.x, shift.y, shift.z, turn.x, turn.y, turn.z, turn.w))

    def _at(
        self, child: str, edge: _Edge, times_ns: Int64[np.ndarray, " T"], tolerance_s: float
    ) -> np.ndarray:
        """Return which transform holds at each time, -1 where none is near enough."""
        if not edge.moves:
            return np.full(len(times_ns), len(edge.values) - 1)
        stamps_ns = np.array(edge.stamps_ns, np.int64)
        order = np.argsort(stamps_ns, kind="stable")
        what = f"transforms of {child}"
        step = matched(times_ns, stamps_ns[order], tolerance_s, what, self._where, self._step)
        return np.where(step >= 0, order[step], -1)

    def _matrices(self, child: str, edge: _Edge, step: np.ndarray) -> Float[np.ndarray, "T 4 4"]:
        where = f"{self._where}, frame {child}"
        used, back = np.unique(step, return_inverse=True)
        values = torch.tensor([edge.values[i] for i in used], dtype=torch.float64)
        length = values[:, 3:].norm(dim=1)
        if not torch.isfinite(values).all() or (length - 1).abs().max() > 1e-2:
            raise FormatError(
                f"{where}: a transform holds NaN or no unit quaternion. Expected: {_SAYS}."
            )
        poses = pose_from_quaternion(values[:, 3:], values[:, :3]).numpy()
        return np.stack([rigid(pose, where, _SAYS) for pose in poses])[back]


def _ns(stamp: Any) -> int:
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def _plain(frame: str) -> str:
    return frame.lstrip("/")
