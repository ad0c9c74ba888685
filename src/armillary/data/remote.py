"""Remote: a dataset behind an ``fsspec`` address, of which one episode's files are here at a time.

    memory://, s3://, gs://, hf://datasets/USER/NAME, file://

What says where episodes lie (``meta``) is fetched when it is opened, an episode's own files when
it is read, and they are deleted when another is. Who says which episodes he will read (``ahead``)
has the next ones fetched meanwhile. Every file must have the size that was listed. Where the
dataset has a manifest, each is held against its hash, too.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
from fsspec.callbacks import Callback

from armillary.core.errors import (
    ArmillaryError,
    ConfigError,
    DatasetError,
    MissingExtraError,
    StorageError,
)
from armillary.core.files import replacing, storage_errors
from armillary.core.hashing import file_sha256, json_sha256
from armillary.core.values import Episode
from armillary.data import layout
from armillary.data.ahead import Ahead, Storage, Wanted
from armillary.data.dataset import Dataset
from armillary.data.manifest import read_manifest
from armillary.data.opening import checked_dataset

MAX_FILES = 50_000_000
MAX_META_BYTES = 4 << 30  # tables and manifest, which are read into memory
MAX_STEPS = 1 << 32  # of an episode
_TRIES, _PAUSE_S = 5, 1.0  # the pause doubles
_STOPPED = "Fetching was stopped. Go on later with --resume."
_META = (layout.INFO, layout.STATS, layout.TASKS, layout.ABOUT, layout.MANIFEST, "README.md")


@dataclass(frozen=True)
class Files:
    """The files behind an address, by their names below it.

    Attributes:
        address: as it was given.
        system: of ``fsspec``.
        root: below which they lie, as ``system`` writes it.
        bytes: size of each.
        versions: what changes when a file does: its checksum or time where there is one.
    """

    address: str
    system: Any
    root: str
    bytes: Mapping[str, int]
    versions: Mapping[str, str]

    @classmethod
    def listed(cls, address: str) -> Files:
        """List them.

        Raises:
            ConfigError: an address that fsspec does not know.
            MissingExtraError: a package for this kind of address is not installed.
            DatasetError: there is nothing, or no size is given.
            StorageError: it cannot be reached.
        """
        try:
            system, root = fsspec.core.url_to_fs(address)
        except ImportError as error:
            raise MissingExtraError(f"{address}: {error}. Install that package first.") from error
        except Exception as error:  # each kind of storage has errors of its own
            raise ConfigError(f"{address}: {error}.") from error
        found = _tried(lambda: system.find(root, detail=True), address, threading.Event())
        prefix = root.rstrip("/") + "/" if root.strip("/") else root
        entries = {
            name.removeprefix(prefix): entry
            for name, entry in found.items()
            if name.startswith(prefix) and layout.is_inside(name.removeprefix(prefix))
        }
        if not entries:
            raise DatasetError(f"{address}: there are no files below it.")
        if len(entries) > MAX_FILES or any(entry.get("size") is None for entry in entries.values()):
            raise DatasetError(
                f"{address}: this storage does not tell the sizes of files, or there are more than "
                f"{MAX_FILES:,}. Copy the dataset here."
            )
        sizes = {name: int(entry["size"]) for name, entry in entries.items()}
        return cls(address, system, root, sizes, {n: _version(e) for n, e in entries.items()})

    def fetch(self, name: str, to: Path, stop: threading.Event) -> None:
        """Fetch one file; it appears complete or not at all.

        Args:
            name: of the file, below the address.
            to: where it goes.
            stop: ends it early, with an error, once it is set by another thread.

        Raises:
            DatasetError: it has another size than was listed.
            StorageError: it cannot be fetched, the disk is full, or it was stopped.
        """
        with storage_errors(to):
            to.parent.mkdir(parents=True, exist_ok=True)
        where, what = f"{self.root.rstrip('/')}/{name}", f"{self.address}: {name}"
        with replacing(to) as beside:
            _tried(lambda: self.system.get_file(where, str(beside), _Stops(stop)), what, stop)
            if beside.stat().st_size != self.bytes[name]:
                raise DatasetError(
                    f"{self.address}: {name} has {beside.stat().st_size:,} bytes, and "
                    f"{self.bytes[name]:,} were listed; it changed, or was cut off."
                )


@dataclass(frozen=True)
class RemoteDataset(Dataset):
    """A dataset whose episodes are fetched when they are read.

    Attributes:
        source: its files.
    """

    source: Files | None = None
    _held: dict[str, None] = field(default_factory=dict, repr=False, compare=False)

    @property
    def place(self) -> str:
        """Where it is: its address."""
        return self._files.address

    @property
    def checked_when_read(self) -> bool:
        """Whether files are held against the manifest as they are read: always."""
        return True

    @property
    def _files(self) -> Files:
        assert self.source is not None
        return self.source

    def identity(self) -> str:
        """Return a hash that changes when the dataset does; nothing is fetched for it."""
        if "identity" not in self._shelf:  # each block asks, and the list of files may be long
            self._shelf["identity"] = self._hash()
        return self._shelf["identity"]

    def _hash(self) -> str:
        if self.is_ours:
            return file_sha256(self.path / layout.MANIFEST)
        rows = sorted((name, size, self._files.versions[name]) for name, size in self.sizes())
        return json_sha256([file_sha256(self.path / layout.INFO), rows])

    def sizes(self) -> Iterator[tuple[str, int]]:
        """Yield name and bytes of all its files."""
        yield from self._files.bytes.items()

    def episode_bytes(self, index: int) -> int:
        """Return how much is fetched to read an episode."""
        return sum(self._files.bytes[name] for name in self._needed(index))

    def sidecar(self, index: int) -> dict:
        """Return what armillary knows about an episode beyond LeRobot's columns."""
        if index:
            self.bring(index)
        return super().sidecar(index)

    def read_low(self, index: int) -> Episode:
        """Return one episode without its pictures and clouds, after it was fetched.

        Raises:
            DatasetError: as ``Dataset.read_low``, or a file is not what the manifest promises.
            StorageError: it cannot be fetched, or the disk is full.
        """
        self.check_index(index)
        self.bring(index)
        return super().read_low(index)

    def frames(
        self, index: int, name: str, steps: Sequence[int] | None = None
    ) -> Iterator[np.ndarray]:
        """Yield the pictures of one camera, after the episode was fetched."""
        self.check_index(index)
        self.bring(index)
        yield from super().frames(index, name, steps)

    def points(
        self, index: int, name: str, steps: Sequence[int] | None = None
    ) -> Iterator[np.ndarray]:
        """Yield the clouds of one stream, after the episode was fetched."""
        self.check_index(index)
        self.bring(index)
        yield from super().points(index, name, steps)

    @contextmanager
    def ahead(
        self, episodes: Sequence[int], made_bytes: Sequence[int] = (), room: int = sys.maxsize
    ) -> Iterator[None]:
        """Fetch the files of the next episodes while one is read, as long as this is open.

        Args:
            episodes: in the order in which they will be read. Another ends the fetching ahead.
            made_bytes: what is kept of each on the same disk once it was read; nothing if empty.
            room: bytes on disk at most, of files that are here or on their way and of what is kept.
        """
        kept = made_bytes or [0] * len(episodes)
        pairs = zip(episodes, kept, strict=True)
        wanted = [Wanted(index, tuple(self._needed(index)), made) for index, made in pairs]
        self._hashes()  # read now: several threads ask for them later
        storage = Storage(self._files.bytes, self._held, self._fetch, self._let_go)
        with Ahead(wanted, storage, room) as ahead:
            self._shelf["ahead"] = ahead
            try:
                yield
            finally:
                self._shelf.pop("ahead", None)

    def stop_fetching(self) -> None:
        """Let the reader of this dataset fail with ``StorageError`` soon; for another thread."""
        ahead = self._shelf.get("ahead")
        if ahead is not None:
            ahead.stop()

    def bring(self, index: int) -> None:
        """Fetch the files of an episode that are not here, and delete those of others.

        Raises:
            DatasetError: a file is not what the manifest promises.
            StorageError: a file cannot be fetched, or the disk is full.
        """
        ahead = self._shelf.get("ahead")
        if ahead is not None and ahead.covers(index):
            ahead.bring(index)
            return
        if ahead is not None:
            ahead.close()  # else both might fetch the same file
        with self.ahead([index]):
            self._shelf["ahead"].bring(index)

    def _fetch(self, index: int, name: str, stop: threading.Event) -> None:
        path = self.path / name
        self._files.fetch(name, path, stop)
        try:
            self.check(index, name)
        except BaseException:  # damaged, or the disk fails: it is not here
            path.unlink(missing_ok=True)
            raise

    def _let_go(self, name: str) -> None:
        """Delete a file, and close the reader that would keep its space."""
        path = self.path / name
        for key in [k for k, one in self._shelf.items() if getattr(one, "path", None) == path]:
            del self._shelf[key]
        path.unlink(missing_ok=True)
        del self._held[name]

    def _needed(self, index: int) -> list[str]:
        kept = {layout.sidecar_file(0)}
        beams = layout.beams_file(index)
        names = [*self.files(index), *self.companions(index)]
        names += [beams] if self.is_ours and beams in self._files.bytes else []
        return [name for name in dict.fromkeys(names) if name not in kept]

    def check(self, index: int, name: str) -> None:
        """Hold a file against the manifest, where there is one.

        Args:
            index: of the episode that it belongs to, -1 for files of all.
            name: relative to the dataset.

        Raises:
            DatasetError: it is not what the manifest promises.
        """
        wanted = self._hashes().get(index, {}).get(name)
        if wanted is None and index >= 0 and self.is_ours:
            raise DatasetError(
                f"{self.place}: episode {index}: {name} has no hash in the manifest."
            )
        if wanted is not None and file_sha256(self.path / name) != wanted:
            whose = f"episode {index}: " if index >= 0 else ""
            raise DatasetError(
                f"{self.place}: {whose}{name} is damaged (its hash differs from the manifest)."
            )

    def _hashes(self) -> Mapping[int, Mapping[str, str]]:
        if "hashes" not in self._shelf:
            self._shelf["hashes"] = read_manifest(self.path) if self.is_ours else {}
        return self._shelf["hashes"]


