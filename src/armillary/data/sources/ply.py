"""PLY: the vertices of a Stanford polygon file, ascii or binary; faces are passed over.

Source: Turk 1994, "The PLY Polygon File Format".
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from armillary.core.errors import FormatError
from armillary.core.files import replacing
from armillary.data.sources.cloud import Cloud, assembled, check_count, metres_per, opened
from armillary.data.sources.text_columns import parsed_rows

MAX_HEADER_BYTES = 1 << 16
_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2",
    "ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass(frozen=True)
class _Property:
    """One property: a scalar, or a list with its count before it."""

    name: str
    kind: str
    count_kind: str = ""


@dataclass(frozen=True)
class _Element:
    """One element of the header: ``count`` rows of these properties."""

    name: str
    count: int
    properties: tuple[_Property, ...]

    @property
    def has_lists(self) -> bool:
        return any(p.count_kind for p in self.properties)

    def dtype(self, order: str) -> np.dtype:
        return np.dtype([(p.name, order + p.kind) for p in self.properties])


def read_ply(path: Path, unit: str | None = None, origin_m: np.ndarray | None = None) -> Cloud:
    """Return the vertices of a PLY file.

    Args:
        path: the file.
        unit: of its coordinates (``m``, ``mm``, ``ft``, ``us-ft``); the format has none, so None
            takes metres and refuses what would be over 10 km.
        origin_m: taken off the coordinates; None chooses.

    Raises:
        FormatError: damaged, cut off, without vertices, or too large.
        ConfigError: there is no such unit.
    """
    with opened(path) as (file, size):
        order, elements = _header(path, file)
        for element in elements:
            if element.name == "vertex":
                columns = _vertices(path, file, size, element, order)
                return assembled(path, columns, metres_per(unit), origin_m)
            _skip(path, file, size, element, order)
    raise FormatError(f"{path}: has no element 'vertex'; a point cloud needs one.")


def write_ply(path: Path, cloud: Cloud) -> None:
    """Write a cloud as binary little-endian PLY, in one step; x y z as doubles, colours as bytes.

    Raises:
        StorageError: the disk is full or not writable.
    """
    names = {"r": "red", "g": "green", "b": "blue"}
    kinds = ["f8"] * 3 + ["u1" if name in names else "f4" for name in cloud.columns[3:]]
    rows = np.empty(len(cloud), [(n, "<" + k) for n, k in zip(cloud.columns, kinds, strict=True)])
    for column, name in enumerate(cloud.columns):
        values = cloud.values[:, column].astype(np.float64)
        values = values + cloud.origin_m[column] if column < 3 else values
        colour = np.rint(np.nan_to_num(values) * 255).clip(0, 255)
        rows[name] = colour if name in names else values
    words = {"f8": "double", "f4": "float", "u1": "uchar"}
    properties = "".join(
        f"property {words[kind]} {names.get(name, name)}\n"
        for name, kind in zip(cloud.columns, kinds, strict=True)
    )
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(cloud)}\n{properties}"
    with replacing(path) as beside:
        beside.write_bytes(f"{head}end_header\n".encode() + rows.tobytes())


def _header(path: Path, file: BinaryIO) -> tuple[str, list[_Element]]:
    if file.readline(8).strip().lower() != b"ply":
        raise FormatError(f"{path}: is no PLY file; it does not begin with 'ply'.")
    order: str | None = None
    elements: list[_Element] = []
    while (words := _words(path, file)) != ["end_header"]:
        match words:
            case ["format", name, _] if name in _ORDERS:
                order = _ORDERS[name]
            case ["element", name, count] if count.isdecimal() and len(count) < 20:
                elements.append(_Element(name, int(count), ()))
            case ["property", "list", count_kind, kind, name] if elements and (
                {count_kind, kind} <= _TYPES.keys()
            ):
                _add(path, elements, _Property(name, _TYPES[kind], _TYPES[count_kind]))
            case ["property", kind, name] if elements and kind in _TYPES:
                _add(path, elements, _Property(name, _TYPES[kind]))
            case [] | ["comment" | "obj_info", *_]:
                continue
            case _:
                line = " ".join(words)[:60]
                raise FormatError(f"{path}: a line of its PLY header is unknown: {line!r}.")
    if order is None:
        raise FormatError(f"{path}: its PLY header names no format.")
    return order, elements


def _words(path: Path, file: BinaryIO) -> list[str]:
    line = file.readline(MAX_HEADER_BYTES)
    if not line.endswith(b"\n") or file.tell() > MAX_HEADER_BYTES:
        raise FormatError(f"{path}: its PLY header has no end; the file is cut off or damaged.")
    return line.decode("ascii", "replace").lower().split()  # some writers use capitals


def _add(path: Path, elements: list[_Element], new: _Property) -> None:
    last = elements[-1]
    if new.name in (p.name for p in last.properties):
        raise FormatError(f"{path}: its PLY header names the property {new.name!r} twice.")
    elements[-1] = _Element(last.name, last.count, (*last.properties, new))


def _vertices(
    path: Path, file: BinaryIO, size: int, element: _Element, order: str
) -> dict[str, np.ndarray]:
    if element.has_lists:
        raise FormatError(f"{path}: its vertices hold lists; only plain numbers can be read.")
    kinds = [np.dtype(p.kind) for p in element.properties]
    left = size - file.tell()
    if order:
        dtype = element.dtype(order)
        check_count(path, element.count, max(dtype.itemsize, 1), left)
        rows = np.frombuffer(file.read(element.count * dtype.itemsize), dtype)
        return {name: rows[name] for name in dtype.names or ()}
    # at least one digit and one space a number; the last line may lack its end
    check_count(path, element.count, max(2 * len(kinds), 1), left + 1)
    values = parsed_rows(path, file, element.count, kinds)
    return {p.name: column for p, column in zip(element.properties, values, strict=True)}


def _skip(path: Path, file: BinaryIO, size: int, element: _Element, order: str) -> None:
    """Pass over the rows of an element that comes before the vertices."""
    cut = FormatError(f"{path}: is cut off within its element {element.name!r}.")
    if element.count > size:  # a row takes a byte or more
        raise cut
    if not order:
        rows = sum(1 for _ in islice((line for line in file if line.strip()), element.count))
        if rows < element.count:
            raise cut
    elif not element.has_lists:
        if (end := file.tell() + element.count * element.dtype(order).itemsize) > size:
            raise cut
        file.seek(end)
    else:
        for _ in range(element.count):
            if not _skip_row(file, element, order) or file.tell() > size:
                raise cut


def _skip_row(file: BinaryIO, element: _Element, order: str) -> bool:
    """Pass over one row with lists; False where the file ends before it."""
    for each in element.properties:
        count = 1
        if each.count_kind:
            kind = np.dtype(order + each.count_kind)
            data = file.read(kind.itemsize)
            if len(data) < kind.itemsize:
                return False
            count = max(0, int(np.nan_to_num(np.frombuffer(data, kind)[0])))
        file.seek(min(count * np.dtype(each.kind).itemsize, 1 << 62), 1)
    return True
