"""nuScenes tables: where a sensor was at each file, from the JSON beside the recordings.

    sample_data.json         file name -> tokens of an ego pose and of a calibration
    ego_pose.json            world_from_ego: quaternion (w x y z), metres
    calibrated_sensor.json   ego_from_sensor: the same; camera_intrinsic: K [3 3] of a camera

    world_from_sensor = world_from_ego ego_from_sensor

The tables lie in a folder ``v1.0-...`` at the root, above ``samples`` and ``sweeps``.

Source: schema of nuScenes (github.com/nutonomy/nuscenes-devkit).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64

from armillary.core.errors import FormatError
from armillary.data.sources.lens import Lens, checked, pinhole_of
from armillary.spatial import pose_from_quaternion

LOOKS_FOR = "v1.0-*/sample_data.json"
_TABLES = ("sample_data.json", "ego_pose.json", "calibrated_sensor.json")
_LEVELS = 3  # a folder of sweeps lies two below the root
_MOST_FOLDERS = 4  # v1.0-mini, -trainval, -test
# Enough for v1.0-mini. The tables of the whole dataset are far larger, and reading one takes many
# times its size in memory.
_MOST_BYTES = 1 << 25
_ROUNDED = 0.01  # of the length of a quaternion
_FARTHEST_M = 1e7


@dataclass(frozen=True)
class Tables:
    """What is known of the files of a nuScenes folder.

    Attributes:
        folder: where the tables lie.
        of_file: tokens of ego pose and calibration by the file's name, which has the log and the
            time, so that it is the only one.
        ego: rows of ego_pose.json by token.
        sensors: rows of calibrated_sensor.json by token.
    """

    folder: Path
    of_file: Mapping[str, tuple[str, str]]
    ego: Mapping[str, Any]
    sensors: Mapping[str, Any]

    def map_from_sensor(self, files: Sequence[Path]) -> Float64[np.ndarray, "T 4 4"] | None:
        """Return the pose of the sensor at each file, in the map; None if the tables lack one.

        The map's own origin is kilometres away, which float32 would round to centimetres: take
        poses relative to a first one before they are stored.

        Raises:
            FormatError: a row is damaged.
        """
        poses = []
        for file in files:
            tokens = self.of_file.get(file.name)
            if tokens is None:
                return None
            ego, sensor = tokens
            poses.append(
                self._pose(self.ego, ego, _TABLES[1]) @ self._pose(self.sensors, sensor, _TABLES[2])
            )
        return np.stack(poses)

    def lens(self, file: Path) -> Lens:
        """Return the lens of a picture that the tables name. nuScenes' pictures are pinholes.

        Raises:
            FormatError: its row is missing or damaged.
        """
        _, token = self.of_file[file.name]
        where = f"{self.folder / _TABLES[2]}: the row {token!r}"
        rows = self.sensors.get(token, {}).get("camera_intrinsic")
        whole = isinstance(rows, list) and len(rows) == 3
        known = [_numbers({"row": row}, "row", 3) for row in rows] if whole else []
        k = [row for row in known if row is not None]
        if len(k) != 3:
            raise FormatError(f"{where} must have a camera_intrinsic of three rows of 3 numbers.")
        return checked(Lens(pinhole_of(np.stack(k))), where)

    def _pose(self, rows: Mapping[str, Any], token: str, name: str) -> Float64[np.ndarray, "4 4"]:
        where = f"{self.folder / name}: the row {token!r}"
        row = rows.get(token)
        if row is None:
            raise FormatError(f"{where} is missing; {_TABLES[0]} names it.")
        turn, place = _numbers(row, "rotation", 4), _numbers(row, "translation", 3)
        if turn is None or place is None or not _plausible(turn, place):
            raise FormatError(
                f"{where} must have a rotation of 4 numbers (w x y z, of length 1) and a "
                "translation of 3 (metres)."
            )
        xyzw = torch.from_numpy(turn[[1, 2, 3, 0]])
        return pose_from_quaternion(xyzw, torch.from_numpy(place)).numpy()


def find_tables(source: Path, names: Collection[str]) -> Tables | str | None:
    """Return the tables of a folder of sweeps, or why they are not read; None where none lie there.

    Of several folders of tables, the first in alphabetical order that can be read and names the
    most of these sweeps is taken.

    Args:
        source: the root, or a folder below it.
        names: of the files with sweeps.

    Raises:
        FormatError: a table is damaged.
    """
    here = source.absolute()  # a link to another disk would lead away from the tables
    for root in [here, *here.parents][:_LEVELS]:
        read = [_read(first.parent) for first in sorted(root.glob(LOOKS_FOR))[:_MOST_FOLDERS]]
        whole = [each for each in read if isinstance(each, Tables)]
        if whole:
            return max(whole, key=lambda each: sum(name in each.of_file for name in names))
        if read:
            return read[0]
    return None


def _read(folder: Path) -> Tables | str:
    for name in _TABLES:
        path = folder / name
        if not path.is_file():
            return f"{path} is missing, so poses are not read"
        if path.stat().st_size > _MOST_BYTES:
            return (
                f"{path} has more than {_MOST_BYTES >> 20} MB, so poses are not read; keep the "
                "rows of the scenes that you take"
            )
    data, ego, sensors = (_rows(folder / name) for name in _TABLES)
    of_file = {
        Path(str(row.get("filename"))).name: (
            str(row.get("ego_pose_token")),
            str(row.get("calibrated_sensor_token")),
        )
        for row in data
    }
    by_token = [{str(row.get("token")): row for row in rows} for rows in (ego, sensors)]
    return Tables(folder, of_file, *by_token)


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        rows = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: is not JSON ({str(error).splitlines()[0]}).") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise FormatError(f"{path}: a list of rows was expected.")
    return rows


def _plausible(turn: Float64[np.ndarray, " 4"], place: Float64[np.ndarray, " 3"]) -> bool:
    if max(np.abs(turn).max() / 2, np.abs(place).max() / _FARTHEST_M) > 1:
        return False
    return bool(abs(np.linalg.norm(turn) - 1) < _ROUNDED)


def _numbers(row: Mapping[str, Any], name: str, count: int) -> Float64[np.ndarray, " N"] | None:
    values = row.get(name)
    numbers = isinstance(values, list) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values
    )
    if not numbers or len(values) != count:
        return None
    try:
        found = np.array(values, np.float64)
    except OverflowError:
        return None
    return found if np.isfinite(found).all() else None
