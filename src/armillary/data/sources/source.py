"""Source: what every format that can be ingested has in common.

A source is a module (or anything else) with ``OPTIONS``, ``detect(path) -> bool`` and
``ingest(source, out, progress, options) -> IngestSummary``; one line in
``armillary.data.ingest.FORMATS`` makes it known. It may have ``LOOKS_FOR``: the parts of a folder
of the format (``unknown.py``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Protocol

from armillary.core.errors import ConfigError, unknown_name
from armillary.core.progress import Progress
from armillary.data import layout
from armillary.data.resize import FITS, LETTERBOX, MAX_SIDE, Size
from armillary.data.sources.cloud import metres_per

LEAST_SIDE = 16  # pixels; smaller pictures cannot be encoded well, nor learned from
KEPT = "kept"
PICTURES = (KEPT, "encoded")
Skipped = tuple[tuple[Path, str], ...]


@dataclass(frozen=True)
class IngestSummary:
    """The result of an ingest.

    Attributes:
        written: number of episodes.
        skipped: files and folders that were not usable, with the reason.
        frames: steps in all episodes.
        out: the dataset's folder.
        files: files that were written, with what was done to each.
        notes: what holds for all of them, in sentences.
        left_out: what was left out of recordings that were written, with the reason.
    """

    written: int
    skipped: Skipped
    frames: int
    out: Path
    files: Skipped = ()
    notes: tuple[str, ...] = ()
    left_out: Skipped = ()


@dataclass(frozen=True)
class IngestOptions:
    """What may be chosen.

    Attributes:
        fps: steps per second of the dataset; None takes what the source says (most of the videos,
            but at most 30; the times of the clouds); clouds without times need it.
        max_side: longer side of the pictures at most, in pixels; None takes 256 for videos and
            keeps the size of all others.
        size: width and height of a video dataset's pictures, e.g. ``256x144``; empty takes the
            shape of most videos.
        fit: how a video of another shape is brought to that size: ``letterbox`` adds black bars,
            ``crop`` cuts two edges.
        license: licence of the recordings, kept with every episode.
        replace: whether an existing dataset at ``out`` may be replaced.
        unit: unit of coordinates (``m``, ``mm``, ``ft``, ``us-ft``); None takes what the file says.
        tolerance_s: how far apart in time what belongs to one step may be, in seconds.
        depth_scale: metres of one unit of the stored depth (of one unit of length for COLMAP);
            None takes what the format says.
        intrinsics: fx, fy, cx, cy in pixels (pixel centres at integers), instead of the source's.
        topics: topics of a robot's log to take where several would do.
        action_topic: topic of a robot's log whose commands are the actions; empty for none.
        ego_motion: whether the sensor's own motion between steps is the action, where it moves and
            nothing else was recorded as one.
        pictures: ``kept`` keeps PNG and JPEG byte for byte, where their lens and
            size allow it; ``encoded`` makes H.264 of colour, much smaller, and FFV1 of depth.

    Raises:
        ConfigError: one that cannot be.
    """

    fps: float | int | None = None
    max_side: int | None = None
    license: str = ""
    replace: bool = False
    unit: str | None = None
    tolerance_s: float = 0.02
    depth_scale: float | None = None
    intrinsics: tuple[float, float, float, float] | None = None
    topics: tuple[str, ...] = ()
    action_topic: str = ""
    ego_motion: bool = True
    pictures: str = KEPT
    size: str = ""
    fit: str = LETTERBOX

    def __post_init__(self) -> None:
        fps, side, scale, lens = self.fps, self.max_side, self.depth_scale, self.intrinsics
        if fps is not None and not 0 < fps < math.inf:
            raise ConfigError(f"--fps is steps per second, above 0, got {fps}.")
        if side is not None and side < LEAST_SIDE:
            raise ConfigError(f"--max-side is pixels, {LEAST_SIDE} or more, got {side}.")
        if self.fit not in FITS:
            raise unknown_name("way to fit a video", self.fit, FITS)
        if self.size and side is not None:
            raise ConfigError("--size and --max-side both choose the pictures' size; pass one.")
        self.rows_columns  # noqa: B018 - refuses what is no size
        if not 0 <= self.tolerance_s < math.inf:
            raise ConfigError(f"--tolerance-s is seconds of at least 0, got {self.tolerance_s}.")
        if scale is not None and not 0 < scale < math.inf:
            raise ConfigError(f"--depth-scale is metres of one unit, above 0, got {scale}.")
        if lens is not None and not (all(map(math.isfinite, lens)) and min(lens[:2]) > 0):
            raise ConfigError(
                "--intrinsics are fx fy cx cy in pixels, the focal lengths above 0, got "
                f"{' '.join(f'{number:g}' for number in lens)}."
            )
        if self.pictures not in PICTURES:
            raise unknown_name("way to store pictures", self.pictures, PICTURES)
        metres_per(self.unit)

    @property
    def rows_columns(self) -> Size | None:
        """Rows and columns of ``size``; None where it is empty.

        Raises:
            ConfigError: it is no size.
        """
        if not self.size:
            return None
        match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", self.size)
        columns, rows = (int(match[1]), int(match[2])) if match else (0, 0)
        if not (min(rows, columns) >= LEAST_SIDE and max(rows, columns) <= MAX_SIDE):
            raise ConfigError(
                f"--size is WIDTHxHEIGHT, each {LEAST_SIDE} to {MAX_SIDE} pixels, e.g. 256x144; "
                f"got {self.size!r}."
            )
        return rows, columns


class Source(Protocol):
    """A format that can be ingested."""

    @property
    def OPTIONS(self) -> tuple[str, ...]:  # noqa: N802 - a constant where a module is the source
        """Names of the ``IngestOptions`` that mean something for it."""
        ...

    def detect(self, path: Path) -> bool:
        """Say whether a file or folder is of this format; must be quick and never raise."""
        ...

    def ingest(
        self, source: Path, out: Path, progress: Progress, options: IngestOptions
    ) -> IngestSummary:
        """Write a dataset at ``out``, complete or not at all."""
        ...


def refuse_others(options: IngestOptions, fmt: str, meant: Iterable[str]) -> None:
    """Refuse what was chosen but means nothing for a format.

    Args:
        options: what was chosen.
        fmt: name of the format, for the sentence.
        meant: options that mean something for it; ``license`` and ``replace`` always do.

    Raises:
        ConfigError: another option than these was chosen.
    """
    for option in fields(options):
        chosen = getattr(options, option.name) != option.default
        if chosen and option.name not in ("license", "replace", *meant):
            flag = option.name.replace("_", "-")
            raise ConfigError(f"--{flag} means nothing for the format {fmt!r}; leave it out.")


def files_with(path: Path, suffixes: Iterable[str]) -> Iterator[Path]:
    """Yield the file itself, or the visible files below a folder, that end in one of the suffixes.

    Datasets below the folder are passed over: they are the result of an earlier ingest.

    Args:
        path: file or folder.
        suffixes: ends of names in lower case, e.g. ``.ply`` or ``.pcd.bin``.
    """
    ends = tuple(suffixes)
    if path.is_file():
        found, made = iter([path]), set[Path]()
    else:
        found, made = path.rglob("*"), {info.parents[1] for info in path.rglob(layout.INFO)}
    for file in found:
        hidden = file != path and any(part[0] == "." for part in file.relative_to(path).parts)
        wanted = file.name.lower().endswith(ends) and not hidden
        if wanted and made.isdisjoint(set(file.parents) - {path}) and file.is_file():
            yield file


def has_file_with(path: Path, suffixes: Iterable[str]) -> bool:
    """Say whether there is at least one such file."""
    return next(files_with(path, suffixes), None) is not None


def natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts numbers in a name by their value: ``scan2`` before ``scan10``."""
    parts = re.split(r"([0-9]{1,18})", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
