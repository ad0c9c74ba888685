"""Video files keep their promises: exact frames in any order, lossless depth, the same bytes."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from armillary.core.errors import FormatError
from armillary.data.foreign import to_depth_mm
from armillary.data.video import VideoReader, encode


@pytest.fixture(scope="module")
def video(tmp_path_factory, counting) -> Path:
    path = tmp_path_factory.mktemp("video") / "count.mp4"
    encode(path, (counting.draw(n) for n in range(37)), 30, "rgb")
    return path


@pytest.mark.parametrize("order", [range(37), [36, 0, 20, 21, 5, 5, 9, 10, 11, 1]])
def test_any_frame_in_any_order_is_exactly_that_frame(video, counting, order):
    with VideoReader(video) as reader:
        pictures = np.stack(list(reader.read(order)))
    assert counting.read(pictures).tolist() == list(order)


def test_times_follow_the_frame_rate(video):
    with VideoReader(video) as reader:
        assert len(reader) == 37
        assert np.allclose(reader.times_s, np.arange(37) / 30, atol=1e-4)


def test_groups_are_short_and_without_reordered_frames(video):
    with av.open(str(video)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        assert [p.pts for p in packets] == sorted(p.pts for p in packets)
        assert all(packets[n].is_keyframe for n in range(0, 37, 10))


@pytest.mark.parametrize("shape", [(32, 32), (31, 45), (1, 1)])
def test_depth_comes_back_to_the_millimetre(tmp_path, shape):
    rng = np.random.default_rng(0)
    depth = [rng.integers(0, 65536, shape).astype(np.uint16) for _ in range(12)]
    encode(tmp_path / "depth.mp4", depth, 12.5, "depth")
    with VideoReader(tmp_path / "depth.mp4", "depth") as reader:
        assert np.array_equal(np.stack(list(reader.read(range(12)))), np.stack(depth))


def test_a_coloured_dot_of_two_pixels_keeps_its_colour(tmp_path):
    # a model acts on pictures that no codec has seen, so the recorded ones must look like them
    ground, dot = (30, 60, 90), (200, 160, 40)
    pictures = np.full((40, 64, 64, 3), ground, np.uint8)
    for n, picture in enumerate(pictures):
        picture[20:22, n + 3 : n + 5] = dot
    encode(tmp_path / "dot.mp4", pictures, 10, "rgb")
    with VideoReader(tmp_path / "dot.mp4") as reader:
        got = np.stack(list(reader.read(range(40))))
    seen = np.stack([got[n, 20:22, n + 3 : n + 5].mean((0, 1)) for n in range(40)])
    assert np.abs(seen - dot).max() < 8  # 4:2:0 errs by 96
    assert np.abs(got.astype(float).mean((0, 1, 2)) - pictures.mean((0, 1, 2))).max() < 1.2


def test_odd_sizes_keep_their_size(tmp_path):
    pictures = [np.full((33, 17, 3), 9 * n, np.uint8) for n in range(12)]
    encode(tmp_path / "odd.mp4", pictures, 10, "rgb")
    with VideoReader(tmp_path / "odd.mp4") as reader:
        got = np.stack(list(reader.read(range(12))))
    assert got.shape == (12, 33, 17, 3)
    assert np.abs(got.astype(int) - np.stack(pictures)).max() <= 4


def test_the_same_frames_give_the_same_bytes(tmp_path, counting):
    for name in ("a.mp4", "b.mp4"):
        encode(tmp_path / name, (counting.draw(n) for n in range(15)), 10, "rgb")
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_no_frame_is_one_sentence_and_leaves_nothing(tmp_path):
    with pytest.raises(FormatError, match="a video needs at least one frame"):
        encode(tmp_path / "none.mp4", [], 10, "rgb")
    assert list(tmp_path.iterdir()) == []


def test_what_the_encoder_does_not_take_is_one_sentence(tmp_path):
    wide = [np.zeros((2, 40_000, 3), np.uint8)]
    with pytest.raises(FormatError, match="h264 cannot encode pictures of 40000x2"):
        encode(tmp_path / "wide.mp4", wide, 10, "rgb")
    assert list(tmp_path.iterdir()) == []


def test_text_is_not_a_video(tmp_path):
    (tmp_path / "text.mp4").write_text("not a video " * 50)
    with pytest.raises(FormatError, match=r"text\.mp4: is text, not a video"):
        VideoReader(tmp_path / "text.mp4")


def test_twelve_bit_depth_codes_of_others_become_millimetres(tmp_path):
    codes = np.linspace(0, 4095, 32 * 32).astype(np.uint16).reshape(32, 32)
    with av.open(str(tmp_path / "codes.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "gray12le"
        frame = av.VideoFrame(32, 32, "gray12le")
        frame.planes[0].update(codes.tobytes())
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with VideoReader(tmp_path / "codes.mkv", "depth") as reader:
        (got,) = reader.read([0])
    assert np.array_equal(got, codes)
    metres = to_depth_mm(got, {"info": {"video.pix_fmt": "gray12le"}}) / 1000
    assert metres[0, 0] == 0, "code 0 is no distance"
    assert metres[-1, -1] == 10
    middle = np.exp((np.log(0.01 + 3.5) + np.log(10 + 3.5)) / 2) - 3.5
    assert abs(metres.ravel()[512] - middle) < 0.01
