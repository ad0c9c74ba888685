"""Video files: any container and codec that FFmpeg decodes, onto a constant frame rate.

Each grid time shows the frame nearest to it, and ``time_ns`` keeps when that frame was really
taken, so a variable frame rate costs no truth. Rotation metadata is applied to the pixels.

Axes: T time, H W image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from armillary.core.errors import FormatError
from armillary.data.no_video import PICTURE
from armillary.data.resize import LETTERBOX, Size, placed, scaled_to_fit, within_side
from armillary.data.sources.source import files_with
from armillary.data.video import (
    PIXELS,
    Converter,
    decoding,
    first_video_stream,
    not_a_video,
    opened,
)

_MODERN = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".ts", ".mts", ".m2ts"}
_OLDER = {".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ogv", ".gif"}
SUFFIXES = frozenset(_MODERN | _OLDER)
MAX_FPS = 240
# What a dataset of videos has unless somebody asks for more; models see 64 to 256 pixels.
DEFAULT_MAX_SIDE = 256
DEFAULT_MAX_FPS = 30
# Share of a video that may be missing at its end before it counts as cut off; muxers round.
_MISSING_SHARE = 0.05
# A recorded screen may rest for long; where longer passes, the recording was stopped.
_LONGEST_S = 60


@dataclass(frozen=True)
class Clip:
    """A video file that was looked through without decoding it.

    Attributes:
        path: the file.
        fps: nominal frames per second, from the median time between frames.
        frames: number of frames in the file.
        size: rows and columns of the upright picture.
    """

    path: Path
    fps: float
    frames: int
    size: Size


def find_videos(source: Path) -> list[Path]:
    """Return the file itself, or all files below a folder with a video's suffix, sorted.

    Raises:
        FormatError: there is nothing there, or no video.
    """
    if source.is_file():
        return [source]
    if not source.exists():
        raise FormatError(f"{source}: there is no such file or folder; a video was expected.")
    files = sorted(files_with(source, SUFFIXES))
    if not files:
        raise FormatError(
            f"{source}: holds no video file; looked for {', '.join(sorted(SUFFIXES))}."
        )
    return files


def examine(path: Path) -> Clip:
    """Look through a file's packets: is it a video, is it whole, how fast does it run.

    Raises:
        FormatError: it is empty, no video, damaged, cut off, or pauses for more than a minute.
    """
    if path.stat().st_size == 0:
        raise FormatError(f"{path}: the file is empty.")
    with decoding(path), opened(path) as container:
        stream = first_video_stream(container, path)
        # times alone: the packets of a long recording are as large as its file
        stamps = [
            packet.dts if packet.pts is None else packet.pts
            for packet in container.demux(stream)
            if packet.size
        ]
        if not stamps:
            raise FormatError(f"{path}: holds no video frame.")
        if len(stamps) == 1 and container.format.name == "gif":
            raise not_a_video(path, PICTURE)
        times_s = _times_s(stamps, stream)
        gap_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 0.0
        lasts_s = gap_s or 1.0 / float(stream.guessed_rate or 25)  # one frame lasts, too
        _check_whole(path, container, stream, times_s, lasts_s)
    _check_pauses(path, times_s)
    fps = min(1.0 / gap_s, MAX_FPS) if gap_s > 0 else 1.0
    _, first = next(_decoded(path), (0.0, None))
    if first is None:
        raise FormatError(f"{path}: no frame of it can be decoded.")
    return Clip(path, fps, len(stamps), _upright_size(first))


def find_others(source: Path) -> list[Path]:
    """Return the visible files below a folder that have no video's suffix, sorted."""
    if source.is_file():
        return []
    return sorted({*files_with(source, ("",))} - {*files_with(source, SUFFIXES)})


def common_fps(clips: Sequence[Clip]) -> int:
    """Return the whole frame rate that most of the clips run at (the lower one of two).

    It is at most ``DEFAULT_MAX_FPS``.
    """
    rates = [min(DEFAULT_MAX_FPS, max(1, round(clip.fps))) for clip in clips]
    return min(set(rates), key=lambda rate: (-rates.count(rate), rate))


def common_size(clips: Sequence[Clip], max_side: int) -> Size:
    """Return the size that most of the clips have once they are small enough.

    Of two that are as frequent the larger one is taken.

    Args:
        clips: all videos.
        max_side: longer side at most, in pixels.
    """
    sizes = [within_side(clip.size, max_side) for clip in clips]
    return max(set(sizes), key=lambda size: (sizes.count(size), size[0] * size[1], size[1]))


