"""Zarr that is not trusted: plain arrays of numbers, read from a folder or a zip through a guard.

What ``.zarray`` says is checked before anything is read, and only that is handed to the library.
Each chunk must be as large as its array says before it is unpacked, so that no memory is taken for
more. Arrays of objects would be unpickled, and codecs that are not listed here would be looked for
among all that are installed: both are refused. Nothing outside of the folder is read.

Source: Zarr, storage specification version 2; numcodecs 0.16; RFC 8878 (Zstandard), 3.1.1; Blosc,
"Blosc header format"; LZ4 in numcodecs (a length of 4 bytes first); ISO/IEC 18181-1 (JPEG XL),
annex D (size header) and 18181-2 (boxes); PKWARE APPNOTE 4.3 (zip).
"""

from __future__ import annotations

import itertools
import json
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable

import numpy as np

from armillary.core.errors import FormatError, MissingExtraError
from armillary.core.optional import require
from armillary.data.video import MAX_PIXELS

MAX_NUMBERS = 1 << 26  # of an array that is read whole
MAX_NAMES = 10_000  # of arrays
MAX_CHUNKS = 1 << 24  # of one array
MAX_CHUNK_BYTES = 256 << 20
JPEG_XL = "imagecodecs_jpegxl"
_MAX_ROW_BYTES = 3 * MAX_PIXELS * 8
_MAX_STEPS = 100_000_000
_MAX_JSON_BYTES = 1 << 20
_MAX_DIRECTORY_BYTES = 1 << 30  # of a zip; 100 bytes or more a member
_LETTERS = 200
_PLAIN = ("blosc", "zstd", "lz4", "zlib", "gzip")
_STORED_OR_DEFLATED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# what zarr, numcodecs and zipfile raise for damaged files
_ERRORS = (
    OSError,
    RuntimeError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    EOFError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
)


@contextmanager
def zarr_errors(where: str) -> Iterator[None]:
    """Turn whatever is raised for a damaged file into one sentence.

    Raises:
        FormatError: the file is damaged.
    """
    try:
        yield
    except (FormatError, MissingExtraError):
        raise
    except _ERRORS as error:
        said = " ".join(str(error).split())[:_LETTERS] or type(error).__name__
        raise FormatError(f"{where}: is damaged, or no Zarr that can be read ({said}).") from error


@runtime_checkable
class Entries(Protocol):
    """The files of a Zarr by their keys, such as ``data/img/0.0.0.0``."""

    def read(self, key: str, most: int) -> bytes | None:
        """Return a file's bytes; None where there is none.

        Raises:
            FormatError: it is larger than ``most`` bytes, or leads out of the Zarr.
        """
        ...

    def names(self, group: str) -> list[str]:
        """Return the names of what lies in a group, sorted."""
        ...


@dataclass(frozen=True)
class _Folder:
    root: Path

    def read(self, key: str, most: int) -> bytes | None:
        path = self.root / key
        if not path.is_file():
            return None
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise FormatError(f"{path}: leads out of the folder by a link; refused.")
        if (size := path.stat().st_size) > most:
            raise FormatError(f"{path}: has {size:,} bytes, {most:,} can be read.")
        return path.read_bytes()

    def names(self, group: str) -> list[str]:
        folder = self.root / group
        if not folder.is_dir() or not folder.resolve().is_relative_to(self.root.resolve()):
            return []
        return _few(self.root, (each.name for each in folder.iterdir()))


