"""Files: write beside, then rename, so that nobody ever reads half of anything."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from armillary.core.errors import FormatError, StorageError

MAX_JSON_BYTES = 64 << 20


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; on success it takes its place in one step.

    Raises:
        StorageError: the disk is full or not writable; ``path`` is as it was before.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield beside
            _flush_to_disk(beside)
            beside.replace(path)
        finally:
            _remove(beside)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a new empty folder beside ``path``; on success it takes its place (old one removed).

    Raises:
        StorageError: the disk is full or not writable; ``path`` is as it was before.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    with storage_errors(path):
        try:
            # what stands there was left by a killed process that had our number
            _remove(beside)
            beside.mkdir(parents=True, exist_ok=False)
            yield beside
            _swap_folder(beside, path)
        finally:
            _remove(beside)


@contextmanager
def claimed_folder(path: Path) -> Iterator[None]:
    """Make a folder, which goes again if an error leaves it empty.

    Raises:
        StorageError: it cannot be made.
    """
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    with storage_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # it holds something
            for folder in made:
                folder.rmdir()
        raise


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system says about a write into one sentence.

    Raises:
        StorageError: no space left, read-only, not permitted, or a file where a folder belongs.
    """
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        sentence = _sentence(path, error)
        if sentence is None:
            raise
        raise StorageError(sentence) from error


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, in one step. NaN is refused.

    Raises:
        StorageError: the disk is full or not writable.
    """
    with replacing(path) as beside:
        beside.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file of bounded size.

    Raises:
        FormatError: it is missing, larger than 64 MiB, or not JSON.
    """
    if not path.is_file():
        raise FormatError(f"{path}: there is no such file; a JSON file was expected there.")
    if path.stat().st_size > MAX_JSON_BYTES:
        raise FormatError(f"{path}: larger than {MAX_JSON_BYTES >> 20} MiB; refused as JSON.")
    try:
        return json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: not valid JSON ({error}).") from error


def _sentence(path: Path, error: OSError) -> str | None:
    full = (errno.ENOSPC, errno.EDQUOT)
    if error.errno in full:
        return f"{path}: the disk is full; free some space and run the command again."
    # ENOENT: some file systems (/proc, /sys) say so where nothing may be made.
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT):
        return f"{path}: not writable; choose another folder with --out or change its permissions."
    if error.errno == errno.ENAMETOOLONG:
        return f"{path}: the name is too long for this file system; choose a shorter one."
    if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
        return f"{path}: a file stands where a folder is wanted (or the reverse); move it away."
    return None


def _swap_folder(beside: Path, path: Path) -> None:
    if not path.exists():
        beside.replace(path)
        return
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    _remove(old)
    path.replace(old)
    beside.replace(path)
    shutil.rmtree(old)


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
