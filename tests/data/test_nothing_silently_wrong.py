"""What is no recording is refused with what it is; what is taken is never made up."""

from __future__ import annotations

import io
import struct
import wave

import av
import numpy as np
import pytest
from cloud_files import (
    COLOURS,
    INTENSITY,
    POINTS,
    bare,
    geo_keys,
    las,
    pcd_ascii,
    pcd_binary,
    pcd_compressed,
    ply_ascii,
    ply_binary,
    record,
)
from PIL import Image

from armillary.core.errors import FormatError
from armillary.data import IngestOptions, ingest, open_dataset
from armillary.data.sources.las import read_las

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
    "a subtitle file": [SUBTITLES, "WEBVTT\n\n00:01.000 --> 00:02.000\nhi\n",
                  "[Script Info]\nTitle: x\n[Events]\n"],
    "a playlist": ["#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nmissing.ts\n",
                   "ffconcat version 1.0\nfile 'good.mp4'\n", "v=0\no=- 0 0 IN IP4 127.0.0.1\n"],
    "a picture": [picture(form) for form in ("png", "jpeg", "tiff", "bmp", "webp", "ppm", "gif")],
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
    assert reasons["words.mp4"].startswith("is a subtitle file, not a video")


ROWS = np.round(np.random.default_rng(5).uniform(-9, 9, (12, 3)), 3)
LINES = "".join("{} {} {}\n".format(*row) for row in ROWS)


def points(path) -> np.ndarray:
    return open_dataset(path).read(0).streams["points"].values[0]


