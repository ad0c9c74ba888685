"""Recording: what the benches read; a tabletop recording is made when none is given."""

from __future__ import annotations

from pathlib import Path

from armillary.core.cores import core_count
from armillary.core.progress import Progress
from armillary.data import Dataset, open_dataset
from armillary.worlds import record


def open_or_record(
    data: Path | None, out: Path, episodes: int, steps: int, progress: Progress
) -> Dataset:
    """Open a dataset, or record the tabletop world into ``out`` with its default sensors.

    Args:
        data: a dataset to use, or None.
        out: folder of the bench; a recording that was begun there is finished and used.
        episodes: how many to record.
        steps: steps of each.
        progress: called after each episode.
    """
    if data is not None:
        return open_dataset(data)
    path = out / f"tabletop-{episodes}x{steps}"
    workers, resume = core_count(), path.exists()
    record("tabletop", path, episodes, steps, workers=workers, resume=resume, progress=progress)
    return open_dataset(path)