@dataclass(frozen=True)
class _Zip:
    path: Path
    file: zipfile.ZipFile
    before: str  # what stands before each key: nothing, or a folder and a slash

    def read(self, key: str, most: int) -> bytes | None:
        try:
            member = self.file.getinfo(self.before + key)
        except KeyError:
            return None
        if member.compress_type not in _STORED_OR_DEFLATED:
            raise FormatError(
                f"{self.path}: {key} is packed by method {member.compress_type} of zip; stored and "
                "deflated can be read. Zip it again."
            )
        if member.file_size > most:
            raise FormatError(
                f"{self.path}: {key} has {member.file_size:,} bytes, {most:,} can be read."
            )
        with self.file.open(member) as opened_member:
            return opened_member.read(most)

    def names(self, group: str) -> list[str]:
        start = f"{self.before}{group}/"
        found = (name[len(start) :] for name in self.file.namelist() if name.startswith(start))
        names = {name.split("/", 1)[0] for name in found if name.endswith("/.zarray")}
        return _few(self.path, names)


def _few(path: Path, names: Iterable[str]) -> list[str]:
    found = sorted(itertools.islice(names, MAX_NAMES + 1))
    if len(found) > MAX_NAMES:
        raise FormatError(f"{path}: holds more than {MAX_NAMES:,} names in a group; refused.")
    return found


@contextmanager
def opened(path: Path, marker: str) -> Iterator[Entries]:
    """Yield the files of a folder or zip.

    Args:
        path: folder, or a zip whose root or only folder is a Zarr.
        marker: a key that the Zarr must have; it tells where in a zip it is.

    Raises:
        FormatError: it is no zip, or is damaged.
    """
    if path.is_dir():
        yield _Folder(path)
        return
    with zarr_errors(str(path)):
        with path.open("rb") as file:
            size = _directory_bytes(file)
        if size > _MAX_DIRECTORY_BYTES:
            raise FormatError(f"{path}: lists more files than can be read ({size:,} bytes).")
        archive = zipfile.ZipFile(path)
    with archive:
        tops = {name.removesuffix(marker) for name in archive.namelist() if name.endswith(marker)}
        ends = sorted(top for top in tops if not top or top.endswith("/"))
        yield _Zip(path, archive, ends[0] if ends else "")


def _directory_bytes(file: BinaryIO) -> int:
    """Return the size that a zip gives for the list of its files; 0 where it has none."""
    length = file.seek(0, 2)
    start = max(0, length - (1 << 16) - 22)
    file.seek(start)
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or at + 22 > len(tail):
        return 0
    (size,) = struct.unpack_from("<I", tail, at + 12)
    if at >= 20 and tail[at - 20 : at - 16] == b"PK\6\7":
        (place,) = struct.unpack_from("<Q", tail, at - 12)
        file.seek(min(place, length))
        record = file.read(56)
        if len(record) == 56 and record[:4] == b"PK\6\6":
            (larger,) = struct.unpack_from("<Q", record, 40)
            size = max(size, larger) if size != 0xFFFFFFFF else larger
    return size


@dataclass(frozen=True)
class Described:
    """What ``.zarray`` says of an array, checked.

    Attributes:
        shape: steps first.
        chunks: steps first; rows of all chunks but the last of an axis.
        dtype: of the numbers.
        codec: name of the compressor; empty for none.
        settings: what the library is given in place of ``.zarray``.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype
    codec: str
    settings: Mapping[str, Any]

    @property
    def chunk_bytes(self) -> int:
        """Bytes of a chunk before it is packed."""
        return math.prod(self.chunks) * self.dtype.itemsize

    @property
    def row_bytes(self) -> int:
        """Bytes of one step."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize


