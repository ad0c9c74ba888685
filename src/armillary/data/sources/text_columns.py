"""Text columns: the rows of ascii point clouds as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from armillary.core.errors import FormatError


def parsed_rows(
    path: Path, file: BinaryIO, count: int, kinds: Sequence[np.dtype]
) -> list[np.ndarray]:
    """Return the next rows of a file as one array a column.

    Args:
        path: the file, for sentences.
        file: open at the first row; empty lines are passed over.
        count: rows that are wanted, 1 or more.
        kinds: type of each column; fractions stay float64 whatever their type, since text has
            more digits than float32.

    Raises:
        FormatError: fewer rows, another number of columns, or something that is no number.
    """
    lines = list(islice((line for line in file if line.strip()), count))
    if len(lines) < count:
        raise FormatError(
            f"{path}: is cut off: its header promises {count} points, it has {len(lines)} lines."
        )
    try:
        table = np.loadtxt(lines, np.float64, comments=None, ndmin=2, encoding="latin-1")
    except ValueError as error:
        raise _odd_line(path, lines, len(kinds)) from error
    if table.shape[1] != len(kinds):
        raise _odd_line(path, lines, len(kinds))
    with np.errstate(invalid="ignore"):
        return [
            column if np.issubdtype(kind, np.floating) else column.astype(kind)
            for column, kind in zip(table.T, kinds, strict=True)
        ]


def _odd_line(path: Path, lines: Sequence[bytes], width: int) -> FormatError:
    for number, line in enumerate(lines):
        if (found := len(line.split())) != width:
            return FormatError(
                f"{path}: is cut off or damaged: its point {number} has {found} numbers, its "
                f"header names {width}."
            )
    return FormatError(f"{path}: is damaged: a line of it is not a row of numbers.")
