"""Pictures that need no change are kept as they came, byte for byte; all others are encoded."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from armillary.core.errors import ConfigError, DatasetError, FormatError
from armillary.data import IngestOptions, describe, ingest, open_dataset, verify
from armillary.data.encoded import decode_rgb, in_millimetres
from armillary.data.layout import INFO, METRES_PER_UNIT, video_file
from armillary.data.sources.still_files import colour_form, depth_form
from armillary.data.stills import Still, StillForm, repacked, write_stills
from armillary.data.writer import DatasetWriter

STEPS, ROWS, COLUMNS = 12, 30, 40  # more pictures than are counted for the statistics
ENCODED = IngestOptions(pictures="encoded")


def colour(step: int) -> np.ndarray:
    rows, columns = np.mgrid[:ROWS, :COLUMNS]
    waves = [np.sin((columns + step) / 9), np.cos(rows / 7), np.sin((rows + columns) / 11)]
    return (128 + 100 * np.stack(waves, -1)).astype(np.uint8)


def depth(step: int) -> np.ndarray:
    """Units of 1/5000 m: 0 where nothing came back, and up to 13.1 m."""
    return ((np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) * 53 + step) % 65536).astype(
        np.uint16
    )


def png(image: np.ndarray, **how: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png", **how)
    return file.getvalue()


def jpeg(image: np.ndarray, **how: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "jpeg", **{"quality": 92, **how})
    return file.getvalue()


def cmyk(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).convert("CMYK").save(file, "jpeg")
    return file.getvalue()


def tum(folder: Path, **others: dict[int, bytes]) -> Path:
    """A sequence of PNGs; ``others`` are the files of some steps, by ``rgb`` and ``depth``."""
    made = {"rgb": lambda step: png(colour(step)), "depth": lambda step: png(depth(step))}
    for name, make in made.items():
        (folder / name).mkdir(parents=True)
        for step in range(STEPS):
            data = others.get(name, {}).get(step) or make(step)
            (folder / name / f"{step}.png").write_bytes(data)
        lines = [f"{step / 10:.3f} {name}/{step}.png" for step in range(STEPS)]
        (folder / f"{name}.txt").write_text("\n".join(lines))
    (folder / "intrinsics.txt").write_text("60 60 19.5 14.5")
    return folder


def packets(dataset: Path, key: str, episode: int = 0) -> list[bytes]:
    with av.open(str(dataset / video_file(episode, f"observation.images.{key}"))) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def pictures(dataset: Path, name: str) -> np.ndarray:
    return np.stack(list(open_dataset(dataset).frames(0, name)))


def codec(dataset: Path, key: str) -> str:
    return open_dataset(dataset).features[f"observation.images.{key}"]["info"]["video.codec"]


def millimetres(units: np.ndarray) -> np.ndarray:
    return np.rint(units / 5.0).astype(np.uint16)


def test_every_byte_of_the_pictures_is_kept_and_nothing_of_them_is_lost(tmp_path):
    source, out = tum(tmp_path / "in"), tmp_path / "out"
    assert ingest(source, out).frames == STEPS
    for key in ("rgb", "depth"):
        assert packets(out, key) == [(source / f"{key}/{n}.png").read_bytes() for n in range(STEPS)]
        assert codec(out, key) == describe(out)["streams"][key]["codec"] == "png"
    assert np.array_equal(pictures(out, "rgb"), [colour(n) for n in range(STEPS)])
    assert np.array_equal(pictures(out, "depth"), [millimetres(depth(n)) for n in range(STEPS)])
    assert verify(out).ok


def test_a_reader_who_knows_only_videos_finds_depth_in_the_unit_that_is_told(tmp_path):
    ingest(tum(tmp_path / "in"), tmp_path / "out")
    feature = json.loads((tmp_path / "out" / INFO).read_text())["features"]
    about = feature["observation.images.depth"]["info"]
    with av.open(str(tmp_path / "out" / video_file(0, "observation.images.depth"))) as container:
        units = [f.to_ndarray(format="gray16le") for f in container.decode(video=0)]
    assert np.allclose(
        np.array(units) * about[METRES_PER_UNIT], [depth(n) / 5000 for n in range(12)]
    )
    assert about["video.pix_fmt"] == "gray16be"
    assert METRES_PER_UNIT not in feature["observation.images.rgb"]["info"]


def test_statistics_are_those_of_the_decoded_pictures(tmp_path):
    ingest(tum(tmp_path / "in"), tmp_path / "out")
    stats = json.loads((tmp_path / "out/meta/stats.json").read_text())["observation.images.depth"]
    counted = np.array([millimetres(depth(n)) for n in (0, 10)], np.float64)
    assert np.isclose(stats["mean"], counted.mean())
    assert np.isclose(stats["max"], counted.max())


def test_encoded_has_the_codecs_of_a_recorded_world_and_the_same_depth(tmp_path):
    source = tum(tmp_path / "in")
    for name, options in (("kept", None), ("encoded", ENCODED)):
        ingest(source, tmp_path / name, options=options)
    assert [codec(tmp_path / "encoded", key) for key in ("rgb", "depth")] == ["h264", "ffv1"]
    depths = [pictures(tmp_path / name, "depth") for name in ("kept", "encoded")]
    assert np.array_equal(*depths)


@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_is_kept_and_decoded_as_everybody_does(tmp_path, sampling, progressive):
    how = {"subsampling": sampling, "progressive": progressive}
    files = {step: jpeg(colour(step), **how) for step in range(STEPS)}
    ingest(tum(tmp_path / "in", rgb=files), tmp_path / "out")
    assert packets(tmp_path / "out", "rgb") == list(files.values())
    assert codec(tmp_path / "out", "rgb") == "mjpeg"
    for found, data in zip(pictures(tmp_path / "out", "rgb"), files.values(), strict=True):
        wanted = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        # decoders blend the few colours of 4:2:0 differently
        assert np.abs(found.astype(int) - wanted).mean() < 4


def test_a_rotation_in_the_metadata_is_left_alone(tmp_path):
    """Intrinsics count pixels as they are stored."""
    turned = Image.Exif()
    turned[0x0112] = 6
    files = {step: jpeg(colour(step), subsampling="4:4:4", exif=turned) for step in range(STEPS)}
    ingest(tum(tmp_path / "in", rgb=files), tmp_path / "out")
    assert codec(tmp_path / "out", "rgb") == "mjpeg"
    found = pictures(tmp_path / "out", "rgb")
    assert np.abs(found.astype(int) - [colour(n) for n in range(STEPS)]).mean() < 3


@pytest.mark.parametrize(
    ("lens", "options"),
    [
        ("60 60 19.5 14.5 -0.2 0.03 0 0 0", IngestOptions()),
        ("60 60 19.5 14.5", IngestOptions(max_side=20)),
    ],
    ids=["distorted", "smaller"],
)
def test_what_has_to_be_drawn_anew_is_encoded(tmp_path, lens, options):
    (tum(tmp_path / "in") / "intrinsics.txt").write_text(lens)
    ingest(tmp_path / "in", tmp_path / "out", options=options)
    assert [codec(tmp_path / "out", key) for key in ("rgb", "depth")] == ["h264", "ffv1"]


@pytest.mark.parametrize(
    "data",
    [
        png(np.dstack([colour(5), np.full((ROWS, COLUMNS), 255, np.uint8)])),
        png(colour(5), transparency=(1, 2, 3)),
        jpeg(colour(5), quality=100, subsampling="4:4:4"),
    ],
    ids=["alpha", "transparent colour", "jpeg"],
)
def test_a_picture_of_another_kind_gets_the_form_of_the_first(tmp_path, data):
    ingest(tum(tmp_path / "in", rgb={5: data}), tmp_path / "out")
    found, wanted = pictures(tmp_path / "out", "rgb"), np.array([colour(n) for n in range(STEPS)])
    assert np.abs(found.astype(int) - wanted).max() <= (3 if data.startswith(b"\xff\xd8") else 0)
    assert {colour_form(one, "") for one in packets(tmp_path / "out", "rgb")} == {
        StillForm("png", "rgb24", ROWS, COLUMNS)
    }


def test_a_second_recording_in_another_format_is_brought_to_the_first_ones(tmp_path):
    tum(tmp_path / "in/a")
    tum(tmp_path / "in/b", rgb={n: jpeg(colour(n), subsampling="4:4:4") for n in range(STEPS)})
    assert ingest(tmp_path / "in", tmp_path / "out").written == 2
    assert all(one.startswith(b"\x89PNG") for one in packets(tmp_path / "out", "rgb", 1))
    tum(tmp_path / "other/a", rgb={n: jpeg(colour(n)) for n in range(STEPS)})
    tum(tmp_path / "other/b")
    ingest(tmp_path / "other", tmp_path / "jpeg")
    found = {colour_form(one, "") for one in packets(tmp_path / "jpeg", "rgb", 1)}
    assert found == {StillForm("mjpeg", "yuvj420p", ROWS, COLUMNS)}


def said(summary):
    """All that was left out, and why; the missing poses are said first."""
    return " ".join(why for _, why in summary.left_out)


def test_a_damaged_picture_cuts_the_recording_and_is_named(tmp_path):
    data = bytearray(png(depth(4)))
    data[len(data) // 2] ^= 1
    summary = ingest(tum(tmp_path / "in", depth={4: bytes(data)}), tmp_path / "out")
    assert (summary.written, summary.frames) == (2, STEPS - 1)
    assert "depth/4.png: cannot be decoded as a picture; it is damaged" in said(summary)


@pytest.mark.parametrize("part", ["scan", "quantisation", "code"])
def test_a_damaged_jpeg_cuts_the_recording_and_is_named(tmp_path, part):
    whole = jpeg(colour(5))
    scan, table, code = (whole.index(mark) for mark in (b"\xff\xda", b"\xff\xdb", b"\xff\xc4"))
    (length,) = struct.unpack_from(">H", whole, table + 2)
    damaged = {
        "scan": whole[:scan] + b"\xff\xd9",
        "quantisation": whole[:table] + whole[table + 2 + length :],
        "code": whole[: code + 5] + b"\xff" * 16 + whole[code + 21 :],
    }
    files = {n: jpeg(colour(n)) for n in range(STEPS)} | {5: damaged[part]}
    summary = ingest(tum(tmp_path / "in", rgb=files), tmp_path / "out")
    assert (summary.written, summary.frames) == (2, STEPS - 1)
    assert "rgb/5.png: cannot be decoded as a picture" in said(summary)
    assert len(list(open_dataset(tmp_path / "out").frames(0, "rgb"))) == 5


def test_a_damaged_first_picture_does_not_decide_the_form(tmp_path):
    bad = jpeg(colour(0))
    bad = bad[: bad.index(b"\xff\xda")] + b"\xff\xd9"
    folder = tum(tmp_path / "in", rgb={1: bad})
    (folder / "depth.txt").write_text((folder / "depth.txt").read_text().split("\n", 1)[1])
    assert ingest(folder, tmp_path / "out").frames == STEPS - 2  # the first step has no depth
    assert codec(tmp_path / "out", "rgb") == "png"


def rewritten(picture: bytes, pixels: bytes) -> bytes:
    """A PNG with another compressed stream, and right checksums: what a bad writer makes."""
    body = b"IDAT" + pixels
    chunk = struct.pack(">I", len(pixels)) + body + struct.pack(">I", zlib.crc32(body))
    return picture[:33] + chunk + picture[-12:]


@pytest.mark.parametrize("key", ["rgb", "depth"])
@pytest.mark.parametrize("stream", ["half", "few rows", "filter", "empty"])
def test_what_a_bad_writer_made_is_an_error_and_never_another_picture(tmp_path, key, stream):
    row = COLUMNS * (3 if key == "rgb" else 2) + 1
    packed = {
        "half": zlib.compress(bytes(row * ROWS))[:-9],
        "few rows": zlib.compress(bytes(row * 5)),
        "filter": zlib.compress(b"\x09" + bytes(row * ROWS - 1)),
        "empty": b"",
    }
    data = rewritten(png(colour(5) if key == "rgb" else depth(5)), packed[stream])
    ingest(tum(tmp_path / "in", **{key: {5: data}}), tmp_path / "out")
    with pytest.raises(DatasetError, match=r"episode 0: .*frame 5: cannot be decoded"):
        pictures(tmp_path / "out", key)
    assert len(list(open_dataset(tmp_path / "out").frames(0, key, [4, 6]))) == 2


def with_chunk(picture: bytes, name: bytes, body: bytes) -> bytes:
    named = name + body
    chunk = struct.pack(">I", len(body)) + named + struct.pack(">I", zlib.crc32(named))
    return picture[:33] + chunk + picture[33:]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        (b"zTXt", b"k\0\0" + zlib.compress(bytes(2 << 20))),
        (b"pHYs", b"\0"),
        (b"IHDR", png(depth(0))[16:29]),
        (b"ABCD", b""),
    ],
    ids=["much text", "short", "two headers", "unknown"],
)
def test_nothing_is_kept_that_the_reader_refuses(tmp_path, name, body):
    data = with_chunk(png(depth(5)), name, body)
    summary = ingest(tum(tmp_path / "in", depth={5: data}), tmp_path / "out")
    assert (summary.written, summary.frames) == (2, STEPS - 1)
    assert "depth/5.png: " in said(summary)
    for episode, steps in ((0, 5), (1, 6)):
        assert len(list(open_dataset(tmp_path / "out").frames(episode, "depth"))) == steps


@pytest.mark.parametrize(
    "comment",
    [b"Intel(R) JPEG Library, version 1", b"Metasoft MJPEG Codec", b"CS=ITU601", b"hello"],
    ids=["intel", "metasoft", "levels", "any"],
)
def test_jpeg_with_a_comment_is_not_kept(comment):
    """FFmpeg turns such pictures round, or takes their levels otherwise."""
    data = jpeg(colour(0))
    segment = b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment
    assert colour_form(data, "x") is not None
    assert colour_form(data[:2] + segment + data[2:], "x") is None


def test_depth_in_the_wrong_unit_is_refused_though_it_could_be_kept(tmp_path):
    options = IngestOptions(depth_scale=1.0)
    with pytest.raises(FormatError, match=r"metres \(median\) cannot be"):
        ingest(tum(tmp_path / "in"), tmp_path / "out", options=options)


@pytest.mark.parametrize("unit", [0, -1, True, "metres", float("inf")], ids=str)
def test_a_unit_that_is_none_is_refused(tmp_path, unit):
    ingest(tum(tmp_path / "in"), tmp_path / "out")
    file = tmp_path / "out" / INFO
    told = json.loads(file.read_text())
    told["features"]["observation.images.depth"]["info"][METRES_PER_UNIT] = unit
    file.write_text(json.dumps(told))
    with pytest.raises(DatasetError, match=r"the unit of its depth, .* is none"):
        pictures(tmp_path / "out", "depth")


def test_a_rate_or_a_side_that_no_video_has_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"0\.001 to 10,000 frames per second, got fps=0\.0004"):
        DatasetWriter(tmp_path / "slow", 0.0004)
    wide = png(np.zeros((1, 65536, 3), np.uint8))
    assert colour_form(wide, "x") is None
    with pytest.raises(FormatError, match="65536x1 is refused; at most"):
        decode_rgb(wide, "x")


def test_an_unknown_way_to_store_pictures_is_refused():
    with pytest.raises(ConfigError, match="encoded, kept"):
        IngestOptions(pictures="shrunk")


@given(place=st.integers(0, 10_000), change=st.integers(1, 255))
def test_no_changed_byte_of_a_png_is_kept_unseen(place, change):
    for data, form_of in ((png(colour(0)), colour_form), (png(depth(0)), _depth_form)):
        changed = bytearray(data)
        changed[place % len(data)] ^= change
        try:
            assert form_of(bytes(changed), "x") is None
        except FormatError as error:
            assert "x: cannot be decoded as a picture" in str(error)


@given(cut=st.integers(0, 10_000))
def test_no_cut_file_is_kept(cut):
    for data in (png(colour(0)), jpeg(colour(0))):
        try:
            assert colour_form(data[: cut % len(data)], "x") is None
        except FormatError as error:
            assert "damaged or cut off" in str(error)


@given(st.binary(max_size=300), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8"]))
def test_no_bytes_break_the_look_at_them(data, start):
    for form_of in (colour_form, _depth_form):
        try:
            assert form_of(start + data + b"\xff\xd9", "x") is None or data
        except FormatError as error:
            assert "x: " in str(error)


@pytest.mark.parametrize(
    "data",
    [
        png(colour(0)[..., 0]),
        png(depth(0)),
        jpeg(colour(0)[..., 0]),
        cmyk(colour(0)),
    ],
    ids=["grey png", "depth", "grey jpeg", "cmyk"],
)
def test_what_readers_take_differently_is_not_kept_as_colour(data):
    assert colour_form(data, "x") is None


def test_png_of_rows_in_turns_and_moving_png_are_not_kept():
    plain = png(depth(0))
    head = plain[8:33]
    body = head[4:20] + b"\x01"
    turns = plain[:8] + head[:4] + body + struct.pack(">I", zlib.crc32(body)) + plain[33:]
    assert _depth_form(turns, "x") is None
    moves = b"acTL" + bytes(8)
    chunk = struct.pack(">I", 8) + moves + struct.pack(">I", zlib.crc32(moves))
    assert _depth_form(plain[:33] + chunk + plain[33:], "x") is None
    assert _depth_form(plain, "x") is not None


@pytest.mark.parametrize("unit", [0.0001, 0.0002, 0.00025, 0.0005, 0.001, 0.01], ids=str)
def test_depth_is_repacked_exactly(unit):
    """The farthest number, too, whose millimetres may round up beyond it."""
    form = StillForm("png", "gray16be", ROWS, COLUMNS, unit)
    units = depth(0) // 2
    units[0, :3] = 0, 1, min(65535, round(65.535 / unit))
    wanted = in_millimetres(units, unit)
    data = repacked(wanted, form).data
    assert depth_form(data, unit, "x") == form
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(in_millimetres(found, unit), wanted)


@pytest.mark.parametrize(("unit", "most"), [(0.0002, 20_000), (0.01, 1234)], ids=["far", "fine"])
def test_depth_that_a_unit_cannot_hold_is_refused(unit, most):
    form = StillForm("png", "gray16be", ROWS, COLUMNS, unit)
    with pytest.raises(FormatError, match=r"does not fit the unit of the pictures before it"):
        repacked(np.full((ROWS, COLUMNS), most, np.uint16), form)


def test_a_video_of_stills_has_one_form_and_at_least_one_picture(tmp_path):
    stills = [
        Still(png(image), StillForm("png", "rgb24", *image.shape[:2]), lambda: np.zeros(1))
        for image in (colour(0), colour(0)[:20])
    ]
    with pytest.raises(FormatError, match="frame 1 is"):
        write_stills(tmp_path / "a.mp4", stills, 10)
    with pytest.raises(FormatError, match="at least one frame"):
        write_stills(tmp_path / "b.mp4", [], 10)
    assert list(tmp_path.iterdir()) == []


def test_opening_a_video_of_stills_reads_its_index_alone(tmp_path):
    """As large as they are, going through all packets would read the whole file."""
    ingest(tum(tmp_path / "in"), tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert np.array_equal(next(dataset.frames(0, "rgb", [7])), colour(7))
    later = list(dataset.frames(0, "depth", [3, 3, 9]))
    assert np.array_equal(later, [millimetres(depth(n)) for n in (3, 3, 9)])


def _depth_form(data: bytes, where: str) -> StillForm | None:
    return depth_form(data, 0.0002, where)
