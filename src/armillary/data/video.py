"""Video files: deterministic encoding, and frame-exact decoding from an open handle.

Colour is H.264 with a short group of pictures and no B frames (fast random access); depth and
labels are FFV1, which loses nothing. Both go into mp4 (FFmpeg writes and reads FFV1 there), so
LeRobot's one path pattern holds for all cameras. One thread everywhere: same frames, same bytes.
Pictures that stay as they are, encoded, are in ``stills``.

Axes: T time, H W image.
"""

from __future__ import annotations

import operator
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, SupportsIndex

import av
import numpy as np
from av.stream import Disposition
from av.video.reformatter import VideoReformatter

from armillary.core.errors import FormatError
from armillary.core.files import replacing
from armillary.core.values import StreamKind
from armillary.data.no_video import no_video, no_video_of

GROUP_OF_PICTURES = 10
MAX_PIXELS = 1 << 26  # 8192 x 8192: larger frames are refused before anything is allocated
PIXELS = {"rgb": "rgb24", "depth": "gray16le", "segmentation": "gray"}
CODECS = {"rgb": "h264", "depth": "ffv1", "segmentation": "ffv1"}
# Models see small pictures as they are, and act on pictures that no codec has seen. 4:2:0 blurs the
# colour of what is two pixels wide. In dm_control's point mass the pixels of what moves were wrong
# by 7.0 of 255 levels, and the latent of a live picture lay 0.41 of its spread from that of the
# recorded one. 4:4:4 with crf 10 is wrong by 1.3 and 0.08, and the file is a tenth larger
# (scripts/live_pictures.py).
SMALL_PX = 128
_CRF, _CRF_SMALL = "16", "10"
# veryfast is a third of ultrafast's size at 12,000 frames/s (64 px, one thread), and medium is no
# smaller.
_H264 = {
    "preset": "veryfast",
    "tune": "fastdecode",
    "g": str(GROUP_OF_PICTURES),
    "bf": "0",
    # x264's macroblock tree reads memory that nobody wrote, for frames of few blocks: of 400 files
    # of the same 32 x 32 pictures a few differed. Without it files are a sixth larger.
    "x264-params": "threads=1:scenecut=0:mbtree=0",
}
STILL_CODECS = ("png", "mjpeg")
_NOTHING = 1 << 62
_FFV1 = {"level": "3", "slices": "4", "g": "1"}
_FFV1_TINY = {"level": "1", "g": "1"}  # version 3 cannot cut pictures of a few pixels into slices


def encode(path: Path, images: Iterable[np.ndarray], fps: float | int, kind: StreamKind) -> int:
    """Write images as a video file, in one step (beside, then rename).

    Args:
        path: where the mp4 goes.
        images: rgb uint8 [H W 3], depth uint16 millimetres [H W] (0 invalid) or labels uint8 [H W].
        fps: frames per second.
        kind: ``rgb``, ``depth`` or ``segmentation``; decides codec and pixel format.

    Returns:
        Number of frames written.

    Raises:
        FormatError: there is no image, or their sizes differ.
        StorageError: the disk is full or not writable.
    """
    images = iter(images)
    first = next(images, None)
    if first is None:
        raise FormatError(f"{path}: a video needs at least one frame; got none.")
    with replacing(path) as beside, av.open(str(beside), "w", format="mp4") as container:
        stream = _add_stream(container, first.shape, fps, kind)
        try:
            count = _encode_all(container, stream, chain([first], images), kind)
        except av.error.ExternalError as error:  # the encoder's own
            size = f"{first.shape[1]}x{first.shape[0]}"
            raise FormatError(
                f"{path}: {CODECS[kind]} cannot encode pictures of {size}."
            ) from error
    return count


def rate(fps: float | int) -> Fraction:
    """Return frames per second as a fraction that containers can hold."""
    return Fraction(fps).limit_denominator(1001)


def pixel_format(kind: StreamKind, shape: Sequence[int]) -> str:
    """Return the pixel format on disk: 4:4:4 for small pictures and odd sides, else 4:2:0.

    Args:
        kind: ``rgb``, ``depth`` or ``segmentation``.
        shape: of a picture.
    """
    if kind != "rgb":
        return PIXELS[kind]
    odd = shape[0] % 2 or shape[1] % 2
    return "yuv444p" if odd or _small(shape) else "yuv420p"


def _small(shape: Sequence[int]) -> bool:
    return max(shape[:2]) <= SMALL_PX


