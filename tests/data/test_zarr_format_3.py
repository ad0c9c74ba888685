"""Replay buffers of Zarr format 3, written by the library, arrive as those of format 2 do."""

from __future__ import annotations

import json
import random
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from damage import little_memory, mutated
from zarr.codecs import BloscCodec, BytesCodec, GzipCodec, TransposeCodec, ZstdCodec

from armillary.core.errors import ArmillaryError, FormatError
from armillary.data import IngestOptions, ingest, open_dataset
from armillary.data.sources import zarr_buffer, zarr_entries

LENGTHS, SIDE = (5, 3, 4), 32
STEPS, ENDS = sum(LENGTHS), np.cumsum(LENGTHS)
AT_10 = IngestOptions(fps=10)
CODECS = {"": None, "blosc": BloscCodec(), "zstd": ZstdCodec(), "checked zstd": ZstdCodec(
    checksum=True), "gzip": GzipCodec()}  # fmt: skip


def values() -> dict[str, np.ndarray]:
    chance = np.random.default_rng(0)
    ramp = np.arange(SIDE, dtype=np.uint8) * 6
    frame = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], np.uint8(9)), axis=2)
    return {
        "data/camera0_rgb": np.stack([np.roll(frame, 3 * step, axis=1) for step in range(STEPS)]),
        "data/robot0_eef_pos": chance.normal(size=(STEPS, 3)).astype(np.float32),
        "data/action": chance.normal(size=(STEPS, 2)),
        "meta/episode_ends": ENDS.astype(np.int64),
    }


def written(path: Path, **settings: Any) -> Path:
    group = zarr.open_group(path, mode="w", zarr_format=3)
    for name, each in values().items():
        # chunks cut pictures in two and do not divide the steps
        chunks = (5, 19, SIDE, 3) if each.ndim == 4 else (5, *each.shape[1:])
        made = group.create_array(
            name, shape=each.shape, chunks=chunks, dtype=each.dtype, **settings
        )
        made[:] = each
    return path


def edit(path: Path, name: str, **changes: Any) -> None:
    file = path / name / "zarr.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def check(path: Path) -> None:
    """Pictures are held against those written before they are encoded, vectors afterwards."""
    want = values()
    with zarr_entries.opened(path, zarr_buffer._MARKERS) as entries:
        examined = zarr_buffer._examined(path, entries, [])
        seen = examined.images["camera0_rgb"].read(3, 11)
        assert np.array_equal(seen, want["data/camera0_rgb"][3:11])
    out = path.parent / "out"
    summary = ingest(path, out, options=AT_10)
    assert (summary.written, summary.frames, summary.skipped) == (3, STEPS, ())
    dataset = open_dataset(out)
    for number, (end, length) in enumerate(zip(ENDS, LENGTHS, strict=True)):
        episode, rows = dataset.read_low(number), slice(end - length, end)
        state = want["data/robot0_eef_pos"][rows]
        assert np.array_equal(episode.streams["proprio"].values, state)
        assert episode.actions is not None
        assert np.array_equal(episode.actions, want["data/action"][rows][:-1].astype(np.float32))


@pytest.mark.parametrize("codec", CODECS)
def test_each_codec_arrives(tmp_path, codec):
    check(written(tmp_path / "a.zarr", compressors=CODECS[codec]))


@pytest.mark.parametrize(
    "settings",
    [
        {"serializer": BytesCodec(endian="big")},
        {"chunk_key_encoding": {"name": "v2", "separator": "."}},
        {"chunk_key_encoding": {"name": "v2", "separator": "/"}},
        {"chunk_key_encoding": {"name": "default", "separator": "."}},
    ],
)
def test_each_order_of_bytes_and_each_name_of_chunks_arrives(tmp_path, settings):
    check(written(tmp_path / "a.zarr", **settings))


def test_axes_from_last_to_first_arrive(tmp_path):
    path = written(tmp_path / "a.zarr")
    each = values()["data/camera0_rgb"]
    made = zarr.open_group(path, mode="a").create_array(
        "data/camera0_rgb", shape=each.shape, chunks=(5, 19, SIDE, 3), dtype=each.dtype,
        filters=TransposeCodec(order=(3, 2, 1, 0)), overwrite=True,
    )  # fmt: skip
    made[:] = each
    check(path)


def test_a_zip_arrives(tmp_path):
    folder = written(tmp_path / "in")
    path = tmp_path / "a.zarr.zip"
    with zipfile.ZipFile(path, "w") as file:
        for each in sorted(folder.rglob("*")):
            if each.is_file():
                file.write(each, each.relative_to(folder).as_posix())
    check(path)


def test_pictures_of_a_chunk_that_is_missing_are_left_out(tmp_path):
    path = written(tmp_path / "a.zarr")
    (path / "data/camera0_rgb/c/2/0/0/0").unlink()  # steps 10 and 11
    summary = ingest(path, tmp_path / "out", options=AT_10)
    assert (summary.written, summary.frames) == (3, 10)
    assert any("its chunk 2/0/0/0 is missing" in why for _, why in summary.left_out)


