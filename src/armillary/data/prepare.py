"""Prepare: decode a dataset once, at a model's resolution, into a cache that is reused.

The cache's folder is named by a hash of the dataset's identity and the settings, so a changed
dataset is never read from an old cache; the folder appears complete or not at all. Of several
processes that want the same one, such as those of torchrun, the first makes it and others wait.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from filelock import FileLock

from armillary.core.errors import ConfigError, DatasetError, StorageError
from armillary.core.files import replacing_folder, storage_errors, write_json
from armillary.core.hashing import file_sha256, json_sha256
from armillary.core.progress import Progress, silent
from armillary.data.cache import (
    CACHE_VERSION,
    Cache,
    file_of,
    low_rows,
    open_cache,
    pictures,
    safe_name,
    stacked_lenses,
)
from armillary.data.dataset import Dataset
from armillary.data.manifest import read_manifest
from armillary.data.point_sampling import PointSampling, sampled
from armillary.data.resize import Size, as_size, resized_lens

_PIXEL_BYTES = {"rgb": 3, "depth": 2, "segmentation": 1}
CHUNK_FRAMES = 256  # pictures held at once while decoding


def default_cache_root() -> Path:
    """Return ``ARMILLARY_CACHE``, or ``~/.cache/armillary``."""
    return Path(os.environ.get("ARMILLARY_CACHE") or Path.home() / ".cache" / "armillary")


def prepare(
    dataset: Dataset,
    size: int | Size,
    cache_root: Path | str | None = None,
    progress: Progress = silent,
    episodes: Sequence[int] | np.ndarray | None = None,
    damaged: Literal["refuse", "skip"] = "refuse",
    points: PointSampling | None = None,
) -> Cache:
    """Return the dataset as a memory-mapped cache, decoding it only if that was not done before.

    Args:
        dataset: what to prepare.
        size: rows and columns of the pictures, or one side for both.
        cache_root: where caches live; ``default_cache_root()`` if not given.
        progress: called with episodes done and in all.
        episodes: indices to prepare; all if not given.
        damaged: refuse the dataset when an episode is damaged, or skip it and name it in
            ``Cache.skipped``.
        points: how clouds are sampled; None leaves them out.

    Raises:
        DatasetError: an episode is damaged (its name is in the sentence), or none is left.
        StorageError: the disk has too little room, which is found out first, or is not writable.
    """
    shape = as_size(size)
    wanted = _wanted(dataset, episodes)
    folder = _folder(dataset, shape, cache_root, wanted, damaged, points)
    if _is_made(folder):
        return open_cache(folder)
    about: dict[str, Any] = {"dataset": dataset.place, "identity": dataset.identity()}
    if points is not None:
        about["points"] = {name: dataset.columns(name) for name in dataset.clouds}
    with one_at_a_time(folder):
        if not _is_made(folder):
            if damaged == "refuse" and not dataset.checked_when_read:
                _check_all(dataset, wanted)
            _check_room(dataset, wanted, shape, folder)
            with replacing_folder(folder) as beside:
                _fill(dataset, shape, points, wanted, beside, about, damaged, progress)
    return open_cache(folder)


def prepared_before(
    dataset: Dataset,
    size: int | Size,
    cache_root: Path,
    episodes: Sequence[int],
    points: PointSampling | None = None,
) -> Cache | None:
    """Return what ``prepare`` made of the same arguments; None if it is not there.

    No lock is taken: a cache appears complete, by a rename.

    Args:
        dataset: what was prepared.
        size: rows and columns of the pictures, or one side for both.
        cache_root: where caches live.
        episodes: indices that were prepared.
        points: how clouds are sampled; None leaves them out.
    """
    wanted = _wanted(dataset, episodes)
    folder = _folder(dataset, as_size(size), cache_root, wanted, "refuse", points)
    return open_cache(folder) if _is_made(folder) else None


def _folder(
    dataset: Dataset,
    shape: Size,
    cache_root: Path | str | None,
    wanted: Sequence[int],
    damaged: str,
    points: PointSampling | None,
) -> Path:
    """Return where the cache of these settings lies."""
    settings = {"size": shape, "episodes": wanted, "version": CACHE_VERSION, "damaged": damaged}
    # only where clouds are sampled: all other caches keep the names that they have
    settings |= {} if points is None else {"points": asdict(points)}
    key = json_sha256([dataset.identity(), settings])[:20]
    called = safe_name(dataset.path.name) or "dataset"
    return Path(cache_root or default_cache_root()) / f"{called}-{key}"


def _is_made(folder: Path) -> bool:
    return (folder / "index.json").is_file()


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Wait until no other process makes this folder; a kill lets go of it, too."""
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    with storage_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


