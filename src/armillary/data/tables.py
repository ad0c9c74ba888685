"""Tables: an episode's rows as parquet, and parquet back into arrays.

Axes: T rows (steps), Q width of a vector.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from armillary.core.errors import FormatError
from armillary.core.files import replacing

MAX_TABLE_BYTES = 8 << 30  # uncompressed; a larger parquet file is refused before it is read
_TYPES = {"float32": pa.float32(), "float64": pa.float64(), "int64": pa.int64()}


def vectors(values: np.ndarray) -> pa.Array:
    """Return a column: plain numbers for [T] and [T 1], lists of fixed length for [T Q].

    LeRobot stores features of shape (1,) as plain numbers.
    """
    kind = _TYPES[str(values.dtype)]
    flat = pa.array(np.ascontiguousarray(values).reshape(-1), kind)
    width = 1 if values.ndim == 1 else values.shape[1]
    return flat if width == 1 else pa.FixedSizeListArray.from_arrays(flat, width)


def write_table(path: Path, columns: Mapping[str, pa.Array], metadata: dict | None = None) -> None:
    """Write columns as parquet in one step; the same columns give the same bytes."""
    table = pa.table(dict(columns)).replace_schema_metadata(metadata)
    with replacing(path) as beside:
        pq.write_table(table, beside, compression="zstd")


@contextmanager
def opened_parquet(
    path: Path, columns: Sequence[str] = (), by_group: bool = False
) -> Iterator[pq.ParquetFile]:
    """Open a parquet file of bounded size; what goes wrong while it is read is one sentence.

    Args:
        path: the file.
        columns: that must be there.
        by_group: whether only one row group is held at a time, so that only it must be small.

    Raises:
        FormatError: it is missing, damaged, too large, or lacks a column.
    """
    try:
        with pq.ParquetFile(path) as file:
            meta = file.metadata
            sizes = [meta.row_group(i).total_byte_size for i in range(meta.num_row_groups)]
            size = max(sizes, default=0) if by_group else sum(sizes)
            if size > MAX_TABLE_BYTES:
                raise FormatError(
                    f"{path}: {size} bytes unpacked; refused above {MAX_TABLE_BYTES}."
                )
            lost = sorted(set(columns) - set(file.schema_arrow.names))
            if lost:
                raise FormatError(f"{path}: has no column {lost[0]!r}.")
            yield file
    except FileNotFoundError as error:
        raise FormatError(f"{path}: there is no such file; a parquet file is needed.") from error
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: cannot be read as parquet ({_first_line(error)}).") from error


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read a parquet file of bounded size.

    Raises:
        FormatError: it is missing, damaged, too large, or lacks a column.
    """
    with opened_parquet(path, columns or ()) as file:
        return file.read(columns=columns)


def array(table: pa.Table, name: str) -> np.ndarray:
    """Return a numeric column as [T] or [T Q].

    Raises:
        FormatError: there is no such column, it holds no numbers, null, or lists of different
            lengths.
    """
    if name not in table.column_names:
        raise FormatError(f"There is no column {name!r} in the table, though it is promised.")
    column = table.column(name).combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([])
    try:
        widths = []
        while pa.types.is_nested(column.type):
            _check_even(column)
            flat = column.flatten()
            widths.append(len(flat) // max(1, len(column)))
            column = flat
        if column.null_count:
            raise ValueError(f"{column.null_count} of them are null")
        values = column.to_numpy(zero_copy_only=False)
        return values.reshape(table.num_rows, -1) if widths else values
    except (pa.ArrowException, ValueError, AttributeError) as error:
        raise FormatError(f"Column {name!r} is not a table of numbers ({error}).") from error


def _check_even(column: pa.Array) -> None:
    """Refuse lists of different lengths: flattened, their numbers would slide into other rows."""
    if column.null_count:
        raise ValueError(f"{column.null_count} of its rows are null")
    lengths = np.unique(pc.call_function("list_value_length", [column]))
    if len(lengths) > 1:
        raise ValueError(f"rows have from {lengths[0]} to {lengths[-1]} of them")


def rows_sha256(table: pa.Table) -> str:
    """Return the hash of a table's numbers, without what depends on other episodes.

    ``index`` is left out, and ``task_index`` counts as 0.
    """
    digest = hashlib.sha256()
    for name in sorted(set(table.column_names) - {"index"}):
        values = array(table, name)
        values = np.zeros_like(values) if name == "task_index" else values
        digest.update(f"{name} {values.dtype} {values.shape}\n".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def pandas_index_metadata(index: str, column: str) -> dict[str, str]:
    """Return the metadata that makes pandas read a text column as the index of the table."""
    fields = [_pandas_field(column, "int64"), _pandas_field(index, "unicode")]
    pandas = {"index_columns": [index], "column_indexes": [], "columns": fields}
    return {"pandas": json.dumps({**pandas, "pandas_version": "2.0.0"})}


def _pandas_field(name: str, kind: str) -> dict:
    numpy_type = "object" if kind == "unicode" else kind
    field = None if name.startswith("__") else name
    return {
        "name": field,
        "field_name": name,
        "pandas_type": kind,
        "numpy_type": numpy_type,
        "metadata": None,
    }


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
