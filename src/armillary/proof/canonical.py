"""Canonical JSON: one text for one value (RFC 8785), and a reader that takes nothing else's word.

What is signed or hashed here is always the canonical text. Integers of 2^53 and more, NaN and
infinity are refused, since other JSON readers round them.

Source: RFC 8785, JSON Canonicalization Scheme.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rfc8785

from armillary.core.errors import FormatError

_LARGEST = 2**53 - 1
# A string to its end, or to the end of the text: always a match, so one pass is enough.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")


@dataclass(frozen=True)
class Limits:
    """How much JSON is read before it is refused.

    Attributes:
        bytes: of the text.
        depth: of brackets.
        values: in all.
    """

    bytes: int = 16 << 20
    depth: int = 32
    values: int = 1_000_000


LIMITS = Limits()


def canonical_bytes(value: Any) -> bytes:
    """Return the canonical text of a JSON value.

    Args:
        value: None, booleans, integers below 2^53, finite floats, text, lists, string-keyed dicts.

    Raises:
        FormatError: something else is in it.
    """
    try:
        return rfc8785.dumps(value)
    except (ValueError, RecursionError) as error:
        raise FormatError(
            f"This has no canonical JSON ({error}); use integers below 2^53, finite numbers, text, "
            "lists and objects with text as keys."
        ) from error


def digest(value: Any) -> str:
    """Return the SHA-256 of a value's canonical text, as hexadecimal."""
    return hashlib.sha256(canonical_bytes(value)).hexdigest()


def parse_json(text: bytes, where: str, limits: Limits = LIMITS) -> Any:
    """Read a JSON value of bounded size, depth and count.

    Args:
        text: UTF-8.
        where: what to call it in an error.
        limits: what is refused before memory is taken for it.

    Raises:
        FormatError: too large, too deep, not JSON, an object that names a key twice, an integer of
            2^53 or more, or a number that is not finite.
    """
    _bound(text, where, limits)
    try:
        return json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_number,
            parse_constant=_refuse,
        )
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where}: not JSON as it is wanted here ({error}).") from error


def parse_canonical(text: bytes, where: str, limits: Limits = LIMITS) -> Any:
    """Read a JSON value whose text must be the canonical one.

    Raises:
        FormatError: as ``parse_json``, or the same value has another text.
    """
    value = parse_json(text, where, limits)
    if canonical_bytes(value) != text:
        raise FormatError(f"{where}: not written as canonical JSON (RFC 8785); write it again.")
    return value


def read_bytes(path: Path, most: int = LIMITS.bytes) -> bytes:
    """Return the bytes of a plain file of bounded size.

    Raises:
        FormatError: it is missing, a link or no file, unreadable, or larger than ``most``.
    """
    if path.is_symlink() or not path.is_file():
        raise FormatError(f"{path}: there is no such file (links are not followed).")
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror}).") from error
    if len(data) > most:
        raise FormatError(f"{path}: larger than {most:,} bytes; refused.")
    return data


def read_canonical(path: Path, limits: Limits = LIMITS) -> Any:
    """Read a file of canonical JSON; one line end after it is allowed.

    Raises:
        FormatError: as ``read_bytes`` and ``parse_canonical``.
    """
    data = read_bytes(path, limits.bytes + 1)
    return parse_canonical(data.removesuffix(b"\n"), str(path), limits)


def refuse_floats(value: Any, where: str) -> None:
    """Refuse a value that holds a float: what is signed has integers and decimal strings only.

    Raises:
        FormatError: there is one.
    """
    if isinstance(value, float):
        raise FormatError(f"{where}: {value!r} is a float; write integers or decimal strings.")
    items = value.items() if isinstance(value, dict) else ()
    for name, item in items:
        refuse_floats(item, f"{where}.{name}")
    for place, item in enumerate(value if isinstance(value, (list, tuple)) else ()):
        refuse_floats(item, f"{where}[{place}]")


def _bound(text: bytes, where: str, limits: Limits) -> None:
    if len(text) > limits.bytes:
        raise FormatError(f"{where}: {len(text):,} bytes of JSON; at most {limits.bytes:,} are.")
    bare = _STRING.sub(b"", text)
    depth = deepest = openings = 0
    for bracket in _BRACKET.finditer(bare):
        opens = bracket.group() in b"[{"
        depth += 1 if opens else -1
        openings += opens
        deepest = max(deepest, depth)
    if deepest > limits.depth:
        raise FormatError(f"{where}: JSON of depth {deepest}; at most {limits.depth} is read.")
    if openings + bare.count(b",") > limits.values:
        raise FormatError(f"{where}: more than {limits.values:,} JSON values; refused.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:80]!r} stands twice in one object")
    return value


def _integer(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > _LARGEST:
        raise ValueError(f"the integer {text[:20]} is not below 2^53")
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is not finite")
    return value


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")
