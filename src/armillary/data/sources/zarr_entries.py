"""Zarr entries: the files of a Zarr in a folder or a zip, none of which leads out of it.

Source: Zarr, storage specification version 2 and core specification version 3; PKWARE APPNOTE 4.3
(zip).
"""

from __future__ import annotations

import itertools
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

from armillary.core.errors import FormatError
from armillary.data.sources.damaged import damaged

MAX_NAMES = 10_000  # of arrays
_MAX_DIRECTORY_BYTES = 1 << 30  # of a zip; 100 bytes or more a member
_STORED_OR_DEFLATED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def zarr_errors(where: str) -> AbstractContextManager[None]:
    """Turn whatever zarr, numcodecs or zipfile raises for a damaged file into one sentence."""
    return damaged(where, "Zarr", EOFError, zipfile.BadZipFile, zlib.error, struct.error)


@runtime_checkable
class Entries(Protocol):
    """The files of a Zarr by their keys, such as ``data/img/0.0.0.0``."""

    def read(self, key: str, most: int) -> bytes | None:
        """Return a file's bytes; None where there is none.

        Raises:
            FormatError: it is larger than ``most`` bytes, or leads out of the Zarr.
        """
        ...

    def names(self, group: str) -> list[str]:
        """Return the names of what lies in a group, sorted."""
        ...


@dataclass(frozen=True)
class _Folder:
    root: Path

    def read(self, key: str, most: int) -> bytes | None:
        path = self.root / key
        if not path.is_file():
            return None
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise FormatError(f"{path}: leads out of the folder by a link; refused.")
        if (size := path.stat().st_size) > most:
            raise FormatError(f"{path}: has {size:,} bytes, {most:,} can be read.")
        return path.read_bytes()

    def names(self, group: str) -> list[str]:
        folder = self.root / group
        if not folder.is_dir() or not folder.resolve().is_relative_to(self.root.resolve()):
            return []
        return _few(self.root, (each.name for each in folder.iterdir()))


@dataclass(frozen=True)
class _Zip:
    path: Path
    file: zipfile.ZipFile
    before: str  # what stands before each key: nothing, or a folder and a slash

    def read(self, key: str, most: int) -> bytes | None:
        try:
            member = self.file.getinfo(self.before + key)
        except KeyError:
            return None
        if member.compress_type not in _STORED_OR_DEFLATED:
            raise FormatError(
                f"{self.path}: {key} is packed by method {member.compress_type} of zip; stored and "
                "deflated can be read. Zip it again."
            )
        if member.file_size > most:
            raise FormatError(
                f"{self.path}: {key} has {member.file_size:,} bytes, {most:,} can be read."
            )
        with self.file.open(member) as opened_member:
            return opened_member.read(most)

    def names(self, group: str) -> list[str]:
        start = f"{self.before}{group}/"
        found = (name[len(start) :] for name in self.file.namelist() if name.startswith(start))
        names = {
            name.split("/", 1)[0] for name in found if name.endswith(("/.zarray", "/zarr.json"))
        }
        return _few(self.path, names)


def _few(path: Path, names: Iterable[str]) -> list[str]:
    found = sorted(itertools.islice(names, MAX_NAMES + 1))
    if len(found) > MAX_NAMES:
        raise FormatError(f"{path}: holds more than {MAX_NAMES:,} names in a group; refused.")
    return found


@contextmanager
def opened(path: Path, markers: tuple[str, ...]) -> Iterator[Entries]:
    """Yield the files of a folder or zip.

    Args:
        path: folder, or a zip whose root or only folder is a Zarr.
        markers: keys of which the Zarr must have one; it tells where in a zip it is.

    Raises:
        FormatError: it is no zip, or is damaged.
    """
    if path.is_dir():
        yield _Folder(path)
        return
    with zarr_errors(str(path)):
        with path.open("rb") as file:
            size = _directory_bytes(file)
        if size > _MAX_DIRECTORY_BYTES:
            raise FormatError(f"{path}: lists more files than can be read ({size:,} bytes).")
        archive = zipfile.ZipFile(path)
    with archive:
        tops = {
            name.removesuffix(marker)
            for name in archive.namelist()
            for marker in markers
            if name.endswith(marker)
        }
        ends = sorted(top for top in tops if not top or top.endswith("/"))
        yield _Zip(path, archive, ends[0] if ends else "")


def _directory_bytes(file: BinaryIO) -> int:
    """Return the size that a zip gives for the list of its files; 0 where it has none."""
    length = file.seek(0, 2)
    start = max(0, length - (1 << 16) - 22)
    file.seek(start)
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or at + 22 > len(tail):
        return 0
    (size,) = struct.unpack_from("<I", tail, at + 12)
    if at >= 20 and tail[at - 20 : at - 16] == b"PK\6\7":
        (place,) = struct.unpack_from("<Q", tail, at - 12)
        file.seek(min(place, length))
        record = file.read(56)
        if len(record) == 56 and record[:4] == b"PK\6\6":
            (larger,) = struct.unpack_from("<Q", record, 40)
            size = max(size, larger) if size != 0xFFFFFFFF else larger
    return size