def open_remote(address: str, folder: Path) -> RemoteDataset:
    """Open a LeRobotDataset v3 behind an address, checked as ``open_dataset`` does.

    Args:
        address: of the folder with ``meta/info.json``.
        folder: for what is fetched.

    Raises:
        ConfigError: an address that fsspec does not know.
        MissingExtraError: a package for this kind of address is not installed.
        DatasetError: it is not a v3 dataset, or files are missing.
        StorageError: it cannot be reached, or the disk is full.
    """
    files = Files.listed(address)
    tables = [name for name in files.bytes if name.startswith(f"{layout.EPISODES_FOLDER}/")]
    wanted = [name for name in (*_META, layout.sidecar_file(0)) if name in files.bytes] + tables
    if sum(files.bytes[name] for name in wanted) > MAX_META_BYTES:
        raise DatasetError(f"{address}: its tables are larger than {MAX_META_BYTES >> 30} GiB.")
    _fetch_all(files, wanted, folder)
    opened = checked_dataset(folder, files.bytes.__contains__)
    if int(opened.lengths.max()) > MAX_STEPS:
        raise DatasetError(f"{address}: an episode has more than {MAX_STEPS:,} steps.")
    found = RemoteDataset(
        opened.path, opened.info, opened.lengths, opened.places, opened.names, source=files
    )
    for name in wanted:
        found.check(0 if name == layout.sidecar_file(0) else -1, name)
    return found


