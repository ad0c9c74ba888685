"""ASCII clouds: ``.xyz``, ``.asc``, ``.pts`` and ``.txt`` files with a point a line, x y z first.

What a column means is never guessed: intensity and colour are kept where a header line names them,
or where the convention of ``.pts`` does (the number of points, then x y z intensity, or x y z
intensity r g b). Other columns are left out, and that is reported.

Source: Leica Geosystems, "PTS file format"; CloudCompare, "ASCII files" (header lines).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from armillary.core.errors import FormatError
from armillary.data.sources.cloud import (
    MAX_POINTS,
    Cloud,
    assembled,
    check_count,
    is_feature,
    metres_per,
    opened,
)
from armillary.data.sources.cloud_folder import CloudFiles
from armillary.data.sources.source import files_with, has_file_with

SUFFIXES = (".xyz", ".pts", ".asc")
TEXT = ".txt"  # may be anything: it is looked into
MAX_LINE_BYTES = 4096
MAX_HEADER_LINES = 100
MAX_COLUMNS = 64
_CHUNK_LINES = 20_000
# Fewer rows are a matrix, more columns a trajectory: such a file is a cloud only if one says so.
_LEAST_ROWS, _MOST_COLUMNS = 10, 7
_BOM = b"\xef\xbb\xbf"
_COMMENT = re.compile(r"[#;!/]+")
_PTS = {4: ("x", "y", "z", "intensity"), 7: ("x", "y", "z", "intensity", "r", "g", "b")}


@dataclass(frozen=True)
class _Head:
    """What stands before the points.

    Attributes:
        first: the first row of numbers.
        separator: between numbers; None is white space.
        names: of the columns, where a line names them.
        count: points that are promised, where a line does.
    """

    first: bytes
    separator: str | None
    names: tuple[str, ...]
    count: int | None

    @property
    def width(self) -> int:
        return len(_split(_text(self.first), self.separator))


class AsciiClouds(CloudFiles):
    """ASCII clouds as a source; without ``--format`` a ``.txt`` is one if it looks like points."""

    def detect(self, path: Path) -> bool:
        """Say whether there is such a file, or nothing but ``.txt`` files of points."""
        if has_file_with(path, SUFFIXES[:2]):
            return True
        # beside others, an .asc is often a signature
        if any(path == file or _is_cloud(file) for file in files_with(path, SUFFIXES[2:])):
            return True
        texts = list(islice(files_with(path, (TEXT,)), 2))
        alone = bool(texts) and all(
            file.name.lower().endswith(TEXT) for file in files_with(path, ("",))
        )
        return alone and all(_is_cloud(file) for file in texts)


def read_ascii_cloud(
    path: Path, unit: str | None = None, origin_m: np.ndarray | None = None
) -> Cloud:
    """Return the points of a text file; rows that are NaN or infinite are left out.

    Args:
        path: the file.
        unit: of its coordinates (``m``, ``mm``, ``ft``, ``us-ft``); the format has none, so None
            takes metres and refuses what would be over 10 km.
        origin_m: taken off the coordinates; None chooses.

    Raises:
        FormatError: damaged, cut off, without points, too large, with decimal commas, or with a
            header that names no x, y and z.
        ConfigError: there is no such unit.
    """
    with opened(path) as (file, size):
        head = _head(path, file)
        width = head.width
        if not 3 <= width <= MAX_COLUMNS:
            raise FormatError(
                f"{path}: its rows have {width} numbers; x y z and at most {MAX_COLUMNS} columns "
                "were expected."
            )
        if head.count is not None:
            left = size - file.tell() + len(head.first)
            check_count(path, head.count, 2 * width, left + 1)
        names, notes = _columns(path, head, width)
        table = _rows(path, file, head, [at for at, name in enumerate(names) if name])
    kept = [name for name in names if name]
    words = _split(_text(head.first), head.separator)
    whole = all(words[names.index(n)].isdecimal() for n in kept if n in _COLOURS)
    columns = {
        name: _whole(column) if whole and name in _COLOURS else column
        for name, column in zip(kept, table.T, strict=True)
    }
    return replace(assembled(path, columns, metres_per(unit), origin_m), notes=notes)


_COLOURS = ("r", "g", "b", "red", "green", "blue")


def _whole(column: np.ndarray) -> np.ndarray:
    """Return colours that were written without a point as integers: 0 to 255, not 0 to 1."""
    exact = np.isfinite(column).all() and np.all(column == np.floor(column))
    return column.astype(np.int64) if exact and np.abs(column).max() < 1 << 31 else column


def _is_cloud(path: Path) -> bool:
    """Say whether a text file begins with ten rows of points."""
    try:
        with opened(path) as (file, _):
            head = _head(path, file)
            _columns(path, head, head.width)
            lines = [head.first, *islice(_lines(path, file), _LEAST_ROWS - 1)]
    except FormatError:
        return False
    rows = [_split(_text(line), head.separator) for line in lines]
    most = MAX_COLUMNS if head.names else _MOST_COLUMNS
    alike = all(len(row) == head.width and all(map(_is_number, row)) for row in rows)
    return len(rows) == _LEAST_ROWS and 3 <= head.width <= most and alike


def _head(path: Path, file: BinaryIO) -> _Head:
    names: tuple[str, ...] = ()
    count: int | None = None
    for line in _lines(path, file, MAX_HEADER_LINES):
        text = _text(line).strip()
        bare = _COMMENT.sub("", text, count=1) if _COMMENT.match(text) else text
        separator = next((mark for mark in ";," if mark in bare), None)
        words = _split(bare, separator)
        if words and bare == text and all(map(_is_number, words)):
            if len(words) == 1 and words[0].isdecimal() and count is None:
                count = int(words[0][:19])
                continue
            return _Head(line.removeprefix(_BOM), separator, names, count)
        if bare == text and re.search(r"\d,\d+[\s;]", text + " ") and not names:
            raise FormatError(f"{path}: has decimal commas (1,5); write them with points (1.5).")
        lower = tuple(word.strip("\"'/ ").lower() for word in words)
        if bare != text and not {"x", "y", "z"} <= {*lower}:
            continue  # a remark
        if words:
            names = lower
    raise FormatError(
        f"{path}: holds no row of numbers in its first lines; a text file of points has x y z in "
        "each line."
    )


def _columns(path: Path, head: _Head, width: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the name of each column, empty where it is left out, and notes about that."""
    if head.names:
        if len(head.names) != width or not {"x", "y", "z"} <= {*head.names}:
            raise FormatError(
                f"{path}: its header names the columns {' '.join(head.names)[:80]}, its rows have "
                f"{width} numbers; a name for each was expected, x, y and z among them."
            )
        names = tuple(name if is_feature(name) else "" for name in head.names)
        lost = [name for name, kept in zip(head.names, names, strict=True) if not kept]
        if not lost:
            return names, ()
        return names, (f"the columns {' '.join(lost)} were left out",)
    if head.count is not None and path.suffix.lower() == ".pts" and width in _PTS:
        return _PTS[width], ()
    said = "no header names the columns: the first three were taken as x y z"
    if width > 3:
        said += f", and what follows them was left out ({width} columns in all)"
    return ("x", "y", "z", *[""] * (width - 3)), (said,)


