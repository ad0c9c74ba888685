"""KITTI's car: where its sensors are on it, by the calibration of a day, and where it is, by OXTS.

Convention: the world has its origin at the first OXTS position, x east, y north, z up. Camera N is
the rectified one: P_rect_N = K [I | t], where t leads from the rectified camera 0 to it. Pixel
centres at integers.

Axes: T steps, N files.

Source: Geiger et al. 2013, development kit of raw data: ``readme.txt`` (frames, calibration) and
``convertOxtsToPose.m`` (Mercator projection with the scale of the first latitude). That turns the
world to the first pose; here it stays east, north, up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from armillary.core.errors import FormatError
from armillary.data.sources.kitti_files import calibration, pose_of_rows
from armillary.data.sources.lens import Lens, checked, pinhole_of
from armillary.data.sources.source import IngestOptions
from armillary.data.sources.text_files import numbers

COLOUR = ("image_02", "image_03")  # left and right
_CAMERAS_FILE, _LIDAR_FILE, _IMU_FILE = (
    "calib_cam_to_cam.txt",
    "calib_velo_to_cam.txt",
    "calib_imu_to_velo.txt",
)
_EARTH_M = 6_378_137.0  # radius at the equator, as the development kit has it
_MOST_NORTH = 85.0  # degrees; Mercator's map ends there
_OXTS_NUMBERS = 30
_MAX_SIDE = 100_000  # pixels
_SAYS = "KITTI's R (9 numbers by row, a rotation) and T (3 numbers, metres)"


@dataclass
class Geometry:
    """What the calibration tells; lenses and poses by the folder of the camera.

    Attributes:
        lenses: in the pixels of the rectified pictures.
        cameras_from_lidar: 4x4 each, metres.
        lidar_from_imu: 4x4, metres; None where unknown.
    """

    lenses: dict[str, Lens] = field(default_factory=dict)
    cameras_from_lidar: dict[str, Float64[np.ndarray, "4 4"]] = field(default_factory=dict)
    lidar_from_imu: Float64[np.ndarray, "4 4"] | None = None


def read_geometry(drive: Path, options: IngestOptions, said: list[str]) -> Geometry:
    """Return what the calibration of the day tells; say what is missing."""
    geometry = Geometry()
    cameras_file, lidar_file, imu_file = (
        _calibration_file(drive, name, lost, said)
        for name, lost in (
            (_CAMERAS_FILE, "lenses and poses of the cameras"),
            (_LIDAR_FILE, "poses of the cameras"),
            (_IMU_FILE, "poses"),
        )
    )
    if cameras_file is not None:
        matrices = calibration(cameras_file)
        velodyne = None if lidar_file is None else _rigid(lidar_file)
        rectified = np.eye(4)
        rectified[:3, :3] = _matrix(matrices, "R_rect_00", (3, 3), cameras_file)
        for part in COLOUR:
            number = part[-2:]
            if f"P_rect_{number}" not in matrices:
                continue
            projection = _matrix(matrices, f"P_rect_{number}", (3, 4), cameras_file)
            columns, rows = _matrix(matrices, f"S_rect_{number}", (2,), cameras_file)
            geometry.lenses[part] = _lens(projection, (rows, columns), cameras_file)
            if velodyne is not None:
                shift = np.eye(4)
                shift[:3, 3] = np.linalg.solve(projection[:, :3], projection[:, 3])
                pose = (shift @ rectified @ velodyne)[:3].reshape(12)
                says = f"{_SAYS}, and R_rect_00 (9 numbers by row, a rotation)"
                geometry.cameras_from_lidar[part] = pose_of_rows(pose, str(cameras_file), says)
    if options.intrinsics is not None:
        geometry.lenses = dict.fromkeys(COLOUR, Lens(options.intrinsics))
    if imu_file is not None:
        geometry.lidar_from_imu = _rigid(imu_file)
    return geometry


def _calibration_file(drive: Path, name: str, lost: str, said: list[str]) -> Path | None:
    drive = drive.resolve()
    for folder in (drive, drive.parent):
        if (folder / name).is_file():
            return folder / name
    said.append(
        f"{name} is neither in {drive.name} nor in {drive.parent.name}, so there are no {lost}. "
        "KITTI has the calibration of each day as an archive of its own."
    )
    return None


def _rigid(path: Path) -> Float64[np.ndarray, "4 4"]:
    """Return the transform of a file with the lines R and T."""
    matrices = calibration(path)
    rotation, shift = (_matrix(matrices, n, s, path) for n, s in (("R", (3, 3)), ("T", (3, 1))))
    return pose_of_rows(np.hstack([rotation, shift]).reshape(12), str(path), _SAYS)


def _matrix(
    matrices: Mapping[str, tuple[float, ...]], name: str, shape: tuple[int, ...], path: Path
) -> np.ndarray:
    values = np.array(matrices.get(name, ()), np.float64)
    if values.size != np.prod(shape) or not np.isfinite(values).all():
        raise FormatError(
            f"{path}: a line '{name}:' with {int(np.prod(shape))} numbers was expected. Copy the "
            "file from KITTI's archive of the calibration."
        )
    return values.reshape(shape)


def _lens(projection: Float64[np.ndarray, "3 4"], size: tuple[float, float], path: Path) -> Lens:
    k = projection[:, :3]
    pinhole = not (k[0, 1] or k[1, 0] or np.any(k[2] != [0.0, 0.0, 1.0])) and k[0, 0] and k[1, 1]
    if not pinhole or not 1 <= min(size) <= max(size) < _MAX_SIDE:
        raise FormatError(
            f"{path}: P_rect is K of a pinhole and a shift, and S_rect columns and rows in pixels; "
            f"got {k.tolist()} and {[float(each) for each in size]}."
        )
    return checked(Lens(pinhole_of(k), (), (int(size[0]), int(size[1]))), str(path))


def oxts_poses(files: Mapping[int, Path], steps: int) -> Float64[np.ndarray, "T 4 4"]:
    """Return ``world_from_imu`` of each step; the identity where there is no file.

    Latitude and longitude become metres by Mercator's projection, x = s r lon and
    y = s r ln tan(pi/4 + lat/2), with s the cosine of the first latitude; z is the altitude. The
    rotation is Rz(yaw) Ry(pitch) Rx(roll).
    """
    ordered = sorted(files)
    measured = np.array([_oxts_row(files[number]) for number in ordered])
    latitude, longitude = np.radians(measured[:, 0]), np.radians(measured[:, 1])
    scale = np.cos(latitude[0])
    x_m = scale * _EARTH_M * longitude
    y_m = scale * _EARTH_M * np.log(np.tan(np.pi / 4 + latitude / 2))
    places_m = np.stack([x_m, y_m, measured[:, 2]], 1)
    poses = np.tile(np.eye(4), (steps, 1, 1))
    poses[ordered, :3, :3] = _rotations(measured[:, 3:6])
    poses[ordered, :3, 3] = places_m - places_m[0]
    return poses


def _oxts_row(path: Path) -> list[float]:
    """Return latitude and longitude in degrees, altitude in metres, roll, pitch, yaw in radians."""
    rows = numbers(path)
    row = rows[0][:6] if len(rows) == 1 and len(rows[0]) == _OXTS_NUMBERS else []
    known = bool(row) and bool(np.isfinite(row).all())
    if not known or abs(row[0]) > _MOST_NORTH or abs(row[1]) > 360 or max(map(abs, row)) > 1e5:
        raise FormatError(
            f"{path}: one line of {_OXTS_NUMBERS} numbers (lat lon alt roll pitch yaw ...) was "
            "expected. Copy it anew, or take it away: then its step is left out."
        )
    return row


def _rotations(angles_rad: Float64[np.ndarray, "N 3"]) -> Float64[np.ndarray, "N 3 3"]:
    """Return Rz(yaw) Ry(pitch) Rx(roll) of roll, pitch and yaw."""
    (sr, sp, sy), (cr, cp, cy) = np.sin(angles_rad).T, np.cos(angles_rad).T
    rows = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
    return np.stack([np.stack(row, 1) for row in rows], 1)
