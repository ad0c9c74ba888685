"""Zarr chunks: how large a packed chunk is, by its first bytes, before memory is taken for it.

Source: numcodecs 0.16 (LZ4 with a length of 4 bytes first); Blosc, "Blosc header format"; RFC 8878
(Zstandard), 3.1.1; ISO/IEC 18181-1 (JPEG XL), annex D (size header), and 18181-2 (boxes).
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Mapping

JPEG_XL = "imagecodecs_jpegxl"
PLAIN = ("blosc", "zstd", "lz4", "zlib", "gzip")


def chunk_refusal(data: bytes, codec: str, shape: tuple[int, ...], itemsize: int) -> str:
    """Return why a chunk is not unpacked, in words; nothing if it can be.

    Args:
        data: the chunk as it is stored.
        codec: name of its compressor, one of ``PLAIN``, ``JPEG_XL`` or empty.
        shape: of the chunk, as its array says.
        itemsize: bytes of a number.
    """
    want = math.prod(shape) * itemsize
    try:
        size = _SIZES[codec](data, want)
    except (struct.error, IndexError, ValueError, zlib.error):
        return "its first bytes are not those of its codec"
    if codec == JPEG_XL:
        pixels = math.prod(shape[1:3])
        return "" if size == pixels else f"it has {size} pixels, {pixels} were expected"
    return "" if size == want else f"it unpacks to {size} bytes, {want} were expected"


def _blosc_size(data: bytes, _: int) -> int:
    unpacked, _, packed = struct.unpack_from("<III", data, 4)
    if packed != len(data):
        raise ValueError(packed)
    return unpacked


def _zstd_size(data: bytes, _: int) -> int:
    if data[:4] != b"\x28\xb5\x2f\xfd":
        raise ValueError(data[:4])
    descriptor = data[4]
    form, single = descriptor >> 6, descriptor >> 5 & 1
    at = 5 + (0 if single else 1) + (0, 1, 2, 4)[descriptor & 3]
    if form == 0 and not single:
        raise ValueError("no size")
    width = (1, 2, 4, 8)[form]
    if at + width > len(data):
        raise ValueError("cut off")
    return int.from_bytes(data[at : at + width], "little") + (256 if form == 1 else 0)


def _deflated_size(data: bytes, want: int) -> int:
    """Unpack, but not more than a byte too many."""
    return len(zlib.decompressobj(wbits=47).decompress(data, want + 1))


def _jpeg_xl_pixels(data: bytes, _: int) -> int:
    stream = data
    if data[:12] == b"\0\0\0\x0cJXL \r\n\x87\n":
        stream = _jpeg_xl_stream(data)
    if stream[:2] != b"\xff\x0a":
        raise ValueError(stream[:2])
    bits = int.from_bytes(stream[2:14], "little")

    def take(count: int) -> int:
        nonlocal bits
        value, bits = bits & ((1 << count) - 1), bits >> count
        return value

    small = take(1)

    def side() -> int:
        return (take(5) + 1) * 8 if small else take((9, 13, 18, 30)[take(2)]) + 1

    rows, ratio = side(), take(3)
    over, under = ((0, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio]
    return rows * (rows * over // under if ratio else side())


def _jpeg_xl_stream(data: bytes) -> bytes:
    """Return the first bytes of the picture in a file of boxes."""
    at = 0
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        head = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        if name in (b"jxlc", b"jxlp"):
            return data[at + head + (4 if name == b"jxlp" else 0) :][:16]
        if length < head:
            break
        at += length
    raise ValueError("no picture")


_SIZES: Mapping[str, Callable[[bytes, int], int]] = {
    "": lambda data, _: len(data),
    "blosc": _blosc_size,
    "zstd": _zstd_size,
    "lz4": lambda data, _: struct.unpack_from("<i", data)[0],
    "zlib": _deflated_size,
    "gzip": _deflated_size,
    JPEG_XL: _jpeg_xl_pixels,
}