def described(entries: Entries, name: str) -> Described | str:
    """Return what an array is, or why it is not read, in words.

    Args:
        entries: of the Zarr.
        name: of the array, such as ``data/img``.

    Raises:
        FormatError: there is no such array, or its ``.zarray`` is damaged.
    """
    told = _told(entries, name)
    shape, chunks = _sizes(told.get("shape"), 0), _sizes(told.get("chunks"), 1)
    if shape is None or chunks is None or len(shape) != len(chunks):
        raise FormatError(f"{name}/.zarray: 'shape' and 'chunks' must be as many whole numbers.")
    kind = _number_type(told.get("dtype"))
    if kind is None:
        return f"values of type {str(told.get('dtype'))[:40]!r}, where numbers are read"
    codec, packed = _codec(told.get("compressor"))
    if codec not in ("", *_PLAIN, JPEG_XL):
        return (
            f"the codec {codec!r}, which is not read; write it anew with one of "
            f"{', '.join(_PLAIN)}, or without"
        )
    if told.get("filters"):
        return "filters, which are not read; write it anew without"
    if why := _too_large(shape, chunks, kind):
        return why
    order, separator = told.get("order"), told.get("dimension_separator", ".")
    if order not in ("C", "F") or separator not in (".", "/"):
        raise FormatError(f"{name}/.zarray: 'order' or 'dimension_separator' is damaged.")
    settings = {
        "zarr_format": 2, "shape": shape, "chunks": chunks, "dtype": kind.str, "filters": None,
        "compressor": packed, "order": order, "dimension_separator": separator,
        "fill_value": _fill(told.get("fill_value"), kind),
    }  # fmt: skip
    return Described(shape, chunks, kind, codec, settings)


def _told(entries: Entries, name: str) -> dict[str, Any]:
    data = entries.read(f"{name}/.zarray", _MAX_JSON_BYTES)
    if data is None:
        raise FormatError(f"holds no array {name!r}.")
    try:
        told = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{name}/.zarray is no JSON ({str(error)[:100]}).") from error
    if not isinstance(told, dict) or told.get("zarr_format") != 2:
        raise FormatError(f"{name}/.zarray does not describe an array of Zarr format 2.")
    return told


def _sizes(told: object, least: int) -> tuple[int, ...] | None:
    if not isinstance(told, list) or not 1 <= len(told) <= 5:
        return None
    whole = all(isinstance(n, int) and not isinstance(n, bool) and n >= least for n in told)
    return tuple(told) if whole else None


def _number_type(told: object) -> np.dtype | None:
    """Return a type of whole numbers, floats or truth values of at most 8 bytes."""
    try:
        kind = np.dtype(told) if isinstance(told, str) and len(told) <= 4 else None
    except TypeError:
        return None
    return kind if kind is not None and kind.kind in "fiub" and kind.itemsize <= 8 else None


def _codec(told: object) -> tuple[str, dict[str, Any] | None]:
    """Return the name of a compressor, and the settings that unpacking needs."""
    if told is None:
        return "", None
    name = str(told.get("id") if isinstance(told, dict) else told)[:40]
    settings: dict[str, Any] = {"id": name}
    if name == JPEG_XL:
        settings["index"] = 0  # the only picture of a chunk; more would take memory
    return name, settings


