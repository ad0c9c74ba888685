"""Zarr replay buffers arrive, written by hand or by the library; what is damaged is said."""

from __future__ import annotations

import gzip
import importlib.util
import itertools
import json
import random
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import zarr
from damage import little_memory, mutated

from armillary.core.errors import ArmillaryError, ConfigError, FormatError, MissingExtraError
from armillary.data import IngestOptions, ingest, open_dataset, verify
from armillary.data.sources import zarr_buffer, zarr_chunks, zarr_entries

LENGTHS, SIDE = (5, 3, 4), 32
STEPS = sum(LENGTHS)
ENDS = np.cumsum(LENGTHS)
AT_10 = IngestOptions(fps=10)


def images(seed: int = 0) -> np.ndarray:
    ramp = np.arange(SIDE, dtype=np.uint8) * 6
    frame = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], np.uint8(9 * seed)), axis=2)
    return np.stack([np.roll(frame, 3 * step, axis=1) for step in range(STEPS)])


def numbers(seed: int, *width: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(STEPS, *width))
    return values.astype(np.float32)


# --- a writer of its own ---------------------------------------------------------------------

PACK: Mapping[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "zlib": zlib.compress,
    "gzip": gzip.compress,
    "blosc": lambda data: bytes(numcodecs.Blosc("zstd", 5, 2).encode(data)),
    "zstd": lambda data: bytes(numcodecs.Zstd().encode(data)),
    "lz4": lambda data: bytes(numcodecs.LZ4().encode(data)),
}  # fmt: skip