class NpyAppender:
    """Appends rows to a ``.npy`` file; the header is written again with the count at the end."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._row: tuple[np.dtype, tuple[int, ...]] | None = None
        self._count = 0
        self._header_bytes = 0

    def __enter__(self) -> NpyAppender:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._row is not None and error is None:
            self._write_header()
        self._file.close()

    @property
    def count(self) -> int:
        """Rows so far."""
        return self._count

    def append(self, rows: np.ndarray) -> None:
        """Append [N ...]; all rows have the type and shape of the first."""
        if self._row is None:
            self._row = (rows.dtype, rows.shape[1:])
            self._write_header()
        if (rows.dtype, rows.shape[1:]) != self._row:
            raise DatasetError(f"{self._file.name}: rows differ: {rows.shape[1:]}, {self._row[1]}.")
        self._file.write(np.ascontiguousarray(rows).data)
        self._count += len(rows)

    def cut(self, count: int) -> None:
        """Go back to the first ``count`` rows."""
        if self._row is None or count == self._count:
            return
        dtype, shape = self._row
        self._file.flush()
        self._file.truncate(self._header_bytes + count * dtype.itemsize * int(np.prod(shape)))
        self._file.seek(0, os.SEEK_END)
        self._count = count

    def _write_header(self) -> None:
        assert self._row is not None
        dtype, shape = self._row
        fields = {
            "descr": np.lib.format.dtype_to_descr(dtype),
            "fortran_order": False,
            "shape": (self._count, *shape),
        }
        self._file.seek(0)
        # numpy pads this header so that the first axis may grow without moving the data.
        np.lib.format.write_array_header_1_0(self._file, fields)
        assert self._header_bytes in (0, self._file.tell())
        self._header_bytes = self._file.tell()


def _fill(
    dataset: Dataset,
    size: Size,
    points: PointSampling | None,
    wanted: Sequence[int],
    folder: Path,
    about: dict[str, Any],
    damaged: str,
    progress: Progress,
) -> None:
    starts, kept, lenses, skipped = [0], [], [], []
    checks = damaged == "skip" and not dataset.checked_when_read  # else all were checked before
    hashes = read_manifest(dataset.path) if checks and dataset.is_ours else {}
    with ExitStack() as stack:
        files: dict[str, NpyAppender] = {}
        for done, index in enumerate(wanted):
            try:
                if checks:
                    _check_hashes(dataset, index, hashes.get(index, {}))
                lens, length = _append(dataset, index, size, points, folder, files, stack)
            except DatasetError as error:
                if damaged == "refuse":
                    raise
                skipped.append([index, str(error)])
                for file in files.values():
                    file.cut(starts[-1])
                continue
            starts.append(starts[-1] + length)
            kept.append(index)
            lenses.append(lens)
            progress(done + 1, len(wanted), f"{starts[-1]} frames")
    if not kept:
        raise DatasetError(f"{dataset.path}: no episode could be prepared: {skipped[0][1]}")
    stacked = stacked_lenses(lenses)
    index = {
        "arrays": {name: (folder / file_of(name)).stat().st_size for name in files},
        "kinds": {name: kind for name, kind in dataset.streams.items() if name in files},
        "starts": starts,
        "episodes": kept,
        "size": size,
        "fps": dataset.fps,
        "intrinsics": None if stacked is None else stacked.tolist(),
        "about": {**about, "skipped": skipped},
    }
    write_json(folder / "index.json", index)


def _append(
    dataset: Dataset,
    index: int,
    size: Size,
    points: PointSampling | None,
    folder: Path,
    files: dict[str, NpyAppender],
    stack: ExitStack,
) -> tuple[np.ndarray | None, int]:
    episode = dataset.read_low(index)
    for name, rows in low_rows(episode).items():
        _file(name, folder, files, stack).append(rows)
    if points is not None:
        for name in dataset.clouds:
            clouds = dataset.points(index, name)
            file = _file(name, folder, files, stack)
            before = file.count
            for rows in _in_chunks(sampled(cloud, points) for cloud in clouds):
                file.append(rows)
            _check_count(dataset, index, name, file.count - before, len(episode))
    lenses = []
    for name, kind in dataset.cameras.items():
        file = _file(name, folder, files, stack)
        before = file.count
        frames = dataset.frames(index, name)
        shape = dataset.picture_size(name)
        for rows in _in_chunks(pictures(frames, kind, size)):
            file.append(rows)
        _check_count(dataset, index, name, file.count - before, len(episode))
        lens = dataset.camera(index, name).intrinsics
        if lens is not None:
            lenses.append((kind != "depth", resized_lens(lens, shape, size)))
    lens = min(lenses, key=lambda pair: pair[0])[1] if lenses else None
    return lens, len(episode)


def _in_chunks(images: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    images = iter(images)
    while chunk := list(islice(images, CHUNK_FRAMES)):
        yield np.stack(chunk)


def _file(name: str, folder: Path, files: dict[str, NpyAppender], stack: ExitStack) -> NpyAppender:
    if name not in files:
        file = folder / file_of(name)
        if file.exists():
            raise DatasetError(f"Two streams would share the file {file.name}; rename {name!r}.")
        files[name] = stack.enter_context(NpyAppender(file))
    return files[name]


def _check_all(dataset: Dataset, wanted: Sequence[int]) -> None:
    """Refuse a damaged dataset before anything of it is decoded."""
    hashes = read_manifest(dataset.path) if dataset.is_ours else {}
    for index in wanted:
        _check_hashes(dataset, index, hashes.get(index, {}))


def frame_bytes(dataset: Dataset, size: int | Size, points: PointSampling | None = None) -> int:
    """Return the bytes that a cache takes for one recorded step, of all its streams.

    Args:
        dataset: what to prepare.
        size: rows and columns of the pictures, or one side for both.
        points: how clouds are sampled; None leaves them out.
    """
    rows, columns = as_size(size)
    total = rows * columns * sum(_PIXEL_BYTES[kind] for kind in dataset.cameras.values())
    widths = [int(np.prod(spec["shape"])) for spec in dataset.features.values() if _numbers(spec)]
    total += 8 + 4 * sum(widths) + 64 * sum(k == "pose" for k in dataset.streams.values())
    if points is not None:
        total += sum(4 * points.count * len(dataset.columns(name)) for name in dataset.clouds)
    return total


def _numbers(spec: Mapping[str, Any]) -> bool:
    return spec["dtype"] not in ("video", "image", "string")


def _check_room(dataset: Dataset, wanted: Sequence[int], size: Size, folder: Path) -> None:
    """Refuse what the disk has no room for, by the pictures alone."""
    pixels = sum(_PIXEL_BYTES[kind] for kind in dataset.cameras.values()) * size[0] * size[1]
    needed = pixels * int(sum(dataset.lengths[index] for index in wanted))
    with storage_errors(folder):
        free = shutil.disk_usage(folder.parent).free
    if needed > free:
        raise StorageError(
            f"{folder}: preparing {dataset.path} takes {needed / 1e9:.1f} GB, and the disk has "
            f"{free / 1e9:.1f} GB left. Set ARMILLARY_CACHE to a folder with more room, or take "
            "smaller pictures or fewer episodes."
        )


def _check_hashes(dataset: Dataset, index: int, hashes: dict[str, str]) -> None:
    for name, sha256 in hashes.items():
        try:
            found = file_sha256(dataset.path / name)
        except OSError as error:
            raise DatasetError(
                f"{dataset.path}: episode {index}: {name} cannot be read ({error.strerror})."
            ) from error
        if found != sha256:
            raise DatasetError(
                f"{dataset.path}: episode {index}: {name} is damaged (its hash differs from the "
                "manifest); record it again or skip it."
            )


def _check_count(dataset: Dataset, index: int, name: str, count: int, want: int) -> None:
    if count != want:
        raise DatasetError(
            f"{dataset.path}: episode {index}: {name!r} has {count} steps, {want} are wanted."
        )


def _wanted(dataset: Dataset, episodes: Sequence[int] | np.ndarray | None) -> list[int]:
    wanted = range(len(dataset)) if episodes is None else episodes
    indices = [int(index) for index in wanted]
    if len(set(indices)) != len(indices) or not indices:
        raise ConfigError("The episodes to prepare must be at least one, and each only once.")
    for index in indices:
        dataset.check_index(index)
    return indices
