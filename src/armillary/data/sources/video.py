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
from armillary.data.resize import Size, is_proportional, within_side
from armillary.data.sources.source import (
    IngestOptions,
    IngestSummary,
    has_file_with,
)
from armillary.data.sources.video_folder import (
    SUFFIXES,
    Clip,
    common_fps,
    common_size,
    examine,
    find_videos,
    resampled,
)
from armillary.data.writer import DatasetWriter, Frames

OPTIONS = ("fps", "max_side")


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
    if not clips:
        raise FormatError(f"{source}: no usable video; the first problem was: {skipped[0][1]}")
    fps = options.fps or common_fps(clips)
    size = within_side(common_size(clips), options.max_side)
    with replacing_folder(out) as beside:
        writer = DatasetWriter(beside, fps, robot_type="video", about={"ingested": "video"})
        written = frames = 0
        for done, clip in enumerate(clips):
            try:
                name = _name(clip.path, source)
                frames += _write_clip(writer, written, clip, size, name, options.license)
                written += 1
            except (FormatError, DatasetError) as error:
                skipped.append((clip.path, str(error)))
            progress(done + 1, len(clips), clip.path.name)
        if not written:
            raise FormatError(f"{source}: no usable video; the first problem was: {skipped[0][1]}")
        writer.finalize()
    lost = {path for path, _ in skipped}
    odd = [c.path for c in clips if c.path not in lost and not is_proportional(c.size, size)]
    return IngestSummary(written, tuple(sorted(skipped)), frames, out, tuple(odd))


def _examined(files: list[Path]) -> tuple[list[Clip], list[tuple[Path, str]]]:
    clips, skipped = [], []
    for file in files:
        try:
            clips.append(examine(file))
        except (FormatError, OSError) as error:
            skipped.append((file, str(error)))
    return clips, skipped


def _write_clip(
    writer: DatasetWriter, index: int, clip: Clip, size: Size, name: str, license_: str
) -> int:
    times: list[int] = []

    def images() -> Iterator[np.ndarray]:
        for time_ns, image in resampled(clip.path, writer.fps, size):
            times.append(time_ns)
            yield image

    def rest() -> Episode:
        return Episode({}, np.array(times, np.int64), None, name, license_)

    writer.write_frames(index, {"rgb": Frames("rgb", images(), "", "camera")}, rest)
    return len(times)


def _name(path: Path, source: Path) -> str:
    return path.name if path == source else path.relative_to(source).as_posix()