def array(path: Path, values: np.ndarray, rows: int = 4, codec: str = "", **changes) -> None:
    """Write an array as the specification says, by numpy and JSON alone."""
    path.mkdir(parents=True, exist_ok=True)
    chunks = [rows, *values.shape[1:]]
    if values.ndim == 4:
        chunks[1] = values.shape[1] // 2 + 3  # that do not divide it
    told = {
        "zarr_format": 2, "shape": list(values.shape), "chunks": chunks, "dtype": values.dtype.str,
        "compressor": {"id": codec} if codec else None, "fill_value": 0, "order": "C",
        "filters": None,
    }  # fmt: skip
    path.joinpath(".zarray").write_text(json.dumps(told | changes))
    counts = [-(-size // chunk) for size, chunk in zip(values.shape, chunks, strict=True)]
    for place in itertools.product(*map(range, counts)):
        whole = np.zeros(chunks, values.dtype)
        starts = [at * chunk for at, chunk in zip(place, chunks, strict=True)]
        part = values[tuple(slice(s, s + c) for s, c in zip(starts, chunks, strict=True))]
        whole[tuple(slice(0, size) for size in part.shape)] = part
        data = PACK[codec](np.asarray(whole, order=changes.get("order", "C")).tobytes("A"))
        path.joinpath(".".join(map(str, place))).write_bytes(data)


def push_t(**changes: np.ndarray | None) -> dict[str, np.ndarray]:
    """Return what Diffusion Policy's Push-T has; ``changes`` replace it, None leaves it out."""
    found = {
        "img": images().astype(np.float32), "state": numbers(1, 5), "action": numbers(2, 2),
        "keypoint": numbers(3, 9, 2), "n_contacts": np.ones((STEPS, 1), np.float32),
    }  # fmt: skip
    return {name: values for name, values in (found | changes).items() if values is not None}


def umi() -> dict[str, np.ndarray]:
    return {
        "camera0_rgb": images(), "robot0_eef_pos": numbers(1, 3),
        "robot0_eef_rot_axis_angle": numbers(2, 3), "robot0_gripper_width": numbers(3, 1),
        "robot0_demo_start_pose": numbers(4, 6), "robot0_demo_end_pose": numbers(5, 6),
    }  # fmt: skip


def buffer(path: Path, data: Mapping[str, np.ndarray], ends: np.ndarray = ENDS, codec="") -> Path:
    for name, values in data.items():
        array(path / "data" / name, values, codec=codec)
    array(path / "meta/episode_ends", np.asarray(ends), rows=2, codec=codec)
    for group in (path, path / "data", path / "meta"):
        (group / ".zgroup").write_text('{"zarr_format": 2}')
    return path


def zipped(folder: Path, path: Path, before: str = "", method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for each in sorted(folder.rglob("*")):
            if each.is_file():
                file.write(each, before + each.relative_to(folder).as_posix())
    return path


def by_library(path: Path, data: Mapping[str, np.ndarray], codec: object) -> Path:
    group = zarr.open_group(path, mode="w", zarr_format=2)
    for name, values in [*data.items(), ("", ENDS)]:
        place = f"data/{name}" if name else "meta/episode_ends"
        chunks = (4, *values.shape[1:])
        made = group.create_array(
            place, shape=values.shape, chunks=chunks, dtype=values.dtype, compressors=codec
        )
        made[:] = values
    return path


def episode_rows(values: np.ndarray, number: int) -> np.ndarray:
    return values[ENDS[number] - LENGTHS[number] : ENDS[number]]


def refused(source: Path, sentence: str, kind: type = FormatError, options=AT_10) -> None:
    out = source.parent / "no"
    with pytest.raises(kind, match=re.escape(sentence)):
        ingest(source, out, options=options)
    assert not out.exists()


# --- what arrives ----------------------------------------------------------------------------


@pytest.mark.parametrize("codec", PACK)
def test_push_t_of_diffusion_policy_arrives(tmp_path, codec):
    source = buffer(tmp_path / "pusht.zarr", push_t(), codec=codec)
    assert zarr_buffer.detect(source)
    assert zarr_buffer.detect(tmp_path)
    found = ingest(source, tmp_path / "out", options=AT_10)
    assert (found.written, found.frames, found.skipped, found.left_out) == (3, STEPS, (), ())
    assert found.notes == (
        "Cameras: rgb is img. A model sees rgb.",
        "truth: keypoint, n_contacts, state, which no sensor of the robot gives.",
    )
    dataset = open_dataset(tmp_path / "out")
    assert (dataset.fps, dict(dataset.cameras)) == (10, {"rgb": "rgb"})
    for number in range(3):
        episode = dataset.read(number)
        assert episode.source == f"pusht.zarr, episode {number}"
        assert np.array_equal(episode.time_ns, np.arange(LENGTHS[number]) * 100_000_000)
        assert np.array_equal(episode.actions, episode_rows(numbers(2, 2), number)[:-1])
        for name, values in (("state", numbers(1, 5)), ("keypoint", numbers(3, 9, 2))):
            want = episode_rows(values, number).reshape(LENGTHS[number], -1)
            assert episode.streams[name].kind == "truth"
            assert np.array_equal(episode.streams[name].values, want)
        seen = episode.streams["rgb"].values.astype(int)  # encoded as H.264, so not to the bit
        assert np.abs(seen - episode_rows(images(), number)).mean() < 12
    assert verify(tmp_path / "out").ok


@pytest.mark.parametrize("codec", ["", "blosc"])
@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.float64])
def test_pictures_are_read_to_the_bit(tmp_path, codec, kind):
    """Before they are encoded; chunks cut pictures in two and do not divide the steps."""
    source = buffer(tmp_path / "a.zarr", {"img": images().astype(kind)}, codec=codec)
    with zarr_entries.opened(source, zarr_buffer._MARKERS) as entries:
        examined = zarr_buffer._examined(source, entries, [])
        for number, want in ((0, images()[:5]), (2, images()[8:])):
            first = int(ENDS[number]) - LENGTHS[number]
            made = zarr_buffer._read(examined, number, first, int(ENDS[number]), 10)
            assert np.array_equal([*made.cameras["rgb"].read(range(len(want)), True)], want)
            steps = [0, 2]  # as --fps or a broken picture may leave them
            assert np.array_equal([*made.cameras["rgb"].read(steps, True)], want[steps])


CODECS = [None, numcodecs.Blosc("lz4", 5, numcodecs.Blosc.SHUFFLE), numcodecs.Zstd(3),
          numcodecs.LZ4(), numcodecs.Zlib(1), numcodecs.GZip(1)]  # fmt: skip


@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_what_the_library_writes_arrives(tmp_path, codec):
    source = by_library(tmp_path / "umi.zarr", umi(), codec)
    found = ingest(source, tmp_path / "out", options=IngestOptions(fps=60))
    assert (found.written, found.frames) == (3, STEPS)
    episode = open_dataset(tmp_path / "out").read(1)
    want = np.hstack([numbers(1, 3), numbers(2, 3), numbers(3, 1)])
    assert np.array_equal(episode.streams["proprio"].values, episode_rows(want, 1))
    assert episode.actions is None
    assert {n for n, s in episode.streams.items() if s.kind == "truth"} == {
        "robot0_demo_start_pose", "robot0_demo_end_pose"
    }  # fmt: skip
    assert "There are no actions." in found.notes


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("before", ["", "umi.zarr/"])
def test_a_zip_arrives(tmp_path, before, method):
    folder = buffer(tmp_path / "in/umi.zarr", umi(), codec="blosc")
    source = zipped(folder, tmp_path / "umi.zarr.zip", before, method)
    assert zarr_buffer.detect(source)
    assert ingest(source, tmp_path / "out", options=AT_10).written == 3
    ingest(folder, tmp_path / "two", options=AT_10)
    one, two = (open_dataset(tmp_path / n).read(2).streams for n in ("out", "two"))
    assert all(np.array_equal(one[name].values, two[name].values) for name in one)


def test_several_buffers_in_a_folder_arrive(tmp_path):
    folder = buffer(tmp_path / "in/b.zarr", push_t())
    zipped(folder, tmp_path / "in/a.zarr.zip")
    assert ingest(tmp_path / "in", tmp_path / "out", options=AT_10).written == 6
    assert open_dataset(tmp_path / "out").read(0).source == "a.zarr.zip, episode 0"


def test_a_state_without_the_truth_beside_it_is_the_robots(tmp_path):
    data = push_t(
        keypoint=None, n_contacts=None, depth=numbers(4, 8, 8), point_cloud=numbers(5, 7, 6),
        label=np.array(["a"] * STEPS), timestamp=np.arange(STEPS) / 10.0,
    )  # fmt: skip
    found = ingest(buffer(tmp_path / "a.zarr", data), tmp_path / "out", options=AT_10)
    streams = open_dataset(tmp_path / "out").read(0).streams
    assert np.array_equal(streams["proprio"].values, numbers(1, 5)[:5])
    said = " ".join(found.notes)
    assert "depth is left out: float32 [12, 8, 8]; colour [N H W 3] of 0 to 255, or vec" in said
    assert "point_cloud is left out: float32 [12, 7, 6]" in said
    assert "label is left out: values of type '<U1', where numbers are read" in said
    assert "timestamp is left out: it is a time, and the rate makes the times." in said


def test_order_and_separator_are_respected(tmp_path):
    source = buffer(tmp_path / "a.zarr", push_t(action=None))
    array(source / "data/action", numbers(2, 2), order="F")
    ingest(source, tmp_path / "out", options=AT_10)
    assert np.array_equal(open_dataset(tmp_path / "out").read(0).actions, numbers(2, 2)[:4])
    for file in (source / "data/action").glob("[0-9]*"):
        row, column = file.name.split(".")
        (source / "data/action" / f"{row}_").mkdir()
        file.rename(source / "data/action" / f"{row}_" / column)
    for folder in (source / "data/action").glob("*_"):
        folder.rename(folder.with_name(folder.name[:-1]))
    edited(source / "data/action", dimension_separator="/")
    ingest(source, tmp_path / "two", options=AT_10)
    assert np.array_equal(open_dataset(tmp_path / "two").read(0).actions, numbers(2, 2)[:4])


def test_chunks_of_vectors_that_are_not_there_are_said(tmp_path):
    source = buffer(tmp_path / "a.zarr", push_t())
    (source / "data/n_contacts/1.0").unlink()
    edited(source / "data/n_contacts", fill_value=7)
    found = ingest(source, tmp_path / "out", options=AT_10)
    assert (
        "n_contacts: 1 of its chunks are not there. Zarr leaves out chunks that" in found.notes[0]
    )
    values = open_dataset(tmp_path / "out").read(0).streams["n_contacts"].values
    assert values[:, 0].tolist() == [1, 1, 1, 1, 7]


def test_pictures_that_are_not_there_are_named(tmp_path):
    source = buffer(tmp_path / "a.zarr", push_t())
    (source / "data/img/2.0.0.0").unlink()  # the third episode
    found = ingest(source, tmp_path / "out", options=AT_10)
    assert found.written == 2
    assert "img: its chunk 2.0.0.0 is missing; copy the file anew" in found.skipped[0][1]


# --- what is refused, in words ---------------------------------------------------------------


def edited(folder: Path, **changes) -> None:
    file = folder / ".zarray"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_rate_is_needed(tmp_path):
    source = buffer(tmp_path / "a.zarr", push_t())
    said = "a replay buffer does not say how many steps a second has; pass --fps, e.g. 10 for"
    refused(source, said, ConfigError, IngestOptions())


def test_the_extra_is_named(tmp_path, monkeypatch):
    source = buffer(tmp_path / "a.zarr", push_t())
    monkeypatch.setitem(__import__("sys").modules, "zarr", None)
    said = "zarr is needed to read Zarr. Install it with: pip install 'armillary[zarr]'"
    refused(source, said, MissingExtraError)


@pytest.mark.skipif(importlib.util.find_spec("imagecodecs") is not None, reason="is installed")
def test_the_codec_of_umi_is_named(tmp_path):
    source = buffer(tmp_path / "a.zarr", umi())
    array(source / "data/camera0_rgb", images(), rows=1, compressor={"id": "imagecodecs_jpegxl"})
    said = "is packed as JPEG XL (codec 'imagecodecs_jpegxl'), for which imagecodecs is needed"
    refused(source, said, MissingExtraError)


@pytest.mark.parametrize(
    ("ends", "sentence"),
    [
        ([5, 5, 12], "must ascend from above 0; its number 1 is 5"),
        ([0, 5, 12], "must ascend from above 0; its number 0 is 0"),
        ([-4, 5, 12], "its number 0 is -4"),
        ([5, 8, 11], "its actions have 12 steps, where meta/episode_ends ends at 11; vectors"),
        ([5, 8, 13], "where meta/episode_ends ends at 13"),
        ([5.0, 8.0, 12.0], "must be whole numbers [E], it is float64 [3]"),
        ([[5, 12]], "must be whole numbers [E], it is int64 [1, 2]"),
        (np.zeros(0, np.int64), "has 0 episodes"),
    ],
)
def test_ends_of_episodes_that_do_not_fit_are_refused(tmp_path, ends, sentence):
    refused(buffer(tmp_path / "a.zarr", push_t(), np.array(ends)), sentence)


def test_arrays_of_another_length_are_left_out(tmp_path):
    """A second camera may be slower, as in recordings of telephones."""
    data = umi() | {"camera1_rgb": images()[::6]}
    found = ingest(buffer(tmp_path / "a.zarr", data), tmp_path / "out", options=AT_10)
    said = "camera1_rgb is left out: 2 steps, where meta/episode_ends ends at 12."
    assert said in found.notes
    data = {name: values[:9] for name, values in umi().items()}
    refused(
        buffer(tmp_path / "b.zarr", data), "has no observation that can be read. camera0_rgb is"
    )


def test_short_episodes_are_skipped(tmp_path):
    found = ingest(
        buffer(tmp_path / "a.zarr", push_t(), np.array([1, 12])), tmp_path / "out", options=AT_10
    )
    assert (found.written, found.frames) == (1, 11)
    assert "episode 0: has 1 steps; 2 to 1000000 can be read" in found.skipped[0][1]


def test_zarr_of_other_layouts_is_said(tmp_path):
    array(tmp_path / "a.zarr/x", numbers(0, 2))
    refused(tmp_path / "a.zarr", "is a Zarr of another layout: meta/episode_ends and data/ of a")
    refused(buffer(tmp_path / "c.zarr", {"action": numbers(0, 2)}), "has no observation that can")


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("action", {"shape": [10**12, 2]}, "shape [1000000000000, 2], larger than what is read"),
        ("action", {"shape": [12, 10**12]}, "larger than what is read"),
        ("action", {"chunks": [10**12, 2]}, "chunks of shape [1000000000000, 2], larger than"),
        ("action", {"shape": [10**8, 2], "chunks": [1, 2]}, "100,000,000 chunks, more than what"),
        ("action", {"shape": [10**8, 2], "chunks": [1000, 2]}, "have 100,000,000 steps, where"),
        ("action", {"shape": [13, 2]}, "its actions have 13 steps, where meta/episode_ends ends"),
        ("action", {"shape": [-1, 2]}, "'shape' and 'chunks' must be as many whole numbers"),
        ("action", {"shape": [True, 2]}, "'shape' and 'chunks' must be as many whole numbers"),
        ("action", {"chunks": [0, 2]}, "'shape' and 'chunks' must be as many whole numbers"),
        ("action", {"chunks": [4]}, "'shape' and 'chunks' must be as many whole numbers"),
        ("action", {"dtype": "|O"}, "values of type '|O', where numbers are read"),
        ("action", {"dtype": [["a", "<f4"]]}, "where numbers are read"),
        ("action", {"dtype": "<c8"}, "values of type '<c8'"),
        ("action", {"dtype": "<M8[ns]"}, "values of type '<M8[ns]'"),
        ("action", {"filters": [{"id": "pickle"}]}, "filters, which are not read"),
        ("action", {"compressor": {"id": "pickle"}}, "the codec 'pickle', which is not read"),
        ("action", {"compressor": {"id": "lzma"}}, "the codec 'lzma', which is not read"),
        ("action", {"compressor": 3}, "the codec '3', which is not read"),
        ("action", {"order": "X"}, "'order' or 'dimension_separator' is damaged"),
        ("action", {"dimension_separator": "/../"}, "'order' or 'dimension_separator' is damaged"),
        ("action", {"zarr_format": 3}, "does not describe an array of Zarr format 2"),
        ("../meta/episode_ends", {"shape": [10**12]}, "larger than what is read"),
        ("../meta/episode_ends", {"dtype": "|O"}, "meta/episode_ends has values of type '|O'"),
    ],
)  # fmt: skip
def test_what_zarray_says_is_checked_before_anything_is_read(tmp_path, name, changes, sentence):
    source = buffer(tmp_path / "a.zarr", push_t())
    edited(source / "data" / name, **changes)
    refused(source, sentence)


