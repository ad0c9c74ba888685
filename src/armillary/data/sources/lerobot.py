"""LeRobot datasets, copied episode by episode with their pictures passing one at a time.

Version 3 is opened as everywhere else, 2.0 and 2.1 by ``lerobot_v2.py``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from armillary.core.errors import ConfigError, DatasetError, FormatError
from armillary.core.files import replacing_folder
from armillary.core.progress import Progress
from armillary.data import layout
from armillary.data.clouds import Clouds
from armillary.data.dataset import Dataset
from armillary.data.foreign import tasks_of
from armillary.data.opening import open_dataset
from armillary.data.resize import resized, resized_lens, within_side
from armillary.data.sources.lerobot_v2 import OldDataset, is_old, open_old
from armillary.data.sources.source import IngestOptions, IngestSummary
from armillary.data.writer import DatasetWriter, Frames

OPTIONS = ("fps", "max_side")
LOOKS_FOR = ("meta/info.json",)


def detect(path: Path) -> bool:
    """Say whether a folder is a LeRobot dataset."""
    return (path / layout.INFO).is_file()


def ingest(source: Path, out: Path, progress: Progress, options: IngestOptions) -> IngestSummary:
    """Copy a dataset, with smaller pictures where that was chosen.

    Raises:
        DatasetError: it cannot be opened.
        FormatError: no episode is usable.
        ConfigError: another frame rate was asked for.
        StorageError: ``out`` cannot be written; nothing is left there.
    """
    dataset = open_old(source) if is_old(source) else open_dataset(source)
    if options.fps not in (None, dataset.fps):
        raise ConfigError(f"{source}: runs at {dataset.fps} steps/s, which cannot be changed.")
    skipped: list[tuple[Path, str]] = []
    left_out: list[tuple[Path, str]] = []
    with replacing_folder(out) as beside:
        robot = str(dataset.info.get("robot_type") or "")
        tasks = tasks_of(source)
        writer = DatasetWriter(beside, dataset.fps, robot, about={"ingested": "lerobot"})
        written = frames = 0
        for index in range(len(dataset)):
            try:
                frames += _copied(writer, written, dataset, index, options, tasks.get(index, ""))
                if isinstance(dataset, OldDataset):
                    left_out += [(source, each) for each in dataset.after_the_end(index)]
                written += 1
            except (FormatError, DatasetError) as error:
                skipped.append((source, str(error)))
            progress(index + 1, len(dataset), f"{frames} frames")
        if not written:
            raise FormatError(f"{source}: no usable episode; the first: {skipped[0][1]}")
        writer.finalize()
    return IngestSummary(written, tuple(skipped), frames, out, left_out=tuple(left_out))


def _copied(
    writer: DatasetWriter,
    to: int,
    dataset: Dataset,
    index: int,
    options: IngestOptions,
    task: str,
) -> int:
    """Write one episode of a dataset as episode ``to`` of another and return its length."""
    episode = dataset.read_low(index)
    episode = replace(episode, license=options.license or episode.license)
    episode = replace(episode, task=task or episode.task)
    sensors = {name: _camera(dataset, index, name, options.max_side) for name in dataset.cameras}
    sensors |= {name: _clouds(dataset, index, name) for name in dataset.clouds}
    writer.write_frames(to, sensors, lambda: episode)
    return len(episode)


def _camera(dataset: Dataset, index: int, name: str, max_side: int | None) -> Frames:
    stream = dataset.camera(index, name)
    before = dataset.picture_size(name)
    size = within_side(before, max_side)

    def small(image: np.ndarray) -> np.ndarray:
        return resized(image, size, average=stream.kind == "rgb")

    lens = stream.intrinsics
    lens = None if lens is None else resized_lens(lens, before, size)
    images = (small(image) if size != before else image for image in dataset.frames(index, name))
    return Frames(stream.kind, images, stream.unit, stream.frame, lens)


def _clouds(dataset: Dataset, index: int, name: str) -> Clouds:
    spec = dataset.sidecar(index)["streams"][name]
    clouds = dataset.points(index, name)
    return Clouds(clouds, tuple(spec["columns"]), spec["unit"], spec["frame"])
