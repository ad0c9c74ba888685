"""No video: what a file is that FFmpeg would draw, play or follow although it is no video.

FFmpeg draws text as pictures, shows a photograph as a video of one frame, and follows a playlist to
other files. The first bytes of a file say what it is, whatever its name is.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

HEAD_BYTES = 4096
TEXT, SUBTITLES, PLAYLIST, PICTURE = "text", "a subtitle file", "a playlist", "a picture"
SOUND = "sound without pictures"
_PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"v=0\n", b"v=0\r", b"[playlist]")
_SUBTITLES = re.compile(rb"\s*(?:WEBVTT|\[Script Info\])|[^>]*\d\d:\d\d[:,.]\S* --> \d\d:")
_STARTS: dict[bytes, str] = {
    b"\x89PNG": PICTURE, b"BM": PICTURE, b"II*\0": PICTURE, b"MM\0*": PICTURE,
    b"\xff\xd8\xff": PICTURE, b"8BPS": PICTURE, b"v/1\x01": PICTURE,
    b"ID3": SOUND, b"fLaC": SOUND,
    b"%PDF": "a PDF", b"PK\3\4": "a ZIP archive", b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf": "a 7z archive", b"\x89HDF": "an HDF5 file", b"PAR1": "a Parquet table",
    b"\x93NUMPY": "a NumPy array", b"LASF": "a LAS cloud", b"ASTM-E57": "an E57 file",
    b"SQLite format 3": "an SQLite file", b"#ROSBAG": "a ROS bag",
}  # fmt: skip
_RIFF = {b"WAVE": SOUND, b"WEBP": PICTURE}
# Containers of photographs have the marks of mp4, which tell them apart.
_BRANDS = (b"heic", b"heix", b"mif1", b"avif")
_DEMUXERS = {
    **dict.fromkeys(["tty", "bin", "xbin", "adf", "idf"], TEXT),
    **dict.fromkeys(["srt", "ass", "webvtt", "microdvd", "subviewer", "jacosub"], SUBTITLES),
    **dict.fromkeys(["hls", "concat", "dash", "sdp", "imf"], PLAYLIST),
    "image2": PICTURE,
}
_MOTION_JPEG = (".mjpeg", ".mjpg")
_CONTROL = bytes({*range(32), 127} - {*b"\t\n\f\r\x1b"})


def no_video(path: Path) -> str | None:
    """Return in words what a file is by its first bytes, or None where it may be a video.

    A file that cannot be read gives None: opening it tells why.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return None
    kind = _by_start(head) or _text_kind(head)
    return None if kind == PICTURE and path.suffix.lower() in _MOTION_JPEG else kind


def no_video_of(container: Any, path: Path) -> str | None:
    """Return in words what FFmpeg took a file for, or None where that is a video.

    Args:
        container: the file, opened by FFmpeg.
        path: the file; motion JPEG differs from a picture by its suffix only.
    """
    names = container.format.name.split(",")
    kind = next((_DEMUXERS[name] for name in names if name in _DEMUXERS), None)
    if kind is None and names[0].endswith("_pipe"):
        kind = PICTURE
    return None if kind == PICTURE and path.suffix.lower() in _MOTION_JPEG else kind


def _by_start(head: bytes) -> str | None:
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp" and head[8:12] in _BRANDS:
        return PICTURE
    return next((kind for start, kind in _STARTS.items() if head.startswith(start)), None)


def _text_kind(head: bytes) -> str | None:
    """Return which kind of text bytes are, or None where they are none."""
    bare = head.removeprefix(b"\xef\xbb\xbf")
    if bare.startswith(_PLAYLISTS):  # FFmpeg follows it whatever comes after
        return PLAYLIST
    if not _is_text(head):
        return None
    return SUBTITLES if _SUBTITLES.match(bare) else TEXT


def _is_text(head: bytes) -> bool:
    """Say whether bytes are text: no control character, in UTF-8, UTF-16 or an 8-bit code."""
    if head.startswith(b"YUV4MPEG2"):  # a video whose header is text
        return False
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        words = head[: len(head) // 2 * 2].decode("utf-16", "replace")
        return "\ufffd" not in words[:-1] and not set(words) & set(_CONTROL.decode("latin-1"))
    return bool(head) and len(head) == len(head.translate(None, _CONTROL))
