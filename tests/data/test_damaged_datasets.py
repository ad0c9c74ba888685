"""Bad datasets get one sentence: what, where, and what to do. Foreign ones are read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from armillary.core.errors import DatasetError
from armillary.data import describe, open_dataset, verify
from armillary.data.video import encode


def edit_info(path: Path, **changes) -> None:
    file = path / "meta/info.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def test_an_untouched_dataset_verifies(counted):
    report = verify(counted)
    assert (report.ok, report.problems, report.episodes, report.hashed) == (True, (), 4, True)


@pytest.mark.parametrize(
    "file",
    [
        "data/chunk-000/file-002.parquet",
        "videos/observation.images.rgb/chunk-000/file-002.mp4",
        "videos/observation.images.depth/chunk-000/file-002.mp4",
        "meta/armillary/steps/chunk-000/file-002.parquet",
        "meta/armillary/episodes/chunk-000/episode-000002.json",
    ],
)
def test_a_flipped_byte_is_named_by_episode_and_file(fresh, file):
    flip(fresh / file)
    report = verify(fresh)
    assert not report.ok
    assert report.damaged == (2,)
    assert f"episode 2: {file} is damaged" in report.problems[0]


def test_a_flipped_byte_in_shared_files_is_named(fresh):
    flip(fresh / "meta/stats.json")
    report = verify(fresh)
    assert report.problems == ("meta/stats.json is damaged (its hash differs from the manifest).",)


def test_a_file_without_a_hash_is_not_whole(fresh):
    file = fresh / "meta/armillary/manifest.json"
    manifest = json.loads(file.read_text())
    name = "data/chunk-000/file-002.parquet"
    episode = next(one for one in manifest["episodes"] if one["episode"] == 2)
    del episode["files"][name]
    file.write_text(json.dumps(manifest))
    flip(fresh / name)  # nobody could tell
    report = verify(fresh)
    assert report.damaged == (2,)
    assert report.problems == (f"episode 2: {name} has no hash in the manifest.",)


def test_a_shared_file_without_a_hash_is_not_whole(fresh):
    file = fresh / "meta/armillary/manifest.json"
    manifest = json.loads(file.read_text())
    del manifest["shared"]["meta/info.json"]
    file.write_text(json.dumps(manifest))
    edit_info(fresh, robot_type="another")  # nobody could tell
    assert verify(fresh).problems == ("meta/info.json has no hash in the manifest.",)


@pytest.mark.parametrize(
    "change",
    [
        lambda value: [],
        lambda value: {name: part for name, part in value.items() if name != "streams"},
        lambda value: {**value, "streams": {"rgb": True}},
        lambda value: {**value, "license": 7},
        lambda value: {**value, "streams": {"rgb": {**value["streams"]["rgb"], "unit": None}}},
        lambda value: {**value, "streams": {"rgb": {**value["streams"]["rgb"], "kind": "smell"}}},
        lambda value: {
            **value,
            "streams": {"rgb": {**value["streams"]["rgb"], "intrinsics": [[1, 2], [3, 4]]}},
        },
    ],
    ids=["list", "no streams", "stream", "licence", "unit", "kind", "intrinsics"],
)
def test_a_damaged_description_of_an_episode_is_one_sentence(fresh, change):
    file = fresh / "meta/armillary/episodes/chunk-000/episode-000001.json"
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    with pytest.raises(DatasetError, match="the description of an episode is damaged"):
        open_dataset(fresh).read(1)


def test_a_missing_file_is_named_by_episode(fresh):
    (fresh / "videos/observation.images.rgb/chunk-000/file-003.mp4").unlink()
    with pytest.raises(DatasetError, match=r"episode 3: videos/.*file-003\.mp4 is missing"):
        open_dataset(fresh)
    assert verify(fresh).damaged == (3,)


@pytest.mark.parametrize(
    "template",
    [
        "../../etc/{chunk_index}",
        "/etc/{file_index}",
        "a/../../{file_index}",
        "{chunk_index.__class__}",
        "{0}",
        "C:/x{file_index}",
        "a\\..\\b",
        "{chunk_index:99999999d}",
        "{chunk_index",
        7,
    ],
)
def test_paths_that_leave_the_dataset_are_refused(fresh, template):
    edit_info(fresh, data_path=template)
    with pytest.raises(DatasetError, match="path template"):
        open_dataset(fresh)


def test_a_feature_name_cannot_be_a_path(fresh):
    info = json.loads((fresh / "meta/info.json").read_text())
    features = {**info["features"], "../../x": info["features"]["observation.images.rgb"]}
    edit_info(fresh, features=features)
    with pytest.raises(DatasetError, match="is refused as part of a path"):
        open_dataset(fresh)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"codebase_version": "v2.1"},
            r"is LeRobot format 'v2.1'; v3.0 is needed. `armillary ingest` reads it",
        ),
        ({"codebase_version": "v1.6"}, "Convert it with the release of LeRobot that wrote it"),
        ({"total_episodes": 5}, "promises 5 episodes, its episode table has 4"),
        ({"total_frames": 57}, "promises 57 frames, its episodes have 56"),
        ({"fps": 0}, "'fps' must be a number above 0"),
        ({"features": {"a": {}}}, "'features' must give dtype and shape"),
    ],
)
def test_what_info_promises_is_checked(fresh, changes, sentence):
    edit_info(fresh, **changes)
    with pytest.raises(DatasetError, match=sentence):
        open_dataset(fresh)


def test_what_is_no_dataset_says_so(tmp_path):
    with pytest.raises(DatasetError, match="there is no such folder"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="not a LeRobot v3 dataset"):
        open_dataset(tmp_path)
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/info.json").write_text("{ not json")
    with pytest.raises(DatasetError, match="not valid JSON"):
        open_dataset(tmp_path)


def test_description_has_what_people_ask_for(counted):
    told = describe(counted)
    assert (told["episodes"], told["frames"], told["seconds"]) == (4, 56, 2.8)
    assert told["action_width"] == 2
    assert told["streams"]["depth"] == {
        "kind": "depth",
        "shape": [32, 32, 1],
        "unit": "m",
        "frame": "camera",
        "intrinsics": True,
        "codec": "ffv1",
    }
    assert (told["license"], told["source"]) == ("CC0-1.0", "counting world, seed 0")
    json.dumps(told)


@pytest.fixture
def foreign(tmp_path, counting) -> Path:
    """Three episodes in one parquet file and one video, as LeRobot itself writes them."""
    path, lengths = tmp_path / "foreign", [7, 5, 9]
    total, starts = sum(lengths), np.concatenate([[0], np.cumsum(lengths)])
    episode = np.repeat(np.arange(3), lengths)
    step = np.arange(total) - starts[episode]
    for key, base in (("observation.images.wrist", 1000), ("observation.images.top", 0)):
        pictures = [counting.draw(base + 100 * e + t) for e, t in zip(episode, step, strict=True)]
        encode(path / f"videos/{key}/chunk-000/file-000.mp4", pictures, 10, "rgb")
    action = pa.array(np.stack([100 * episode + step, step], 1).astype(np.float32).tolist())
    columns = {"action": action, "observation.state": action, "next.done": pa.array(step > 3)}
    columns |= {"episode_index": pa.array(episode), "frame_index": pa.array(step)}
    columns |= {"timestamp": pa.array((step / 10).astype(np.float32))}
    (path / "data/chunk-000").mkdir(parents=True)
    pq.write_table(pa.table(columns), path / "data/chunk-000/file-000.parquet")
    zero = [0, 0, 0]
    rows = {"episode_index": [0, 1, 2], "length": lengths}
    rows |= {"data/chunk_index": zero, "data/file_index": zero}
    for key in ("observation.images.wrist", "observation.images.top"):
        rows |= {f"videos/{key}/chunk_index": zero, f"videos/{key}/file_index": zero}
        rows |= {f"videos/{key}/from_timestamp": (starts[:-1] / 10).tolist()}
    (path / "meta/episodes/chunk-000").mkdir(parents=True)
    pq.write_table(pa.table(rows), path / "meta/episodes/chunk-000/file-000.parquet")
    camera = {"dtype": "video", "shape": [3, 32, 32], "names": ["channels", "height", "width"]}
    vector = {"dtype": "float32", "shape": [2], "names": None}
    info = {
        "codebase_version": "v3.0",
        "fps": 10,
        "total_episodes": 3,
        "total_frames": total,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        "features": {
            "observation.images.wrist": camera,
            "observation.images.top": camera,
            "action": vector,
            "observation.state": vector,
            "next.done": {"dtype": "bool", "shape": [1], "names": None},
        },
    }
    (path / "meta/info.json").write_text(json.dumps(info))
    (path / "README.md").write_text("---\nlicense: mit\n---\nhello")
    return path


def test_episodes_that_share_files_are_read_apart(foreign, counting):
    dataset = open_dataset(foreign)
    assert dataset.streams == {"rgb": "rgb", "top": "rgb", "proprio": "proprio"}
    for index, length in ((1, 5), (0, 7), (2, 9)):
        episode = dataset.read(index)
        numbers = [100 * index + t for t in range(length)]
        assert counting.read(episode.streams["top"].values).tolist() == numbers
        assert counting.read(episode.streams["rgb"].values).tolist() == [1000 + n for n in numbers]
        assert episode.actions[:, 0].tolist() == numbers[:-1]
        assert episode.time_ns[1] == 100_000_000
        assert episode.license == "mit"
    report = verify(foreign)
    assert (report.ok, report.hashed) == (True, False)


def test_two_cameras_of_one_file_can_be_read_side_by_side(foreign, counting):
    dataset = open_dataset(foreign)
    first, second = dataset.frames(2, "top"), dataset.frames(2, "top")
    for step, (a, b) in enumerate(zip(first, second, strict=True)):
        assert counting.read(a) == counting.read(b) == 200 + step


def rewrite_rows(dataset: Path, key: str, change) -> None:
    file = dataset / "data/chunk-000/file-000.parquet"
    table = pq.read_table(file)
    rows = table[key].to_pylist()
    change(rows)
    column = table.column_names.index(key)
    pq.write_table(table.set_column(column, key, pa.array(rows)), file)


@pytest.mark.parametrize(
    ("key", "what"), [("action", "the action"), ("observation.state", "'proprio'")]
)
def test_foreign_numbers_that_are_none_are_named_by_episode(foreign, key, what):
    rewrite_rows(foreign, key, lambda rows: rows[8].__setitem__(0, np.inf))
    assert len(open_dataset(foreign).read(0)) == 7
    with pytest.raises(DatasetError, match=f"episode 1: {what} of step 1 is NaN or infinite"):
        open_dataset(foreign).read(1)


def slide(rows: list) -> None:
    """As many numbers as before, one of them in the next row."""
    rows[8].append(rows[9].pop())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (slide, "rows have from 1 to 3 of them"),
        (lambda rows: rows.__setitem__(8, None), "1 of its rows are null"),
        (lambda rows: rows[8].__setitem__(0, None), "1 of them are null"),
        (lambda rows: [row.append(0.0) for row in rows], "has 3 numbers a step, its dataset pro"),
    ],
    ids=["ragged", "null-row", "null", "wide"],
)
def test_numbers_that_would_slide_into_other_steps_are_refused(foreign, change, sentence):
    rewrite_rows(foreign, "action", change)
    with pytest.raises(DatasetError, match=sentence):
        open_dataset(foreign).read(1)


def test_a_video_that_is_too_short_is_named_by_episode(foreign, counting):
    video = foreign / "videos/observation.images.top/chunk-000/file-000.mp4"
    shutil.move(video, video.with_suffix(".old"))
    encode(video, (counting.draw(n) for n in range(15)), 10, "rgb")
    assert len(open_dataset(foreign).read(1)) == 5
    with pytest.raises(DatasetError, match=r"episode 2: .* has no frame at 1\.500 s"):
        open_dataset(foreign).read(2)
    assert verify(foreign).problems[0].startswith("episode 2: ")


@pytest.mark.runs  # 50 damaged datasets a file: 3 to 7 s each
@pytest.mark.parametrize("hashed", [True, False])
@pytest.mark.parametrize(
    "file",
    [
        "meta/episodes/chunk-000/file-000.parquet",
        "meta/info.json",
        "data/chunk-000/file-001.parquet",
        "videos/observation.images.rgb/chunk-000/file-001.mp4",
    ],
)
def test_bytes_flipped_anywhere_are_sentences(fresh, file, hashed):
    """With the manifest the damage is found; without any, as others write, it is no traceback."""
    if not hashed:
        shutil.rmtree(fresh / "meta/armillary")
    whole = (fresh / file).read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.choice(len(whole), 25, replace=False).tolist():
        for bits in (128, 255):
            data = bytearray(whole)
            data[at] ^= bits
            (fresh / file).write_bytes(data)
            try:
                found = not verify(fresh).ok
                describe(fresh)
            except DatasetError:
                found = True
            assert found or not hashed


def test_a_column_that_is_promised_and_not_there_is_named(fresh):
    info = json.loads((fresh / "meta/info.json").read_text())
    name = min(key for key in info["features"] if key.startswith("truth."))
    features = {f"{k}_" if k == name else k: spec for k, spec in info["features"].items()}
    edit_info(fresh, features=features)
    with pytest.raises(DatasetError, match=f"no column '{name}_'"):
        describe(fresh)
    assert not verify(fresh).ok


def test_a_dataset_of_ours_without_its_manifest_is_not_taken_for_another(fresh):
    (fresh / "meta/armillary/manifest.json").unlink()
    for look in (verify, describe, open_dataset):
        with pytest.raises(
            DatasetError, match=r"manifest\.json is missing, without which its poses"
        ):
            look(fresh)
