"""MCAP: the container of robots' logs, read record by record.

A file is a row of records: an opcode (u8), a length (u64), the content. Channels have a topic and
a schema; messages belong to a channel. Chunks hold records packed by LZ4 or Zstandard. All sizes
are held against the bytes that are there, and what is unpacked against what a chunk promises.

Source: MCAP format specification, mcap.dev/spec.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from armillary.core.errors import FormatError
from armillary.core.optional import require
from armillary.data.sources.damaged import damaged

MAGIC = b"\x89MCAP0\r\n"
MAX_RECORD = 1 << 28  # bytes of a chunk or of what is unpacked from it
_HEADER, _FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 1, 2, 3, 4, 5, 6, 15
_WHY = "read robots' logs"


@dataclass(frozen=True)
class Channel:
    """A topic of a file: its schema's name, and how its messages are encoded."""

    topic: str
    schema: str
    encoding: str


@dataclass(frozen=True)
class Message:
    """One message: its channel, when it was logged, and its bytes."""

    channel: Channel
    logged_ns: int
    data: memoryview


def profile_of(path: Path) -> str | None:
    """Return what a file says its messages are, such as ``ros2``; None where it is no MCAP."""
    try:
        with path.open("rb") as file:
            begin = file.read(1 << 10)
    except OSError:
        return None
    if not begin.startswith(MAGIC) or len(begin) < 21 or begin[8] != _HEADER:
        return None
    length = int.from_bytes(begin[17:21], "little")
    return begin[21 : 21 + length].decode("latin-1")


def read_messages(path: Path) -> Iterator[Message]:
    """Yield the messages of a file in the order in which they are in it.

    Raises:
        FormatError: it is cut off or damaged, or a record is larger than what is read.
        MissingExtraError: the library that unpacks its chunks is not installed.
    """
    schemas: dict[int, str] = {}
    channels: dict[int, Channel] = {}
    with damaged(str(path), "MCAP", struct.error, zlib.error):
        for kind, data in _records(path):
            if kind == _SCHEMA:
                schemas[_number(data, 0, 2)] = _text(data, 2)[0]
            elif kind == _CHANNEL:
                topic, at = _text(data, 4)
                encoding, _ = _text(data, at)
                of = _number(data, 2, 2)
                channels[_number(data, 0, 2)] = Channel(topic, schemas.get(of, ""), encoding)
            elif kind == _MESSAGE:
                channel = channels[_number(data, 0, 2)]
                yield Message(channel, _number(data, 6, 8), data[22:])


def _records(path: Path) -> Iterator[tuple[int, memoryview]]:
    """Yield the records that matter, those in chunks included."""
    size = path.stat().st_size
    with path.open("rb") as file:
        at = len(MAGIC)
        file.seek(at)
        while True:
            head = file.read(9)
            length = int.from_bytes(head[1:], "little")
            at += 9 + length
            if len(head) < 9 or at > size:
                raise FormatError(f"{path}: is cut off; repair it first (mcap recover).")
            kind = head[0]
            if kind in (_FOOTER, _DATA_END):
                return
            if kind not in (_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK):
                file.seek(at)
                continue
            if length > MAX_RECORD:
                raise _too_large(path, length)
            data = memoryview(file.read(length))
            if kind == _CHUNK:
                yield from _inside(_unpacked(path, data), path)
            else:
                yield kind, data


def _inside(data: memoryview, path: Path) -> Iterator[tuple[int, memoryview]]:
    at = 0
    while at < len(data):
        end = at + 9 + _number(data, at + 1, 8)
        if end > len(data):
            raise FormatError(f"{path}: a record ends after its chunk; the file is damaged.")
        yield data[at], data[at + 9 : end]
        at = end


def _unpacked(path: Path, chunk: memoryview) -> memoryview:
    size, told = _number(chunk, 16, 8), _number(chunk, 24, 4)
    packing, at = _text(chunk, 28)
    length = _number(chunk, at, 8)
    packed = chunk[at + 8 : at + 8 + length]
    if size > MAX_RECORD:
        raise _too_large(path, size)
    if packing == "lz4":
        frame = require("lz4.frame", "logs", _WHY).LZ4FrameDecompressor()
        data = frame.decompress(bytes(packed), max_length=size + 1)
    elif packing == "zstd":
        data = _unpacked_zstd(bytes(packed), size)
    elif not packing:
        data = packed
    else:
        raise FormatError(f"{path}: a chunk is packed by {packing[:40]!r}; lz4 and zstd are read.")
    if len(data) != size or (told and zlib.crc32(data) != told):
        raise FormatError(f"{path}: a chunk is not what its checksum says; the file is damaged.")
    return memoryview(data)


def _unpacked_zstd(packed: bytes, size: int) -> bytes:
    try:
        module = require("compression.zstd", "logs", _WHY)  # of Python 3.14 and later
    except ImportError:
        module = require("backports.zstd", "logs", _WHY)
    try:
        return module.ZstdDecompressor().decompress(packed, max_length=size + 1)
    except module.ZstdError as error:
        raise ValueError(str(error)) from error


def _number(data: memoryview, at: int, width: int) -> int:
    if at + width > len(data):
        raise ValueError("a record ends too early")
    return int.from_bytes(data[at : at + width], "little")


def _text(data: memoryview, at: int) -> tuple[str, int]:
    """Return a text, and where what follows it begins."""
    end = at + 4 + _number(data, at, 4)
    if end > len(data):
        raise ValueError("a text ends too late")
    return bytes(data[at + 4 : end]).decode(), end


def _too_large(path: Path, size: int) -> FormatError:
    return FormatError(
        f"{path}: a record of {size:,} bytes is refused, above {MAX_RECORD:,}; write smaller "
        "chunks."
    )
