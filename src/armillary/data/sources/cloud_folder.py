"""Cloud folder: files of clouds, sorted by name, as the steps of an episode.

A folder is one episode, each folder below it another one, a single file an episode of one step.
A cloud that cannot be used is named and left out; the times of the others stay as they are.

Axes: T time, P points, F features of a point.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from armillary.core.errors import FormatError
from armillary.core.files import replacing_folder
from armillary.core.progress import Progress
from armillary.core.values import Episode, Stream
from armillary.data.clouds import Clouds
from armillary.data.sources.cloud import Cloud
from armillary.data.sources.ego_motion import ego_motion, motion_said, moves
from armillary.data.sources.name_times import ADVICE, TIMED, times_ns
from armillary.data.sources.source import (
    IngestOptions,
    IngestSummary,
    files_with,
    has_file_with,
    natural,
)
from armillary.data.sources.stamps import stretches
from armillary.data.writer import DatasetWriter

SINGLE_FPS = 1.0  # of a dataset in which no episode has a second step: a rate must be there
# read(path, origin_m) -> Cloud; the origin is that of the episode's first cloud, or None
Read = Callable[[Path, np.ndarray | None], Cloud]


@dataclass(frozen=True)
class Recording:
    """The clouds of one episode.

    Attributes:
        name: what the episode's source is called.
        files: one a step.
        time_ns: when each was taken, from the first; None where nothing tells: then ``--fps`` says.
        world_from_lidar: pose of the sensor at each; None where unknown.
    """

    name: str
    files: tuple[Path, ...]
    time_ns: Int64[np.ndarray, " T"] | None = None
    world_from_lidar: Float64[np.ndarray, "T 4 4"] | None = None


@dataclass(frozen=True)
class Sensor:
    """How the clouds of a format are read, and what they are called.

    Attributes:
        fmt: name of the format.
        read: reads one file.
        frame: frame of the points; their pose is the stream ``world_from_FRAME``.
        placed: whether each cloud tells where it lies (origin, viewpoint); else the recording does.
    """

    fmt: str
    read: Read
    frame: str
    placed: bool


def recordings(source: Path, suffixes: Iterable[str]) -> list[Recording]:
    """Return the files of each folder as a recording, in natural order (scan2 before scan10).

    Raises:
        FormatError: there is nothing there, or no such file.
    """
    ends = tuple(suffixes)
    if not source.exists():
        raise FormatError(f"{source}: there is no such file or folder; point clouds were expected.")
    files = (
        [source]
        if source.is_file()
        else sorted(files_with(source, ends), key=lambda file: natural(file.as_posix()))
    )
    if not files:
        raise FormatError(f"{source}: holds no point cloud; looked for {', '.join(ends)}.")
    if source.is_file():
        return [Recording(source.name, (source,))]
    root = Path(source.resolve().name)
    folders: dict[Path, list[Path]] = {}
    for file in files:
        folders.setdefault(file.parent, []).append(file)
    return [
        Recording((root / folder.relative_to(source)).as_posix(), tuple(inside))
        for folder, inside in folders.items()
    ]


def timed(recording: Recording) -> list[Recording]:
    """Return the recording with the times that its names tell, cut at gaps; unchanged without.

    A gap is more than three periods, as in every other recording.

    Raises:
        FormatError: two names tell the same time, or other numbers in them tell another order.
    """
    times = times_ns([file.stem for file in recording.files], str(recording.files[0].parent))
    if times is None:
        return [recording]
    order = np.argsort(times)
    taken = times[order]
    files = [recording.files[at] for at in order]
    parts = stretches(taken, np.ones(len(taken), bool))
    return [
        replace(
            recording,
            name=recording.name if len(parts) == 1 else f"{recording.name}/{taken[part[0]]}",
            files=tuple(files[at] for at in part),
            time_ns=taken[part] - taken[part[0]],
        )
        for part in parts
    ]


def write_recordings(
    source: Path,
    out: Path,
    found: Sequence[Recording],
    sensor: Sensor,
    progress: Progress,
    options: IngestOptions,
    notes: Sequence[str] = (),
) -> IngestSummary:
    """Write a dataset of recordings, complete or not at all.

    Raises:
        FormatError: no cloud is usable, or nothing tells when several were taken.
        StorageError: ``out`` cannot be written; nothing is left there.
    """
    if options.fps is None:
        _check_timed(found)
    fps = options.fps or common_fps(found)
    with replacing_folder(out) as beside:
        about = {"ingested": sensor.fmt, "unit": options.unit or ""}
        writer = DatasetWriter(beside, fps, robot_type="lidar", about=about)
        acts = options.ego_motion and _moving(found)
        run = _Run(writer, sensor, options, progress, sum(len(r.files) for r in found), acts)
        for recording in found:
            run.add(recording)
        if not run.written:
            reason = run.skipped[0][1]
            raise FormatError(f"{source}: no usable point cloud; the first problem was: {reason}")
        writer.finalize()
    notes = (*notes, *run.notes())
    return IngestSummary(run.written, tuple(sorted(run.skipped)), run.frames, out, notes=notes)


def _moving(found: Sequence[Recording]) -> bool:
    """Say whether all recordings have poses and the sensor moves in one of them."""
    poses = [one.world_from_lidar for one in found]
    return all(each is not None for each in poses) and any(
        moves(each) for each in poses if each is not None
    )


def _check_timed(found: Sequence[Recording]) -> None:
    untimed = next((r for r in found if r.time_ns is None and len(r.files) > 1), None)
    if untimed is not None:
        names = ", ".join(file.name for file in untimed.files[:2])
        raise FormatError(
            f"{untimed.files[0].parent}: nothing tells when its {len(untimed.files)} clouds "
            f"({names}, ...) were taken; {ADVICE}"
        )


def common_fps(found: Sequence[Recording]) -> float:
    """Return the steps per second of most recordings, or 1 where no episode has two steps."""
    gaps = [np.diff(r.time_ns) for r in found if r.time_ns is not None and len(r.files) > 1]
    gap_ns = float(np.median(np.concatenate(gaps))) if gaps else 0.0
    return round(min(1e9 / gap_ns, 1000.0), 3) if gap_ns > 0 else SINGLE_FPS


@dataclass
class _Run:
    """What an ingest remembers from one recording to the next."""

    writer: DatasetWriter
    sensor: Sensor
    options: IngestOptions
    progress: Progress
    total: int
    acts: bool  # the sensor's own motion is the action
    done: int = 0
    written: int = 0
    frames: int = 0
    columns: tuple[str, ...] = ()
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    dropped: int = 0
    remarks: Counter[str] = field(default_factory=Counter)

    def notes(self) -> list[str]:
        """Return where actions come from, and what was left out of clouds, in sentences."""
        said = [motion_said(self.sensor.frame)] if self.acts else []
        said += [f"{what} (clouds: {count})" for what, count in self.remarks.items()]
        if self.dropped:
            said.append(f"{self.dropped:,} points without a place (NaN or infinite) were left out")
        return said

    def add(self, recording: Recording) -> None:
        """Write a recording as the next episode, unless none of its clouds is usable."""
        steps: list[int] = []
        poses: list[np.ndarray] = []
        readable = self._readable(recording)
        first = next(readable, None)
        if first is None:
            return

        def clouds() -> Iterator[np.ndarray]:
            for step, cloud in chain([first], readable):
                steps.append(step)
                poses.append(cloud.world_from_points)
                yield cloud.values

        points = Clouds(clouds(), self.columns, "m", self.sensor.frame)
        self.writer.write_frames(
            self.written, {"points": points}, lambda: self._rest(recording, steps, poses)
        )
        self.written += 1
        self.frames += len(steps)

    def _readable(self, recording: Recording) -> Iterator[tuple[int, Cloud]]:
        origin_m = None
        for step, file in enumerate(recording.files):
            try:
                cloud = self.sensor.read(file, origin_m)
                self._check_columns(file, cloud)
            except FormatError as error:
                self.skipped.append((file, str(error)))
            else:
                origin_m = cloud.origin_m if origin_m is None else origin_m
                self.dropped += cloud.dropped
                self.remarks.update(cloud.notes)
                yield step, cloud
            self.done += 1
            self.progress(self.done, self.total, file.name)

    def _check_columns(self, file: Path, cloud: Cloud) -> None:
        self.columns = self.columns or cloud.columns
        if cloud.columns != self.columns:
            raise FormatError(
                f"{file}: has the features {' '.join(cloud.columns)}, the first cloud has "
                f"{' '.join(self.columns)}; ingest it on its own."
            )

    def _rest(self, recording: Recording, steps: list[int], poses: list[np.ndarray]) -> Episode:
        spaced = np.rint(np.arange(len(recording.files)) * 1e9 / self.writer.fps)
        times = spaced if recording.time_ns is None else recording.time_ns
        kept = np.array(steps)
        known = recording.world_from_lidar
        place = np.stack(poses) if self.sensor.placed else None if known is None else known[kept]
        name = f"world_from_{self.sensor.frame}"
        streams = {} if place is None else {name: Stream("pose", place, "m", "world")}
        time_ns = times[kept].astype(np.int64)
        own = ego_motion(known[kept]) if self.acts and known is not None else None
        return Episode(streams, time_ns, own, recording.name, self.options.license)


@dataclass(frozen=True)
class CloudFiles:
    """A format with one cloud a file, each of which tells where it lies, as a source.

    Attributes:
        fmt: name of the format.
        suffixes: ends of its files' names, in lower case.
        read: reads a file: path, unit (or None), origin in metres (or None).
        OPTIONS: as of every source.
    """

    fmt: str
    suffixes: tuple[str, ...]
    read: Callable[[Path, str | None, np.ndarray | None], Cloud]
    OPTIONS: tuple[str, ...] = ("fps", "unit")

    @property
    def LOOKS_FOR(self) -> tuple[str, ...]:  # noqa: N802 - a constant where a module is the source
        """The files that make a folder one of this format."""
        return (" or ".join(f"*{suffix}" for suffix in self.suffixes),)

    def detect(self, path: Path) -> bool:
        """Say whether there is such a file."""
        return has_file_with(path, self.suffixes)

    def ingest(
        self, source: Path, out: Path, progress: Progress, options: IngestOptions
    ) -> IngestSummary:
        """Write files as episodes of clouds; a folder is one episode.

        Raises:
            FormatError: nothing there, or no cloud is usable.
            MissingExtraError: a library that reads the format is not installed.
            StorageError: ``out`` cannot be written; nothing is left there.
        """
        found = [part for whole in recordings(source, self.suffixes) for part in timed(whole)]
        sensor = Sensor(self.fmt, lambda p, m: self.read(p, options.unit, m), "points", True)
        notes = [TIMED] if any(r.time_ns is not None for r in found) else []
        return write_recordings(source, out, found, sensor, progress, options, notes)
