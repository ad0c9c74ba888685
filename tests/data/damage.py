"""Damage: what a disk or a cut-off copy does to the bytes of a file, and what that may cost."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from armillary.core.errors import ArmillaryError
from armillary.data import IngestOptions, ingest

# Of memory, beyond what is held before a file of some KiB is read: libraries that are imported by
# then, and the encoder of pictures, take most of it.
MOST_BYTES = 256 << 20
_RESET, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


@contextmanager
def little_memory(most: int = MOST_BYTES) -> Iterator[None]:
    """Assert that the process never holds much more memory inside than before.

    The memory of compiled libraries counts, that of other processes does not: a decoder in one of
    its own has a bound of its own. Only Linux tells, so elsewhere nothing is asserted.

    Args:
        most: bytes more than before.
    """
    if not _RESET.exists():
        yield
        return
    _RESET.write_text("5")  # the peak is what is held now
    before = _peak()
    yield
    taken = _peak() - before
    assert taken < most, f"{taken >> 20} MiB were taken, {most >> 20} are allowed"


def _peak() -> int:
    """Return the most bytes that this process held since the peak was reset."""
    [line] = [line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) << 10


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Return the bytes cut off somewhere, or with one to eight bits turned."""
    if chance.random() < 0.25:
        return data[: chance.randrange(len(data))]
    changed = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 8])):
        changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def ingest_damaged(
    folder: Path,
    source: Path,
    fmt: str,
    seed: int,
    runs: int = 50,
    options: IngestOptions | None = None,
) -> None:
    """Ingest a source again and again, each time with another of its files damaged.

    Asserts that each time is an error in words or a dataset, that it takes little memory, and that
    nothing is written beside the datasets.

    Args:
        folder: empty but for ``in``, which holds the source.
        source: what is ingested, in ``folder / "in"``.
        fmt: its format.
        seed: decides which bits are damaged.
        runs: how often.
        options: for the format.
    """
    chance = random.Random(seed)
    files = [file for file in sorted((folder / "in").rglob("*")) if file.is_file()]
    listed = sorted((folder / "in").rglob("*"))
    for number in range(runs):
        file = chance.choice(files)
        whole = file.read_bytes()
        file.write_bytes(mutated(whole, chance))
        try:
            with little_memory():
                found = ingest(source, folder / f"out{number}", fmt, options=options)
        except ArmillaryError as error:
            assert str(error).strip()
            assert not (folder / f"out{number}").exists()
        else:
            assert found.written
        file.write_bytes(whole)
    assert sorted((folder / "in").rglob("*")) == listed
    assert {path.name for path in folder.iterdir()} <= {"in", *(f"out{n}" for n in range(runs))}
