"""Clouds: any number of points a step, columnar in parquet beside what LeRobot reads.

One file an episode, one row a step, one list of float32 a feature (``points.x``, ...).
Clouds pass one at a time on their way in and out; only ``padded`` holds a whole episode.

Axes: T time, P points, F features of a point (x y z first).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32

from armillary.core.errors import DatasetError, FormatError
from armillary.core.files import replacing
from armillary.data.tables import MAX_TABLE_BYTES, opened_parquet

GROUP_POINTS = 1 << 20  # points of a row group: what a reader holds at once
_XYZ = ("x", "y", "z")


@dataclass(frozen=True)
class Clouds:
    """One sensor's clouds, one after another, so that nobody has to hold all of them.

    Attributes:
        clouds: float32 [P F] each; rows whose x, y or z is NaN are left out.
        columns: names of the F features, ``x y z`` first.
        unit: "m".
        frame: coordinate frame of the points, empty where unknown.
    """

    clouds: Iterable[np.ndarray]
    columns: tuple[str, ...] = _XYZ
    unit: str = "m"
    frame: str = ""


@dataclass(frozen=True)
class Passed:
    """What was learned about a stream of clouds while it passed by.

    Attributes:
        most: points of its largest cloud.
        points: points of all its clouds.
    """

    most: int
    points: int


def stripped(cloud: np.ndarray) -> Float32[np.ndarray, "P F"]:
    """Return a cloud without its padding: rows whose x, y or z is NaN or infinite."""
    cloud = np.asarray(cloud, np.float32)
    return np.ascontiguousarray(cloud[np.isfinite(cloud[:, :3]).all(1)])


def padded(
    clouds: Sequence[np.ndarray], width: int, max_bytes: int = MAX_TABLE_BYTES
) -> Float32[np.ndarray, "T P F"]:
    """Return clouds of different sizes as one array, rows of NaN where a step has fewer points.

    Args:
        clouds: [P F] each.
        width: number of features F.
        max_bytes: what may be held in memory.

    Raises:
        DatasetError: it would be larger.
    """
    most = max((len(cloud) for cloud in clouds), default=0)
    size = len(clouds) * most * width * 4
    if size > max_bytes:
        raise DatasetError(
            f"{len(clouds)} clouds of up to {most} points would fill {size >> 30} GiB of memory; "
            "take them one at a time (`Dataset.clouds`), or through `prepare` with fewer points."
        )
    values = np.full((len(clouds), most, width), np.nan, np.float32)
    for row, cloud in zip(values, clouds, strict=True):
        row[: len(cloud)] = cloud
    return values


def write_clouds(path: Path, streams: Mapping[str, Clouds]) -> tuple[int, dict[str, Passed]]:
    """Write the clouds of one episode in one step, holding about a million points at a time.

    Args:
        path: parquet file.
        streams: by name; all have the same number of clouds.

    Returns:
        The number of steps, and what was seen of each stream.

    Raises:
        DatasetError: streams of different lengths, or a cloud that is not [P F].
        StorageError: the disk is full or not writable.
    """
    for name, stream in streams.items():
        _check_columns(name, stream.columns)
    schema = pa.schema(
        [(c, pa.list_(pa.float32())) for n, s in streams.items() for c in _keys(n, s)]
    )
    steps, sizes = 0, {name: [0] for name in streams}
    with replacing(path) as beside, pq.ParquetWriter(beside, schema, compression="zstd") as file:
        for group in _grouped(streams):
            arrays = [a for n, s in streams.items() for a in _lists([row[n] for row in group], s)]
            file.write_table(pa.Table.from_arrays(arrays, schema=schema))
            steps += len(group)
            for name, seen in sizes.items():
                seen += [len(row[name]) for row in group]
    return steps, {name: Passed(max(seen), sum(seen)) for name, seen in sizes.items()}


def read_clouds(
    path: Path, name: str, columns: Sequence[str], steps: Sequence[int] | None = None
) -> Iterator[Float32[np.ndarray, "P F"]]:
    """Yield the clouds of one stream, one step after another.

    Args:
        path: parquet file.
        name: of the stream.
        columns: names of its features.
        steps: which ones, ascending; None yields all.

    Raises:
        FormatError: the file is missing, damaged or too large, or lacks a feature or a step.
    """
    keys = [f"{name}.{column}" for column in columns]
    with opened_parquet(path, keys, by_group=True) as file:
        count = file.metadata.num_rows
        wanted = np.arange(count) if steps is None else np.asarray(steps, np.int64)
        if wanted.size and not 0 <= wanted.min() <= wanted.max() < count:
            raise FormatError(f"{path}: has {count} clouds, step {wanted.max()} was wanted.")
        first = 0
        for number in range(file.metadata.num_row_groups):
            rows = file.metadata.row_group(number).num_rows
            here = wanted[(wanted >= first) & (wanted < first + rows)] - first
            if here.size:
                yield from _unpacked(path, file.read_row_group(number, columns=keys), keys, here)
            first += rows


def _unpacked(
    path: Path, table: pa.Table, keys: Sequence[str], rows: np.ndarray
) -> Iterator[np.ndarray]:
    lists = [table.column(key).combine_chunks() for key in keys]
    lists = [pa.concat_arrays(a.chunks) if isinstance(a, pa.ChunkedArray) else a for a in lists]
    for key, array in zip(keys, lists, strict=True):
        if array.type != pa.list_(pa.float32()) or array.null_count:
            raise FormatError(f"{path}: {key!r} must hold lists of float32, it holds {array.type}.")
    offsets = np.asarray(lists[0].offsets)
    values = [np.asarray(array.values.to_numpy(zero_copy_only=False)) for array in lists]
    if any(not np.array_equal(np.asarray(array.offsets), offsets) for array in lists):
        raise FormatError(f"{path}: the features {list(keys)} differ in their number of points.")
    for row in rows:
        yield np.stack([v[offsets[row] : offsets[row + 1]] for v in values], 1)


def _grouped(streams: Mapping[str, Clouds]) -> Iterator[list[dict[str, np.ndarray]]]:
    """Yield the steps in groups of about ``GROUP_POINTS`` points."""
    group: list[dict[str, np.ndarray]] = []
    points = 0
    for row in _steps(streams):
        group.append(row)
        points += sum(len(cloud) for cloud in row.values())
        if points >= GROUP_POINTS:
            yield group
            group, points = [], 0
    if group:
        yield group


def _steps(streams: Mapping[str, Clouds]) -> Iterator[dict[str, np.ndarray]]:
    for clouds in zip_longest(*(stream.clouds for stream in streams.values())):
        if any(cloud is None for cloud in clouds):
            raise DatasetError(f"The clouds {list(streams)} differ in their number of steps.")
        yield {
            name: _checked(name, stream, cloud)
            for (name, stream), cloud in zip(streams.items(), clouds, strict=True)
        }


def _checked(name: str, stream: Clouds, cloud: np.ndarray) -> np.ndarray:
    want = len(stream.columns)
    if cloud.ndim != 2 or cloud.shape[1] != want:
        raise DatasetError(
            f"{name!r}: a cloud is [P {want}] for the columns {', '.join(stream.columns)}; got "
            f"{list(cloud.shape)}."
        )
    return stripped(cloud)


def _check_columns(name: str, columns: Sequence[str]) -> None:
    if tuple(columns[:3]) != _XYZ or len(set(columns)) != len(columns) or not all(columns):
        raise DatasetError(
            f"{name!r}: the columns of points are named, each only once, and begin with x, y, z; "
            f"got {list(columns)}."
        )


def _keys(name: str, stream: Clouds) -> list[str]:
    return [f"{name}.{column}" for column in stream.columns]


def _lists(clouds: Sequence[np.ndarray], stream: Clouds) -> Iterator[pa.Array]:
    offsets = np.concatenate([[0], np.cumsum([len(cloud) for cloud in clouds])]).astype(np.int32)
    together = np.concatenate(clouds)
    for column in range(len(stream.columns)):
        values = pa.array(np.ascontiguousarray(together[:, column]), pa.float32())
        yield pa.ListArray.from_arrays(pa.array(offsets), values)
