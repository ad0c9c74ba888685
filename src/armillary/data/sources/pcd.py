"""PCD: point clouds of the Point Cloud Library, ascii, binary or compressed.

nuScenes' ``.pcd.bin`` are not PCD but bare numbers: the format ``nuscenes`` reads them.

Source: pointclouds.org, "The PCD (Point Cloud Data) file format", version 0.7.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from armillary.core.errors import FormatError
from armillary.core.files import replacing
from armillary.data.sources.cloud import (
    Cloud,
    assembled,
    check_count,
    metres_per,
    opened,
    packed_colours,
)
from armillary.data.sources.lzf import decompressed
from armillary.data.sources.text_columns import parsed_rows
from armillary.spatial.poses import pose_from_quaternion

MAX_HEADER_BYTES = 1 << 16
MAX_NUMBERS = 4096  # of one field of one point (COUNT)
_KEYS = frozenset(
    "VERSION FIELDS SIZE TYPE COUNT WIDTH HEIGHT VIEWPOINT POINTS DATA".split()  # noqa: SIM905
)
_KINDS = {f"{t}{s}": t.lower() + s for t in "IU" for s in "1248"} | {"F4": "f4", "F8": "f8"}


@dataclass(frozen=True)
class _Field:
    name: str
    kind: str
    count: int


@dataclass(frozen=True)
class _Header:
    fields: tuple[_Field, ...]
    points: int
    data: str
    viewpoint: tuple[float, ...]

    @property
    def dtype(self) -> np.dtype:
        """Of one point. Names may repeat ("_" is filling), so fields are called by their number."""
        parts = [(str(n), "<" + f.kind, (f.count,)) for n, f in enumerate(self.fields)]
        return np.dtype(parts)


def read_pcd(path: Path, unit: str | None = None, origin_m: np.ndarray | None = None) -> Cloud:
    """Return the points of a PCD file; points that are NaN (no return) are left out.

    Args:
        path: the file.
        unit: of its coordinates (``m``, ``mm``, ``ft``, ``us-ft``); the format has none, so None
            takes metres and refuses what would be over 10 km.
        origin_m: taken off the coordinates; None chooses.

    Raises:
        FormatError: damaged, cut off, no PCD, without points, or too large.
        ConfigError: there is no such unit.
    """
    metres = metres_per(unit)
    with opened(path) as (file, size):
        header = _header(path, file)
        left = size - file.tell()
        read = {"ascii": _ascii, "binary": _binary, "binary_compressed": _compressed}[header.data]
        columns = _named(header, read(path, file, left, header))
    pose = _pose(path, header.viewpoint, metres or 1.0)
    return assembled(path, columns, metres, origin_m, pose)


def write_pcd(path: Path, cloud: Cloud) -> None:
    """Write a cloud as binary PCD, in one step; x y z as doubles, colours packed into ``rgb``.

    Raises:
        StorageError: the disk is full or not writable.
    """
    plain = [n for n in cloud.columns if n not in ("r", "g", "b")]
    coloured = len(plain) < len(cloud.columns)
    names = {"nx": "normal_x", "ny": "normal_y", "nz": "normal_z"}
    fields = [(names.get(n, n), "<f8" if n in ("x", "y", "z") else "<f4") for n in plain]
    rows = np.empty(len(cloud), [*fields, *([("rgb", "<u4")] if coloured else [])])
    for name, (field, _) in zip(plain, fields, strict=True):
        rows[field] = cloud.values[:, cloud.columns.index(name)]
    for axis, name in enumerate("xyz"):
        rows[name] += cloud.origin_m[axis]
    if coloured:
        at = cloud.columns.index("r")
        bits = np.rint(np.nan_to_num(cloud.values[:, at : at + 3]) * 255).clip(0, 255)
        rows["rgb"] = bits.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    with replacing(path) as beside:
        beside.write_bytes(_head(rows.dtype, len(rows)).encode() + rows.tobytes())


def _head(dtype: np.dtype, count: int) -> str:
    names = dtype.names or ()
    kinds = [dtype[name] for name in names]
    return (
        f"# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS {' '.join(names)}\n"
        f"SIZE {' '.join(str(kind.itemsize) for kind in kinds)}\n"
        f"TYPE {' '.join(kind.kind.upper() for kind in kinds)}\n"
        f"COUNT {' '.join('1' for _ in kinds)}\nWIDTH {count}\nHEIGHT 1\n"
        f"VIEWPOINT 0 0 0 1 0 0 0\nPOINTS {count}\nDATA binary\n"
    )


def _header(path: Path, file: BinaryIO) -> _Header:
    words: dict[str, list[str]] = {}
    while "DATA" not in words:
        line = file.readline(MAX_HEADER_BYTES)
        if not line.endswith(b"\n") or file.tell() > MAX_HEADER_BYTES:
            raise FormatError(f"{path}: {_no_header(path, bool(words))}")
        key, *rest = line.decode("ascii", "replace").split() or ["#"]
        key = key.upper()
        if key in _KEYS:
            words[key] = rest
        elif words and not key.startswith("#"):
            raise FormatError(f"{path}: a line of its PCD header is unknown: {key[:60]!r}.")
        elif not key.startswith("#"):
            raise FormatError(f"{path}: {_no_header(path, begun=False)}")
    try:
        return _understood(words)
    except (KeyError, ValueError, IndexError) as error:
        raise FormatError(f"{path}: its PCD header is damaged ({error}).") from error


def _no_header(path: Path, begun: bool) -> str:
    if path.name.lower().endswith(".pcd.bin"):
        return "is no PCD: nuScenes' .pcd.bin are bare numbers; use --format nuscenes."
    return "its PCD header has no end; it is cut off." if begun else "is no PCD file."


def _understood(words: dict[str, list[str]]) -> _Header:
    names = words["FIELDS"]
    counts = [int(count) for count in words.get("COUNT", ["1"] * len(names))]
    kinds = [_KINDS[t.upper() + s] for t, s in zip(words["TYPE"], words["SIZE"], strict=True)]
    fields = tuple(_Field(n, k, c) for n, k, c in zip(names, kinds, counts, strict=True))
    if not all(1 <= count <= MAX_NUMBERS for count in counts) or len(fields) > MAX_NUMBERS:
        raise ValueError(f"COUNT must be 1 to {MAX_NUMBERS}")
    shape = [int(words[key][0]) for key in ("WIDTH", "HEIGHT")]
    points = int(words["POINTS"][0]) if "POINTS" in words else shape[0] * shape[1]
    data = words["DATA"][0].lower()
    if data not in ("ascii", "binary", "binary_compressed"):
        raise ValueError(f"DATA {data}")
    return _Header(fields, points, data, tuple(float(v) for v in words.get("VIEWPOINT", ())))


def _ascii(path: Path, file: BinaryIO, left: int, header: _Header) -> list[np.ndarray]:
    kinds = [np.dtype(f.kind) for f in header.fields for _ in range(f.count)]
    check_count(path, header.points, 2 * len(kinds), left + 1)
    columns = parsed_rows(path, file, header.points, kinds)
    starts = np.cumsum([0, *(f.count for f in header.fields)])
    return [columns[start] for start in starts[:-1]]


def _binary(path: Path, file: BinaryIO, left: int, header: _Header) -> list[np.ndarray]:
    dtype = header.dtype
    check_count(path, header.points, dtype.itemsize, left)
    rows = np.frombuffer(file.read(header.points * dtype.itemsize), dtype)
    return [rows[name][:, 0] for name in dtype.names or ()]


def _compressed(path: Path, file: BinaryIO, left: int, header: _Header) -> list[np.ndarray]:
    """Read points that lie field after field, all packed together."""
    sizes = file.read(8)
    if len(sizes) < 8:
        raise FormatError(f"{path}: is cut off before its compressed points.")
    packed, size = struct.unpack("<II", sizes)
    check_count(path, header.points, 1, header.points)
    if packed > left - 8 or size != header.points * header.dtype.itemsize:
        raise FormatError(
            f"{path}: is cut off or damaged: {packed:,} compressed bytes for {header.points:,} "
            f"points are promised, {max(left - 8, 0):,} bytes are left."
        )
    data = decompressed(file.read(packed), size, str(path))
    columns, at = [], 0
    for part in header.fields:
        kind = np.dtype("<" + part.kind)
        values = np.frombuffer(data, kind, header.points * part.count, at)
        columns.append(values.reshape(header.points, part.count)[:, 0])
        at += values.nbytes
    return columns


def _named(header: _Header, columns: list[np.ndarray]) -> dict[str, np.ndarray]:
    named = {f.name.lower(): values for f, values in zip(header.fields, columns, strict=True)}
    packed = named.get("rgb", named.get("rgba"))
    if packed is None:
        return named
    # printed, the colours whose bits are no number are all "nan": which one it was is lost
    lost = np.isnan(packed) if header.data == "ascii" and packed.dtype.kind == "f" else None
    colours = packed_colours(packed)
    if lost is not None and lost.any():
        colours = {n: np.where(lost, np.nan, c / np.float32(255)) for n, c in colours.items()}
    return named | colours


def _pose(path: Path, viewpoint: tuple[float, ...], metres: float) -> np.ndarray | None:
    """Return ``world_from_sensor`` of a viewpoint (place, then quaternion wxyz), if it is one."""
    if len(viewpoint) not in (0, 7) or not np.isfinite(viewpoint).all():
        raise FormatError(f"{path}: its VIEWPOINT must be seven numbers, got {viewpoint}.")
    if not any(viewpoint):
        return None
    turn = np.array(viewpoint[3:])
    if not turn.any():  # a place without a direction
        turn = np.array([1.0, 0.0, 0.0, 0.0])
    xyzw = torch.from_numpy(turn[[1, 2, 3, 0]])
    return pose_from_quaternion(xyzw, torch.tensor(viewpoint[:3]).double() * metres).numpy()
