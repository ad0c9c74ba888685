"""Cloud: one point cloud as a file gave it, in metres and near its own origin.

Everything between a file's columns and float32 metres is here, once for all formats: the unit, the
origin that is taken off in float64, rows of NaN, and names of features.

Axes: P points, F features of a point.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Float32, Float64

from armillary.core.errors import FormatError, unknown_name

MAX_POINTS = 100_000_000  # of one cloud; about 4 GiB while it is read
METRES: Mapping[str, float] = {"m": 1.0, "mm": 0.001, "ft": 0.3048, "us-ft": 1200 / 3937}
# Files without a unit are metres up to here: no sensor sees farther, but maps and millimetres do.
FARTHEST_WITHOUT_UNIT = 10_000.0
FARTHEST_M = 32_768.0  # float32 keeps a millimetre up to here

_FEATURES: Mapping[str, tuple[str, ...]] = {
    "intensity": ("intensity", "scalar_intensity", "reflectance", "i"),
    "ring": ("ring", "scalar_ring"),
    "r": ("red", "r", "diffuse_red"),
    "g": ("green", "g", "diffuse_green"),
    "b": ("blue", "b", "diffuse_blue"),
    "nx": ("nx", "normal_x"),
    "ny": ("ny", "normal_y"),
    "nz": ("nz", "normal_z"),
}


@dataclass(frozen=True)
class Cloud:
    """A point cloud.

    Attributes:
        values: [P F]; x y z in metres from ``origin_m``, then what ``columns`` names. No NaN in
            x y z.
        columns: names of the F features: ``x y z``, then of ``intensity``, ``ring``, ``r g b``
            (0..1), ``nx ny nz`` those that the file has.
        origin_m: where the cloud's origin lies in the file's frame, metres.
        world_from_sensor: pose of the sensor, where the file tells it (PCD's VIEWPOINT).
        dropped: points that were left out because x, y or z is NaN or infinite.
        notes: what else was left out or taken for granted, in words without the file's name.
    """

    values: Float32[np.ndarray, "P F"]
    columns: tuple[str, ...]
    origin_m: Float64[np.ndarray, " 3"]
    world_from_sensor: Float64[np.ndarray, "4 4"] | None = None
    dropped: int = 0
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    @property
    def world_from_points(self) -> Float64[np.ndarray, "4 4"]:
        """Pose that takes ``values`` to the world: the file's frame, or that of its viewpoint."""
        shift = np.eye(4)
        shift[:3, 3] = self.origin_m
        return shift if self.world_from_sensor is None else self.world_from_sensor @ shift


def metres_per(unit: str | None) -> float | None:
    """Return the metres of one unit; None for None.

    Raises:
        ConfigError: there is no such unit.
    """
    if unit is not None and unit not in METRES:
        raise unknown_name("unit", unit, METRES)
    return None if unit is None else METRES[unit]


def is_feature(name: str) -> bool:
    """Say whether a column of this name is kept: x, y, z, or one of the known features."""
    known = {other for names in _FEATURES.values() for other in names}
    return name.lower() in known | {"x", "y", "z"}


def packed_colours(packed: np.ndarray) -> dict[str, np.ndarray]:
    """Return red, green and blue (uint8) of colours packed into 32 bits, as PCL does.

    Args:
        packed: [P] whole numbers, or float32 whose bits are the colour.
    """
    if packed.dtype.kind == "f":
        packed = packed.astype(np.float32).view(np.uint32)
    bits = packed.astype(np.uint32)
    shifts = {"r": 16, "g": 8, "b": 0}
    return {name: (bits >> shift & 255).astype(np.uint8) for name, shift in shifts.items()}


def assembled(
    path: Path | str,
    columns: Mapping[str, np.ndarray],
    metres: float | np.ndarray | None,
    origin_m: np.ndarray | None = None,
    world_from_sensor: np.ndarray | None = None,
    local: bool = False,
) -> Cloud:
    """Return a cloud from a file's columns.

    Args:
        path: the file or topic, for sentences.
        columns: by the file's names in any case, each [P]; ``x``, ``y``, ``z`` are needed, unknown
            ones are left out.
        metres: of one unit of x, y and z (or of each); None where nobody gave it: metres then,
            unless they are too large for it.
        origin_m: what to take off; None chooses (0 while all is within 10 km).
        world_from_sensor: pose of the sensor, metres.
        local: whether to take an origin off in any case (map coordinates).

    Raises:
        FormatError: no point, none that is a number, too large for metres, or too far for float32.
    """
    columns = {name.lower(): values for name, values in columns.items()} | {**columns}
    lost = [name for name in ("x", "y", "z") if name not in columns]
    if lost:
        raise FormatError(f"{path}: has no {lost[0]!r}; a cloud needs x, y and z.")
    xyz = np.stack([columns[name].astype(np.float64) for name in ("x", "y", "z")], 1)
    with np.errstate(invalid="ignore"):  # a NaN of a damaged file may signal
        xyz *= 1.0 if metres is None else metres
    kept = np.isfinite(xyz).all(1)
    if not kept.any():
        why = f"all of its {len(xyz)} points are NaN or infinite" if len(xyz) else "it is empty"
        raise FormatError(f"{path}: holds no point: {why}.")
    xyz = xyz[kept]
    reach = float(np.abs(xyz).max())
    _check_unit(path, reach, metres is not None)
    if origin_m is None:
        far = local or reach > FARTHEST_WITHOUT_UNIT
        origin_m = np.floor(xyz.min(0)) if far else np.zeros(3)
    xyz -= origin_m
    _check_near(path, float(np.abs(xyz).max()))
    features = {name: values[kept] for name, values in _features(columns).items()}
    values = np.concatenate([xyz, *(column[:, None] for column in features.values())], 1)
    names = ("x", "y", "z", *features)
    lost = int((~kept).sum())
    return Cloud(values.astype(np.float32), names, np.asarray(origin_m), world_from_sensor, lost)


def check_count(path: Path | str, count: int, needs: int, left: int) -> None:
    """Refuse a promised number of points before memory is taken for it.

    Args:
        path: the file or topic, for sentences.
        count: points that the header promises.
        needs: bytes that one point takes in the file, at least.
        left: bytes that are left in the file.

    Raises:
        FormatError: none, more than a cloud may have, or more than there are bytes for.
    """
    if count < 1:
        raise FormatError(f"{path}: holds no point: its header promises {count}.")
    if count > MAX_POINTS:
        raise FormatError(
            f"{path}: its header promises {count:,} points; refused above {MAX_POINTS:,}. Thin it "
            "or cut it into tiles."
        )
    if count * needs > left:
        raise FormatError(
            f"{path}: is cut off: its header promises {count:,} points of {needs} bytes, "
            f"{max(left, 0):,} bytes are left."
        )


@contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """Open a file to read; yields it with its size in bytes.

    Raises:
        FormatError: it is missing, no file, empty, or cannot be read.
    """
    if not path.is_file():
        raise FormatError(f"{path}: there is no such file; a point cloud was expected.")
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if not size:
                raise FormatError(f"{path}: the file is empty.")
            yield file, size
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror}).") from error


