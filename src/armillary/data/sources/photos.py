"""Photographs with poses, as structure from motion leaves them: no clock, one order per folder.

Files are taken in the order of the numbers in their names. Pictures of one folder are one
recording, for another folder is another camera or another walk.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
from jaxtyping import Int64

from armillary.data.sources.source import IngestOptions, natural

FPS = 10  # photographs have no clock: a step is a tenth of a second unless fps is passed


def by_folder(names: Sequence[str]) -> dict[str, list[int]]:
    """Return the indices of the names by their folder, in the order of the numbers in them."""
    groups: dict[str, list[int]] = {}
    for index in sorted(range(len(names)), key=lambda i: natural(names[i])):
        groups.setdefault(str(PurePosixPath(names[index]).parent), []).append(index)
    return groups


def step_times(steps: int, options: IngestOptions) -> Int64[np.ndarray, " T"]:
    """Return evenly spaced times in nanoseconds."""
    return np.rint(np.arange(steps) * 1e9 / (options.fps or FPS)).astype(np.int64)
