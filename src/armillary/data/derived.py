"""Derived streams: what is computed from prepared pictures once, and kept on disk beside them.

The folder of a derived stream is named by its cache and by what decides it. So it is made once, by
the first of several processes, and appears complete or not at all.

Axes: F frames of all episodes of a cache.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from armillary.core.errors import DatasetError
from armillary.core.files import read_json, replacing_folder, write_json
from armillary.core.progress import Progress, silent
from armillary.data.cache import Cache, file_of
from armillary.data.prepare import CHUNK_FRAMES, NpyAppender, one_at_a_time

_CONSTANT = "constant-"


@dataclass(frozen=True)
class Derivation:
    """How a stream is computed.

    Attributes:
        rows: returns the rows [N ...] of the frames from a first one to a last one.
        constants: arrays that belong to the computation, by name; they are kept with the stream.
    """

    rows: Callable[[int, int], np.ndarray]
    constants: Mapping[str, np.ndarray]


def derived(
    cache: Cache,
    name: str,
    key: str,
    begin: Callable[[], Derivation],
    progress: Progress = silent,
) -> Cache:
    """Return a cache with one more stream, computed only if that was not done before.

    Args:
        cache: prepared episodes.
        name: of the stream.
        key: a digest of all that decides it, beside the cache.
        begin: fits what is to be fitted, and says how rows are computed.
        progress: called with frames done and in all.

    Raises:
        DatasetError: what was kept is cut off.
        StorageError: the disk is full or not writable.
    """
    if name in cache.arrays:
        return cache
    if cache.path is None:
        how = begin()
        rows = [how.rows(*one) for one in _chunks(cache.num_frames)]
        return _with(cache, name, np.concatenate(rows), how.constants)
    folder = cache.path.with_name(f"{cache.path.name}-{name}-{key[:12]}")
    if not _is_made(folder):
        with one_at_a_time(folder):
            if not _is_made(folder):
                _make(cache, name, folder, begin(), progress)
    return _opened(cache, name, folder)


def _make(cache: Cache, name: str, folder: Path, how: Derivation, progress: Progress) -> None:
    with replacing_folder(folder) as beside:
        for constant, values in how.constants.items():
            np.save(beside / file_of(_CONSTANT + constant), values, allow_pickle=False)
        with NpyAppender(beside / file_of(name)) as file:
            for first, last in _chunks(cache.num_frames):
                file.append(how.rows(first, last))
                progress(last, cache.num_frames, "frames")
        arrays = {path.name: path.stat().st_size for path in sorted(beside.glob("*.npy"))}
        write_json(beside / "index.json", {"arrays": arrays, "constants": sorted(how.constants)})


def _opened(cache: Cache, name: str, folder: Path) -> Cache:
    index = read_json(folder / "index.json")
    for file, bytes_ in index["arrays"].items():
        if not (folder / file).is_file() or (folder / file).stat().st_size != bytes_:
            raise DatasetError(
                f"{folder / file}: is missing or cut off; delete the folder to make it again."
            )
    values = np.asarray(np.load(folder / file_of(name), mmap_mode="r", allow_pickle=False))
    constants = {
        constant: np.load(folder / file_of(_CONSTANT + constant), allow_pickle=False)
        for constant in index["constants"]
    }
    return _with(cache, name, values, constants)


def _with(
    cache: Cache, name: str, values: np.ndarray, constants: Mapping[str, np.ndarray]
) -> Cache:
    return replace(
        cache,
        arrays={**cache.arrays, name: values},
        kinds={**cache.kinds, name: "derived"},
        constants={**cache.constants, **constants},
    )


def _is_made(folder: Path) -> bool:
    return (folder / "index.json").is_file()


def _chunks(count: int) -> list[tuple[int, int]]:
    return [(at, min(at + CHUNK_FRAMES, count)) for at in range(0, count, CHUNK_FRAMES)]
