"""Arrow file: the columns of a Feather file (Arrow IPC), read in bounded memory.

Buffers may be compressed, and each says how large it becomes. These numbers are read from the
message before pyarrow takes memory for them, so a small file cannot fill it. Numbers and text are
read; dictionaries, nested columns and Feather version 1 are refused.

Source: Apache Arrow, columnar format, Interprocess Communication, ``Message.fbs``.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from armillary.core.errors import FormatError
from armillary.data.sources.cloud import opened
from armillary.data.sources.damaged import damaged

MAX_FILE_BYTES = 64 << 20  # a sweep of Argoverse 2 has about 1 MiB
MAX_ROWS = 10_000_000
MAX_COLUMN_BYTES = 256 << 20  # of all columns of a file, without compression
_MAGIC, _OLD_MAGIC = b"ARROW1", b"FEA1"
_FIRST_MESSAGE = 8  # bytes; the magic is filled up to this
_KIND = "Arrow file (Feather version 2)"
# Fields of the tables Message and RecordBatch, by their place in Message.fbs
_HEADER, _LENGTH, _BUFFERS, _COMPRESSION = 2, 0, 2, 3


def read_arrow(
    path: Path, numbers: Collection[str], texts: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """Return columns of a file by name, one value a row.

    Args:
        path: the file.
        numbers: names of columns of whole numbers or fractions, in the type that they are stored.
        texts: names of columns of text, as arrays of objects.

    Raises:
        FormatError: the file is missing, too large, damaged or of another kind, or lacks a column.
    """
    where = str(path)
    with opened(path) as (file, size):
        if size > MAX_FILE_BYTES:
            raise FormatError(
                f"{where}: has {size:,} bytes, more than {MAX_FILE_BYTES >> 20} MiB; refused."
            )
        data = file.read(MAX_FILE_BYTES + 1)
    if data.startswith(_OLD_MAGIC):
        raise FormatError(f"{where}: is Feather version 1; write it anew as version 2.")
    if not data.startswith(_MAGIC) or not data.endswith(_MAGIC):
        raise FormatError(f"{where}: is cut off, or no {_KIND}.")
    with damaged(where, _KIND, pa.ArrowException, struct.error):
        table = _table(data, where)
        return {
            **{name: _column(table, name, where, text=False) for name in numbers},
            **{name: _column(table, name, where, text=True) for name in texts},
        }


def _table(data: bytes, where: str) -> pa.Table:
    messages = _messages(data)
    head = next(messages, None)
    if head is None or head.type != "schema":
        raise FormatError(f"{where}: is damaged: it does not begin with a schema.")
    schema, batches = pa.ipc.read_schema(head), []
    rows = taken = 0
    for message in messages:
        if message.type != "record batch":
            raise FormatError(f"{where}: holds a {message.type}, which is not read.")
        batch_rows, batch_bytes = _needs(message)
        rows, taken = rows + batch_rows, taken + batch_bytes
        if rows > MAX_ROWS or taken > MAX_COLUMN_BYTES:
            raise FormatError(
                f"{where}: {rows:,} rows of {taken:,} bytes are refused; {MAX_ROWS:,} rows and "
                f"{MAX_COLUMN_BYTES >> 20} MiB are read."
            )
        batch = pa.ipc.read_record_batch(message, schema)
        batch.validate(full=True)
        batches.append(batch)
    return pa.Table.from_batches(batches, schema)


def _messages(data: bytes) -> Iterator[pa.ipc.Message]:
    """Yield the messages of a file up to its footer, without copies of them."""
    reader = pa.ipc.MessageReader.open_stream(pa.py_buffer(data)[_FIRST_MESSAGE:])
    while True:
        try:
            yield reader.read_next_message()
        except StopIteration:
            return


def _column(table: pa.Table, name: str, where: str, *, text: bool) -> np.ndarray:
    places = [at for at, known in enumerate(table.column_names) if known == name]
    if len(places) != 1:
        raise FormatError(
            f"{where}: has no column {name!r}, or two; its columns are "
            f"{', '.join(table.column_names)[:200]}."
        )
    column = table.column(places[0])
    kind = pa.types
    checks = (kind.is_string, kind.is_large_string) if text else (kind.is_integer, kind.is_floating)
    if not any(check(column.type) for check in checks) or column.null_count:
        raise FormatError(
            f"{where}: the column {name!r} was expected as {'text' if text else 'numbers'} without "
            f"gaps, got {str(column.type)[:40]} with {column.null_count} gaps."
        )
    return column.to_numpy()


# --- what a message needs ----------------------------------------------------------------------


def _needs(message: pa.ipc.Message) -> tuple[int, int]:
    """Return the rows of a record batch, and the bytes of its columns without compression."""
    if message.metadata_version != pa.MetadataVersion.V5:  # older ones tell compression elsewhere
        raise ValueError("a version of the format before 1.0; write the file anew")
    header, body = message.metadata.to_pybytes(), message.body
    batch = _table_in(header, _uint(header, 0), _HEADER)
    if batch is None:
        raise ValueError("a record batch without a header")
    at = _field(header, batch, _LENGTH)
    rows = 0 if at is None else _int64(header, at)
    buffers, size = _field(header, batch, _BUFFERS), 0 if body is None else body.size
    if _field(header, batch, _COMPRESSION) is None or buffers is None or body is None:
        return rows, size
    first = buffers + _uint(header, buffers)
    needed = 0
    for number in range(_uint(header, first)):
        start, length = (_int64(header, first + 4 + 16 * number + 8 * part) for part in (0, 1))
        if length:
            # -1 stands for a buffer that was left without compression
            declared = _int64(body.slice(start, 8).to_pybytes(), 0)
            needed += length if declared == -1 else declared
            if declared < -1 or start < 0 or length < 0:
                raise ValueError("a buffer of a negative size")
    return rows, needed


def _table_in(data: bytes, table: int, field: int) -> int | None:
    """Return where the table lies that a field of a table points to."""
    at = _field(data, table, field)
    return None if at is None else at + _uint(data, at)


def _field(data: bytes, table: int, field: int) -> int | None:
    """Return where a field of a table of FlatBuffers lies; None where it has none."""
    (back,) = struct.unpack_from("<i", data, _inside(data, table))
    known = _inside(data, table - back)
    (size,) = struct.unpack_from("<H", data, known)
    place = 4 + 2 * field
    if place + 2 > size:
        return None
    (offset,) = struct.unpack_from("<H", data, known + place)
    return table + offset if offset else None


def _uint(data: bytes, at: int) -> int:
    return struct.unpack_from("<I", data, _inside(data, at))[0]


def _int64(data: bytes, at: int) -> int:
    return struct.unpack_from("<q", data, _inside(data, at))[0]


def _inside(data: bytes, at: int) -> int:
    """Return a place if it is in the data: Python would count negative ones from the end."""
    if not 0 <= at < len(data):
        raise ValueError("an offset leads out of the message")
    return at
