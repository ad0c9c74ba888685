"""What people have becomes a dataset; what cannot be used is named, never dropped in silence."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from armillary.core.errors import ConfigError, FormatError
from armillary.data import IngestOptions, ingest, open_dataset, verify


def make_video(
    path: Path, counting, times_s, codec: str = "h264", options: dict | None = None
) -> Path:
    """A video whose frames say their number, at any times, in any container."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=30)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for number, time_s in enumerate(times_s):
            frame = av.VideoFrame.from_ndarray(counting.draw(number), format="rgb24")
            frame.pts, frame.time_base = round(time_s * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def shown(counting, dataset: Path, index: int = 0) -> list[int]:
    return counting.read(open_dataset(dataset).read(index).streams["rgb"].values).tolist()


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "h264"), ("a.mkv", "hevc"), ("a.webm", "libvpx-vp9"), ("a.mov", "mpeg4")],
)
def test_every_frame_of_any_container_arrives(tmp_path, counting, name, codec):
    make_video(tmp_path / name, counting, np.arange(20) / 25, codec)
    summary = ingest(tmp_path / name, tmp_path / "out")
    assert (summary.written, summary.frames, summary.skipped) == (1, 20, ())
    assert open_dataset(tmp_path / "out").fps == 25
    assert shown(counting, tmp_path / "out") == list(range(20))
    assert verify(tmp_path / "out").ok