def test_a_table_that_is_too_long_to_be_read_at_once_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(zarr_buffer, "MAX_NUMBERS", STEPS * 4)
    found = ingest(buffer(tmp_path / "a.zarr", push_t()), tmp_path / "out", options=AT_10)
    assert "state is left out: shape [12, 5], more than what is read at once." in found.notes


def test_pictures_that_are_none_are_named(tmp_path):
    for number, (values, sentence) in enumerate(
        [
            (images() / np.float32(255), "holds fractions up to 0.7"),
            (images() * np.float32(2), "holds numbers from 0 to 372; 0 to 255 were expected"),
            (images() - np.float32(1), "holds numbers from -1 to"),
            (np.full((STEPS, SIDE, SIDE, 3), np.nan, np.float32), "holds numbers from nan to nan"),
        ]
    ):
        source = buffer(tmp_path / f"{number}.zarr", {"img": values})
        refused(source, f"img, step 0: {sentence}")


# --- what leads out of the file, or takes memory ---------------------------------------------


@pytest.mark.parametrize("name", ["data/action/0.0", "data/action/.zarray", "data/action", "data"])
def test_links_that_lead_out_are_not_followed(tmp_path, name):
    source = buffer(tmp_path / "in/a.zarr", push_t())
    (source / name).rename(tmp_path / "outside")
    (source / name).symlink_to(tmp_path / "outside")
    with pytest.raises(FormatError, match=r"by a link; refused|has no observation"):
        ingest(source, tmp_path / "out", options=AT_10)


