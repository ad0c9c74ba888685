"""What is no recording is refused with what it is; what is taken is never made up."""

from __future__ import annotations

import io
import struct
import wave

import av
import numpy as np
import pytest
from PIL import Image

from armillary.core.errors import FormatError
from armillary.data import ingest, open_dataset

SUBTITLES = "1\n00:00:01,000 --> 00:00:02,000\nhello\n\n2\n00:00:03,000 --> 00:00:04,000\nyou\n"


def picture(form: str, seed: int = 0) -> bytes:
    data = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(data, form)
    return data.getvalue()


def sound() -> bytes:
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16000))
    return data.getvalue()


def sound_in(path, codec: str) -> bytes:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 20480), np.int16), "s16", "mono")
        frame.rate = 44100
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return path.read_bytes()


NO_VIDEOS = {
    "text": ["hello world\n" * 50, "1.0 2.0 3.0\n" * 90, "t,x\n1,2\n", "# title\n\nwords\n" * 30,
             "\x1b[31mred\x1b[0m\n" * 20, '{"a": 1}', "<svg></svg>"],
    "subtitles": [SUBTITLES, "WEBVTT\n\n00:01.000 --> 00:02.000\nhi\n",
                  "[Script Info]\nTitle: x\n[Events]\n"],
    "a playlist": ["#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nmissing.ts\n",
                   "ffconcat version 1.0\nfile 'good.mp4'\n", "v=0\no=- 0 0 IN IP4 127.0.0.1\n"],
    "a picture": [picture(form) for form in ("png", "jpeg", "tiff", "bmp", "webp", "ppm")],
    "sound without pictures": [sound()],
}  # fmt: skip


@pytest.mark.parametrize("kind", NO_VIDEOS)
@pytest.mark.parametrize("name", ["in.mp4", "in.txt", "in.bin"])
def test_what_is_no_video_is_named_whatever_its_name_is(tmp_path, kind, name):
    """FFmpeg draws text, shows a picture as one frame, and waits for ever for a playlist."""
    for content in NO_VIDEOS[kind]:
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / name).write_bytes(data)
        with pytest.raises(FormatError, match=rf"is {kind}, not a video") as caught:
            ingest(tmp_path / name, tmp_path / "out", "video")
        assert str(caught.value).count(name) == 2
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("code", ["utf-16", "latin-1", "utf-8-sig"])
def test_text_is_text_in_any_code(tmp_path, code):
    (tmp_path / "in.mp4").write_bytes(("Grüße aus dem Süden\n" * 60).encode(code))
    with pytest.raises(FormatError, match="is text, not a video"):
        ingest(tmp_path / "in.mp4", tmp_path / "out")


@pytest.mark.parametrize("name", ["in.xb", "in.bin"])
def test_text_art_is_text(tmp_path, name):
    """FFmpeg knows these by their suffix or mark alone: pairs of a character and its colour."""
    head = b"XBIN\x1a" + struct.pack("<HHBB", 80, 25, 16, 0) if name == "in.xb" else b""
    (tmp_path / name).write_bytes(head + b"A\x07" * 4000)
    with pytest.raises(FormatError, match="is text, not a video"):
        ingest(tmp_path / name, tmp_path / "out")


def test_sound_is_no_video_and_its_cover_neither(tmp_path):
    data = sound_in(tmp_path / "a.mp3", "mp3")
    art = b"\0image/jpeg\0\3\0" + picture("jpeg")
    size = len(art) + 10
    sizes = bytes(size >> shift & 127 for shift in (21, 14, 7, 0))
    tag = b"ID3\3\0\0" + sizes + b"APIC" + struct.pack(">I", len(art)) + b"\0\0" + art
    (tmp_path / "cover.mp3").write_bytes(tag + data[data.index(b"\xff\xfb") :])
    (tmp_path / "cover.mp4").write_bytes((tmp_path / "cover.mp3").read_bytes())
    for name in ("cover.mp3", "cover.mp4"):
        with pytest.raises(FormatError, match="is sound without pictures, not a video"):
            ingest(tmp_path / name, tmp_path / "out")
    sound_in(tmp_path / "b.mp4", "aac")
    with pytest.raises(FormatError, match="holds no video stream, only sound"):
        ingest(tmp_path / "b.mp4", tmp_path / "out")


def test_motion_jpeg_stays_a_video(tmp_path):
    """Its frames are pictures one after another, so its suffix alone tells it from one."""
    frames = b"".join(picture("jpeg", seed) for seed in range(12))
    (tmp_path / "in.mjpeg").write_bytes(frames)
    assert ingest(tmp_path / "in.mjpeg", tmp_path / "out").frames == 12
    (tmp_path / "in.jpg").write_bytes(frames)
    with pytest.raises(FormatError, match="is a picture, not a video"):
        ingest(tmp_path / "in.jpg", tmp_path / "out2")


def test_files_beside_videos_are_named_with_what_they_are(tmp_path, counting):
    from test_ingest import make_video

    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in/good.mp4", counting, np.arange(12) / 10)
    (tmp_path / "in/poster.mp4").write_bytes(picture("png"))
    (tmp_path / "in/words.mp4").write_text(SUBTITLES)
    (tmp_path / "in/notes.txt").write_text("notes")
    (tmp_path / "in/thumb.jpg").write_bytes(picture("jpeg"))
    summary = ingest(tmp_path / "in", tmp_path / "out")
    reasons = {path.name: why.split(": ", 1)[1] for path, why in summary.skipped}
    assert summary.written == 1
    assert open_dataset(tmp_path / "out").read_low(0).source == "good.mp4"
    assert reasons["notes.txt"] == "is not a video file: it is text."
    assert reasons["thumb.jpg"] == "is not a video file: it is a picture."
    assert reasons["poster.mp4"].startswith("is a picture, not a video")
    assert reasons["words.mp4"].startswith("is subtitles, not a video")