@pytest.mark.parametrize("name", ["a.xyz", "a.txt", "a.asc", "a.pts"])
@pytest.mark.parametrize("separator", [" ", "\t", ", ", ";"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rows_of_numbers_are_points(tmp_path, name, separator, end):
    text = LINES.replace(" ", separator).replace("\n", end)
    (tmp_path / name).write_bytes(text.encode())
    summary = ingest(tmp_path / name, tmp_path / "out")
    assert np.abs(points(tmp_path / "out") - ROWS).max() < 1e-6
    theirs = np.loadtxt(io.StringIO(text), delimiter=separator.strip(" ") or None)
    assert np.array_equal(theirs, ROWS)
    assert any("first three were taken as x y z" in note for note in summary.notes)


@pytest.mark.parametrize(
    ("name", "text", "columns", "second", "note"),
    [
        ("a.pts", "2\n1 2 3 -5 255 0 0\n4 5 6 20 0 255 51\n", "intensity r g b",
         [4, 5, 6, 20, 0, 1, 0.2], ""),
        ("a.pts", "2\n1 2 3 10\n4 5 6 20\n", "intensity", [4, 5, 6, 20], ""),
        ("a.pts", "1 2 3 10\n4 5 6 20\n", "", [4, 5, 6], "left out (4 columns in all)"),
        ("a.pts", "2\n1 2 3 7 8 9\n4 5 6 7 8 9\n", "", [4, 5, 6], "left out (6 columns in all)"),
        ("a.xyz", "1 2 3 10 20 30\n4 5 6 70 80 90\n", "", [4, 5, 6], "left out (6 columns"),
        ("a.asc", "//X Y Z R G B Class\n2\n1 2 3 0 0 0 2\n4 5 6 1 0 1 3\n", "r g b",
         [4, 5, 6, 1 / 255, 0, 1 / 255], "the columns class were left out"),
        ("a.xyz", '# scanned in May\n"time";"Z";"Y";"X";"intensity"\n0;3;2;1;9\n0;6;5;4;8\n',
         "intensity", [4, 5, 6, 8], "the columns time were left out"),
        ("a.xyz", "x y z r g b\n1 2 3 0 0 0\n4 5 6 0.5 0.25 1\n", "r g b",
         [4, 5, 6, 0.5, 0.25, 1], ""),
        ("a.xyz", "\ufeff1 2 3\n\n4 5 6\n", "", [4, 5, 6], "no header names the columns"),
    ],
)  # fmt: skip
def test_columns_are_what_is_written_and_never_guessed(tmp_path, name, text, columns, second, note):
    (tmp_path / name).write_text(text, encoding="utf-8")
    summary = ingest(tmp_path / name, tmp_path / "out")
    stream = open_dataset(tmp_path / "out").read(0).streams["points"]
    assert stream.columns == ("x", "y", "z", *columns.split())
    assert stream.values[0, 0, :3].tolist() == [1, 2, 3]
    assert np.abs(stream.values[0, 1] - second).max() < 1e-6
    assert note in " ".join(summary.notes)
    assert bool(summary.notes) == bool(note)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1,5 2,5 3,5\n", "has decimal commas"),
        ("1,5;2,5;3,5\n", "has decimal commas"),
        ("3\nwater\nO 0 0 0\nH 0 0 1\nH 0 1 0\n", "holds no row of numbers in its first lines"),
        ("1" * 9000, "longer than 4,096 bytes"),
        ("1 2 3\n" + "1" * 9000, "longer than 4,096 bytes"),
        ("1 2\n3 4\n", "its rows have 2 numbers"),
        ("1 " * 100 + "\n", "its rows have 100 numbers"),
        ("1 2 3\n1 2\n", "point 2 is '1 2', 3 numbers were expected"),
        ("1 2 3\n1 2 __import__('os')\n", "point 2 is .1 2 __import__"),
        ("lat lon alt\n1 2 3\n", "header names the columns lat lon alt"),
        ("x y z\n1 2 3 4\n", "its rows have 4 numbers; a name for each"),
        ("9\n1 2 3\n", "is cut off"),
        ("3\n" + "1.0 2.0 3.0\n" * 2, "is cut off"),
        ("1\n1 2 3\n4 5 6\n", "holds more than one cloud"),
        ("99999999999\n1 2 3\n", "99,999,999,999 points; refused above 100,000,000"),
        ("500000 4000000 3\n", "say their unit with --unit"),
        ("nan nan nan\n", "all of its 1 points are NaN"),
        ("", "the file is empty"),
    ],
)
def test_text_that_is_no_cloud_is_one_sentence(tmp_path, text, sentence):
    (tmp_path / "a.xyz").write_text(text)
    with pytest.raises(FormatError, match=sentence):
        ingest(tmp_path / "a.xyz", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_points_without_a_place_are_dropped_and_counted(tmp_path):
    (tmp_path / "a.xyz").write_text(LINES + "nan 1 2\n1 inf 2\n")
    summary = ingest(tmp_path / "a.xyz", tmp_path / "out")
    assert points(tmp_path / "out").shape == (12, 3)
    assert "2 points without a place (NaN or infinite) were left out" in summary.notes


def test_other_text_is_not_taken_for_points(tmp_path):
    """A matrix, a trajectory and a signature are rows of numbers or have the suffix, too."""
    matrix, poses = "1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n", "1 0 0 0 0 1 0 0 0 0 1 0\n" * 20
    for text in (matrix, poses):
        (tmp_path / "a.txt").write_text(text)
        with pytest.raises(FormatError, match="is text, not a video"):
            ingest(tmp_path / "a.txt", tmp_path / "out")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/notes.txt").write_text(LINES)
    ply_ascii(tmp_path / "in/0.ply")
    (tmp_path / "in/0.ply.asc").write_text("-----BEGIN PGP SIGNATURE-----\n")
    assert ingest(tmp_path / "in", tmp_path / "out").frames == 1


def clouds(folder, names, suffix=".xyz"):
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        make = {".ply": ply_ascii, ".pcd": pcd_ascii}.get(suffix)
        if make is None:
            (folder / f"{name}{suffix}").write_text(f"{number + 1} 0 0\n")
        else:
            make(folder / f"{name}{suffix}", POINTS + number)


@pytest.mark.parametrize("suffix", [".ply", ".pcd", ".xyz"])
@pytest.mark.parametrize(
    ("names", "want_ms"),
    [
        (["1317617735.25", "1317617735.35", "1317617735.5"], [0, 100, 250]),
        (["1317617735999999999", "1317617736099999999", "1317617736149999999"], [0, 100, 150]),
        (["a_1317617735999999", "a_1317617736099999", "a_1317617736149999"], [0, 100, 150]),
        (["s1-1317617735999", "s2-1317617736099", "s3-1317617736149"], [0, 100, 150]),
        (["1317617735_900000000", "1317617736_000000000", "1317617736_050000000"], [0, 100, 150]),
        (["9.900000", "10.000000", "10.050000"], [0, 100, 150]),
    ],
)
def test_the_names_of_clouds_tell_their_times(tmp_path, suffix, names, want_ms):
    clouds(tmp_path / "in", names, suffix)
    summary = ingest(tmp_path / "in", tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert dataset.read(0).time_ns.tolist() == [ms * 1_000_000 for ms in want_ms]
    first = dataset.read(0).streams["points"].values[:, 0, 0]
    assert np.all(np.diff(first) > 0)  # in the order of time
    assert any("times are from the names" in note for note in summary.notes)


def test_a_gap_in_the_times_starts_another_episode(tmp_path):
    names = [f"13176177{at}.000000" for at in (30, 31, 32, 50, 51, 52)]
    clouds(tmp_path / "in", names)
    assert ingest(tmp_path / "in", tmp_path / "out").written == 2
    dataset = open_dataset(tmp_path / "out")
    assert (dataset.lengths.tolist(), dataset.fps) == ([3, 3], 1.0)
    assert dataset.read(1).time_ns.tolist() == [0, 10**9, 2 * 10**9]


@pytest.mark.parametrize(
    "names", [["scan1", "scan2"], ["0000000001", "0000000002"], ["tile_1.5", "tile_2.5"],
              ["1317617735.25", "last"], ["20200101", "20200102"]]
)  # fmt: skip
def test_times_of_clouds_are_asked_for_and_never_made_up(tmp_path, names):
    clouds(tmp_path / "in", names)
    with pytest.raises(FormatError, match=r"nothing tells when its 2 clouds .* --fps how many"):
        ingest(tmp_path / "in", tmp_path / "out")
    ingest(tmp_path / "in", tmp_path / "out", options=IngestOptions(fps=4.0))
    assert open_dataset(tmp_path / "out").read(0).time_ns.tolist() == [0, 250_000_000]


def test_times_that_contradict_are_refused(tmp_path):
    clouds(tmp_path / "a", ["x_1317617735", "y_1317617735"])
    with pytest.raises(FormatError, match="two of its files are of the same time"):
        ingest(tmp_path / "a", tmp_path / "out")
    clouds(tmp_path / "b", ["2_1317617735", "1_1317617736"])
    with pytest.raises(FormatError, match="run in another order than their other numbers"):
        ingest(tmp_path / "b", tmp_path / "out")


def test_kitti_sweeps_without_times_are_asked_about(tmp_path):
    for number in range(3):
        bare(tmp_path / f"07/velodyne/{number:06d}.bin", POINTS, INTENSITY)
    with pytest.raises(FormatError, match="nothing tells when its 3 clouds"):
        ingest(tmp_path / "07", tmp_path / "out")
    assert ingest(tmp_path / "07", tmp_path / "out", options=IngestOptions(fps=10)).frames == 3


CASES = [str.upper, str.lower]


@pytest.mark.parametrize("change", CASES)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_capitals_in_headers_mean_nothing(tmp_path, change, end):
    for make, name in ((ply_ascii, "a.ply"), (pcd_ascii, "a.pcd")):
        text = change(make(tmp_path / name).read_text()).replace("\n", end)
        (tmp_path / name).write_bytes(text.encode())
        ingest(tmp_path / name, tmp_path / f"out{name}")
        stream = open_dataset(tmp_path / f"out{name}").read(0).streams["points"]
        assert stream.columns == ("x", "y", "z", "intensity", "r", "g", "b")
        assert np.abs(stream.values[0, :, :3] - POINTS).max() < 1e-6
        assert np.abs(stream.values[0, :, 4:] - COLOURS / 255).max() < 1e-6


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_capitals_before_binary_points_mean_nothing(tmp_path, end):
    for make, name, mark in (
        (lambda p: ply_binary(p, "<"), "a.ply", b"end_header\n"),
        (pcd_binary, "a.pcd", b"DATA binary\n"),
        (pcd_compressed, "b.pcd", b"DATA binary_compressed\n"),
    ):
        head, rows = make(tmp_path / name).read_bytes().split(mark)
        changed = (head + mark).swapcase().replace(b"\n", end)
        (tmp_path / name).write_bytes(changed + rows)
        ingest(tmp_path / name, tmp_path / f"out{name}")
        assert np.abs(points(tmp_path / f"out{name}")[:, :3] - POINTS).max() < 1e-6


def made(folder, *names: str):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if name.endswith("/") else path.write_bytes(b"\0" * 64)
    return folder


@pytest.mark.parametrize(
    ("names", "sentences"),
    [
        ((), ["It holds no file", r"Looked for: .*video \(\*\.3gp or", r"ply \(\*\.ply\)"]),
        (("a.foo", "b.foo", "c.bar"), [r"It holds files: 2 \.foo, 1 \.bar"]),
        (("calib.txt", "image_2/0.foo"), [r"calib.txt looks like the format kitti, but velodyne/"]),
        (("depth/0.foo", "pose/"), ["depth/ and pose/ look like the format rgbd, but color/"]),
        (("rgb.txt",), ["rgb.txt looks like the format tum, but depth.txt and"]),
        (("day/calib_cam_to_cam.txt", "day/a.foo"),
         ["in day, calib_cam_to_cam.txt looks like the format kitti_raw, but image_02/data/ or"]),
        (("seq-01/frame-000000.color.png", "seq-01/frame-000000.pose.txt"),
         [r"in seq-01, frame-\*.color.\* looks like 7-Scenes; frame-000000.depth.png and"]),
        (("color/", "depth/", "pose.txt"),
         ["color/ and depth/ and pose.txt look like RGB-D with all poses in one text"]),
        (("data/a1/iphone/pose_intrinsic_imu.json", "data/a1/iphone/rgb/0.png"),
         [r"iphone/pose_intrinsic_imu.json looks like ScanNet\+\+, whose layout is not read"]),
        (("a.feather",), [r"tables of Arrow are not read alone; of Argoverse 2, give the folder"]),
        (("label_2/0.txt", "image_2/0.foo"), ["label_2/ looks like KITTI's object benchmark"]),
        (("a.vtk", "b.vtu"), ["VTK is not read; save its points as PLY in ParaView"]),
        (("a.pcap",), ["convert them to PCD"]),
    ],
)  # fmt: skip
def test_an_unknown_folder_is_answered_with_what_came_near(tmp_path, names, sentences):
    made(tmp_path, "in/", *(f"in/{name}" for name in names))
    for sentence in sentences:
        with pytest.raises(FormatError, match=rf"{tmp_path}/in: is of no format.*{sentence}"):
            ingest(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_stray_log_is_near_to_no_format(tmp_path):
    made(tmp_path, "in/run.log", "in/notes.txt")
    with pytest.raises(
        FormatError, match=r"is of no format that is read\. It holds files"
    ) as caught:
        ingest(tmp_path / "in", tmp_path / "out")
    assert "looks like" not in str(caught.value)


@pytest.mark.parametrize("picture", ["0.png", "rgb/0.png"])
def test_a_trajectory_of_another_name_is_recognised(tmp_path, picture):
    made(tmp_path, picture)
    (tmp_path / "notes.txt").write_text("no numbers\n")
    (tmp_path / "poses.txt").write_text("# t x y z\n1305031102.17 1 2 3 0 0 0.6 0.8\n")
    said = r"poses.txt looks like a trajectory .* the format tum reads it as groundtruth.txt"
    with pytest.raises(FormatError, match=said):
        ingest(tmp_path, tmp_path / "out")
    (tmp_path / "poses.txt").write_text("1305031102.17 1 2 3 0 0 0.6 0.9\n")
    with pytest.raises(FormatError, match="is of no format that is read") as caught:
        ingest(tmp_path, tmp_path / "out")
    assert "looks like a trajectory" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("a.feather", "tables of Arrow"),
        ("a.VTK", "VTK is not read; save its points"),
    ],
)
def test_a_known_file_that_is_not_read_is_told_what_helps(tmp_path, name, sentence):
    made(tmp_path, name)
    with pytest.raises(FormatError, match=f"{name}: {sentence}"):
        ingest(tmp_path / name, tmp_path / "out")


@pytest.mark.parametrize("beside", ["label_2", "calib"])
def test_kittis_object_benchmark_is_no_sequence(tmp_path, beside):
    """Its sweeps come from many drives: as an episode they would jump from street to street."""
    for number in range(3):
        bare(tmp_path / f"training/velodyne/{number:06d}.bin", POINTS, INTENSITY)
    (tmp_path / "training" / beside).mkdir()
    for source in (tmp_path, tmp_path / "training"):
        with pytest.raises(FormatError, match=r"of KITTI's object benchmark .* are no sequence"):
            ingest(source, tmp_path / "out", options=IngestOptions(fps=10))


def projected(unit: str, more: str = "") -> str:
    inner = 'GEOGCS["g",DATUM["d",SPHEROID["s",1,2]],UNIT["degree",0.0174532925199433]]'
    return f'PROJCS["p",{inner},{unit}{more}]'


METRE, FOOT = 'UNIT["metre",1]', 'UNIT["US survey foot",0.304800609601219]'
AXES = ',AXIS["E",EAST,{}],AXIS["N",NORTH,{}]'


def las_with(path, wkt: str, keys=()):
    records = [record(2112, wkt.encode() + b"\0")] if wkt else []
    return las(path, POINTS, [*records, *([record(34735, geo_keys(keys))] if keys else [])])


@pytest.mark.parametrize(
    ("wkt", "keys"),
    [
        ('GEOCCS["WGS 84",DATUM["d",SPHEROID["s",1,2]],UNIT["metre",1],AXIS["X",OTHER]]', ()),
        ('GEODCRS["WGS 84",DATUM["d"],CS[Cartesian,3],AXIS["X",geocentricX],'
         'LENGTHUNIT["metre",1]]', ()),
        ("", [(1024, 3), (3076, 9001)]),
    ],
)  # fmt: skip
def test_geocentric_coordinates_are_refused(tmp_path, wkt, keys):
    """Their unit may be metres, but z points from the centre of the Earth, not up."""
    with pytest.raises(FormatError, match=r"coordinates are geocentric .*so z is not up; project"):
        read_las(las_with(tmp_path / "a.las", wkt, keys))


@pytest.mark.parametrize(
    ("wkt", "keys", "why"),
    [
        (projected('UNIT["metre",0.3048]'), (), "its WKT tells a unit called 'metre' of 0.3048 m"),
        (projected('UNIT["US survey foot",1.0]'), (), "a unit called 'US survey foot' of 1 m"),
        (projected(METRE, "," + FOOT), (), "its WKT tells units of 1 m and of 0.304801 m"),
        (projected("", AXES.format(METRE, FOOT)), (), "units of 1 m and of 0.304801 m"),
        (projected(METRE), [(3076, 9002)], "is 1 m by its WKT and 0.3048 m by its GeoTIFF keys"),
        (f'COMPD_CS["c",{projected(METRE)},VERT_CS["v",UNIT["foot",1]]]', (), "'foot' of 1 m"),
    ],
)
def test_units_that_contradict_are_asked_about(tmp_path, wkt, keys, why):
    path = las_with(tmp_path / "a.las", wkt, keys)
    with pytest.raises(FormatError, match=f"contradicts itself about the unit: .*{why}; say it"):
        read_las(path)
    assert abs(np.ptp(read_las(path, "ft").values[:, 0]) - 15.0 * 0.3048) < 2e-3


@pytest.mark.parametrize(
    ("wkt", "keys", "metres"),
    [
        (projected(METRE), [(3076, 9001)], 1.0),
        (projected(FOOT), [(3076, 9002)], 1200 / 3937),  # the two feet differ by 2 in a million
        (projected(METRE, AXES.format(METRE, METRE) + f',AXIS["h",up,{FOOT}]'), (), 1.0),
        (f'COMPD_CS["c",{projected(METRE)},VERT_CS["v",{FOOT}]]', (), 1.0),
    ],
)
def test_units_that_only_differ_in_height_or_name_are_read(tmp_path, wkt, keys, metres):
    cloud = read_las(las_with(tmp_path / "a.las", wkt, keys))
    assert abs(np.ptp(cloud.values[:, 0]) - 15.0 * metres) < 2e-3
    height = 1200 / 3937 if FOOT in wkt else 1.0
    assert abs(np.ptp(cloud.values[:, 2]) - 3.003 * height) < 2e-3