def test_names_in_a_zip_that_lead_out_are_not_followed(tmp_path):
    folder = buffer(tmp_path / "in/a.zarr", push_t())
    source = zipped(folder, tmp_path / "a.zarr.zip")
    (tmp_path / "evil").write_bytes(b"secret")
    with zipfile.ZipFile(source, "a") as file:
        for name in ("../evil", "/etc/evil", "data/../../evil/.zarray", "data//x/.zarray"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                file.writestr(name, "{}")
    before = set(tmp_path.rglob("*"))
    found = ingest(source, tmp_path / "out", options=AT_10)
    assert (found.written, len(found.notes)) == (3, 2)
    after = {path for path in tmp_path.rglob("*") if (tmp_path / "out") not in path.parents}
    assert after - before == {tmp_path / "out"}


def packed_bombs() -> dict[str, bytes]:
    """Return chunks that unpack to much more than their array says."""
    large = bytes(1 << 24)
    return {codec: pack(large) for codec, pack in PACK.items()}


@pytest.mark.parametrize("codec", PACK)
def test_a_chunk_that_unpacks_to_more_is_not_unpacked(tmp_path, codec):
    source = buffer(tmp_path / "a.zarr", push_t(), codec=codec)
    (source / "data/action/0.0").write_bytes(packed_bombs()[codec])
    said = "action: its chunk 0.0 is damaged: it unpacks to"
    refused(source, said)


@pytest.mark.parametrize(
    ("codec", "data"),
    [
        ("blosc", b"\2\1\x21\4" + struct.pack("<III", 32, 32, 99) + bytes(16)),
        ("blosc", b"\2"),
        ("zstd", b"nothing of it"),
        ("zstd", b"\x28\xb5\x2f\xfd\0\x58" + bytes(9)),  # a stream that does not tell its size
        ("zstd", b"\x28\xb5\x2f\xfd\xe0\1"),
        ("lz4", b"\1"),
        ("zlib", b"nothing of it"),
    ],
)
def test_a_chunk_that_is_none_is_said(tmp_path, codec, data):
    source = buffer(tmp_path / "a.zarr", push_t(), codec=codec)
    (source / "data/action/0.0").write_bytes(data)
    refused(source, "its chunk 0.0 is damaged: its first bytes are not those of its codec")


def test_a_zip_packed_otherwise_or_that_is_none_is_said(tmp_path):
    folder = buffer(tmp_path / "in/a.zarr", push_t())
    refused(zipped(folder, tmp_path / "a.zarr.zip", "", zipfile.ZIP_BZIP2), "by method 12 of zip")
    (tmp_path / "b.zarr.zip").write_bytes(b"no zip")
    refused(tmp_path / "b.zarr.zip", "is damaged, or no Zarr that can be read")


def test_a_zip_that_lists_too_much_is_refused(tmp_path, monkeypatch):
    source = zipped(buffer(tmp_path / "in/a.zarr", push_t()), tmp_path / "a.zarr.zip")
    monkeypatch.setattr(zarr_entries, "_MAX_DIRECTORY_BYTES", 99)
    refused(source, "lists more files than can be read")


def test_sizes_of_jpeg_xl_are_read_from_its_first_bytes():
    """Files that libjxl made of pictures of these sizes, cut after their first bytes."""
    for told, pixels in JPEG_XL_HEADS:
        assert zarr_chunks._jpeg_xl_pixels(bytes.fromhex(told), 0) == pixels


JPEG_XL_HEADS = [
    ("ff0a770600130800e800bf48", 50176),
    ("ff0a570600130800ec00bf48", 9216),
    ("ff0a470600130800cc00bf48", 1024),
    ("ff0af8be0100130800904208", 307200),
    (
        "0000000c4a584c200d0a870a00000014667479706a786c20000000006a786c20000000326a786c63ff0af83e1009080201001800000080000880000880000800",
        307200,
    ),
    ("ff0a05d200130800e000bf48", 1920),
    ("ff0aba211d00130800ccc226", 2073600),
    ("ff0a2001680c00130800e400", 1961),
    ("ff0a5889cec7001308002cc3", 300000),
    ("ff0a00900100130800b000bf", 1),
    ("ff0af88f9ecf001308009842", 1024000),
]


@pytest.mark.runs  # damaged recordings of each codec: 15 s
@pytest.mark.parametrize(("codec", "packed"), [(each, n % 2 == 0) for n, each in enumerate(PACK)])
def test_damage_anywhere_is_an_error_in_words_or_none(tmp_path, codec, packed):
    chance = random.Random(f"{codec} {packed}")
    folder = buffer(tmp_path / "in/a.zarr", push_t(), codec=codec)
    source = zipped(folder, tmp_path / "a.zarr.zip") if packed else folder
    files = [source] if packed else [each for each in folder.rglob("*") if each.is_file()]
    for number in range(16):
        file = chance.choice(sorted(files))
        whole = file.read_bytes()
        file.write_bytes(mutated(whole, chance))
        try:
            with little_memory(1 << 30):
                found = ingest(source, tmp_path / f"out{number}", "zarr", options=AT_10)
        except ArmillaryError as error:
            assert str(error).strip()
        else:
            assert found.written
        file.write_bytes(whole)
    made = {path.name for path in tmp_path.iterdir()}
    assert made <= {"in", "a.zarr.zip", *(f"out{n}" for n in range(16))}