def test_a_chunk_that_unpacks_to_more_is_refused_packed(tmp_path):
    path = written(tmp_path / "a.zarr", compressors=GzipCodec())
    edit(path, "data/action", chunk_grid=grid(4, 2))
    with pytest.raises(FormatError, match=r"its chunk 0/0 is damaged: it unpacks to 65 bytes, 64"):
        ingest(path, tmp_path / "out", options=AT_10)


def grid(*chunks: Any) -> Mapping[str, Any]:
    return {"name": "regular", "configuration": {"chunk_shape": list(chunks)}}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"shape": [10**12, 2]}, "larger than what is read"),
        ({"chunk_grid": grid(10**9, 2)}, "larger than what is unpacked at once"),
        ({"chunk_grid": grid(0, 2)}, "'shape' and 'chunks' must be as many whole numbers"),
        ({"chunk_grid": grid(1.5, 2)}, "'shape' and 'chunks' must be as many whole numbers"),
        ({"chunk_grid": {"name": "rectilinear"}}, "chunks that are not of one size"),
        ({"chunk_grid": 7}, "chunks that are not of one size"),
        ({"chunk_key_encoding": {"name": "mine"}}, "chunks that are not of one size"),
        ({"chunk_key_encoding": {"name": "default", "configuration": {"separator": "../"}}},
         "'order' or 'dimension_separator' is damaged"),
        ({"data_type": "string"}, "values of type 'string'"),
        ({"data_type": {"name": "numpy.datetime64"}}, "where numbers are read"),
        ({"data_type": "complex64"}, "values of type 'complex64'"),
        ({"fill_value": "0x7fc00000"}, "the fill value '0x7fc00000'"),
        ({"codecs": []}, "the codecs none"),
        ({"codecs": 7}, "the codecs none"),
        ({"codecs": [{"name": "bytes"}, {"name": "numcodecs.pickle"}]}, "numcodecs.pickle"),
        ({"codecs": [{"name": "bytes"}, {"name": "crc32c"}]}, "the codec 'crc32c'"),
        ({"codecs": [{"name": "vlen-utf8"}]}, "the codecs vlen-utf8"),
        ({"codecs": [{"name": "transpose", "configuration": {"order": [0]}}, {"name": "bytes"}]},
         "axes in another order"),
        ({"storage_transformers": [{"name": "x"}]}, "'storage_transformers' of Zarr format 3"),
        ({"later": {"name": "x"}}, "'later' of Zarr format 3"),
        ({"zarr_format": 4}, "does not describe an array of Zarr format 3"),
        ({"node_type": "table"}, "does not describe an array of Zarr format 3"),
    ],
)  # fmt: skip
def test_what_is_not_read_is_said(tmp_path, changes, sentence):
    path = written(tmp_path / "a.zarr")
    edit(path, "data/action", **changes)
    with pytest.raises(FormatError, match=re.escape(sentence)):
        ingest(path, tmp_path / "out", options=AT_10)
    assert not (tmp_path / "out").exists()


def test_what_need_not_be_understood_is_passed_over(tmp_path):
    path = written(tmp_path / "a.zarr")
    edit(path, "data/action", later={"name": "x", "must_understand": False})
    check(path)


def test_shards_are_refused(tmp_path):
    path = written(tmp_path / "a.zarr")
    zarr.open_group(path, mode="a").create_array(
        "data/action", data=values()["data/action"], chunks=(2, 2), shards=(4, 2), overwrite=True
    )
    with pytest.raises(FormatError, match="sharding_indexed, which are not read; write it anew"):
        ingest(path, tmp_path / "out", options=AT_10)


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    path = written(tmp_path / "a.zarr")
    chunk = path / "data/action/c/0/0"
    chunk.replace(tmp_path / "elsewhere")
    chunk.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FormatError, match="leads out of the folder by a link"):
        ingest(path, tmp_path / "out", options=AT_10)


@pytest.mark.runs  # 60 damaged recordings: 11 s
def test_damage_is_an_error_in_words_or_a_dataset(tmp_path):
    path, chance = written(tmp_path / "a.zarr"), random.Random(4)
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]
    for number in range(60):
        file, out = chance.choice(files), tmp_path / f"out{number}"
        whole = file.read_bytes()
        file.write_bytes(mutated(whole, chance))
        try:
            with little_memory():
                assert ingest(path, out, options=AT_10).written
        except ArmillaryError as error:
            assert str(error).strip()
            assert not out.exists()
        file.write_bytes(whole)


def test_values_of_the_wrong_kind_are_errors_in_words(tmp_path):
    path = written(tmp_path / "a.zarr")
    file = path / "data/action/zarr.json"
    whole = json.loads(file.read_text())
    odd = [None, True, -1, 10**30, 0.5, "x", [], {}, [[]], {"name": []}, [7]]
    for name in whole:
        for value in odd:
            file.write_text(json.dumps(whole | {name: value}))
            with zarr_entries.opened(path, zarr_buffer._MARKERS) as entries:
                try:
                    zarr_buffer._examined(path, entries, [])
                except ArmillaryError as error:
                    assert "action" in str(error) or "Zarr" in str(error)