def _check_unit(path: Path | str, reach: float, known: bool) -> None:
    if not known and reach > FARTHEST_WITHOUT_UNIT:
        raise FormatError(
            f"{path}: its coordinates reach {reach:,.0f}, which would be over 10 km in metres; say "
            f"their unit with --unit {', '.join(METRES)}."
        )


def _check_near(path: Path | str, reach_m: float) -> None:
    if reach_m > FARTHEST_M:
        raise FormatError(
            f"{path}: reaches {reach_m / 1000:,.0f} km from the origin of its recording; float32 "
            "keeps a millimetre up to 32 km only. Check --unit, or ingest it on its own."
        )


def _features(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    found = {
        feature: columns[known]
        for feature, names in _FEATURES.items()
        if (known := next((name for name in names if name in columns), None)) is not None
    }
    if not {"r", "g", "b"} <= found.keys():
        found = {name: values for name, values in found.items() if name not in ("r", "g", "b")}
    scale = _colour_scale([found[name] for name in ("r", "g", "b") if name in found])
    scales = dict.fromkeys(("r", "g", "b"), scale)
    with np.errstate(over="ignore"):  # a double beyond float32 is infinite there
        return {n: (v / scales.get(n, 1.0)).astype(np.float32) for n, v in found.items()}


def _colour_scale(colours: list[np.ndarray]) -> float:
    """Return what full brightness is: 1, 255, or 65535 where sixteen bits are really used."""
    most = max((float(np.nanmax(c)) for c in colours if len(c) and np.isfinite(c).any()), default=0)
    whole = all(np.issubdtype(c.dtype, np.integer) for c in colours)
    if most > 255:
        return 65535.0
    return 255.0 if whole or most > 1 else 1.0
