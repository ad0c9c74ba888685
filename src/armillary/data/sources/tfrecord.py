"""TFRecord: a row of byte strings, each with its length and two checksums.

A record is its length (uint64), the masked CRC32C of these 8 bytes, the bytes, and their masked
CRC32C; numbers are little endian. A length is believed only after its own checksum, and only if
that many bytes are left, so damage never decides how much memory is taken.

Source: TensorFlow's "TFRecord and tf.train.Example"; CRC32C (RFC 3720, B.4) by google-crc32c.
"""

from __future__ import annotations

import struct
from pathlib import Path

from armillary.core.errors import FormatError
from armillary.core.optional import require

MAX_RECORD_BYTES = 1 << 30  # an episode with its pictures
MAX_RECORDS = 1_000_000
_HEADER, _FOOTER = 12, 4
_MASK = 0xA282EAD8
_ALL = 0xFFFFFFFF


def find_records(path: Path) -> tuple[list[tuple[int, int]], str]:
    """Return where the records of a file lie, from their headers alone.

    Returns:
        First byte and number of bytes of each record, and what is wrong after the last of them
        (empty where the file ends as it should).

    Raises:
        FormatError: there is no such file, or no record in it.
    """
    if not path.is_file():
        raise FormatError(f"{path}: there is no such file; a TFRecord was expected.")
    found: list[tuple[int, int]] = []
    size, at = path.stat().st_size, 0
    with path.open("rb") as file:
        while at < size and len(found) < MAX_RECORDS:
            file.seek(at)
            header = file.read(_HEADER)
            wrong = _wrong_header(header, size - at)
            if wrong:
                said = f"{path}: byte {at} begins no record: {wrong}."
                if not found:
                    raise FormatError(said)
                return found, f"{said} The rest of the file is left out."
            length = _length(header)
            found.append((at + _HEADER, length))
            at += _HEADER + length + _FOOTER
    if not found:
        raise FormatError(f"{path}: the file is empty; a TFRecord was expected.")
    more = at < size
    return found, f"{path}: only its first {MAX_RECORDS} records are read." if more else ""


def read_record(path: Path, start: int, length: int) -> bytes:
    """Return the bytes of a record, their checksum compared.

    Args:
        path: the file.
        start: first byte of the record.
        length: number of its bytes.

    Raises:
        FormatError: the file is shorter now, or the checksum is wrong.
    """
    with path.open("rb") as file:
        file.seek(start)
        data, footer = file.read(length), file.read(_FOOTER)
    if len(data) != length or len(footer) != _FOOTER:
        raise FormatError(f"{path}: is cut off in the record at byte {start}.")
    if struct.unpack("<I", footer)[0] != masked_crc32c(data):
        raise FormatError(
            f"{path}: the record at byte {start} is damaged: its checksum is another one. Copy the "
            "file again."
        )
    return data


def masked_crc32c(data: bytes) -> int:
    """Return the checksum that TFRecord keeps of some bytes.

    Raises:
        MissingExtraError: google-crc32c is not installed.
    """
    crc = require("google_crc32c", "rlds", "check the records of RLDS").value(data)
    return (((crc >> 15) | (crc << 17)) + _MASK) & _ALL


def _length(header: bytes) -> int:
    return struct.unpack_from("<Q", header)[0]


def _wrong_header(header: bytes, left: int) -> str:
    """Return what is wrong with a record's header, in words, or nothing."""
    if header[:2] == b"\x1f\x8b":
        return "it is packed with gzip; unpack the file first"
    if len(header) < _HEADER:
        return "the file is cut off"
    if struct.unpack_from("<I", header, 8)[0] != masked_crc32c(header[:8]):
        return "the checksum of its length is another one; the file is damaged or no TFRecord"
    length = _length(header)
    if length > MAX_RECORD_BYTES:
        return f"it is of {length} bytes, more than the {MAX_RECORD_BYTES} that are read"
    if _HEADER + length + _FOOTER > left:
        return "the file is cut off in it"
    return ""
