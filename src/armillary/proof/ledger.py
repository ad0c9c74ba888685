"""Ledger: a file that only grows, in which every line is signed and names the one before it.

It fixes the order of things and counts attempts. It cannot show what was never written into it;
fresh seeds do that (see ``seeds.py``). A process that is killed while it appends leaves a line
without its end, which is named and cut only when somebody says so.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from armillary.core.errors import CheckFailedError, ConfigError, FormatError
from armillary.core.files import storage_errors
from armillary.proof.entry import Entry, check_follows, make_entry, parse_entry
from armillary.proof.keys import PublicKey, SigningKey, public_key
from armillary.proof.locks import locked
from armillary.proof.merkle import consistency_proof, inclusion_proof, tree_root
from armillary.proof.note import Checkpoint, origin_of
from armillary.proof.order import History, history_of

MAX_ENTRIES = 100_000
_MAX_BYTES = 256 << 20


@dataclass(frozen=True)
class Ledger:
    """A ledger whose chain, signatures and order hold.

    Attributes:
        entries: in order; the first is the genesis.
        history: the same, by what they are about.
    """

    entries: tuple[Entry, ...]
    history: History = field(repr=False, compare=False)

    @property
    def owner(self) -> PublicKey:
        """The key that signed every entry."""
        return public_key(self.entries[0].body["public_key"])

    @property
    def genesis(self) -> str:
        """Hash of the first entry."""
        return self.entries[0].hash

    @property
    def size(self) -> int:
        """Entries."""
        return len(self.entries)

    @property
    def root(self) -> str:
        """Root of the Merkle tree over all entries, hexadecimal."""
        return self.root_at(self.size)

    @property
    def checkpoint(self) -> Checkpoint:
        """Size and root under the ledger's name."""
        return Checkpoint(origin_of(self.genesis), self.size, self.root)

    def root_at(self, size: int) -> str:
        """Return the root over the first ``size`` entries, hexadecimal."""
        return tree_root([entry.leaf for entry in self.entries[:size]]).hex()

    def find(self, name: str) -> Entry:
        """Return the entry whose hash begins so (at least 8 digits).

        Raises:
            ConfigError: there is none, or more than one.
        """
        found = [entry for entry in self.entries if entry.hash.startswith(name)]
        if len(name) < 8 or len(found) != 1:
            raise ConfigError(
                f"{name!r} names {len(found)} entries; give at least 8 digits of an entry's hash."
            )
        return found[0]

    def prove(self, seq: int, size: int | None = None) -> tuple[str, ...]:
        """Return the proof that entry ``seq`` is among the first ``size``, hexadecimal.

        Raises:
            ConfigError: there is no such entry.
        """
        leaves = [entry.leaf for entry in self.entries[: self.size if size is None else size]]
        return tuple(part.hex() for part in inclusion_proof(seq, leaves))

    def consistency(self, old_size: int, size: int | None = None) -> tuple[str, ...]:
        """Return the proof that the ledger only grew since it had ``old_size`` entries.

        Raises:
            ConfigError: it never had so many.
        """
        leaves = [entry.leaf for entry in self.entries[: self.size if size is None else size]]
        return tuple(part.hex() for part in consistency_proof(old_size, leaves))


def create_ledger(path: Path, key: SigningKey, name: str = "", now: str = "") -> Ledger:
    """Begin a ledger.

    Args:
        path: of the file.
        key: of its owner; signs every entry.
        name: who keeps it, for people.
        now: time of the first entry; empty takes the clock's.

    Raises:
        ConfigError: the file exists.
        StorageError: the disk is full or not writable.
    """
    body = {"public_key": key.public.hex, "name": name, "nonce": secrets.token_hex(16)}
    genesis = make_entry(None, "genesis", body, key, now)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{os.getpid()}.new")
        try:
            with beside.open("wb", buffering=0) as file:
                _write(file, genesis.line, 0)
            os.link(beside, path)  # which, unlike a rename, never takes the place of another
        except FileExistsError as error:
            raise ConfigError(f"{path}: exists already; a ledger is never begun again.") from error
        finally:
            beside.unlink(missing_ok=True)
    return Ledger((genesis,), history_of([genesis]))


