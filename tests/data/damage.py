"""Damage: what a disk or a cut-off copy does to the bytes of a file."""

from __future__ import annotations

import random
from pathlib import Path

from armillary.core.errors import ArmillaryError
from armillary.data import ingest


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Return the bytes cut off somewhere, or with one to eight bits turned."""
    if chance.random() < 0.25:
        return data[: chance.randrange(len(data))]
    changed = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 8])):
        changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def ingest_damaged(folder: Path, source: Path, fmt: str, seed: int, runs: int = 50) -> None:
    """Ingest a source again and again, each time with another of its files damaged.

    Asserts that each time is an error in words or a dataset, and that nothing is written beside
    the datasets.

    Args:
        folder: empty but for ``in``, which holds the source.
        source: what is ingested, in ``folder / "in"``.
        fmt: its format.
        seed: decides which bits are damaged.
        runs: how often.
    """
    chance = random.Random(seed)
    files = [file for file in sorted((folder / "in").rglob("*")) if file.is_file()]
    listed = sorted((folder / "in").rglob("*"))
    for number in range(runs):
        file = chance.choice(files)
        whole = file.read_bytes()
        file.write_bytes(mutated(whole, chance))
        try:
            found = ingest(source, folder / f"out{number}", fmt)
        except ArmillaryError as error:
            assert str(error).strip()
            assert not (folder / f"out{number}").exists()
        else:
            assert found.written
        file.write_bytes(whole)
    assert sorted((folder / "in").rglob("*")) == listed
    assert {path.name for path in folder.iterdir()} <= {"in", *(f"out{n}" for n in range(runs))}
