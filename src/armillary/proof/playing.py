"""Playing: the rows of a run on disk, and what the ledger is told of them as they grow.

So many finished episodes of a row are a chunk, whose root is entered once and must stay so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from armillary.core.errors import CheckFailedError
from armillary.core.progress import Progress
from armillary.evaluation.evaluate import evaluate, resume_records
from armillary.evaluation.manifest import Manifest
from armillary.evaluation.records import Record, append_record, read_records, write_records
from armillary.evaluation.specs import PolicyFactory
from armillary.proof.book import Book
from armillary.proof.entry import Entry
from armillary.proof.episodes import RunFolder, records_root
from armillary.proof.interleaving import Part, interleaved_records
from armillary.proof.suite_worlds import SuiteWorld


@dataclass(frozen=True)
class Row:
    """One actor on one task, and the chunks of it that are entered.

    Attributes:
        folder: of the run.
        book: the ledger.
        start: the run's entry.
        task: its name.
        actor: its name.
        manifest: its episodes.
    """

    folder: RunFolder
    book: Book
    start: Entry
    task: str
    actor: str
    manifest: Manifest

    @property
    def path(self) -> Path:
        """Of its records."""
        return self.folder.records(self.task, self.actor)

    @property
    def chunk(self) -> int:
        """Episodes of a chunk."""
        return self.start.body["chunk"]

    def enter_chunks(self) -> None:
        """Enter every chunk whose episodes are all on disk; those entered must still be so.

        Raises:
            CheckFailedError: one is not.
        """
        entered = self._entered()
        for index, records in enumerate(self._finished()):
            root = records_root(records)
            if index < len(entered):
                if (entered[index]["count"], entered[index]["root"]) != (len(records), root):
                    raise CheckFailedError(
                        f"{self.path}: chunk {index} is not what was entered into the ledger; "
                        "records were changed."
                    )
                continue
            where = {"run": self.start.hash, "task": self.task, "actor": self.actor}
            self.book.add("chunk", {**where, "index": index, "count": len(records), "root": root})

    def _entered(self) -> list[Mapping[str, Any]]:
        run = self.book.read().history.runs[self.start.hash]
        row = (self.task, self.actor)
        bodies = [chunk.body for chunk in run.chunks]
        return [body for body in bodies if (body["task"], body["actor"]) == row]

    def _finished(self) -> list[list[Record]]:
        found = {record.id: record for record in read_records(self.path, cut_off=True)}
        ids = [episode.id for episode in self.manifest.episodes]
        chunks = []
        for at in range(0, len(ids), self.chunk):
            block = ids[at : at + self.chunk]
            if any(name not in found for name in block):
                break
            chunks.append([found[name] for name in block])
        return chunks


def play_alone(row: Row, actor: PolicyFactory, workers: int, progress: Progress) -> None:
    """Let an actor play one row to its end; what a killed run left is kept.

    Args:
        row: on disk.
        actor: makes it.
        workers: processes.
        progress: told after each episode.
    """

    def told(done: int, total: int, note: str = "") -> None:
        if done % row.chunk == 0 and done < total:
            row.enter_chunks()
        progress(done, total, f"{row.task} {row.actor}: {note}")

    world = SuiteWorld.of(row.manifest)
    evaluate(row.manifest, actor, world, workers=workers, progress=told, out=row.path)
    row.enter_chunks()


def play_by_turns(
    rows: Sequence[Row],
    parts: Sequence[Part],
    seed: int,
    workers: int,
    progress: Progress,
    check: Callable[[], None],
) -> None:
    """Let an agent play all its rows to their ends, by turns; what a killed run left is kept.

    Args:
        rows: on disk.
        parts: the same, to be played.
        seed: of the order.
        workers: processes.
        progress: told after each episode.
        check: called after an episode that broke; raises where going on makes no sense.
    """
    found = [
        resume_records(row.path, row.manifest, part.identity)
        for row, part in zip(rows, parts, strict=True)
    ]
    played = {
        (place, position)
        for place, row in enumerate(rows)
        for position, episode in enumerate(row.manifest.episodes)
        if episode.id in found[place]
    }
    total = sum(len(row.manifest.episodes) for row in rows)
    for place, record in interleaved_records(parts, seed, workers, played):
        row, mine = rows[place], found[place]
        append_record(row.path, record)
        mine[record.id] = record
        if record.outcome == "crash":
            check()
        if len(mine) % row.chunk == 0:
            row.enter_chunks()
        solved = sum(one.success for one in mine.values())
        progress(sum(map(len, found)), total, f"{row.task} {row.actor}: {solved} solved")
    for row, mine in zip(rows, found, strict=True):
        write_records(row.path, [mine[episode.id] for episode in row.manifest.episodes])
        row.enter_chunks()