def append(
    path: Path, key: SigningKey, kind: str, body: Mapping[str, Any], now: str = ""
) -> tuple[Entry, Ledger]:
    """Append an entry and push it to the disk; others who append at the same time wait.

    Args:
        path: of the ledger.
        key: of its owner.
        kind: type of the entry.
        body: what the type asks for.
        now: the time; empty takes the clock's.

    Returns:
        The entry, and the ledger that it ends.

    Raises:
        ConfigError: an unknown type, a key of somebody else, or an entry that the order forbids.
        FormatError: a body that its type does not allow, or a damaged ledger.
        CheckFailedError: the ledger's chain, signatures or order do not hold.
        StorageError: the disk is full or not writable; the ledger is as it was.
    """
    with storage_errors(path), _opened(path, "r+b") as file:
        data = _read(file, path)
        ledger = _ledger(_entries(data, path), path)
        if key.public != ledger.owner:
            raise ConfigError(f"{path}: is kept by another key; use the one that began it.")
        entry = make_entry(ledger.entries[-1], kind, body, key, now)
        history = history_of([*ledger.entries, entry])
        if history.problems:
            problem = history.problems[0]
            raise ConfigError(f"{path}: no {kind} can be entered: {problem.sentence}")
        _write(file, entry.line, len(data))
    return entry, Ledger((*ledger.entries, entry), history)


def read_ledger(path: Path) -> Ledger:
    """Read a ledger and check chain, signatures and order.

    Raises:
        FormatError: damaged: not entries, or a last line without its end.
        CheckFailedError: entries were changed, moved or signed by others, or break the order.
    """
    return _ledger(read_entries(path), path)


def read_entries(path: Path) -> tuple[Entry, ...]:
    """Read a ledger's entries and check chain and signatures, but not the order.

    Raises:
        FormatError: damaged: not entries, or a last line without its end.
        CheckFailedError: entries were changed, moved or signed by others.
    """
    with _opened(path, "rb") as file:
        return _entries(_read(file, path), path)


def cut_torn_line(path: Path) -> int:
    """Remove a last line without its end, as a killed append leaves it.

    Returns:
        How many bytes were removed; 0 where the last line is whole.

    Raises:
        FormatError: there is no ledger.
        StorageError: the file is not writable.
    """
    with storage_errors(path), _opened(path, "r+b") as file:
        data = _read(file, path)
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            file.truncate(whole)
            os.fsync(file.fileno())
    return len(data) - whole


def _entries(data: bytes, path: Path) -> tuple[Entry, ...]:
    lines = data.split(b"\n")
    if torn := lines.pop():
        raise FormatError(
            f"{path}: the last line has no end ({len(torn)} bytes); whoever wrote it was killed. "
            f"Cut it with: armillary proof ledger {path} --cut"
        )
    if not lines or len(lines) > MAX_ENTRIES:
        raise FormatError(f"{path}: {len(lines)} lines; a ledger has 1 to {MAX_ENTRIES:,}.")
    entries: list[Entry] = []
    owner: PublicKey | None = None
    for number, line in enumerate(lines, start=1):
        where = f"{path}, line {number}"
        entry = parse_entry(line, where)
        owner = owner or _owner(entry, where)
        check_follows(entry, entries[-1] if entries else None, where)
        if not entry.signed_by(owner):
            raise CheckFailedError(f"{where}: not signed by the ledger's key, or changed since.")
        entries.append(entry)
    return tuple(entries)


def _owner(entry: Entry, where: str) -> PublicKey:
    if entry.type != "genesis":
        raise CheckFailedError(f"{where}: a ledger begins with its genesis.")
    return public_key(entry.body["public_key"])


def _ledger(entries: Sequence[Entry], path: Path) -> Ledger:
    history = history_of(entries)
    if history.problems:
        problem = history.problems[0]
        raise CheckFailedError(f"{path}, entry {problem.seq} ({problem.rule}): {problem.sentence}")
    return Ledger(tuple(entries), history)


def _write(file: IO[bytes], line: bytes, size: int) -> None:
    """Write a line at the end, all of it or nothing."""
    try:
        file.seek(size)
        rest = memoryview(line)
        while rest:
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())
    except OSError:
        file.truncate(size)
        raise


def _read(file: IO[bytes], path: Path) -> bytes:
    if os.fstat(file.fileno()).st_size > _MAX_BYTES:
        raise FormatError(f"{path}: larger than {_MAX_BYTES >> 20} MiB; refused as a ledger.")
    return file.read()


@contextmanager
def _opened(path: Path, mode: str) -> Iterator[IO[bytes]]:
    if path.is_symlink() or not path.is_file():
        raise FormatError(f"{path}: there is no ledger; begin one with: armillary proof commit")
    with path.open(mode, buffering=0) as file, locked(file, path, alone=file.writable()):
        yield file