def _fetch_all(files: Files, names: Sequence[str], folder: Path) -> None:
    def fetch(_: int, name: str, stop: threading.Event) -> None:
        files.fetch(name, folder / name, stop)

    here: dict[str, None] = {}
    storage = Storage(files.bytes, here, fetch, here.pop)
    with Ahead([Wanted(0, tuple(names))], storage, sys.maxsize) as all_of_them:
        all_of_them.bring(0)


class _Stops(Callback):
    """Ends a fetch between two pieces of a file, where the kind of storage tells of them."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__()
        self._stop = stop

    def relative_update(self, inc: int = 1) -> None:
        """Note more bytes, and raise if they are not wanted any more."""
        super().relative_update(inc)
        if self._stop.is_set():
            raise StorageError(_STOPPED)


def _version(entry: Mapping[str, Any]) -> str:
    names = ("ETag", "etag", "md5", "blob_id", "last_modified", "LastModified", "mtime", "created")
    return next((str(entry[name]) for name in names if entry.get(name) is not None), "")


def _tried(work: Callable[[], Any], what: str, stop: threading.Event) -> Any:
    """Return what a call returns; it is made again a few times where a connection fails."""
    for left in reversed(range(_TRIES)):
        try:
            if stop.is_set():
                raise StorageError(_STOPPED)
            return work()
        except ArmillaryError:
            raise
        except FileNotFoundError as error:
            raise DatasetError(f"{what}: there is nothing there.") from error
        except Exception as error:  # each kind of storage has errors of its own
            if isinstance(error, OSError) and error.errno == 28:
                raise
            if not left:
                raise StorageError(
                    f"{what}: could not be fetched in {_TRIES} attempts ({type(error).__name__}: "
                    f"{error}). Go on later with --resume."
                ) from error
            stop.wait(_PAUSE_S * 2 ** (_TRIES - 1 - left))
    raise AssertionError("the last attempt returns or raises")
