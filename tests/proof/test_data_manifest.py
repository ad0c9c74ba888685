"""A data manifest commits to every picture, trajectory, seed and group; Croissant says so too."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import recordings as made

from armillary.cli.main import main
from armillary.core.errors import FormatError
from armillary.core.files import read_json
from armillary.core.hashing import file_sha256
from armillary.data import open_dataset
from armillary.proof.croissant import VERSION
from armillary.proof.data_manifest import (
    data_digest,
    differences,
    read_data_manifest,
    read_rows,
    write_data_manifest,
)
from armillary.worlds import record


def recursive_root(leaves):
    """The definition of RFC 9162, section 2.1.1."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    left, right = recursive_root(leaves[:half]), recursive_root(leaves[half:])
    return hashlib.sha256(b"\x01" + left + right).digest()


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("recording") / "rooms"
    record("two_rooms", path, 5, 7, workers=1, seed=3)
    return path


@pytest.fixture(scope="module")
def index(recording, tmp_path_factory):
    out = tmp_path_factory.mktemp("index")
    return out, write_data_manifest(recording, out)


def test_the_roots_are_those_of_the_rows_and_of_the_pictures(recording, index):
    out, value = index
    rows = list(read_rows(out / "data-episodes.jsonl"))
    assert [row["episode"] for row in rows] == list(range(5))
    trajectories = [bytes.fromhex(row["trajectory"]) for row in rows]
    assert value["roots"]["trajectories"]["root"] == recursive_root(trajectories).hex()
    dataset = open_dataset(recording)
    digests = [
        hashlib.sha256(b"uint8 (64, 64, 3)\n" + picture.tobytes()).digest()
        for episode in range(5)
        for picture in dataset.frames(episode, "rgb")
    ]
    assert value["roots"]["frames.rgb"] == {"root": recursive_root(digests).hex(), "leaves": 35}
    assert value["dataset"]["steps"] == 35 and value["episodes_without_seed"] == 0
    assert value["rows"]["sha256"] == file_sha256(out / "data-episodes.jsonl")
    assert value["generator"]["about"]["seed"] == 3


def test_the_same_data_elsewhere_have_the_same_digest(recording, index, tmp_path):
    import shutil

    moved = shutil.copytree(recording, tmp_path / "another_name")
    again = write_data_manifest(moved, tmp_path / "out")
    assert data_digest(again) == data_digest(index[1])
    assert differences(index[1], moved) == []


def test_what_changed_is_named(recording, index, tmp_path):
    dataset = open_dataset(recording)
    own = [dataset.read(i) for i in range(5)]
    truth = own[2].streams["agent_xy"]
    values = truth.values.copy()
    values[3, 0] = np.nextafter(values[3, 0], np.float32(1))
    streams = {**own[2].streams, "agent_xy": replace(truth, values=values)}
    changed = [*own[:2], replace(own[2], streams=streams), *own[3:]]
    found = differences(index[1], made.written(tmp_path / "d", changed))
    # pictures were decoded and encoded again, so their hashes changed; seeds and groups did not
    assert [sentence.split(" is ")[0] for sentence in found] == [
        "The root of frames.rgb",
        "The root of trajectories",
    ]


def test_plain_video_has_pictures_and_groups_and_nothing_else(tmp_path, recording):
    episode = open_dataset(recording).read(0)
    video = replace(episode, streams={"rgb": episode.streams["rgb"]}, actions=None, source="a.mp4")
    value = write_data_manifest(made.written(tmp_path / "d", [video]), tmp_path / "i")
    assert value["roots"]["trajectories"]["leaves"] == value["roots"]["seeds"]["leaves"] == 0
    assert value["episodes_without_seed"] == 1
    [row] = read_rows(tmp_path / "i" / "data-episodes.jsonl")
    assert row["groups"] == {"episode": "0", "source": "a.mp4"} and row["seed"] is None


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": "other", "roots": {}}', "nonsense"])
def test_what_is_no_manifest_is_one_sentence(tmp_path, text):
    (tmp_path / "data.json").write_text(text)
    with pytest.raises(FormatError, match=r"not a data manifest|not valid JSON"):
        read_data_manifest(tmp_path / "data.json")
    (tmp_path / "rows.jsonl").write_text(text)
    with pytest.raises(FormatError, match="line 1: not a row"):
        list(read_rows(tmp_path / "rows.jsonl"))


def test_croissant_has_what_its_first_version_requires(index):
    out, value = index
    page = read_json(out / "croissant.json")
    required = {
        "@context", "@type", "conformsTo", "name", "description", "license", "url", "creator",
        "datePublished", "distribution", "recordSet",
    }  # fmt: skip
    assert required <= page.keys()
    assert page["@type"] == "sc:Dataset" and page["conformsTo"] == VERSION
    context = page["@context"]
    assert context["@vocab"] == "https://schema.org/"
    assert context["cr"] == "http://mlcommons.org/croissant/"
    assert context["conformsTo"] == "dct:conformsTo"
    assert context["dct"] == "http://purl.org/dc/terms/"
    assert context["recordSet"] == "cr:recordSet" and context["includes"] == "cr:includes"
    assert context["dataType"] == {"@id": "cr:dataType", "@type": "@vocab"}
    assert page["license"] == "https://spdx.org/licenses/CC0-1.0"
    for part in page["distribution"]:
        assert {"@type", "@id", "name", "encodingFormat"} <= part.keys()
        if part["@type"] == "cr:FileObject":
            assert part["sha256"] == file_sha256(out / part["contentUrl"])
        else:
            assert part["@type"] == "cr:FileSet" and part["includes"]
    hashes = {one["name"]: one["value"] for one in page["additionalProperty"]}
    assert hashes["merkle root of frames.rgb"] == value["roots"]["frames.rgb"]["root"]


def test_croissant_references_lead_somewhere_and_columns_exist(recording, index):
    page = read_json(index[0] / "croissant.json")
    parts = [part["@id"] for part in page["distribution"]]
    [records] = page["recordSet"]
    fields = [field["@id"] for field in records["field"]]
    assert len({*parts, *fields, "steps"}) == len(parts) + len(fields) + 1
    assert {key["@id"] for key in records["key"]} <= set(fields)
    import pyarrow.parquet as pq

    tables = next(part for part in page["distribution"] if part["@id"] == "tables")
    [*files] = recording.glob(tables["includes"])
    columns = set(pq.read_schema(files[0]).names)
    assert len(files) == 5
    for field in records["field"]:
        assert field["source"]["fileSet"]["@id"] in parts
        assert field["source"]["extract"]["column"] in columns
        assert field["dataType"] in ("sc:Float", "sc:Integer")
    [video] = [part for part in page["distribution"] if part["encodingFormat"] == "video/mp4"]
    assert len(list(recording.glob(video["includes"]))) == 5


def test_the_command_writes_the_three_files(recording, tmp_path, capsys):
    assert main(["proof", "index", str(recording), "--out", str(tmp_path / "i"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["digest"] == data_digest(read_data_manifest(tmp_path / "i" / "data.json"))
    assert sorted(p.name for p in (tmp_path / "i").iterdir()) == [
        "croissant.json",
        "data-episodes.jsonl",
        "data.json",
    ]
