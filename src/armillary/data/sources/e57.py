"""E57: terrestrial scans, with all scans of a file put together by their poses.

Coordinates are metres (or metres and radians, which become x, y and z). Each scan has a pose, which
takes its points to the file's frame. Pictures in the file are left out.

Source: ASTM E2807; libE57Format, through pye57.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np

from armillary.core.errors import FormatError
from armillary.core.optional import require
from armillary.data.sources import e57_points
from armillary.data.sources.cloud import MAX_POINTS, Cloud, assembled, metres_per, opened
from armillary.data.sources.decoder_process import DECODER_BYTES, decoded_apart

_HEADER = struct.Struct("<8sIIQQQQ")  # signature, version, length, place and length of XML, page
_SIGNATURE = b"ASTM-E57"
_PAGE_BYTES = 1024
_XML_MOST_BYTES = 64 << 20
# A point of a file in memory, for each byte that it takes there: few bits can hold one, but not
# usually less than four bytes.
_GROWTH = 60
_SECONDS, _SLOWEST_BYTES_PER_S = 120.0, 1 << 20


def read_e57(path: Path, unit: str | None = None, origin_m: np.ndarray | None = None) -> Cloud:
    """Return the points of all scans of an E57 file, with what all of them have besides.

    Args:
        path: the file.
        unit: of its coordinates, where its writer did not keep to metres.
        origin_m: taken off the coordinates; None takes one off where they are far from 0.

    Raises:
        FormatError: damaged, cut off, too large, or without a valid point.
        ConfigError: there is no such unit.
        MissingExtraError: pye57 is not installed.
    """
    metres = metres_per(unit) or 1.0
    size = _checked(path)
    require("pye57", "e57", "read E57 files")
    columns = decoded_apart(
        path,
        e57_points.__file__,
        DECODER_BYTES + _GROWTH * size,
        _SECONDS + size / _SLOWEST_BYTES_PER_S,
        str(MAX_POINTS),
    )
    scans = int(columns.pop("scans")[0])
    cloud = assembled(path, columns, metres, origin_m)
    note = f"{scans} scans were put together by their poses"
    return replace(cloud, notes=(note,)) if scans > 1 else cloud


def _checked(path: Path) -> int:
    """Return the size of a file whose header fits it.

    Raises:
        FormatError: no E57, or cut off.
    """
    with opened(path) as (file, size):
        head = file.read(_HEADER.size)
    if len(head) < _HEADER.size or head[:8] != _SIGNATURE:
        raise FormatError(f"{path}: is no E57 file; it should begin with {_SIGNATURE.decode()}.")
    _, major, _, length, at, xml, page = _HEADER.unpack(head)
    if major != 1 or page != _PAGE_BYTES:
        raise FormatError(f"{path}: is E57 of version {major} with pages of {page} bytes; 1 and "
                          f"{_PAGE_BYTES} are read.")  # fmt: skip
    if length > size or at + xml > size:
        raise FormatError(
            f"{path}: is cut off: its header promises {length:,} bytes, there are {size:,}."
        )
    if xml > _XML_MOST_BYTES:
        raise FormatError(
            f"{path}: describes itself in {xml:,} bytes; refused above {_XML_MOST_BYTES:,}."
        )
    return size
