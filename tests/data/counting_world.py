"""The counting world: every frame carries its own number, so a frame out of place is seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from armillary.core.values import Episode, Stream
from armillary.data import DatasetWriter

SIDE = 32
LENS = np.array([[30.0, 0, 15.5], [0, 30.0, 15.5], [0, 0, 1.0]])


class Counting:
    """Draws a 16-bit number as 4x4 black and white blocks, and reads it back."""

    @staticmethod
    def draw(number: int) -> np.ndarray:
        bits = (number >> np.arange(16)) & 1
        blocks = np.kron(bits.reshape(4, 4), np.ones((SIDE // 4, SIDE // 4)))
        return np.repeat((20 + 200 * blocks)[..., None], 3, axis=2).astype(np.uint8)

    @staticmethod
    def read(images: np.ndarray) -> np.ndarray:
        """Return the numbers of pictures [... H W 3] of any size that 4 divides."""
        grey = images[..., 0].astype(np.float64)
        side = grey.shape[-1] // 4
        blocks = grey.reshape(*grey.shape[:-2], 4, side, 4, side).mean((-3, -1))
        bits = (blocks > 120).reshape(*grey.shape[:-2], 16)
        return (bits << np.arange(16)).sum(-1)

    @staticmethod
    def episode(index: int, steps: int = 13, *, actions: bool = True) -> Episode:
        """Frame, pose, proprio, truth, time and action of step t all say ``100 index + t``."""
        number = 100 * index + np.arange(steps)
        depth = np.repeat(number[:, None] / 1000.0 + 0.5, SIDE * SIDE, 1).astype(np.float32)
        depth = depth.reshape(steps, SIDE, SIDE)
        depth[:, :2] = np.nan
        pose = np.tile(np.eye(4), (steps, 1, 1))
        pose[:, 0, 3] = number
        column = number[:, None].astype(np.float32)
        pictures = np.stack([Counting.draw(int(n)) for n in number])
        return Episode(
            streams={
                "rgb": Stream("rgb", pictures, "", "camera", LENS),
                "depth": Stream("depth", depth, "m", "camera", LENS),
                "segmentation": Stream("segmentation", pictures[..., 0] // 100),
                "world_from_camera": Stream("pose", pose, "m", "world"),
                "proprio": Stream("proprio", np.repeat(column, 3, 1), "m", "world"),
                "count": Stream("truth", column, "", "world"),
                "nothing": Stream("truth", np.full((steps, 2), np.nan, np.float32)),
            },
            time_ns=(np.arange(steps) * 50_000_000).astype(np.int64),
            actions=np.stack([number[:-1], number[1:]], 1).astype(np.float32) if actions else None,
            source=f"counting world, seed {index}",
            license="CC0-1.0",
        )


def begin(path: Path) -> DatasetWriter:
    return DatasetWriter(path, 20, "counting", "count up")


def write_some(path: Path, indices: list[int]) -> None:
    """What one of several writer processes does."""
    writer = begin(path)
    for index in indices:
        writer.write(index, Counting.episode(index, 11 + 2 * index))


def write_until_killed(path: Path) -> None:
    """What a process does that will be killed."""
    for index in range(1_000_000):
        write_some(path, [index])


def write_counted(path: Path) -> Path:
    write_some(path, [0, 1, 2, 3])
    begin(path).finalize()
    return path
