"""E57 points: the columns of all scans of an E57 file through pye57, in a process of its own.

The library is compiled code that checks little of what a file promises. This file is run as a
program by ``decoder_process.py``, hence it imports nothing of armillary.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

# what a scan of ours is called by pye57
_NAMES = {
    "x": "cartesianX",
    "y": "cartesianY",
    "z": "cartesianZ",
    "intensity": "intensity",
    "red": "colorRed",
    "green": "colorGreen",
    "blue": "colorBlue",
}


def read_columns(path: Path, most: int) -> dict[str, np.ndarray]:
    """Return x, y, z in metres in the file's frame, and what all scans have besides, [P].

    ``scans`` [1] says how many there are. Points that the scanner marked as invalid are left out.

    Args:
        path: the file.
        most: points that it may promise.

    Raises whatever pye57 raises at damaged files, and ValueError where too much is promised.
    """
    import pye57

    file = pye57.E57(str(path))
    headers = [file.get_header(index) for index in range(file.scan_count)]
    promised = sum(header.point_count for header in headers)
    if promised > most:
        raise ValueError(f"its header promises {promised:,} points and {most:,} are read at most")
    parts: list[dict[str, np.ndarray]] = []
    for index, header in enumerate(headers):
        if header.point_count:
            parts.append(
                file.read_scan(index, intensity=True, colors=True, ignore_missing_fields=True)
            )
    if not parts:
        raise ValueError("it holds no point")
    shared = [name for name, theirs in _NAMES.items() if all(theirs in part for part in parts)]
    columns = {name: np.concatenate([part[_NAMES[name]] for part in parts]) for name in shared}
    return {**columns, "scans": np.array([len(parts)])}


def main(arguments: Sequence[str]) -> None:
    """Decode a file within bounded memory.

    Args:
        arguments: the file, the ``.npz`` to write, bytes of memory that may be taken, and most
            points.
    """
    path, out, limit, most = arguments
    # Windows has no such bound, macOS may not grant it; the process is apart all the same
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (int(limit), int(limit)))
    np.savez(out, allow_pickle=False, **read_columns(Path(path), int(most)))


if __name__ == "__main__":
    main(sys.argv[1:])