def test_a_variable_frame_rate_goes_by_its_times(tmp_path, counting):
    times = [0.0, 0.1, 0.2, 0.3, 0.6, 0.7, 0.73, 0.8, 0.9]
    make_video(tmp_path / "vfr.mkv", counting, times)
    ingest(tmp_path / "vfr.mkv", tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert dataset.fps == 10
    assert shown(counting, tmp_path / "out") == [0, 1, 2, 3, 3, 4, 4, 5, 7, 8]
    taken = dataset.read(0).time_ns / 1e9
    assert np.allclose(taken, [times[n] for n in [0, 1, 2, 3, 3, 4, 4, 5, 7, 8]], atol=2e-3)


def test_rotation_is_applied(tmp_path):
    picture = np.zeros((32, 48, 3), np.uint8)
    picture[:12, :12] = 250  # top left; a quarter clockwise puts it top right
    path = tmp_path / "turned.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("h264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40  # version 0: the matrix begins 40 bytes into the box
    quarter = (0, 1 << 16, 0, -(1 << 16), 0, 0, 32 << 16, 0, 1 << 30)
    data[matrix : matrix + 36] = b"".join(n.to_bytes(4, "big", signed=True) for n in quarter)
    path.write_bytes(data)
    ingest(path, tmp_path / "out")
    upright = open_dataset(tmp_path / "out").read(0).streams["rgb"].values
    assert upright.shape == (5, 48, 32, 3)
    assert upright[:, :8, -8:].min() > 200
    assert upright[:, :8, :8].max() < 40


def test_unusable_files_are_named_skipped_and_counted(tmp_path, counting):
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    good = make_video(folder / "deep" / "good.mp4", counting, np.arange(30) / 10)
    data = good.read_bytes()
    (folder / "cut.mp4").write_bytes(data[: len(data) // 2])
    whole = make_video(folder / "cut.mkv", counting, np.arange(60) / 10).read_bytes()
    (folder / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    (folder / "text.mp4").write_text("this is not a video\n" * 100)
    (folder / "empty.avi").write_bytes(b"")
    (folder / "notes.txt").write_text("no video")
    summary = ingest(folder, tmp_path / "out")
    assert summary.written == 1
    reasons = {path.name: reason for path, reason in summary.skipped}
    assert reasons.keys() == {"cut.mp4", "cut.mkv", "text.mp4", "empty.avi", "notes.txt"}
    assert "the file is empty" in reasons["empty.avi"]
    assert "is not a video file" in reasons["notes.txt"]
    assert "is cut off" in reasons["cut.mkv"]
    assert "is text, not a video" in reasons["text.mp4"]
    assert open_dataset(tmp_path / "out").read(0).source == "deep/good.mp4"


def test_a_file_damaged_in_the_middle_leaves_no_trace(tmp_path, counting):
    folder = tmp_path / "in"
    folder.mkdir()
    data = bytearray(make_video(folder / "a.mp4", counting, np.arange(60) / 10).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 300] = bytes(b ^ 0xA5 for b in data[middle : middle + 300])
    (folder / "a.mp4").write_bytes(data)
    make_video(folder / "b.mp4", counting, np.arange(9) / 10)
    summary = ingest(folder, tmp_path / "out")
    assert [path.name for path, _ in summary.skipped] == ["a.mp4"]
    assert shown(counting, tmp_path / "out") == list(range(9))
    assert verify(tmp_path / "out").ok


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: None, "there is no such file or folder"),
        (lambda path: path.mkdir(), "is of no format that is read. It holds no file.*3gp"),
        (lambda path: path.write_text("hello " * 99), "no usable video; the first problem was"),
        (lambda path: path.write_bytes(b""), "the file is empty"),
    ],
)
def test_nothing_usable_is_one_sentence_and_leaves_nothing(tmp_path, make, sentence):
    make(tmp_path / "in")
    with pytest.raises(FormatError, match=sentence):
        ingest(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_never_overwritten(tmp_path, counting):
    video = make_video(tmp_path / "a.mp4", counting, np.arange(5) / 10)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigError, match="already exists and is not empty"):
        ingest(video, tmp_path / "out", options=IngestOptions(replace=True))
    assert (tmp_path / "out" / "thesis.txt").read_text() == "precious"
    ingest(video, tmp_path / "set")
    with pytest.raises(ConfigError, match="allow to replace this dataset"):
        ingest(video, tmp_path / "set")
    ingest(video, tmp_path / "set", options=IngestOptions(replace=True))


def test_what_lies_in_the_dataset_that_would_be_replaced_is_refused(tmp_path, counting):
    """It would be removed with it."""
    first = make_video(tmp_path / "first.mp4", counting, np.arange(20) / 25)
    ingest(first, tmp_path / "out")
    more = make_video(tmp_path / "out/more.mp4", counting, np.arange(20) / 25)
    with pytest.raises(ConfigError, match=r"lies in .*out, which would be replaced"):
        ingest(more, tmp_path / "out", options=IngestOptions(replace=True))
    assert more.is_file()


def test_an_earlier_dataset_among_the_videos_is_no_video(tmp_path, counting):
    make_video(tmp_path / "first.mp4", counting, np.arange(20) / 25)
    for _ in range(2):
        options = IngestOptions(replace=True)
        assert ingest(tmp_path, tmp_path / "mine", "video", options=options).written == 1


def test_a_recording_that_was_stopped_for_hours_is_not_filled_with_one_picture(tmp_path, counting):
    times = [*np.arange(10) / 10, *(7200 + np.arange(10) / 10)]
    make_video(tmp_path / "camera.mkv", counting, times)
    with pytest.raises(FormatError, match=r"pauses for 7199 s after 0\.9 s.*cut it there"):
        ingest(tmp_path / "camera.mkv", tmp_path / "out")


def test_unknown_formats_get_a_suggestion(tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'video'"):
        ingest(tmp_path, tmp_path / "out", fmt="vidoe")


def test_pictures_can_be_made_smaller(tmp_path, counting):
    video = make_video(tmp_path / "a.mp4", counting, np.arange(5) / 10)
    ingest(video, tmp_path / "out", options=IngestOptions(max_side=16))
    pictures = open_dataset(tmp_path / "out").read(0).streams["rgb"].values
    assert pictures.shape == (5, 16, 16, 3)
    assert counting.read(pictures).tolist() == list(range(5))


def test_a_dataset_is_ingested_with_everything_but_its_codec_error(tmp_path, counted, counting):
    summary = ingest(counted, tmp_path / "copy")
    assert (summary.written, summary.frames) == (4, 56)
    before, after = open_dataset(counted), open_dataset(tmp_path / "copy")
    for index in range(4):
        old, new = before.read(index), after.read(index)
        assert np.array_equal(old.actions, new.actions)
        assert np.array_equal(old.time_ns, new.time_ns)
        for name in old.streams.keys() - {"rgb"}:
            a, b = old.streams[name].values, new.streams[name].values
            assert np.array_equal(a, b, equal_nan=a.dtype != np.uint8), name
        assert counting.read(new.streams["rgb"].values)[0] == 100 * index


def test_a_copy_takes_the_licence_that_was_given(tmp_path, counted):
    ingest(counted, tmp_path / "copy", options=IngestOptions(license="MIT"))
    assert open_dataset(tmp_path / "copy").read(0).license == "MIT"


@pytest.mark.parametrize("name", ["one.mkv", "one.mp4"])
def test_a_video_of_one_frame_is_whole(tmp_path, counting, name):
    make_video(tmp_path / name, counting, [0.0])
    assert ingest(tmp_path / name, tmp_path / "out").frames == 1
    assert shown(counting, tmp_path / "out") == [0]
