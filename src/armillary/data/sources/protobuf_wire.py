"""Protobuf on the wire: the fields of a message, without its definition.

Source: protobuf's encoding guide.
"""

from __future__ import annotations

from collections.abc import Iterator

from armillary.core.errors import FormatError

VARINT, FIXED_64, BYTES, FIXED_32 = 0, 1, 2, 5
LONGEST_VARINT = 10


def wire_fields(data: memoryview, where: str, what: str) -> Iterator[tuple[int, int, memoryview]]:
    """Yield number, wire type and encoded value of each field of a message.

    Args:
        data: the message.
        where: what sentences call it.
        what: the message's type, for sentences.

    Raises:
        FormatError: it is damaged.
    """
    at = 0
    while at < len(data):
        tag, at = varint(data, at, where, what)
        start, wire = at, tag & 7
        if wire == VARINT:
            _, at = varint(data, at, where, what)
        elif wire == BYTES:
            length, start = varint(data, at, where, what)
            at = start + length
        elif wire in (FIXED_32, FIXED_64):
            at += 4 if wire == FIXED_32 else 8
        else:  # groups, which nothing writes any more
            raise _damaged(where, what)
        if at > len(data):
            raise _damaged(where, what)
        yield tag >> 3, wire, data[start:at]


def varint(data: memoryview, at: int, where: str, what: str) -> tuple[int, int]:
    """Return a number of seven bits a byte, and where the next one begins.

    Args:
        data: the message.
        at: where the number begins.
        where: what sentences call the message.
        what: the message's type, for sentences.

    Raises:
        FormatError: it does not end.
    """
    value = 0
    for place, byte in enumerate(data[at : at + LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 128:
            return value, at + place + 1
    raise _damaged(where, what)


def _damaged(where: str, what: str) -> FormatError:
    return FormatError(f"{where}: is damaged, or no {what}.")