def _rows(path: Path, file: BinaryIO, head: _Head, columns: Sequence[int]) -> np.ndarray:
    """Return the wanted columns of all rows, float64 [P C]."""
    parts: list[np.ndarray] = []
    rows, width, chunk = 0, head.width, [head.first]
    lines = _lines(path, file)
    while chunk:
        kept = [line for line in chunk if line.strip()]
        rows += len(kept)
        if rows > MAX_POINTS:
            raise FormatError(
                f"{path}: holds more than {MAX_POINTS:,} points; thin it or cut it into tiles."
            )
        if kept:
            table = _parsed(path, kept, head.separator, width, rows - len(kept))
            parts.append(table[:, columns])
        chunk = list(islice(lines, _CHUNK_LINES))
    if head.count is not None and rows != head.count:
        state = "is cut off" if rows < head.count else "holds more than one cloud"
        raise FormatError(
            f"{path}: {state}: it promises {head.count:,} points and has {rows:,} rows."
        )
    return np.concatenate(parts)


def _parsed(
    path: Path, lines: Sequence[bytes], separator: str | None, width: int, before: int
) -> np.ndarray:
    try:
        table = np.loadtxt(
            lines, np.float64, comments=None, delimiter=separator, ndmin=2, encoding="latin-1"
        )
        if table.shape[1] == width:
            return table
    except ValueError:
        pass
    for number, line in enumerate(lines):
        words = _split(_text(line), separator)
        if len(words) != width or not all(map(_is_number, words)):
            raise FormatError(
                f"{path}: is damaged: point {before + number + 1} is {_text(line).strip()[:60]!r}, "
                f"{width} numbers were expected."
            )
    raise FormatError(f"{path}: is damaged: a line of it is not a row of numbers.")


def _lines(path: Path, file: BinaryIO, most: int | None = None) -> Iterator[bytes]:
    number = 0
    while (most is None or number < most) and (line := file.readline(MAX_LINE_BYTES + 1)):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise FormatError(
                f"{path}: a line of it is longer than {MAX_LINE_BYTES:,} bytes; it is no text file "
                "with a point a line."
            )
        yield line


def _text(line: bytes) -> str:
    return line.removeprefix(_BOM).decode("latin-1")


def _split(text: str, separator: str | None) -> list[str]:
    return [word.strip() for word in text.strip().split(separator)]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word
