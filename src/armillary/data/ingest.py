"""Ingest: turn what people have (videos, datasets, RGB-D, logs) into an armillary dataset.

The dataset appears complete or not at all: it is written beside ``out`` and renamed. What cannot
be used is named with its reason and counted, never dropped in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from armillary.core.errors import ConfigError, DatasetError, FormatError, unknown_name
from armillary.core.files import replacing_folder, storage_errors
from armillary.core.progress import Progress, silent
from armillary.core.values import Episode
from armillary.data import layout
from armillary.data.foreign import tasks_of
from armillary.data.ingest_options import IngestOptions, IngestSummary
from armillary.data.opening import open_dataset
from armillary.data.resize import Size, is_proportional, within_side
from armillary.data.sources import colmap, nerfstudio, rgbd_folder, ros, tum
from armillary.data.sources.lerobot import copy_episode
from armillary.data.sources.video_folder import (
    Clip,
    common_fps,
    common_size,
    examine,
    find_videos,
    resampled,
)
from armillary.data.writer import DatasetWriter, Frames


def ingest(
    source: Path | str,
    out: Path | str,
    fmt: str = "auto",
    progress: Progress = silent,
    options: IngestOptions | None = None,
) -> IngestSummary:
    """Write a dataset from videos, a LeRobot v3 dataset, an RGB-D folder, poses, or a robot's log.

    Args:
        source: file or folder.
        out: folder of the new dataset.
        fmt: ``video``, ``lerobot``, ``tum``, ``rgbd`` (ScanNet, Redwood), ``nerfstudio``,
            ``colmap``, ``ros`` (bag, db3, mcap), or ``auto``.
        progress: called with items done and in all.
        options: frame rate, size, licence.

    Raises:
        FormatError: nothing there, nothing usable, or not the format that was named.
        ConfigError: unknown format, or ``out`` is in use.
        StorageError: ``out`` cannot be written; nothing is left there.
    """
    source, out, options = Path(source), Path(out), options or IngestOptions()
    chosen = _format(source) if fmt == "auto" else fmt
    if chosen not in FORMATS:
        raise unknown_name("format", fmt, ["auto", *FORMATS])
    _check_free(out, options.replace)
    return FORMATS[chosen](source, out, progress, options)


def _format(source: Path) -> str:
    if (source / layout.INFO).is_file():
        return "lerobot"
    return next((name for name, module in POSED.items() if module.detect(source)), "video")


def _check_free(out: Path, replace: bool) -> None:
    with storage_errors(out):
        in_use = out.is_file() or (out.is_dir() and any(out.iterdir()))
    ours = (out / layout.MANIFEST).is_file()
    if in_use and not (replace and ours):
        raise ConfigError(
            f"{out}: already exists and is not empty; choose another folder with --out"
            + (", or allow to replace this dataset." if ours else ".")
        )


def _ingest_videos(
    source: Path, out: Path, progress: Progress, options: IngestOptions
) -> IngestSummary:
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


def _ingest_lerobot(
    source: Path, out: Path, progress: Progress, options: IngestOptions
) -> IngestSummary:
    dataset = open_dataset(source)
    if options.fps not in (None, dataset.fps):
        raise ConfigError(f"{source}: runs at {dataset.fps} steps/s, which cannot be changed.")
    skipped: list[tuple[Path, str]] = []
    with replacing_folder(out) as beside:
        robot = str(dataset.info.get("robot_type") or "")
        task = tasks_of(source)
        writer = DatasetWriter(beside, dataset.fps, robot, task, {"ingested": "lerobot"})
        written = frames = 0
        for index in range(len(dataset)):
            try:
                frames += copy_episode(writer, written, dataset, index, options.max_side)
                written += 1
            except (FormatError, DatasetError) as error:
                skipped.append((source, str(error)))
            progress(index + 1, len(dataset), f"{frames} frames")
        if not written:
            raise FormatError(f"{source}: no usable episode; the first: {skipped[0][1]}")
        writer.finalize()
    return IngestSummary(written, tuple(skipped), frames, out)


POSED = {"nerfstudio": nerfstudio, "colmap": colmap, "tum": tum, "rgbd": rgbd_folder, "ros": ros}
FORMATS: dict[str, Callable[[Path, Path, Progress, IngestOptions], IngestSummary]] = {
    "video": _ingest_videos,
    "lerobot": _ingest_lerobot,
    **{name: module.ingest for name, module in POSED.items()},
}
