"""Making the set: every quadruplet of a set, hashed, by any number of processes, and how fast.

A quadruplet depends on its names alone, so the hash of the set does not depend on the workers: two
people who print the same hash were asked the same.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from armillary.benchmark.machine import provenance
from armillary.core.errors import ConfigError
from armillary.core.hashing import json_sha256
from armillary.core.processes import map_in_processes
from armillary.core.progress import Progress, silent
from armillary.understanding.suites.quadruplets import CONCEPTS, SEEDS, make_quadruplet

_CHUNK = 25  # quadruplets of a task: what goes between processes is then nothing beside the work


def make_set(
    count: int = 500,
    workers: int = 2,
    seed: int = SEEDS["test"],
    progress: Progress = silent,
    command: str = "",
) -> dict[str, Any]:
    """Make and hash a set.

    Args:
        count: quadruplets of each concept.
        workers: processes.
        seed: of the set.
        progress: called after each task.
        command: that does the same again, for the result.

    Returns:
        sha256 of the set and of each concept, quadruplets, seconds, quadruplets_per_s.

    Raises:
        ConfigError: no quadruplets, or no workers.
    """
    if min(count, workers) < 1:
        raise ConfigError(f"count and workers must be at least 1; got {count} and {workers}.")
    tasks = [
        _Task(concept, seed, begin, min(begin + _CHUNK, count))
        for concept in CONCEPTS
        for begin in range(0, count, _CHUNK)
    ]
    started = time.perf_counter()
    hashes = map_in_processes(_Maker(), tasks, workers, progress)
    seconds = time.perf_counter() - started
    concepts = {
        concept: json_sha256(
            [h for task, found in zip(tasks, hashes, strict=True)
             if task.concept == concept for h in found]
        )
        for concept in CONCEPTS
    }  # fmt: skip
    total = count * len(CONCEPTS)
    return {
        "sha256": json_sha256(concepts),
        "concepts": concepts,
        "seed": seed,
        "quadruplets": total,
        "seconds": round(seconds, 2),
        "quadruplets_per_s": round(total / seconds, 1),
        "workers": workers,
        **provenance(command, workers),
    }


@dataclass(frozen=True)
class _Task:
    concept: str
    seed: int
    begin: int
    end: int


@dataclass(frozen=True)
class _Maker:
    def __call__(self) -> Callable[[_Task], list[str]]:
        return _hashes


def _hashes(task: _Task) -> list[str]:
    found = []
    for index in range(task.begin, task.end):
        made = make_quadruplet(task.concept, index, task.seed)
        digest = hashlib.sha256(made.frames.tobytes())
        digest.update(made.pans.tobytes())
        found.append(digest.hexdigest())
    return found
