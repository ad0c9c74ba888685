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
from armillary.data.resize import Size, covered
from armillary.data.sources.source import files_with
from armillary.data.video import PIXELS, Converter, decoding, first_video_stream, opened

_MODERN = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".ts", ".mts", ".m2ts"}
_OLDER = {".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ogv", ".gif"}
SUFFIXES = frozenset(_MODERN | _OLDER)
MAX_FPS = 240
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
        times_s = _times_s(stamps, stream)
        gap_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 0.0
        lasts_s = gap_s or 1.0 / float(stream.guessed_rate or 25)  # one frame lasts, too
        _check_whole(path, container, stream, times_s, lasts_s)
    _check_pauses(path, times_s)
    fps = min(1.0 / gap_s, MAX_FPS) if gap_s > 0 else 1.0
    _, image = next(_upright(path), (0.0, None))
    if image is None:
        raise FormatError(f"{path}: no frame of it can be decoded.")
    return Clip(path, fps, len(stamps), (image.shape[0], image.shape[1]))


def common_fps(clips: Sequence[Clip]) -> int:
    """Return the whole frame rate that most of the clips run at (the lower one of two)."""
    rates = [max(1, round(clip.fps)) for clip in clips]
    return min(set(rates), key=lambda rate: (-rates.count(rate), rate))


def common_size(clips: Sequence[Clip]) -> Size:
    """Return the size that most of the clips have (the smaller one of two)."""
    sizes = [clip.size for clip in clips]
    return min(set(sizes), key=lambda size: (-sizes.count(size), size))


def resampled(path: Path, fps: float | int, size: Size) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the frame nearest to each time of a grid, with the time it was taken.

    Args:
        path: a video file.
        fps: frames per second of the grid, which begins with the first frame.
        size: rows and columns of the frames; others are scaled to cover it, and cropped.

    Yields:
        Nanoseconds from the first frame, and rgb uint8 [H W 3].

    Raises:
        FormatError: the file is damaged.
    """
    step = 0
    held: tuple[float, np.ndarray] | None = None
    for time_s, image in _upright(path):
        while held is not None and step / fps <= (held[0] + time_s) / 2:
            yield round(held[0] * 1e9), covered(held[1], size)
            step += 1
        held = (time_s, image)
    while held is not None and step / fps <= held[0] + 0.5 / fps:
        yield round(held[0] * 1e9), covered(held[1], size)
        step += 1


def _upright(path: Path) -> Iterator[tuple[float, np.ndarray]]:
    """Yield seconds from the first frame, ascending, and the upright frame."""
    convert = Converter(PIXELS["rgb"])
    with decoding(path), opened(path) as container:
        stream = first_video_stream(container, path)
        stream.codec_context.thread_count = 1
        first_s, last_s = 0.0, -1.0
        for count, frame in enumerate(container.decode(stream)):
            time_s = frame.time if frame.time is not None else count / float(stream.guessed_rate)
            first_s = time_s if count == 0 else first_s
            image = _turned(convert(frame), frame.rotation)
            if time_s - first_s > last_s:  # a time that repeats or runs back is no new moment
                last_s = time_s - first_s
                yield last_s, image


def _turned(image: np.ndarray, rotation_deg: float | int) -> np.ndarray:
    """Turn a frame upright; players turn by quarters, counted anticlockwise."""
    return np.ascontiguousarray(np.rot90(image, round(rotation_deg / 90)))


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
