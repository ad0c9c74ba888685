"""Picture folder: pictures alone, PNG or JPEG, as the steps of an episode of colour.

A folder is one episode, each folder below it another one. Names tell when pictures were taken
(``name_times.py``); where they do not, ``--fps`` says how many there are in a second, and they are
taken in natural order (frame2 before frame10).

Axes: T steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from armillary.core.errors import FormatError
from armillary.core.progress import Progress
from armillary.data import layout
from armillary.data.sources.counted_steps import encoded_camera, with_notes
from armillary.data.sources.counted_steps import times_ns as evenly
from armillary.data.sources.name_times import ADVICE, TIMED, times_ns
from armillary.data.sources.pictures import read_bytes
from armillary.data.sources.recording import Recording, write_recordings
from armillary.data.sources.source import (
    IngestOptions,
    IngestSummary,
    files_with,
    has_file_with,
    natural,
)

OPTIONS = ("fps", "max_side", "pictures")
SUFFIXES = (".png", ".jpg", ".jpeg")
_PNG, _BITS = b"\x89PNG\r\n\x1a\n", 24  # how it begins, and where it says the bits of a number
LOOKS_FOR = ("*.png or *.jpg or *.jpeg",)


def detect(path: Path) -> bool:
    """Say whether a folder holds a picture; other formats have pictures, too, and come first."""
    return path.is_dir() and not (path / layout.INFO).is_file() and has_file_with(path, SUFFIXES)


def ingest(source: Path, out: Path, progress: Progress, options: IngestOptions) -> IngestSummary:
    """Write the pictures of each folder as an episode.

    Raises:
        FormatError: no picture there, nothing tells when they were taken, or none is usable.
        StorageError: ``out`` cannot be written; nothing is left there.
    """
    folders: dict[Path, list[Path]] = {}
    files = list(files_with(source, SUFFIXES))
    for file in sorted(files, key=lambda file: natural(file.as_posix())):
        folders.setdefault(file.parent, []).append(file)
    if not folders or source.is_file():
        raise FormatError(f"{source}: a folder of pictures (*.png, *.jpg) was expected.")
    times = {folder: _times(folder, inside, options) for folder, inside in folders.items()}
    found = [
        (folder, partial(_read, _name(source, folder), inside, times[folder], options.fps))
        for folder, inside in folders.items()
    ]
    summary = write_recordings(found, out, progress, options, {"ingested": "pictures"})
    notes = [TIMED] if any(each is not None for each in times.values()) else []
    others = sorted({*files_with(source, ("",))} - {*files})
    notes += [_others_said(source, others)] if others else []
    return with_notes(summary, notes)


def _times(
    folder: Path, files: Sequence[Path], options: IngestOptions
) -> Int64[np.ndarray, " T"] | None:
    """Return the times that names tell, or None where ``--fps`` says them."""
    try:
        times = times_ns([file.stem for file in files], str(folder))
    except FormatError:
        if options.fps is None:
            raise
        return None
    if times is None and options.fps is None:
        names = ", ".join(file.name for file in files[:2])
        raise FormatError(
            f"{folder}: nothing tells when its {len(files)} pictures ({names}, ...) were taken; "
            f"{ADVICE}"
        )
    return times


def _read(
    name: str, files: Sequence[Path], taken: Int64[np.ndarray, " T"] | None, fps: float | int | None
) -> Recording:
    if taken is None:
        time_ns = evenly(len(files), fps or 1.0)
    else:
        order = np.argsort(taken)
        files, time_ns = [files[at] for at in order], taken[order]

    def pictures(steps: Sequence[int]) -> Iterator[bytes]:
        return (_colour(files[step]) for step in steps)

    camera = encoded_camera(pictures, name)
    rate = fps if taken is None else None
    return Recording(name, time_ns, np.ones(len(files), bool), {"rgb": camera}, fps=rate)


def _colour(file: Path) -> bytes:
    data = read_bytes(file)
    if data[:8] == _PNG and data[_BITS : _BITS + 1] == b"\x10":
        raise FormatError(
            f"{file}: has 16 bits a pixel, as depth has; depth is read beside colour and poses, "
            "e.g. in the formats tum and rgbd. Take colour of 8 bits."
        )
    return data


def _name(source: Path, folder: Path) -> str:
    return (Path(source.resolve().name) / folder.relative_to(source)).as_posix()


def _others_said(source: Path, others: Sequence[Path]) -> str:
    shown = ", ".join(file.relative_to(source).as_posix() for file in others[:3])
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    return f"files that are no pictures are left out: {shown}{more}"
