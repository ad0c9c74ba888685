"""Still files: which PNG and JPEG can be kept as they came, seen from their bytes alone.

What every reader of videos takes is kept: PNG of 8 bit RGB, or of 16 bit grey for depth, and JPEG
of three components. A PNG bears checksums, which are looked at, so that no damage is kept unseen.

Source: PNG specification, third edition, 5 and 11.2; JPEG, ITU-T T.81, annex B.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from armillary.core.errors import FormatError
from armillary.data.stills import StillForm
from armillary.data.video import MAX_PIXELS

_PNG = b"\x89PNG\r\n\x1a\n"
_PLAIN = bytes(3)  # compression, filter and interlace methods that all know
_COLOUR, _DEPTH = (8, 2), (16, 0)  # bits and colour type
_OTHERWISE = {b"tRNS", b"acTL"}  # transparency and animation: read differently by different tools
# sampling factors of the three components
_SUBSAMPLED = {
    (0x22, 0x11, 0x11): "yuvj420p",
    (0x21, 0x11, 0x11): "yuvj422p",
    (0x11, 0x11, 0x11): "yuvj444p",
}
_FRAMES = {0xC0, 0xC1, 0xC2}  # baseline, extended and progressive, in Huffman's code
_OTHER_FRAMES = {*range(0xC3, 0xD0)} - {0xC4, 0xC8, 0xCC}
_SCAN, _ADOBE, _END = 0xDA, 0xEE, b"\xff\xd9"


def colour_form(data: bytes, where: str) -> StillForm | None:
    """Return the form of a colour picture that can be kept, None for all others.

    Raises:
        FormatError: a damaged PNG.
    """
    if data.startswith(_PNG):
        size = _png_size(data, _COLOUR, where)
        return None if size is None else StillForm("png", "rgb24", *size)
    return _jpeg_form(data)


def depth_form(data: bytes, metres_per_unit: float, where: str) -> StillForm | None:
    """Return the form of a depth picture that can be kept, None for all others.

    Raises:
        FormatError: a damaged PNG.
    """
    size = _png_size(data, _DEPTH, where) if data.startswith(_PNG) else None
    return None if size is None else StillForm("png", "gray16be", *size, metres_per_unit)


def _png_size(data: bytes, pixels: tuple[int, int], where: str) -> tuple[int, int] | None:
    """Return rows and columns if the picture has these pixels and nothing that is read otherwise.

    Raises:
        FormatError: it ends too early, or a checksum is wrong.
    """
    names = set()
    size = None
    for name, body in _chunks(data, where):
        if name == b"IHDR":
            columns, rows, *rest = struct.unpack(">IIBB3s", body)
            if rest != [*pixels, _PLAIN] or not 0 < rows * columns <= MAX_PIXELS:
                return None
            size = rows, columns
        names.add(name)
    if not {b"IHDR", b"IDAT", b"IEND"} <= names:
        raise FormatError(f"{where}: cannot be decoded as a picture; it is damaged or cut off.")
    return None if names & _OTHERWISE else size


def _chunks(data: bytes, where: str) -> Iterator[tuple[bytes, memoryview]]:
    """Yield name and body of each chunk of a PNG, its checksum looked at."""
    view, at = memoryview(data), len(_PNG)
    while at + 12 <= len(view):
        (length,) = struct.unpack_from(">I", view, at)
        body, end = view[at + 8 : at + 8 + length], at + 12 + length
        if end > len(view) or _checksum(view, end) != zlib.crc32(view[at + 4 : at + 8 + length]):
            break
        name = bytes(view[at + 4 : at + 8])
        if name == b"IHDR" and length != 13:
            break
        yield name, body
        if name == b"IEND":
            return
        at = end
    raise FormatError(f"{where}: cannot be decoded as a picture; it is damaged or cut off.")


def _checksum(view: memoryview, end: int) -> int:
    return struct.unpack_from(">I", view, end - 4)[0]


def _jpeg_form(data: bytes) -> StillForm | None:
    """Return the form of a JPEG of brightness and two colours, None for anything else."""
    if not (data.startswith(b"\xff\xd8") and data.rstrip(b"\0").endswith(_END)):
        return None
    form = None
    for marker, body in _segments(data):
        if marker in _OTHER_FRAMES:
            return None
        if marker in _FRAMES:
            form = _of_frame(body)
        told = body[:5] == b"Adobe" and len(body) >= 12
        if marker == _ADOBE and told and body[11] != 1:  # 0: red, green and blue themselves
            return None
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


def _of_frame(body: bytes) -> StillForm | None:
    if len(body) != 15 or body[0] != 8 or body[5] != 3:
        return None
    rows, columns = struct.unpack_from(">HH", body, 1)
    pixels = _SUBSAMPLED.get((body[7], body[10], body[13]))
    letters = bytes((body[6], body[9], body[12])) == b"RGB"
    if pixels is None or letters or not 0 < rows * columns <= MAX_PIXELS:
        return None
    return StillForm("mjpeg", pixels, rows, columns)
