"""Codec: maps with arrays as msgpack, as ``openpi-client`` writes and reads them.

An array is a map with the byte strings ``__ndarray__``, ``data`` (C order), ``dtype`` and
``shape`` as keys; a number of numpy's has ``__npgeneric__``, ``data`` and ``dtype``. What is read
comes from strangers: kind, size and shape are checked before an array is made of them.

Source: openpi-client 0.1.2 (``msgpack_numpy``), whose bytes the tests compare.
"""

from __future__ import annotations

import math
from typing import Any

import msgpack
import numpy as np

from armillary.core.errors import FormatError

MAX_BYTES = 13 << 19  # of a message: a picture of 1920 x 1080 has 6.2 of these 6.8 million
_MAX_ENTRIES, _MAX_TEXT, _MAX_AXES, _MAX_DEPTH = 1024, 1 << 16, 8, 8
_KINDS = "biuf"  # booleans, integers and floating point numbers


def pack(value: Any) -> bytes:
    """Return a map with numbers, texts and arrays as bytes.

    Raises:
        FormatError: an array of objects, structures or complex numbers, or another type.
    """
    try:
        return bytes(msgpack.packb(value, default=_packed, use_bin_type=True) or b"")
    except (TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"This cannot be sent: {error}.") from error


def unpack(data: bytes) -> dict[str, Any]:
    """Return the map in a message.

    Raises:
        FormatError: too long, no map with names, or an array that cannot be.
    """
    if len(data) > MAX_BYTES:
        raise FormatError(f"The message has {len(data):,} bytes; {MAX_BYTES:,} are read.")
    try:
        value = msgpack.unpackb(
            data,
            object_hook=_unpacked,
            raw=False,
            strict_map_key=True,
            max_str_len=_MAX_TEXT,
            max_array_len=_MAX_ENTRIES,
            max_map_len=_MAX_ENTRIES,
            max_ext_len=0,
        )
    except FormatError:
        raise
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise FormatError(f"The message is no msgpack that is read here: {error}.") from error
    _check_depth(value)
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise FormatError("The message is no map with names as keys.")
    return value


def _packed(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind not in _KINDS:
        raise ValueError(f"an array of dtype {value.dtype}")
    if isinstance(value, np.ndarray):
        return {
            b"__ndarray__": True,
            b"data": value.tobytes(),
            b"dtype": value.dtype.str,
            b"shape": value.shape,
        }
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise TypeError(f"a {type(value).__name__}")


def _unpacked(value: dict[Any, Any]) -> Any:
    if b"__ndarray__" in value:
        return _array(value)
    if b"__npgeneric__" in value:
        data = value.get(b"data")
        if not isinstance(data, bool | int | float):
            raise FormatError("A number of numpy's holds something else.")
        return data
    return value


def _array(value: dict[Any, Any]) -> np.ndarray:
    data, text, shape = value.get(b"data"), value.get(b"dtype"), value.get(b"shape")
    if not isinstance(data, bytes) or not isinstance(text, str) or not isinstance(shape, list):
        raise FormatError("An array lacks its data, dtype or shape.")
    try:
        dtype = np.dtype(text)
    except (TypeError, ValueError) as error:
        raise FormatError(f"An array has the dtype {text[:40]!r}, which does not exist.") from error
    if dtype.kind not in _KINDS or dtype.subdtype is not None:
        raise FormatError(f"An array has the dtype {text[:40]!r}; numbers are read.")
    sides = len(shape) <= _MAX_AXES and all(type(n) is int and 0 <= n <= MAX_BYTES for n in shape)
    if not sides or math.prod(shape) * dtype.itemsize != len(data):
        raise FormatError(f"An array of shape {str(shape)[:80]} has {len(data):,} bytes of {text}.")
    made = np.frombuffer(data, dtype).reshape(shape)
    return made.astype(dtype.newbyteorder("="), copy=False)


def _check_depth(value: Any, depth: int = 0) -> None:
    if depth > _MAX_DEPTH:
        raise FormatError(f"The message is nested more than {_MAX_DEPTH} deep.")
    for one in value.values() if isinstance(value, dict) else value if _is_list(value) else ():
        _check_depth(one, depth + 1)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)
