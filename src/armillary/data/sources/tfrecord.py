"""TFRecord: a row of byte strings, each with its length and two checksums.

A record is its length (uint64), the masked CRC32C of these 8 bytes, the bytes, and their masked
CRC32C; numbers are little endian. A length is believed only after its own checksum, and only if
that many bytes are left, so damage never decides how much memory is taken.

Source: TensorFlow's "TFRecord and tf.train.Example"; CRC32C (Castagnoli), RFC 3720, B.4.
"""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import UInt32

from armillary.core.errors import FormatError

MAX_RECORD_BYTES = 1 << 30  # an episode with its pictures
MAX_RECORDS = 1_000_000
_HEADER, _FOOTER = 12, 4
_POLYNOMIAL = 0x82F63B78  # Castagnoli's, lowest bit first
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
    """Return the checksum that TFRecord keeps of some bytes."""
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + _MASK) & _ALL


def crc32c(data: bytes) -> int:
    """Return the CRC32C of some bytes.

    Equal lanes of the bytes go through the register side by side. Then neighbours are joined: the
    left one is shifted by as many zero bytes as the right one has, and the two are added.
    """
    if len(data) < 4:
        register = _ALL
        for byte in data:
            register = int(_byte_table()[(register ^ byte) & 0xFF]) ^ (register >> 8)
        return register ^ _ALL
    # a power of two near the root: as many steps as lanes
    exponent = len(data).bit_length() // 2
    lanes = -(-len(data) >> exponent)
    padded = np.zeros(lanes << exponent, np.uint8)
    # zeros before the bytes change nothing while the register is 0, and all ones in the register
    # are the same as the first four bytes turned over
    padded[len(padded) - len(data) :] = np.frombuffer(data, np.uint8)
    padded[len(padded) - len(data) :][:4] ^= 0xFF
    table, registers = _pair_table(), np.zeros(lanes, np.uint32)
    for pair in np.ascontiguousarray(padded.view("<u2").reshape(lanes, -1).T):
        registers = table.take((registers ^ pair) & 0xFFFF) ^ (registers >> 16)
    while len(registers) > 1:
        if len(registers) % 2:
            registers = np.concatenate([np.zeros(1, np.uint32), registers])
        registers = _applied(_zeros_table(exponent), registers[::2]) ^ registers[1::2]
        exponent += 1
    return int(registers[0]) ^ _ALL


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


@cache
def _byte_table() -> UInt32[np.ndarray, " 256"]:
    """Return what a byte makes of an empty register."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> 1) ^ np.where(table & 1, np.uint32(_POLYNOMIAL), np.uint32(0))
    return table


@cache
def _pair_table() -> UInt32[np.ndarray, " 65536"]:
    """Return what two bytes make of an empty register."""
    pairs = np.arange(1 << 16, dtype=np.uint32)
    half = _byte_table()[pairs & 0xFF] ^ (pairs >> 8)
    return _byte_table()[half & 0xFF] ^ (half >> 8)


@cache
def _zeros_table(exponent: int) -> UInt32[np.ndarray, "4 256"]:
    """Return what ``2 ** exponent`` zero bytes make of each byte of a register."""
    if exponent:
        half = _zeros_table(exponent - 1)
        return np.stack([_applied(half, row) for row in half])
    single = np.arange(256, dtype=np.uint32) << (8 * np.arange(4, dtype=np.uint32))[:, None]
    return _byte_table()[single & 0xFF] ^ (single >> 8)


def _applied(table: np.ndarray, registers: np.ndarray) -> np.ndarray:
    parts = (table[byte][(registers >> (8 * byte)) & 0xFF] for byte in range(4))
    return np.bitwise_xor.reduce(list(parts))
