"""Rawlog objects: the binary classes of MRPT that laser sweeps and odometry are made of.

An object is one byte (128 + length of its class name), the name, one byte of version, its fields,
and one byte 0x88; numbers are little endian. Only the classes and versions below are known;
anything else is refused by its name, since an object does not say how long it is. Every count is
held against a bound, and every size against the bytes that are there, before memory is taken.

Axes: P beams.

Source: the classes' own serialisation in MRPT 2.14 (BSD-3), mrpt.org.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from armillary.core.errors import FormatError
from armillary.data.sources.recording import rigid
from armillary.spatial import pose_from_quaternion

MAX_BEAMS = 100_000
MAX_OBJECTS = 64  # in one collection; a sweep's frame holds one
_END = 0x88
_SAYS = "CPose3D, where the laser sits on the robot: metres, and a rotation or a quaternion wxyz"


@dataclass(frozen=True)
class Sweep:
    """One turn of the laser.

    Attributes:
        ranges_m: [P], NaN where the beam is not valid or reached the maximum.
        angles_rad: [P] in the laser's own plane, anticlockwise, 0 ahead.
        max_range_m: beyond it nothing is measured.
        robot_from_lidar: [4 4], where the laser sits.
        ticks: time in units of 100 ns.
    """

    ranges_m: Float[np.ndarray, " P"]
    angles_rad: Float[np.ndarray, " P"]
    max_range_m: float
    robot_from_lidar: Float[np.ndarray, "4 4"]
    ticks: int


class ObjectFile:
    """The unpacked bytes, and how far they were read; never reads beyond the end.

    Args:
        data: all bytes.
        where: what the sentences call it.
    """

    def __init__(self, data: bytes, where: str) -> None:
        self.data, self.where, self.position = data, where, 0

    def at_end(self) -> bool:
        """Say whether all was read."""
        return self.position == len(self.data)

    def take(self, size: int) -> bytes:
        """Return the next bytes; refuse where there are not as many."""
        if size > len(self.data) - self.position:
            raise FormatError(
                f"{self.where}: is cut off: {size} bytes were expected at byte {self.position} of "
                f"{len(self.data)} (unpacked)."
            )
        self.position += size
        return self.data[self.position - size : self.position]

    def numbers(self, layout: str) -> tuple[Any, ...]:
        """Return the next numbers, by ``struct``'s letters."""
        layout = "<" + layout
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def array(self, kind: str, count: int) -> np.ndarray:
        """Return the next numbers of one kind; a view that cannot be written to."""
        dtype = np.dtype(kind)
        return np.frombuffer(self.take(dtype.itemsize * count), dtype)

    def count(self, most: int, what: str) -> int:
        """Return the next count; refuse one that cannot be."""
        (count,) = self.numbers("I")
        if count > most:
            raise FormatError(
                f"{self.where}: promises {count} {what} at byte {self.position - 4}; at most "
                f"{most} are believed. The file is damaged."
            )
        return count

    def object(self, wanted: tuple[str, ...] = ()) -> tuple[str, Any]:
        """Read one object.

        Args:
            wanted: class names that may stand here; empty where any known one may.

        Returns:
            The class name, and what its reader gives.

        Raises:
            FormatError: no object, or one that is not known, not wanted, or damaged.
        """
        start = self.position
        name = self._class_name(start)
        (version,) = self.numbers("B")
        known = sorted(v for n, v in _READERS if n == name)
        if (name, version) not in _READERS:
            versions = f"; versions {', '.join(map(str, known))} are" if known else ""
            raise FormatError(
                f"{self.where}: {name} version {version} at byte {start} is not known{versions}. "
                "Laser sweeps with 2-D odometry can be read."
            )
        if wanted and name not in wanted:
            raise FormatError(
                f"{self.where}: holds a {name} version {version} at byte {start} where a "
                f"{' or '.join(wanted)} belongs."
            )
        found = _READERS[name, version](self)
        if self.numbers("B") != (_END,):
            raise FormatError(
                f"{self.where}: {name} version {version} at byte {start} does not end where it "
                "should; the file is damaged."
            )
        return name, found

    def _class_name(self, start: int) -> str:
        (length,) = self.numbers("B")
        name = self.take(length & 0x7F) if length & 0x80 else b""
        if not re.fullmatch(rb"[A-Za-z_][A-Za-z0-9_:]*", name):
            raise FormatError(
                f"{self.where}: no object begins at byte {start}; this is not a rawlog, or it is "
                "damaged there."
            )
        return name.decode("ascii")