class VideoReader:
    """An open video file from which frames are taken by index, each exactly.

    The file is demuxed once when opened (no decoding) to learn the time of every frame; of PNG and
    JPEG the index alone is read. Not to be shared between threads, nor carried over a fork.
    """

    def __init__(self, path: Path, kind: StreamKind = "rgb") -> None:
        self.path = path
        with decoding(path):
            self._container = opened(path)
            self._stream = first_video_stream(self._container, path)
            self._stream.codec_context.thread_count = 1
            self._pts, self._key_pts = _packet_times(self._container, self._stream)
        if not self._pts:
            raise FormatError(f"{path}: holds no video frame.")
        self._convert = Converter(PIXELS[kind])
        self._frames: Iterator[Any] = iter(())
        self._decoded = _NOTHING  # index of the frame decoded last; going on from it needs no seek

    def __len__(self) -> int:
        return len(self._pts)

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a frame."""
        return self._stream.height, self._stream.width

    @property
    def times_s(self) -> np.ndarray:
        """Time of every frame in seconds [T], ascending."""
        return np.asarray(self._pts, np.float64) * float(self._stream.time_base)

    def read(self, indices: Iterable[SupportsIndex]) -> Iterator[np.ndarray]:
        """Yield the frames with these indices; ascending order decodes each frame once.

        Raises:
            FormatError: the file is damaged, or has no such frame.
        """
        shown, picture = -1, np.empty(0)
        for index in map(operator.index, indices):
            if index != shown:
                shown, picture = index, self._picture(index)
            yield picture

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _picture(self, index: int) -> np.ndarray:
        return self._convert(self._decode(index))

    def _check_index(self, index: int) -> None:
        if not 0 <= index < len(self._pts):
            raise FormatError(f"{self.path}: frame {index} of {len(self)} does not exist.")

    def _decode(self, index: int) -> av.VideoFrame:
        self._check_index(index)
        with decoding(self.path):
            if self._decoded >= index or self._key_before(index) > self._decoded + 1:
                self._seek(index)
            for frame in self._frames:
                if frame.pts is not None and frame.pts >= self._pts[index]:
                    self._decoded = index
                    return frame
        self._decoded = _NOTHING
        raise FormatError(f"{self.path}: frame {index} of {len(self)} cannot be decoded.")

    def _key_before(self, index: int) -> int:
        """Return the index of the last key frame at or before a frame."""
        key = self._key_pts[max(0, bisect_right(self._key_pts, self._pts[index]) - 1)]
        return bisect_right(self._pts, key) - 1

    def _seek(self, index: int) -> None:
        self._container.seek(self._pts[index], stream=self._stream, backward=True)
        self._frames = self._container.decode(self._stream)


class Converter:
    """Turns decoded frames into arrays of one pixel format, with one scaler for all of them."""

    def __init__(self, pixels: str) -> None:
        self._pixels = pixels
        self._scaler = VideoReformatter()

    def __call__(self, frame: av.VideoFrame, size: Sequence[int] | None = None) -> np.ndarray:
        """Return rgb uint8 [H W 3], depth uint16 [H W] or labels uint8 [H W].

        Args:
            frame: as decoded.
            size: rows and columns of the result, for colour; None keeps those of the frame. A
                large frame is then never held in RGB.
        """
        if self._pixels == PIXELS["depth"] and "12le" in frame.format.name:
            return _luma(frame)
        # threads=1: letting the scaler start threads for each small frame is 5-80 times slower.
        if size is None or tuple(size) == (frame.height, frame.width):
            return self._scaler.reformat(frame, format=self._pixels, threads=1).to_ndarray()
        smaller = size[0] <= frame.height
        return self._scaler.reformat(
            frame,
            height=size[0],
            width=size[1],
            format=self._pixels,
            interpolation="AREA" if smaller else "BICUBIC",
            threads=1,
        ).to_ndarray()


def _luma(frame: av.VideoFrame) -> np.ndarray:
    """Return 12-bit codes as they are; a scaler would stretch their range."""
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint16).reshape(-1, plane.line_size // 2)
    return rows[: frame.height, : frame.width].copy()


def opened(path: Path) -> Any:
    """Open a video file to read; what it tells in words may be in any encoding.

    A file that names others, such as a playlist, cannot reach the network.

    Raises:
        av.error.FFmpegError: it is no video, or damaged.
        FormatError: it is text, a picture, a playlist or another file that FFmpeg would take.
    """
    # before FFmpeg opens it: a playlist that never ends would be waited for
    if kind := no_video(path):
        raise not_a_video(path, kind)
    container = av.open(
        str(path),
        options={"protocol_whitelist": "file"},
        metadata_encoding="utf-8",
        metadata_errors="replace",
    )
    if kind := no_video_of(container, path):
        container.close()
        raise not_a_video(path, kind)
    return container


def not_a_video(path: Path, kind: str) -> FormatError:
    """Return the error about a file that is something else, which ``kind`` names."""
    return FormatError(f"{path}: is {kind}, not a video; give a video file or a folder of them.")


@contextmanager
def decoding(path: Path) -> Iterator[None]:
    """Turn what FFmpeg says about a file into one sentence.

    Raises:
        FormatError: the file is not a video, or is damaged.
    """
    try:
        yield
    except (av.error.FFmpegError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise FormatError(f"{path}: cannot be decoded as video ({reason}).") from error


def first_video_stream(container: Any, path: Path) -> Any:
    """Return the first video stream, its size checked before anything is decoded.

    The cover of a sound file is a picture, not a video.

    Raises:
        FormatError: there is none, or its frames are unreasonably large.
    """
    found = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not found:
        held = ", only sound" if container.streams.audio else ""
        raise FormatError(f"{path}: holds no video stream{held}.")
    stream = found[0]
    if stream.codec_context is None:
        raise FormatError(f"{path}: its video is of a codec that is not known here, or damaged.")
    if not 0 < stream.width * stream.height <= MAX_PIXELS:
        size = f"{stream.width}x{stream.height}"
        raise FormatError(f"{path}: frames of {size} are refused; at most {MAX_PIXELS} pixels.")
    return stream


def _add_stream(container: Any, shape: Sequence[int], fps: float | int, kind: StreamKind) -> Any:
    lossless = _FFV1 if min(shape[:2]) >= 16 else _FFV1_TINY
    options = _H264 | {"crf": _CRF_SMALL if _small(shape) else _CRF} if kind == "rgb" else lossless
    stream = container.add_stream(CODECS[kind], rate=rate(fps), options=options)
    stream.height, stream.width = shape[:2]
    stream.pix_fmt = pixel_format(kind, shape)
    stream.codec_context.thread_count = 1
    return stream


def _encode_all(container: Any, stream: Any, images: Iterable[np.ndarray], kind: str) -> int:
    scaler = VideoReformatter()
    count = 0
    for image in images:
        if image.shape[:2] != (stream.height, stream.width):
            want = f"{stream.height}x{stream.width}"
            raise FormatError(
                f"Frame {count} is {image.shape[:2]}; all must be {want} as the first."
            )
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format=PIXELS[kind])
        frame = scaler.reformat(frame, format=stream.pix_fmt, threads=1)
        frame.pts, frame.time_base = count, 1 / stream.codec_context.framerate
        container.mux(stream.encode(frame))
        count += 1
    container.mux(stream.encode(None))
    return count


def _packet_times(container: Any, stream: Any) -> tuple[list[int], list[int]]:
    """Return the times of all frames and of the key frames, ascending."""
    index = getattr(stream, "index_entries", ())  # older versions of av have none
    if stream.codec_context.name in STILL_CODECS and len(index) == stream.frames > 0:
        # each is a picture of its own; going through such large packets would read the whole file
        times = sorted(entry.timestamp for entry in index)
        return times, times
    # times alone: the packets of a long recording are as large as its file
    stamps = [(packet.pts, packet.is_keyframe) for packet in container.demux(stream)]
    pts = sorted(time for time, _ in stamps if time is not None)
    keys = sorted(time for time, is_key in stamps if is_key and time is not None)
    return pts, keys or pts[:1]


def nearest_frames(video: VideoReader, wanted_s: np.ndarray, fps: float) -> np.ndarray:
    """Return the number of the frame nearest to each wanted time.

    Args:
        video: the open file.
        wanted_s: times in seconds.
        fps: steps per second of the dataset.

    Raises:
        FormatError: a wanted time has no frame within half a step.
    """
    times = video.times_s
    after = np.clip(np.searchsorted(times, wanted_s), 1, max(1, len(times) - 1))
    before = after - 1
    after = np.minimum(after, len(times) - 1)
    nearest = np.where(wanted_s - times[before] <= times[after] - wanted_s, before, after)
    away = np.abs(times[nearest] - wanted_s)
    lost = away > 0.5 / fps
    if lost.any():
        step = int(lost.argmax())
        raise FormatError(
            f"{video.path}: has no frame at {wanted_s[step]:.3f} s (step {step}); it holds "
            f"{len(times)} frames up to {times[-1]:.3f} s."
        )
    return nearest