def _too_large(shape: tuple[int, ...], chunks: tuple[int, ...], kind: np.dtype) -> str:
    row = math.prod(shape[1:]) * kind.itemsize
    if shape[0] > _MAX_STEPS or row > _MAX_ROW_BYTES:
        return f"shape {list(shape)}, larger than what is read"
    if math.prod(chunks) * kind.itemsize > MAX_CHUNK_BYTES:
        return f"chunks of shape {list(chunks)}, larger than what is unpacked at once"
    count = math.prod(-(-size // chunk) for size, chunk in zip(shape, chunks, strict=True))
    return f"{count:,} chunks, more than what is read" if count > MAX_CHUNKS else ""


def _fill(told: object, kind: np.dtype) -> int | float | bool | str:
    """Return the value of chunks that were not written; zero where none is told."""
    if isinstance(told, str) and told in ("NaN", "Infinity", "-Infinity") and kind.kind == "f":
        return told
    if kind.kind == "b":
        return bool(told)
    number = told if isinstance(told, (int, float)) and math.isfinite(told) else 0
    return float(number) if kind.kind == "f" else int(number)


@dataclass
class Opened:
    """An array that is read slice by slice.

    Attributes:
        about: what it is.
        read: returns the rows from one step to another, [n ...].
        lost: chunks that were asked for and are not there, which hold the fill value.
    """

    about: Described
    read: Callable[[int, int], np.ndarray]
    lost: set[str] = field(default_factory=set)


def open_array(entries: Entries, name: str, about: Described, where: str, strict: bool) -> Opened:
    """Return an array of the library, whose files pass the guard.

    Args:
        entries: of the Zarr.
        name: of the array, such as ``data/img``.
        about: what its ``.zarray`` says.
        where: file and array, for sentences.
        strict: whether a chunk that is not there is an error; else it has the fill value.

    Raises:
        FormatError: the library does not take it.
        MissingExtraError: zarr, or the codec of the array, is not installed.
    """
    zarr = zarr_module()
    if about.codec == JPEG_XL:
        _register_jpeg_xl(where)
    lost: set[str] = set()
    metadata = json.dumps(about.settings).encode()

    def get(key: str) -> bytes | None:
        if key == ".zarray":
            return metadata
        if key.startswith(".") or key == "zarr.json":
            return None
        data = entries.read(f"{name}/{key}", MAX_CHUNK_BYTES)
        if data is None and strict:
            raise FormatError(f"{where}: its chunk {key} is missing; copy the file anew.")
        if data is None:
            lost.add(key)
            return None
        if why := _chunk_refusal(data, about):
            raise FormatError(f"{where}: its chunk {key} is damaged: {why}.")
        return data

    with zarr_errors(where):
        array = zarr.open_array(store=_store_class()(get), mode="r", zarr_format=2)

    def read(first: int, after: int) -> np.ndarray:
        with zarr_errors(where):
            return np.asarray(array[first:after])

    return Opened(about, read, lost)


def zarr_module() -> Any:
    """Return the module.

    Raises:
        MissingExtraError: it is not installed.
    """
    return require("zarr", "zarr", "read Zarr")


def _register_jpeg_xl(where: str) -> None:
    try:
        codecs = require("imagecodecs.numcodecs", "zarr", "")
    except MissingExtraError as error:
        raise MissingExtraError(
            f"{where}: is packed as JPEG XL (codec {JPEG_XL!r}), for which imagecodecs is needed. "
            "Install it with: pip install imagecodecs"
        ) from error
    require("numcodecs", "zarr", "read Zarr").register_codec(codecs.Jpegxl)


class _OnlyRead:
    """What a store of zarr must have, and this one refuses."""

    supports_writes = supports_deletes = supports_listing = False

    async def _refuse(self, *_: Any) -> None:
        raise NotImplementedError

    def list(self, *_: Any) -> Any:
        raise NotImplementedError

    set = delete = get_partial_values = _refuse
    list_prefix = list_dir = list


@cache
def _store_class() -> Any:
    """Return a store of zarr that gives what a function returns, and takes nothing."""
    store = require("zarr.abc.store", "zarr", "read Zarr").Store

    class Guarded(_OnlyRead, store):
        def __init__(self, read: Callable[[str], bytes | None]) -> None:
            super().__init__(read_only=True)
            self._read = read

        def __eq__(self, other: object) -> bool:
            return self is other

        __hash__ = object.__hash__

        async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
            data = None if byte_range is not None else self._read(key)
            return None if data is None else prototype.buffer.from_bytes(data)

        async def exists(self, key: str) -> bool:
            return self._read(key) is not None

    return Guarded


def _chunk_refusal(data: bytes, about: Described) -> str:
    """Return why a chunk is not unpacked, in words; it must say the size that its array says."""
    want = about.chunk_bytes
    try:
        size = _SIZES[about.codec](data, want)
    except (struct.error, IndexError, ValueError, zlib.error):
        return "its first bytes are not those of its codec"
    if about.codec == JPEG_XL:
        pixels = math.prod(about.chunks[1:3])
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
    told = data[4]
    form, single = told >> 6, told >> 5 & 1
    at = 5 + (0 if single else 1) + (0, 1, 2, 4)[told & 3]
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
