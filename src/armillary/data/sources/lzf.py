"""LZF: the compression inside PCD's ``binary_compressed``.

A byte below 32 is followed by that many plain bytes and one; any other is a length (upper three
bits, 7 means that more follows) and a distance back into what is already unpacked.

Source: the format of Marc Lehmann's liblzf.
"""

from __future__ import annotations

from armillary.core.errors import FormatError

MOST_PER_BYTE = 88  # three bytes give at most 7 + 255 + 2 = 264


def decompressed(data: bytes, size: int, where: str) -> bytes:
    """Return what was packed.

    Args:
        data: packed bytes.
        size: bytes that it must unpack to; no more are ever held.
        where: what the sentence calls it.

    Raises:
        FormatError: it does not unpack to that size.
    """
    damaged = FormatError(f"{where}: its compressed points are damaged; copy the file again.")
    if size > MOST_PER_BYTE * len(data):
        raise damaged
    out = bytearray()
    at = 0
    try:
        while at < len(data):
            at = _token(data, at, out)
            if len(out) > size:
                raise damaged
    except IndexError as error:
        raise damaged from error
    if len(out) != size:
        raise damaged
    return bytes(out)


def _token(data: bytes, at: int, out: bytearray) -> int:
    """Unpack one token to the end of ``out`` and return where the next one begins."""
    control = data[at]
    if control < 32:
        end = at + control + 2
        if end > len(data):
            raise IndexError
        out += data[at + 1 : end]
        return end
    length, at = control >> 5, at + 1
    if length == 7:
        length, at = 7 + data[at], at + 1
    length += 2
    start = len(out) - ((control & 31) << 8) - data[at] - 1
    if start < 0:
        raise IndexError
    seen = out[start : start + length]
    # what reaches into itself repeats
    out += (seen * (length // len(seen) + 1))[:length]
    return at + 1
