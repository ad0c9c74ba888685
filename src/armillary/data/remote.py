"""Remote: a dataset behind an ``fsspec`` address, of which one episode's files are here at a time.

    memory://, s3://, gs://, hf://datasets/USER/NAME, file://

What says where episodes lie (``meta``) is fetched when it is opened, an episode's own files when
it is read, and they are deleted when another is. Every file must have the size that was listed.
Where the dataset has a manifest, each is held against its hash, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import numpy as np

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
from armillary.data.dataset import Dataset
from armillary.data.manifest import read_manifest
from armillary.data.opening import checked_dataset

MAX_FILES = 50_000_000
MAX_META_BYTES = 4 << 30  # tables and manifest, which are read into memory
MAX_STEPS = 1 << 32  # of an episode
_TRIES, _PAUSE_S = 5, 1.0  # the pause doubles
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
            DatasetError: there is nothing, or no size is told.
            StorageError: it cannot be reached.
        """
        try:
            system, root = fsspec.core.url_to_fs(address)
        except ImportError as error:
            raise MissingExtraError(f"{address}: {error}. Install that package first.") from error
        except Exception as error:  # each kind of storage has errors of its own
            raise ConfigError(f"{address}: {error}.") from error
        found = _tried(lambda: system.find(root, detail=True), address)
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

    def fetch(self, name: str, to: Path) -> None:
        """Fetch one file; it appears complete or not at all.

        Raises:
            DatasetError: it has another size than was listed.
            StorageError: it cannot be fetched, or the disk is full.
        """
        with storage_errors(to):
            to.parent.mkdir(parents=True, exist_ok=True)
        where = f"{self.root.rstrip('/')}/{name}"
        with replacing(to) as beside:
            _tried(lambda: self.system.get_file(where, str(beside)), f"{self.address}: {name}")
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

    def bring(self, index: int) -> None:
        """Fetch the files of an episode that are not here, and delete those of others.

        Raises:
            DatasetError: a file is not what the manifest promises.
            StorageError: a file cannot be fetched, or the disk is full.
        """
        needed = self._needed(index)
        for name in [name for name in self._held if name not in needed]:
            self._let_go(name)
        for name in needed:
            if name not in self._held:
                self._files.fetch(name, self.path / name)
                self._held[name] = None
                try:
                    self.check(index, name)
                except DatasetError:
                    self._let_go(name)
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
        if "hashes" not in self._shelf:
            self._shelf["hashes"] = read_manifest(self.path) if self.is_ours else {}
        wanted = self._shelf["hashes"].get(index, {}).get(name)
        if wanted is None and index >= 0 and self.is_ours:
            raise DatasetError(
                f"{self.place}: episode {index}: {name} has no hash in the manifest."
            )
        if wanted is not None and file_sha256(self.path / name) != wanted:
            whose = f"episode {index}: " if index >= 0 else ""
            raise DatasetError(
                f"{self.place}: {whose}{name} is damaged (its hash differs from the manifest)."
            )


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
    for name in wanted:
        files.fetch(name, folder / name)
    opened = checked_dataset(folder, files.bytes.__contains__)
    if int(opened.lengths.max()) > MAX_STEPS:
        raise DatasetError(f"{address}: an episode has more than {MAX_STEPS:,} steps.")
    found = RemoteDataset(
        opened.path, opened.info, opened.lengths, opened.places, opened.names, source=files
    )
    for name in wanted:
        found.check(0 if name == layout.sidecar_file(0) else -1, name)
    return found


def _version(entry: Mapping[str, Any]) -> str:
    names = ("ETag", "etag", "md5", "blob_id", "last_modified", "LastModified", "mtime", "created")
    return next((str(entry[name]) for name in names if entry.get(name) is not None), "")


def _tried(work: Callable[[], Any], what: str) -> Any:
    """Return what a call returns; it is made again a few times where a connection fails."""
    for left in reversed(range(_TRIES)):
        try:
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
            time.sleep(_PAUSE_S * 2 ** (_TRIES - 1 - left))
    raise AssertionError("the last attempt returns or raises")