def resampled(
    path: Path, fps: float | int, size: Size, fit: str = LETTERBOX
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the frame nearest to each time of a grid, with the time it was taken.

    Only frames that are yielded are converted, at the size that is asked for.

    Args:
        path: a video file.
        fps: frames per second of the grid, which begins with the first frame.
        size: rows and columns of the frames; others are scaled in proportion.
        fit: ``letterbox`` adds black bars to what has another shape, ``crop`` cuts it.

    Yields:
        Nanoseconds from the first frame, and rgb uint8 [H W 3].

    Raises:
        FormatError: the file is damaged.
    """
    step = 0
    held: tuple[float, _Frame] | None = None
    for time_s, frame in _frames(path, size, fit):
        while held is not None and step / fps <= (held[0] + time_s) / 2:
            yield round(held[0] * 1e9), held[1].picture()
            step += 1
        held = (time_s, frame)
    while held is not None and step / fps <= held[0] + 0.5 / fps:
        yield round(held[0] * 1e9), held[1].picture()
        step += 1


class _Frame:
    """A decoded frame that becomes a picture when it is first asked for."""

    def __init__(self, frame: av.VideoFrame, convert: Converter, size: Size, fit: str) -> None:
        self._frame, self._convert, self._size, self._fit = frame, convert, size, fit
        self._picture: np.ndarray | None = None

    def picture(self) -> np.ndarray:
        """Return the upright picture, rgb uint8 [H W 3] of the size that is wanted."""
        if self._picture is None:
            rows, columns = scaled_to_fit(_upright_size(self._frame), self._size, self._fit)
            lies = _quarters(self._frame) % 2
            image = self._convert(self._frame, (columns, rows) if lies else (rows, columns))
            self._picture = placed(np.rot90(image, _quarters(self._frame)), self._size)
        return self._picture


def _frames(path: Path, size: Size, fit: str) -> Iterator[tuple[float, _Frame]]:
    """Yield seconds from the first frame, ascending, and the frame."""
    convert = Converter(PIXELS["rgb"])
    for time_s, frame in _decoded(path):
        yield time_s, _Frame(frame, convert, size, fit)


def _decoded(path: Path) -> Iterator[tuple[float, av.VideoFrame]]:
    with decoding(path), opened(path) as container:
        stream = first_video_stream(container, path)
        stream.codec_context.thread_count = 1
        first_s, last_s = 0.0, -1.0
        for count, frame in enumerate(container.decode(stream)):
            time_s = frame.time if frame.time is not None else count / float(stream.guessed_rate)
            first_s = time_s if count == 0 else first_s
            if time_s - first_s > last_s:  # a time that repeats or runs back is no new moment
                last_s = time_s - first_s
                yield last_s, frame


def _quarters(frame: av.VideoFrame) -> int:
    """Return the quarter turns, anticlockwise, after which a frame is upright."""
    return round(frame.rotation / 90)


def _upright_size(frame: av.VideoFrame) -> Size:
    rows, columns = frame.height, frame.width
    return (columns, rows) if _quarters(frame) % 2 else (rows, columns)


def _times_s(stamps: Sequence[int | None], stream: Any) -> np.ndarray:
    known = np.array(sorted(stamp for stamp in stamps if stamp is not None), np.float64)
    if len(known) < len(stamps):  # raw streams carry no times: trust the nominal rate
        return np.arange(len(stamps)) / float(stream.guessed_rate or 25)
    return known * float(stream.time_base)


def _check_pauses(path: Path, times_s: np.ndarray) -> None:
    gaps_s = np.diff(times_s)
    if not (gaps_s > _LONGEST_S).any():
        return
    at = int(np.argmax(gaps_s > _LONGEST_S))
    raise FormatError(
        f"{path}: pauses for {gaps_s[at]:.0f} s after {times_s[at] - times_s[0]:.1f} s, which "
        f"would be as long a still picture; cut it there (more than {_LONGEST_S} s is no still)."
    )


def _check_whole(
    path: Path, container: Any, stream: Any, times_s: np.ndarray, gap_s: float
) -> None:
    if stream.duration is not None:
        promised_s = float(stream.duration * stream.time_base)
    elif container.duration is not None and len(container.streams) == 1:
        promised_s = container.duration / av.time_base
    else:
        return
    counted = 0 < stream.frames <= len(times_s)  # all frames are there, the last one just lasts
    length_s = float(times_s[-1] - times_s[0]) + gap_s
    if not counted and promised_s - length_s > max(3 * gap_s, _MISSING_SHARE * promised_s):
        raise FormatError(
            f"{path}: is cut off: it ends after {length_s:.1f} s of the {promised_s:.1f} s that "
            "its header promises."
        )