def _frame(file: ObjectFile) -> list[Sweep]:
    count = file.count(MAX_OBJECTS, "observations")
    return [file.object(("CObservation2DRangeScan",))[1] for _ in range(count)]


def _actions(file: ObjectFile) -> list[np.ndarray]:
    count = file.count(MAX_OBJECTS, "actions")
    return [file.object(("CActionRobotMovement2D",))[1] for _ in range(count)]


def _movement(file: ObjectFile) -> np.ndarray:
    """Read [3]: dx m, dy m, dyaw rad, as the wheels report."""
    (method,) = file.numbers("I")
    if method != 0:
        raise FormatError(
            f"{file.where}: CActionRobotMovement2D version 6 at byte {file.position - 4} holds an "
            f"estimate (method {method}); only odometry (method 0) can be read."
        )
    _, motion = file.object(("CPose2D",))
    file.numbers("I6f")  # the noise that is believed: which model, and a Gaussian's settings
    file.numbers("I6f")  # the settings of the one with particles
    file.numbers("?2f?2iQ")  # velocities, wheel ticks, time
    if not np.isfinite(motion).all():
        raise FormatError(f"{file.where}: the odometry before byte {file.position} is not finite.")
    return motion


def _pose_2d(file: ObjectFile) -> np.ndarray:
    return file.array("<f8", 3).copy()


def _matrix(file: ObjectFile) -> np.ndarray:
    rows, columns = file.count(64, "rows"), file.count(64, "columns")
    return file.array("<f8", rows * columns).reshape(rows, columns)


def _pose_3d_of_matrix(file: ObjectFile) -> np.ndarray:
    pose = file.object(("CMatrixD",))[1]
    if pose.shape != (4, 4):
        raise FormatError(f"{file.where}: CPose3D version 1 needs a 4x4 matrix, got {pose.shape}.")
    return rigid(pose, f"{file.where}, byte {file.position}", _SAYS)


def _pose_3d_of_quaternion(file: ObjectFile) -> np.ndarray:
    xyz_m, wxyz = np.split(file.array("<f8", 7), [3])
    xyzw = torch.from_numpy(wxyz[[1, 2, 3, 0]])
    pose = pose_from_quaternion(xyzw, torch.from_numpy(xyz_m.copy())).numpy()
    return rigid(pose, f"{file.where}, byte {file.position}", _SAYS)


def _scan(file: ObjectFile) -> Sweep:
    aperture_rad, right_to_left, max_range_m = file.numbers("f?f")
    _, robot_from_lidar = file.object(("CPose3D",))
    count = file.count(MAX_BEAMS, "beams")
    ranges, valid = file.array("<f4", count), file.array("u1", count)
    _, ticks, _ = file.numbers("fQf")  # range noise, time, width of a beam
    file.take(file.count(4096, "letters of a label"))
    file.numbers("d")  # tilt between beams
    if count < 2 or not np.isfinite([aperture_rad, max_range_m]).all() or max_range_m <= 0:
        raise FormatError(
            f"{file.where}: CObservation2DRangeScan version 6 before byte {file.position} has "
            f"{count} beams over {aperture_rad} rad up to {max_range_m} m; that is no sweep."
        )
    measured = (valid == 1) & np.isfinite(ranges) & (ranges > 0) & (ranges < max_range_m)
    angles_rad = np.linspace(-aperture_rad / 2, aperture_rad / 2, count)
    ranges_m = np.where(measured, ranges, np.float32(np.nan))
    # the other way round the beams are written clockwise; here they always go anticlockwise
    ranges_m = ranges_m if right_to_left else ranges_m[::-1]
    return Sweep(ranges_m, angles_rad, float(max_range_m), robot_from_lidar, ticks)


_READERS: dict[tuple[str, int], Callable[[ObjectFile], Any]] = {
    ("CSensoryFrame", 2): _frame,
    ("CObservation2DRangeScan", 6): _scan,
    ("CActionCollection", 0): _actions,
    ("CActionRobotMovement2D", 6): _movement,
    ("CPose2D", 1): _pose_2d,
    ("CPose3D", 1): _pose_3d_of_matrix,
    ("CPose3D", 2): _pose_3d_of_quaternion,
    ("CMatrixD", 0): _matrix,
}
