"""LeRobot v3 datasets, copied episode by episode with their pictures passing one at a time."""

from __future__ import annotations

import numpy as np

from armillary.data.dataset import Dataset
from armillary.data.resize import resized, resized_lens, within_side
from armillary.data.writer import DatasetWriter, Frames


def copy_episode(
    writer: DatasetWriter, to: int, dataset: Dataset, index: int, max_side: int | None = None
) -> int:
    """Write one episode of a dataset as episode ``to`` of another and return its length.

    Args:
        writer: of the new dataset.
        to: number of the episode there.
        dataset: where it comes from.
        index: number of the episode here.
        max_side: longer side of the pictures at most, in pixels.

    Raises:
        DatasetError: the episode is damaged, or its actions are not numbers.
    """
    episode = dataset.read_low(index)
    cameras = {name: _camera(dataset, index, name, max_side) for name in dataset.cameras}
    writer.write_frames(to, cameras, lambda: episode)
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
