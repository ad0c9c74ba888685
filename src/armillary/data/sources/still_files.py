"""Still files: which PNG and JPEG can be kept as they are, decided from their bytes alone.

What every reader of videos takes alike is kept: PNG of 8 bit RGB, or of 16 bit grey for depth, and
JPEG of three components. Of a PNG the checksums are looked at, which damage after it was written
cannot pass; a JPEG has none, so it is decoded, at an eighth of its size.

Source: PNG specification, third edition, 5 and 11.2; JPEG, ITU-T T.81, annex B.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import cv2
import numpy as np

from armillary.data.encoded import check_size, damaged, is_possible
from armillary.data.stills import StillForm

_PNG = b"\x89PNG\r\n\x1a\n"
_PLAIN = bytes(3)  # compression, filter and interlace methods that all know
_RGB, _GREY_16 = (8, 2), (16, 0)  # bits and colour type
_CRITICAL = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}  # of others no reader may guess
_READ_DIFFERENTLY = {b"tRNS", b"acTL"}  # transparency and animation
# sampling factors of the three components
_SUBSAMPLED = {
    (0x22, 0x11, 0x11): "yuvj420p",
    (0x21, 0x11, 0x11): "yuvj422p",
    (0x11, 0x11, 0x11): "yuvj444p",
}
# baseline, extended and progressive in Huffman's code; then lossless, hierarchical, arithmetic
_FRAMES = {0xC0, 0xC1, 0xC2}
_RARE_FRAMES = {*range(0xC3, 0xD0)} - {0xC4, 0xC8, 0xCC}
_SCAN, _ADOBE, _COMMENT, _END = 0xDA, 0xEE, 0xFE, b"\xff\xd9"
_ADOBE_YCC = 1
_EIGHTH = cv2.IMREAD_REDUCED_GRAYSCALE_8 | cv2.IMREAD_IGNORE_ORIENTATION


def colour_form(data: bytes, where: str) -> StillForm | None:
    """Return the form of a colour picture that can be kept, None for all others.

    Raises:
        FormatError: it is damaged.
    """
    if data.startswith(_PNG):
        size = _png_size(data, _RGB, where)
        return None if size is None else StillForm("png", "rgb24", *size)
    form = _jpeg_form(data)
    if form is not None:
        check_size(data, where)  # as the reader will
        if cv2.imdecode(np.frombuffer(data, np.uint8), _EIGHTH) is None:
            raise damaged(where)
    return form


def depth_form(data: bytes, metres_per_unit: float, where: str) -> StillForm | None:
    """Return the form of a depth picture that can be kept, None for all others.

    Raises:
        FormatError: it is damaged.
    """
    size = _png_size(data, _GREY_16, where) if data.startswith(_PNG) else None
    return None if size is None else StillForm("png", "gray16be", *size, metres_per_unit)


def _png_size(data: bytes, pixels: tuple[int, int], where: str) -> tuple[int, int] | None:
    """Return rows and columns if the picture has these pixels and nothing that is read otherwise.

    Raises:
        FormatError: it ends too early, a checksum is wrong, or chunks are where none may be.
    """
    names, size, before = set(), None, b""
    for name, body in _chunks(data, where):
        again = name in names and (name == b"IHDR" or (name == b"IDAT" and before != name))
        if again or (name[:1].isupper() and name not in _CRITICAL):
            raise damaged(where)
        if name == b"IHDR":
            columns, rows, *rest = struct.unpack(">IIBB3s", body)
            if rest != [*pixels, _PLAIN] or not is_possible(rows, columns):
                return None
            size = rows, columns
        names.add(name)
        before = name
    if not {b"IHDR", b"IDAT", b"IEND"} <= names:
        raise damaged(where)
    if names & _READ_DIFFERENTLY:
        return None
    check_size(data, where)  # as the reader will
    return size


def _chunks(data: bytes, where: str) -> Iterator[tuple[bytes, memoryview]]:
    """Yield name and body of each chunk of a PNG, its checksum looked at."""
    view, at = memoryview(data), len(_PNG)
    while at + 12 <= len(view):
        (length,) = struct.unpack_from(">I", view, at)
        name, body, end = bytes(view[at + 4 : at + 8]), at + 8, at + 8 + length
        if end + 4 > len(view) or (name == b"IHDR" and length != 13):
            break
        if struct.unpack_from(">I", view, end)[0] != zlib.crc32(view[at + 4 : end]):
            break
        yield name, view[body:end]
        if name == b"IEND":
            return
        at = end + 4
    raise damaged(where)


def _jpeg_form(data: bytes) -> StillForm | None:
    """Return the form of a JPEG of brightness and two colours, None for anything else."""
    if not (data.startswith(b"\xff\xd8") and data.rstrip(b"\0").endswith(_END)):
        return None
    form = None
    for marker, body in _segments(data):
        # FFmpeg turns pictures round, or takes their levels otherwise, by what some comments say
        if marker in _RARE_FRAMES or marker == _COMMENT:
            return None
        if marker == _ADOBE and not _is_ycc(body):
            return None
        if marker in _FRAMES:
            form = _of_frame(body)
    return form


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and body of each segment before the first scan."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill
            at += 1
            continue
        if marker == _SCAN:
            return
        (length,) = struct.unpack_from(">H", data, at + 2)
        yield marker, data[at + 4 : at + 2 + length]
        at += 2 + length


def _is_ycc(adobe: bytes) -> bool:
    """Say whether Adobe's segment, if it is that, says brightness and two colours."""
    return not (adobe[:5] == b"Adobe" and len(adobe) >= 12) or adobe[11] == _ADOBE_YCC


def _of_frame(body: bytes) -> StillForm | None:
    if len(body) != 15 or body[0] != 8 or body[5] != 3:
        return None
    rows, columns = struct.unpack_from(">HH", body, 1)
    pixels = _SUBSAMPLED.get((body[7], body[10], body[13]))
    letters = bytes((body[6], body[9], body[12])) == b"RGB"
    if pixels is None or letters or not is_possible(rows, columns):
        return None
    return StillForm("mjpeg", pixels, rows, columns)
