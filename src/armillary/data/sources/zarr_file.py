"""Zarr that is not trusted: plain arrays of numbers, read from a folder or a zip through a guard.

What ``.zarray`` (format 2) or ``zarr.json`` (format 3) says is checked before anything is read, and
only that is handed to the library. An array of format 3 is handed to it as one of format 2, whose
chunks are the same bytes under other names. So one guard holds for both; shards, which format 2
does not have, are refused.
Each chunk must be as large as its array says before it is unpacked, so that no memory is taken for
more. Arrays of objects would be unpickled, and codecs that are not listed here would be looked for
among all that are installed: both are refused. Nothing outside of the folder is read.

Source: Zarr, storage specification version 2 and core specification version 3; zarr-python 3.1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from armillary.core.errors import FormatError, MissingExtraError
from armillary.core.optional import require
from armillary.data.sources.zarr_chunks import JPEG_XL, PLAIN, chunk_refusal
from armillary.data.sources.zarr_entries import Entries, zarr_errors
from armillary.data.sources.zarr_format_3 import as_format_2
from armillary.data.video import MAX_PIXELS

MAX_NUMBERS = 1 << 26  # of an array that is read whole
MAX_CHUNKS = 1 << 24  # of one array
MAX_CHUNK_BYTES = 256 << 20
_MAX_ROW_BYTES = 3 * MAX_PIXELS * 8
_MAX_STEPS = 100_000_000
_MAX_JSON_BYTES = 1 << 20


@dataclass(frozen=True)
class Described:
    """What ``.zarray`` or ``zarr.json`` says of an array, checked.

    Attributes:
        shape: steps first.
        chunks: steps first; rows of all chunks but the last of an axis.
        dtype: of the numbers.
        codec: name of the compressor; empty for none.
        settings: what the library is given in place of ``.zarray``.
        prefix: what stands before the key of each chunk.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype
    codec: str
    settings: Mapping[str, Any]
    prefix: str = ""

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
        FormatError: there is no such array, or what describes it is damaged.
    """
    meta = _meta(entries, name)
    if isinstance(meta, str):
        return meta
    file = meta.get("file", f"{name}/.zarray")
    shape, chunks = _sizes(meta.get("shape"), 0), _sizes(meta.get("chunks"), 1)
    if shape is None or chunks is None or len(shape) != len(chunks):
        raise FormatError(f"{file}: 'shape' and 'chunks' must be as many whole numbers.")
    kind = _number_type(meta.get("dtype"))
    if kind is None:
        return f"values of type {str(meta.get('dtype'))[:40]!r}, where numbers are read"
    codec, packed = _codec(meta.get("compressor"))
    if codec not in ("", *PLAIN, JPEG_XL):
        return (
            f"the codec {codec!r}, which is not read; write it anew with one of "
            f"{', '.join(PLAIN)}, or without"
        )
    if meta.get("filters"):
        return "filters, which are not read; write it anew without"
    if why := _too_large(shape, chunks, kind):
        return why
    order, separator = meta.get("order"), meta.get("dimension_separator", ".")
    if order not in ("C", "F") or separator not in (".", "/"):
        raise FormatError(f"{file}: 'order' or 'dimension_separator' is damaged.")
    settings = {
        "zarr_format": 2, "shape": shape, "chunks": chunks, "dtype": kind.str, "filters": None,
        "compressor": packed, "order": order, "dimension_separator": separator,
        "fill_value": _fill(meta.get("fill_value"), kind),
    }  # fmt: skip
    return Described(shape, chunks, kind, codec, settings, meta.get("prefix", ""))


def is_array(entries: Entries, name: str) -> bool:
    """Say whether there is an array of this name, not a group or a file.

    Args:
        entries: of the Zarr.
        name: such as ``data/img``.
    """
    if entries.read(f"{name}/.zarray", _MAX_JSON_BYTES) is not None:
        return True
    data = entries.read(f"{name}/zarr.json", _MAX_JSON_BYTES)
    return data is not None and _json(data, f"{name}/zarr.json").get("node_type") != "group"


def _meta(entries: Entries, name: str) -> dict[str, Any] | str:
    """Return what is written of an array, as format 2 says it, or why it is not read."""
    data = entries.read(f"{name}/.zarray", _MAX_JSON_BYTES)
    if data is not None:
        meta = _json(data, f"{name}/.zarray")
        if meta.get("zarr_format") != 2:
            raise FormatError(f"{name}/.zarray does not describe an array of Zarr format 2.")
        return {each: meta[each] for each in meta if each not in ("file", "prefix")}
    file = f"{name}/zarr.json"
    data = entries.read(file, _MAX_JSON_BYTES)
    if data is None:
        raise FormatError(f"holds no array {name!r}.")
    return as_format_2(_json(data, file), file)


def _json(data: bytes, file: str) -> dict[str, Any]:
    try:
        meta = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{file} is no JSON ({str(error)[:100]}).") from error
    if not isinstance(meta, dict):
        raise FormatError(f"{file} does not describe an array of Zarr.")
    return meta


def _sizes(value: object, least: int) -> tuple[int, ...] | None:
    if not isinstance(value, list) or not 1 <= len(value) <= 5:
        return None
    whole = all(isinstance(n, int) and not isinstance(n, bool) and n >= least for n in value)
    return tuple(value) if whole else None


def _number_type(value: object) -> np.dtype | None:
    """Return a type of whole numbers, floats or truth values of at most 8 bytes."""
    try:
        kind = np.dtype(value) if isinstance(value, str) and len(value) <= 4 else None
    except TypeError:
        return None
    return kind if kind is not None and kind.kind in "fiub" and kind.itemsize <= 8 else None


def _codec(value: object) -> tuple[str, dict[str, Any] | None]:
    """Return the name of a compressor, and the settings that unpacking needs."""
    if value is None:
        return "", None
    name = str(value.get("id") if isinstance(value, dict) else value)[:40]
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


def _fill(value: object, kind: np.dtype) -> int | float | bool | str:
    """Return the value of chunks that were not written; zero where none is given."""
    if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity") and kind.kind == "f":
        return value
    if kind.kind == "b":
        return bool(value)
    number = value if isinstance(value, (int, float)) and math.isfinite(value) else 0
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
        about: what is written of it.
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
        data = entries.read(f"{name}/{about.prefix}{key}", MAX_CHUNK_BYTES)
        if data is None and strict:
            raise FormatError(f"{where}: its chunk {key} is missing; copy the file anew.")
        if data is None:
            lost.add(key)
            return None
        if why := chunk_refusal(data, about.codec, about.chunks, about.dtype.itemsize):
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
    """What a store of zarr must have, and this one refuses: it is read by known keys alone."""

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
