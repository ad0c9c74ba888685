"""LAS points: the columns of a LAS or LAZ file through laspy; LAZ in a process of its own.

The decoder of LAZ (lazrs) ends its whole process when a damaged file asks it for more memory than
there is, which nothing can catch: so it gets a process with a bound on its memory, and only that
one ends. This file is run there as a program, hence it imports nothing of armillary.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

CHUNK_POINTS = 1_000_000
_DIMENSIONS = ("intensity", "red", "green", "blue")


def read_columns(path: Path) -> dict[str, np.ndarray]:
    """Return x, y, z (float64, the file's unit), intensity and colours where there are any, [P].

    Points that are marked as withheld come as well; ``withheld`` says which.

    Raises whatever laspy raises at damaged files.
    """
    import laspy

    parts: dict[str, list[np.ndarray]] = {}
    # records behind the points are read by ``las_header``, which bounds them
    with path.open("rb") as file, laspy.LasReader(file, read_evlrs=False) as reader:
        names = [n for n in _DIMENSIONS if n in reader.header.point_format.dimension_names]
        for chunk in reader.chunk_iterator(CHUNK_POINTS):
            for name in ("x", "y", "z", "withheld", *names):
                parts.setdefault(name, []).append(np.array(chunk[name]))
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def main(arguments: Sequence[str]) -> None:
    """Decode a file within bounded memory.

    Args:
        arguments: the file, the ``.npz`` to write, and bytes of memory that may be taken.
    """
    path, out, limit = arguments
    # Windows has no such bound, macOS may not grant it; the process is apart all the same
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (int(limit), int(limit)))
    np.savez(out, allow_pickle=False, **read_columns(Path(path)))


if __name__ == "__main__":
    main(sys.argv[1:])
