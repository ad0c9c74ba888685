"""LAS header: how many points are promised, and in which unit; read before any memory is taken.

LAS is in a map projection, often in **feet**, and its points do not say so: the projection record
does (WKT, or GeoTIFF keys). Height may have another unit than the plane.

Source: ASPRS LAS 1.4 R15; OGC 12-063r5 (WKT); OGC 19-008r4 (GeoTIFF).
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from armillary.core.errors import FormatError
from armillary.data.sources.cloud import METRES, opened
from armillary.data.sources.wkt import agree, linear_units

HEADER_BYTES = 375  # of LAS 1.4; 1.2 has 227
MAX_RECORDS = 10_000
MAX_RECORD_BYTES = 1 << 20
_WKT, _GEO_KEYS = 2112, 34735
_MODEL, _PROJECTED, _LINEAR, _VERTICAL = 1024, 3072, 3076, 4099
_UNIT_CODES = {9001: METRES["m"], 9002: METRES["ft"], 9003: METRES["us-ft"]}
# Projections that are in metres by definition, where only their EPSG number is given: UTM (WGS 84,
# NAD83, ETRS89), MGA94, web Mercator, and national grids of Europe.
_METRIC = [
    *range(32601, 32661), *range(32701, 32761), *range(26901, 26924), *range(25828, 25839),
    *range(28348, 28359), 3857, 3035, 3067, 2154, 27700, 2056, 28992,
]  # fmt: skip


@dataclass(frozen=True)
class LasHeader:
    """What is needed of a LAS header.

    Attributes:
        points: points that it promises.
        compressed: whether it is LAZ.
        point_bytes: bytes of one uncompressed point.
        first_point: where the points begin in the file.
        metres: of one unit of x, y and z; None where the file does not tell.
        unclear: why it does not, where it tells two units.
    """

    points: int
    compressed: bool
    point_bytes: int
    first_point: int
    metres: tuple[float, float, float] | None
    unclear: str = ""


def read_header(path: Path) -> LasHeader:
    """Return what the header of a LAS or LAZ file says.

    Raises:
        FormatError: no LAS, damaged or cut off, in degrees, or geocentric.
    """
    with opened(path) as (file, size):
        head = file.read(HEADER_BYTES)
        if head[:4] != b"LASF" or len(head) < 227:
            raise FormatError(f"{path}: is no LAS file, or cut off within its header.")
        minor, header_bytes = head[25], struct.unpack_from("<H", head, 94)[0]
        start, records, kind, point_bytes, points = struct.unpack_from("<IIBHI", head, 96)
        later, more = 0, 0
        if minor >= 4 and len(head) == HEADER_BYTES:
            later, more, points = struct.unpack_from("<QIQ", head, 235)
        if not 227 <= header_bytes <= start <= size or records * 54 > start - header_bytes:
            raise FormatError(f"{path}: its LAS header is damaged, or the file is cut off.")
        found = _records(file, header_bytes, min(records, MAX_RECORDS), size, long=False)
        scales, offsets = (struct.unpack_from("<3d", head, at) for at in (131, 155))
        # beyond, float64 keeps no tenth of a millimetre beside the offset
        kept = all(0 < scale < math.inf for scale in scales) and all(
            abs(offset) * 2**-52 <= 1e-4 for offset in offsets
        )
        if not kept:
            raise FormatError(
                f"{path}: its LAS header is damaged: scales above 0 and offsets below 4e11 were "
                f"expected, got {_said(scales)} and {_said(offsets)}."
            )
        if more and later < size:
            found += _records(file, later, min(more, MAX_RECORDS), size, long=True)
    return LasHeader(points, bool(kind & 0xC0), point_bytes, start, *_metres(path, found))


def _records(file: BinaryIO, at: int, count: int, size: int, long: bool) -> list[tuple[int, bytes]]:
    """Return number and content of the projection records that lie at a place in the file."""
    found, width = [], 60 if long else 54
    for _ in range(count):
        file.seek(at)
        head = file.read(width)
        if len(head) < width:
            break
        user, number, length = struct.unpack_from("<2x16sHQ" if long else "<2x16sHH", head)
        if user.rstrip(b"\0") == b"LASF_Projection" and length <= MAX_RECORD_BYTES:
            found.append((number, file.read(length)))
        at += width + length
        if at > size:
            break
    return found


def _metres(
    path: Path, records: list[tuple[int, bytes]]
) -> tuple[tuple[float, float, float] | None, str]:
    """Return metres of one unit of x, y and z, and where nobody can know, why."""
    contents = dict(records)
    keys = _geo_keys(contents.get(_GEO_KEYS, b""))
    by_keys = _metres_of_keys(keys)
    text = contents.get(_WKT, b"").rstrip(b"\0").decode("utf-8", "replace")
    units = linear_units(text)
    if units.degrees or (units.plane is None and keys.get(_MODEL) == 2):
        raise _in_degrees(path)
    if units.geocentric or (units.plane is None and keys.get(_MODEL) == 3):
        raise FormatError(
            f"{path}: its coordinates are geocentric (from the centre of the Earth), so z is not "
            "up; project it first, e.g. to UTM with PDAL or las2las."
        )
    if units.contradiction:
        return None, f"contradicts itself about the unit: its WKT tells {units.contradiction}"
    if units.plane is None:
        return by_keys, ""
    if by_keys is not None and not agree(by_keys[0], units.plane):
        return None, (
            f"contradicts itself about the unit: it is {units.plane:g} m by its WKT and "
            f"{by_keys[0]:g} m by its GeoTIFF keys"
        )
    return (units.plane, units.plane, units.height or units.plane), ""


def _metres_of_keys(keys: dict[int, int]) -> tuple[float, float, float] | None:
    plane = _UNIT_CODES.get(keys.get(_LINEAR, 0))
    if plane is None and _LINEAR not in keys and keys.get(_PROJECTED) in _METRIC:
        plane = METRES["m"]
    if plane is None:
        return None
    return plane, plane, _UNIT_CODES.get(keys.get(_VERTICAL, 0), plane)


def _geo_keys(data: bytes) -> dict[int, int]:
    """Return the keys that hold one number in the directory itself."""
    words = struct.unpack(f"<{len(data) // 2}H", data[: len(data) // 2 * 2])
    entries = zip(words[4::4], words[5::4], words[7::4], strict=False)
    return {key: value for key, place, value in entries if place == 0}


def _said(three: tuple[float, ...]) -> str:
    return " ".join(f"{number:g}" for number in three)


def _in_degrees(path: Path) -> FormatError:
    return FormatError(
        f"{path}: its coordinates are degrees; metres are needed. Project it first, e.g. to UTM "
        "with PDAL or las2las."
    )
