"""Videos: a file, or a folder of them (recursive), one episode a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from armillary.core.errors import DatasetError, FormatError
from armillary.core.files import replacing_folder
from armillary.core.progress import Progress
from armillary.core.values import Episode
from armillary.data import layout
from armillary.data.no_video import no_video
from armillary.data.resize import LETTERBOX, Size, scaled_to_fit
from armillary.data.sources.source import IngestOptions, IngestSummary, has_file_with
from armillary.data.sources.video_folder import (
    DEFAULT_MAX_FPS,
    DEFAULT_MAX_SIDE,
    SUFFIXES,
    Clip,
    common_fps,
    common_size,
    examine,
    find_others,
    find_videos,
    resampled,
)
from armillary.data.writer import DatasetWriter, Frames

OPTIONS = ("fps", "max_side", "size", "fit")
LOOKS_FOR = (" or ".join(f"*{suffix}" for suffix in sorted(SUFFIXES)),)
_REPORT_EVERY = 20  # steps


def detect(path: Path) -> bool:
    """Say whether there is a video file."""
    return not (path / layout.INFO).is_file() and has_file_with(path, SUFFIXES)


def ingest(source: Path, out: Path, progress: Progress, options: IngestOptions) -> IngestSummary:
    """Write one episode a video file.

    Raises:
        FormatError: nothing there, or nothing usable.
        StorageError: ``out`` cannot be written; nothing is left there.
    """
    files = find_videos(source)
    clips, skipped = _examined(files)
    skipped += [(file, _other(file)) for file in find_others(source)]
    if not clips:
        raise FormatError(f"{source}: no usable video; the first problem was: {skipped[0][1]}")
    fps = options.fps or common_fps(clips)
    size = options.rows_columns or common_size(clips, options.max_side or DEFAULT_MAX_SIDE)
    done: list[tuple[Path, str]] = []
    with replacing_folder(out) as beside:
        writer = DatasetWriter(beside, fps, robot_type="video", about={"ingested": "video"})
        work = _Work(writer, size, options, progress, sum(_steps(clip, fps) for clip in clips))
        for clip in clips:
            try:
                steps = work.write(len(done), clip, _name(clip.path, source))
                done.append((clip.path, _said(clip, size, options.fit, steps, fps)))
            except (FormatError, DatasetError) as error:
                skipped.append((clip.path, str(error)))
        if not done:
            raise FormatError(f"{source}: no usable video; the first problem was: {skipped[0][1]}")
        writer.finalize()
    notes = (_note(size, fps, options),)
    return IngestSummary(
        len(done), tuple(sorted(skipped)), work.frames, out, files=tuple(done), notes=notes
    )


class _Work:
    """Writes one video after another and counts their steps."""

    def __init__(
        self,
        writer: DatasetWriter,
        size: Size,
        options: IngestOptions,
        progress: Progress,
        expected: int,
    ) -> None:
        self.frames = 0
        self._writer, self._size, self._options = writer, size, options
        self._progress, self._expected = progress, expected

    def write(self, index: int, clip: Clip, name: str) -> int:
        """Write a video as an episode and return its number of steps."""
        times: list[int] = []

        def images() -> Iterator[np.ndarray]:
            frames = resampled(clip.path, self._writer.fps, self._size, self._options.fit)
            for time_ns, image in frames:
                times.append(time_ns)
                if len(times) % _REPORT_EVERY == 0:
                    self._report(len(times), clip)
                yield image

        def rest() -> Episode:
            return Episode({}, np.array(times, np.int64), None, name, self._options.license)

        self._writer.write_frames(index, {"rgb": Frames("rgb", images(), "", "camera")}, rest)
        self.frames += len(times)
        self._report(0, clip)
        return len(times)

    def _report(self, steps: int, clip: Clip) -> None:
        done = self.frames + steps
        self._progress(done, max(done, self._expected), clip.path.name)


def _examined(files: list[Path]) -> tuple[list[Clip], list[tuple[Path, str]]]:
    clips, skipped = [], []
    for file in files:
        try:
            clips.append(examine(file))
        except (FormatError, OSError) as error:
            skipped.append((file, str(error)))
    return clips, skipped


def _other(file: Path) -> str:
    kind = no_video(file)
    return f"{file}: is not a video file" + (f": it is {kind}." if kind else ".")


def _steps(clip: Clip, fps: float | int) -> int:
    """Return about how many steps a video will have."""
    return max(1, round(clip.frames / clip.fps * fps))


def _said(clip: Clip, size: Size, fit: str, steps: int, fps: float | int) -> str:
    """Say what was done to a video."""
    inner = scaled_to_fit(clip.size, size, fit)
    parts = [f"{_shape(clip.size)} at {clip.fps:.3g} per second"]
    if inner != clip.size:
        parts.append(f"scaled to {_shape(inner)}")
    if inner != size:
        sides = "left and right" if inner[1] != size[1] else "top and bottom"
        way = f"black bars {sides}" if fit == LETTERBOX else f"{sides} cut off"
        parts.append(f"{'letterboxed' if fit == LETTERBOX else 'cropped'} ({way})")
    parts.append(f"{steps} steps, {steps / fps:.1f} s")
    return "; ".join(parts)


def _note(size: Size, fps: float | int, options: IngestOptions) -> str:
    """Say what size and rate all videos were brought to, and what chooses others."""
    shape = f"pictures are {_shape(size)}"
    if not options.size:
        limit = options.max_side or DEFAULT_MAX_SIDE
        shape += f", the shape of most videos, longer side at most {limit} (--max-side, --size)"
    rate = f"{fps:g} steps per second"
    if options.fps is None:
        rate += f", the rate of most videos, at most {DEFAULT_MAX_FPS} (--fps)"
    return f"{shape}; {rate}"


def _shape(size: Size) -> str:
    return f"{size[1]}x{size[0]}"


def _name(path: Path, source: Path) -> str:
    return path.name if path == source else path.relative_to(source).as_posix()
