"""Exercise 5, a format: episodes as NumPy files ``*.npz`` with ``rgb`` and ``action``.

``rgb`` is uint8 [T H W 3] and ``action`` is float [T-1 A]. Its line in ``FORMATS``
(``data/ingest.py``), with this module imported above:

    "npz": npz,
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from armillary.core.errors import ConfigError, FormatError
from armillary.core.files import replacing_folder
from armillary.core.progress import Progress
from armillary.core.values import Episode, Stream
from armillary.data.sources.source import IngestOptions, IngestSummary, files_with, has_file_with
from armillary.data.writer import DatasetWriter

LOOKS_FOR = ("*.npz",)
OPTIONS = ("fps",)
MAX_BYTES = 1 << 30  # of a file, unpacked


def detect(path: Path) -> bool:
    """Say whether there is a file of this name."""
    return has_file_with(path, (".npz",))


def ingest(source: Path, out: Path, progress: Progress, options: IngestOptions) -> IngestSummary:
    """Write every file as an episode; what is damaged is skipped and named.

    Raises:
        ConfigError: no rate was given.
        FormatError: no file is usable.
    """
    if options.fps is None:
        raise ConfigError(f"{source}: the files do not say how fast they are; pass --fps.")
    files = sorted(files_with(source, (".npz",)))
    skipped: list[tuple[Path, str]] = []
    kinds, written, frames = set[tuple[int, ...]](), 0, 0
    with replacing_folder(out) as beside:
        writer = DatasetWriter(beside, options.fps, about={"ingested": "npz"})
        for done, path in enumerate(files):
            try:
                episode = _read(path, options)
                kinds.add(_shape(episode))
                if len(kinds) > 1:
                    kinds.remove(_shape(episode))
                    raise FormatError(f"{path}: has pictures or actions of another size.")
                writer.write(written, episode)
            except FormatError as error:
                skipped.append((path, str(error)))
            else:
                written, frames = written + 1, frames + len(episode)
            progress(done + 1, len(files))
        if not written:
            raise FormatError(skipped[0][1] if skipped else f"{source}: holds no *.npz.")
        writer.finalize()
    return IngestSummary(written, tuple(skipped), frames, out)


def _read(path: Path, options: IngestOptions) -> Episode:
    try:
        with zipfile.ZipFile(path) as parts:
            size = sum(part.file_size for part in parts.infolist())
        if size > MAX_BYTES:  # said before memory is taken
            raise FormatError(f"{path}: unpacks to {size:,} bytes, more than {MAX_BYTES:,}.")
        with np.load(path, allow_pickle=False) as found:
            rgb, action = (found[name] for name in _needed(path, found))
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise FormatError(f"{path}: cannot be read: {error}.") from error
    if rgb.dtype != np.uint8 or rgb.ndim != 4 or rgb.shape[3] != 3 or len(rgb) < 2:
        raise FormatError(f"{path}: rgb is uint8 [T H W 3], got {rgb.dtype} {[*rgb.shape]}.")
    if action.dtype.kind != "f" or action.ndim != 2 or len(action) != len(rgb) - 1:
        raise FormatError(
            f"{path}: action is float [{len(rgb) - 1} A], one for each move; got {action.dtype} "
            f"{[*action.shape]}."
        )
    if not np.isfinite(action).all():
        raise FormatError(f"{path}: an action is not a finite number.")
    assert options.fps is not None
    time_ns = np.round(np.arange(len(rgb)) * 1e9 / options.fps).astype(np.int64)
    return Episode({"rgb": Stream("rgb", rgb)}, time_ns, action.astype(np.float32), path.name)


def _shape(episode: Episode) -> tuple[int, ...]:
    assert episode.actions is not None
    return (*episode.streams["rgb"].values.shape[1:], episode.actions.shape[1])


def _needed(path: Path, found: np.lib.npyio.NpzFile) -> Iterator[str]:
    for name in ("rgb", "action"):
        if name not in found.files:
            raise FormatError(f"{path}: has no array {name}; it has {', '.join(found.files)}.")
        yield name
