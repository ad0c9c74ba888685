"""Wire: messages between two processes that need not trust each other.

A frame is a prefix (magic, head length, body length), a JSON head and raw array bytes. Every size
is checked before memory is taken for it, dtypes are from a closed list, and nothing that is read
is ever executed. Whatever bytes come, the answer is a message or one sentence.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from armillary.core.errors import FormatError
from armillary.core.hashing import canonical_json

MAGIC = b"arw1"
PREFIX = struct.Struct("<4sIQ")
MAX_HEAD_BYTES = 1 << 16
MAX_ARRAYS = 32
MAX_AXES = 6
MAX_NAME = 64
# How arrays lie on the wire; only these may.
DTYPES = {
    "bool": "|b1",
    "uint8": "|u1",
    "uint16": "<u2",
    "int32": "<i4",
    "int64": "<i8",
    "float32": "<f4",
    "float64": "<f8",
}
_CHUNK_BYTES = 1 << 16
_HEAD_KEYS = {"kind", "fields", "arrays"}

# Returns 1 to n bytes, or none at the end.
Read = Callable[[int], bytes]


class ClosedError(FormatError):
    """The other side closed the pipe between two messages or in the middle of one."""


@dataclass(frozen=True)
class Message:
    """One thing that is said.

    Attributes:
        kind: what it is about.
        fields: JSON values; no NaN, no infinity.
        arrays: by name; dtypes of ``DTYPES``.
    """

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


def encode(message: Message) -> bytes:
    """Return a message as bytes.

    Raises:
        FormatError: an array of a dtype that does not travel, or a head that is too long.
    """
    listed, parts = [], []
    for name, values in message.arrays.items():
        if values.dtype.name not in DTYPES:
            raise FormatError(
                f"The array {name!r} is {values.dtype}; between processes go only "
                f"{', '.join(DTYPES)}."
            )
        listed.append([name, values.dtype.name, list(values.shape)])
        parts.append(np.ascontiguousarray(values, DTYPES[values.dtype.name]).tobytes())
    value = {"kind": message.kind, "fields": dict(message.fields), "arrays": listed}
    head, body = canonical_json(value).encode(), b"".join(parts)
    if len(head) > MAX_HEAD_BYTES:
        raise FormatError(
            f"A message's head has {len(head)} bytes; at most {MAX_HEAD_BYTES} are allowed."
        )
    return PREFIX.pack(MAGIC, len(head), len(body)) + head + body


def read_message(read: Read, limit: int) -> Message:
    """Read one message.

    Args:
        read: asked for at most 64 KiB at a time.
        limit: most bytes that all arrays may have together.

    Raises:
        ClosedError: the end came first.
        FormatError: these bytes are not a message, or it is too long.
    """
    head_bytes, body_bytes = _sizes(_exactly(read, PREFIX.size), limit)
    kind, fields, arrays = _parsed(_exactly(read, head_bytes))
    expected = sum(_array_bytes(dtype, shape) for _, dtype, shape in arrays)
    if expected != body_bytes:
        raise FormatError(
            f"A message lists arrays of {expected} bytes and announces {body_bytes}; "
            "both must be the same."
        )
    return Message(kind, fields, _arrays(arrays, _exactly(read, body_bytes)))


def _sizes(prefix: bytearray, limit: int) -> tuple[int, int]:
    magic, head_bytes, body_bytes = PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise FormatError(f"A message begins with {MAGIC!r}; {magic!r} came.")
    if head_bytes > MAX_HEAD_BYTES or body_bytes > limit:
        raise FormatError(
            f"A message announces {head_bytes} + {body_bytes} bytes; "
            f"at most {MAX_HEAD_BYTES} + {limit} are allowed."
        )
    return head_bytes, body_bytes


def _exactly(read: Read, count: int) -> bytearray:
    # Grows with what really comes, so that an announcement alone takes no memory.
    found = bytearray()
    while len(found) < count:
        chunk = read(min(count - len(found), _CHUNK_BYTES))
        if not chunk:
            raise ClosedError("The pipe was closed before a whole message had come.")
        found += chunk
    return found


def _parsed(head: bytearray) -> tuple[str, dict[str, Any], list[tuple[str, str, list[int]]]]:
    try:
        value = json.loads(
            head.decode(), object_pairs_hook=_no_repeats, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        raise FormatError(f"A message's head is not JSON ({error}).") from error
    if not isinstance(value, dict) or value.keys() != _HEAD_KEYS:
        raise FormatError("A message's head has kind, fields and arrays, and nothing else.")
    kind, fields, listed = value["kind"], value["fields"], value["arrays"]
    if not _is_name(kind) or not isinstance(fields, dict) or not isinstance(listed, list):
        raise FormatError("A message's kind is a word, its fields an object, its arrays a list.")
    if len(listed) > MAX_ARRAYS:
        raise FormatError(f"A message has at most {MAX_ARRAYS} arrays; {len(listed)} came.")
    arrays = [_listed(one) for one in listed]
    if len({name for name, _, _ in arrays}) != len(arrays):
        raise FormatError("A message names an array twice.")
    return kind, fields, arrays


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME and value.isprintable()


def _listed(one: Any) -> tuple[str, str, list[int]]:
    whole = isinstance(one, list) and len(one) == 3
    if not (whole and _is_name(one[0]) and one[1] in tuple(DTYPES) and _is_shape(one[2])):
        raise FormatError(
            f"A message lists arrays as name, dtype ({', '.join(DTYPES)}) and at most "
            f"{MAX_AXES} sizes."
        )
    return one[0], one[1], one[2]


def _is_shape(value: Any) -> bool:
    # type(), not isinstance(): True is an int.
    return (
        isinstance(value, list)
        and len(value) <= MAX_AXES
        and all(type(size) is int and 0 <= size < 1 << 32 for size in value)
        and math.prod(max(size, 1) for size in value) < 1 << 40
    )


def _array_bytes(dtype: str, shape: list[int]) -> int:
    return np.dtype(DTYPES[dtype]).itemsize * math.prod(shape)


def _arrays(listed: list[tuple[str, str, list[int]]], body: bytearray) -> dict[str, np.ndarray]:
    arrays, at = {}, 0
    for name, dtype, shape in listed:
        values = np.frombuffer(body, DTYPES[dtype], math.prod(shape), at).reshape(shape)
        # a copy is aligned, writable and in this machine's byte order
        arrays[name] = values.astype(dtype)
        at += values.nbytes
    return arrays
