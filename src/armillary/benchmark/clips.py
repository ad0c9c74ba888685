"""Clips: which ones the loader bench reads, and how they are read straight from video files.

A clip is named by (episode, first step); every reader is given the same ones in the same order.
Axes: N clips, B clips of a batch, T steps of a clip, E episodes, H W image.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int, Int64, UInt8

from armillary.core.errors import CheckFailedError, DatasetError
from armillary.core.rng import generator
from armillary.data import Cache, Dataset, Windows
from armillary.data.resize import resized
from armillary.data.video import VideoReader

# JPEG at quality 95 is off by 1-2 levels of 255 on average; other frames by more than 10.
_MOST_LEVELS_OFF = 6.0


def draw_clips(lengths: Int[np.ndarray, " E"], span: int, seed: int) -> Int64[np.ndarray, "N 2"]:
    """Return every clip (episode, first step) that has ``span`` steps, in shuffled order.

    Args:
        lengths: steps of each episode.
        span: steps that a clip covers; the peer's readers want one frame skip more than is shown.
        seed: names the order.

    Raises:
        DatasetError: no episode is that long.
    """
    counts = np.maximum(np.asarray(lengths) - span + 1, 0)
    if not counts.sum():
        raise DatasetError(f"No episode has {span} steps; the longest has {max(lengths)}.")
    episodes = np.repeat(np.arange(len(counts)), counts)
    starts = np.arange(len(episodes)) - np.repeat(np.cumsum(counts) - counts, counts)
    clips = np.stack([episodes, starts], axis=1).astype(np.int64)
    return clips[generator("bench-clips", seed).permutation(len(clips))]


def window_numbers(clips: Int64[np.ndarray, "N 2"], windows: Windows) -> Int64[np.ndarray, " N"]:
    """Return the numbers of clips among the windows of all episodes of a cache."""
    counts = windows.cache.lengths - (windows.length - 1) * windows.stride
    counts = np.maximum(counts, 0)
    before = np.cumsum(counts) - counts
    return (before[clips[:, 0]] + clips[:, 1]).astype(np.int64)


def check_same_pictures(
    name: str, pictures: UInt8[np.ndarray, "B T H W 3"], ours: UInt8[np.ndarray, "B T H W 3"]
) -> float:
    """Return how far a reader's pictures are from ours on average, in levels of 255.

    Raises:
        CheckFailedError: so far that they are other frames.
    """
    off = float(np.abs(pictures.astype(np.int16) - ours.astype(np.int16)).mean())
    if off > _MOST_LEVELS_OFF:
        raise CheckFailedError(
            f"The {name} reader returned other pictures than the cache ({off:.1f} of 255 levels "
            "off on average); the comparison would mean nothing."
        )
    return off


class VideoClips:
    """Random clips decoded from the video files, every file kept open.

    Args:
        data: a dataset with a colour camera ``rgb``.
        cache: its prepared episodes, which decide numbering and size.
        length: T, pictures of a clip.
        stride: recorded steps from one picture to the next.
    """

    def __init__(self, data: Dataset, cache: Cache, length: int, stride: int) -> None:
        self._size, self._steps = cache.size, np.arange(length) * stride
        key = next((key for key, (name, _) in data.names.items() if name == "rgb"), "")
        if not key or data.features[key]["dtype"] != "video":
            raise DatasetError(f"{data.path}: has no video called rgb to read clips from.")
        part = f"videos/{key}/"
        files = [next(f for f in data.files(int(i)) if part in f) for i in cache.episodes]
        self._open = {file: VideoReader(data.path / file) for file in dict.fromkeys(files)}
        self._videos = [self._open[file] for file in files]
        begin_s = data.places[f"{part}from_timestamp"][cache.episodes]
        self._offsets = np.rint(np.asarray(begin_s, float) * data.fps).astype(np.int64)
        self.bytes = sum((data.path / file).stat().st_size for file in self._open)

    def read(self, clips: Int64[np.ndarray, "B 2"]) -> UInt8[np.ndarray, "B T H W 3"]:
        """Return the pictures of clips."""
        return np.stack([self._clip(int(episode), int(start)) for episode, start in clips])

    def _clip(self, episode: int, start: int) -> np.ndarray:
        frames = self._videos[episode].read(self._offsets[episode] + start + self._steps)
        return np.stack([resized(frame, self._size, average=True) for frame in frames])
