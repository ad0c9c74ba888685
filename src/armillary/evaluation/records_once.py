"""Records once: an episode counts once, however often its record stands in a file."""

from __future__ import annotations

from pathlib import Path

from armillary.core.errors import FormatError
from armillary.evaluation import Record, read_records
from armillary.evaluation.records import write_records


def read_once(path: Path) -> tuple[Record, ...]:
    """Read records; an episode whose record was written twice is returned once.

    Args:
        path: of the JSON lines; a last line without its end, as a killed run leaves it, is dropped.

    Raises:
        FormatError: the file is damaged, or an episode stands there twice with two outcomes.
    """
    found: dict[str, Record] = {}
    for record in read_records(path, cut_off=True):
        if found.setdefault(record.id, record).sha256 != record.sha256:
            raise FormatError(
                f"{path}: the episode {record.id} stands there twice, with two outcomes; remove "
                "the file and evaluate again."
            )
    return tuple(found.values())


def mend(path: Path) -> None:
    """Write a file of records again without those that stand there twice; a missing one is none.

    Raises:
        FormatError: as ``read_once``.
        StorageError: the file cannot be written.
    """
    if path.is_file() and len(found := read_once(path)) < len(read_records(path, cut_off=True)):
        write_records(path, found)
