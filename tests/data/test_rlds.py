"""RLDS written byte by byte here arrives as it was; what is damaged or foreign is said in words."""

from __future__ import annotations

import json
import random
import re
import struct
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from damage import little_memory, mutated

from armillary.core.errors import ArmillaryError, ConfigError, FormatError
from armillary.data import IngestOptions, ingest, open_dataset, verify
from armillary.data.sources import rlds, tf_example, tfrecord

STEPS, SIDE = 4, 32
SAMPLE = "shared/data/bridge_v2_25_episodes.tfrecord"
BRIDGE = next((p / SAMPLE for p in Path(__file__).parents if (p / SAMPLE).is_file()), None)
AT_5 = IngestOptions(fps=5)


# --- a writer of its own ---------------------------------------------------------------------


def slow_crc(data: bytes) -> int:
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    crc = slow_crc(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def message(number: int, body: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(body)) + body


def feature(values, packed: bool = True) -> bytes:
    if isinstance(values, list):
        return message(1, b"".join(message(1, value) for value in values))
    flat = np.asarray(values).reshape(-1)
    if flat.dtype.kind == "f":
        each = [struct.pack("<f", value) for value in flat]
        number, tag = 2, varint(1 << 3 | 5)
    else:
        each = [varint(int(value) & (1 << 64) - 1) for value in flat]
        number, tag = 3, varint(1 << 3)
    body = message(1, b"".join(each)) if packed else b"".join(tag + one for one in each)
    return message(number, body)


def example(values: dict, packed: bool = True) -> bytes:
    entries = (
        message(1, message(1, key.encode()) + message(2, feature(value, packed)))
        for key, value in values.items()
    )
    return message(1, b"".join(entries))


def picture(episode: int, step: int, camera: int, suffix: str = ".jpg") -> bytes:
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[:] = 40 * episode + 3 * step, 100 + 20 * camera, 0
    image[..., 2] = np.arange(SIDE) * 7
    return cv2.imencode(suffix, image)[1].tobytes()


def steps(episode: int, count: int = STEPS, suffix: str = ".jpg", **changes) -> dict:
    rows = np.arange(count, dtype=np.float32)
    values = {
        f"steps/observation/{name}": [picture(episode, s, n, suffix) for s in range(count)]
        for n, name in enumerate(("wrist", "image"))
    }
    values |= {
        "steps/observation/state": np.stack([rows + episode, -rows, rows / 7], axis=1),
        "steps/observation/open": np.arange(count) - 2,
        "steps/observation/depth": [b"\x89PNG"] * count,
        "steps/action": np.stack([rows / 3, rows + 0.5], axis=1),
        "steps/language_instruction": [f"task\n{episode}".encode()] * count,
        "steps/is_first": np.arange(count) == 0,
        "episode_metadata/file_path": [b"/somewhere"],
    }
    return {**values, **changes}


CLASS = "tensorflow_datasets.core.features."


def tensor(dims: list[int], dtype: str = "float32", encoding: str = "none") -> dict:
    shape = {"dimensions": [str(side) for side in dims]} if dims else {}
    told = {"shape": shape, "dtype": dtype, "encoding": encoding}
    return {"pythonClassName": CLASS + "tensor_feature.Tensor", "tensor": told}


def image(channels: int = 3, dtype: str = "uint8") -> dict:
    shape = {"dimensions": [str(SIDE), str(SIDE), str(channels)]}
    told = {"shape": shape, "dtype": dtype, "encodingFormat": "jpeg"}
    return {"pythonClassName": CLASS + "image_feature.Image", "image": told}


def mapping(**children) -> dict:
    name = CLASS + "features_dict.FeaturesDict"
    return {"pythonClassName": name, "featuresDict": {"features": children}}


def described(observation: dict | None = None, **changes) -> dict:
    seen = {
        "wrist": image(),
        "image": image(),
        "depth": image(1, "uint16"),
        "state": tensor([3]),
        "open": tensor([], "int64"),
    }
    text = {"pythonClassName": CLASS + "text_feature.Text", "text": {}}
    inner = {
        "observation": mapping(**(observation or seen)),
        "action": tensor([2]),
        "language_instruction": text,
        "is_first": tensor([], "bool"),
    }
    sequence = {"feature": mapping(**(inner | changes)), "length": "-1"}
    every = {"pythonClassName": CLASS + "dataset_feature.Dataset", "sequence": sequence}
    return mapping(steps=every, episode_metadata=mapping(file_path=text))


def folder(
    path: Path,
    episodes: list[dict] | None = None,
    told: dict | None = None,
    name: str = "toy-train.tfrecord-00000-of-00001",
    packed: bool = True,
) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "features.json").write_text(json.dumps(told or described()))
    (path / "dataset_info.json").write_text('{"name": "toy", "version": "1.0.0"}')
    rows = episodes if episodes is not None else [steps(0), steps(1)]
    (path / name).write_bytes(b"".join(record(example(row, packed)) for row in rows))
    return path


# --- what arrives ----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 8, 4097])
def test_the_checksum_is_that_of_a_bit_by_bit_division(size):
    data = random.Random(size).randbytes(size)
    assert struct.pack("<I", tfrecord.masked_crc32c(data)) == masked(data)


@pytest.mark.parametrize("packed", [True, False])
def test_numbers_of_every_size_are_read(packed):
    whole = np.array([0, 1, -1, 127, 128, 300, 2**62, -(2**63), 2**63 - 1], np.int64)
    parts = np.array([0.1, -2.5, np.inf], np.float32)
    data = example({"whole": whole, "parts": parts, "texts": [b"", b"abc"]}, packed)
    found = tf_example.read_example(data, "here")
    assert np.array_equal(found["whole"].numbers(), whole)
    assert np.array_equal(found["parts"].numbers(), parts)
    assert found["texts"].texts() == [b"", b"abc"]


@pytest.mark.parametrize("packed", [True, False])
def test_a_folder_of_tfds_arrives(tmp_path, packed):
    source = folder(tmp_path / "toy/1.0.0", packed=packed)
    assert rlds.detect(source)
    assert not rlds.detect(source / "features.json")
    found = ingest(source.parent, tmp_path / "out", options=IngestOptions(fps=7, license="MIT"))
    assert (found.written, found.frames, found.skipped, found.left_out) == (2, 2 * STEPS, (), ())
    dataset = open_dataset(tmp_path / "out")
    assert dataset.fps == 7
    # the camera on the arm comes second, whatever its name
    assert dict(dataset.cameras) == {"rgb": "rgb", "wrist": "rgb"}
    for number in (0, 1):
        episode = dataset.read(number)
        want = steps(number)
        state = np.column_stack([np.arange(STEPS) - 2, want["steps/observation/state"]])
        assert np.array_equal(episode.streams["proprio"].values, state.astype(np.float32))
        # the last action leads to no observation
        assert np.array_equal(episode.actions, want["steps/action"][:-1])
        assert np.array_equal(episode.time_ns, np.rint(np.arange(STEPS) * 1e9 / 7))
        assert episode.license == "MIT"
        assert episode.source.endswith(f"episode {number} (task {number})")
        for stream, key in (("rgb", "image"), ("wrist", "wrist")):
            files = want[f"steps/observation/{key}"]
            images = [cv2.imdecode(np.frombuffer(f, np.uint8), cv2.IMREAD_COLOR_RGB) for f in files]
            assert np.array_equal(episode.streams[stream].values, images)
    assert verify(tmp_path / "out").ok
    assert found.notes[:3] == (
        "Cameras: rgb is image; also wrist. A model sees rgb.",
        "proprio: open (1), state (3), in this order.",
        "actions: action (2), in this order.",
    )
    assert (
        "steps/observation/depth is left out: a picture of 32x32x1 uint16, where colour of 8 bits "
        "is read." in found.notes
    )
    assert found.notes[-1] == "2 different instructions: each is the task of its episode."


def tasks_table(path: Path) -> list[str]:
    rows = pq.read_table(path / "meta/tasks.parquet").to_pylist()
    assert [row["task_index"] for row in rows] == list(range(len(rows)))
    return [row["__index_level_0__"] for row in rows]


def test_the_instruction_of_each_episode_is_its_task(tmp_path):
    """LeRobot's own keys: the table, the number in each row, the texts of each episode."""
    said = [b"open it", b"close it", b"open it", b""]
    rows = [steps(n, **{"steps/language_instruction": [s] * STEPS}) for n, s in enumerate(said)]
    found = ingest(folder(tmp_path / "in", rows), tmp_path / "out", options=AT_5)
    for path in (found.out, ingest(found.out, tmp_path / "copy").out):
        assert tasks_table(path) == ["open it", "close it", ""]
        assert json.loads((path / "meta/info.json").read_text())["total_tasks"] == 3
        files = sorted((path / "data").rglob("*.parquet"))
        numbers = [pq.read_table(file).column("task_index").to_pylist() for file in files]
        assert numbers == [[0] * STEPS, [1] * STEPS, [0] * STEPS, [2] * STEPS]
        episodes = pq.read_table(path / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
        assert [row["tasks"] for row in episodes] == [["open it"], ["close it"], ["open it"], [""]]
        assert [row["stats/task_index/max"] for row in episodes] == [[0.0], [1.0], [0.0], [2.0]]
        stats = json.loads((path / "meta/stats.json").read_text())["task_index"]
        assert (stats["max"], stats["mean"]) == ([2.0], [0.75])
        dataset = open_dataset(path)
        assert [dataset.read_low(n).task for n in range(4)] == [
            "open it",
            "close it",
            "open it",
            "",
        ]
        assert verify(path).ok


def test_without_instructions_no_task_is_made_up(tmp_path):
    rows = [steps(0, **{"steps/language_instruction": [b""] * STEPS})]
    found = ingest(folder(tmp_path / "in", rows), tmp_path / "out", options=AT_5)
    assert tasks_table(found.out) == [""]


def test_every_step_is_kept_at_any_rate(tmp_path):
    source = folder(tmp_path / "in", [steps(0, 40)])
    for fps in (3, 7, 7.5, 29.97):
        found = ingest(source, tmp_path / f"out{fps}", options=IngestOptions(fps=fps))
        assert found.frames == 40
        assert open_dataset(found.out).fps == fps


def test_actions_in_parts_are_joined_in_the_order_of_their_names(tmp_path):
    parts = {"turn": tensor([1]), "move": tensor([2]), "stop": tensor([3, 3])}
    rows = steps(0)
    del rows["steps/action"]
    rows |= {"steps/action/turn": np.ones((STEPS, 1)), "steps/action/move": np.zeros((STEPS, 2))}
    rows |= {"steps/action/stop": np.zeros((STEPS, 9))}
    source = folder(tmp_path / "in", [rows], described(action=mapping(**parts)))
    found = ingest(source, tmp_path / "out", options=AT_5)
    assert np.array_equal(open_dataset(found.out).read(0).actions, [[0, 0, 1]] * (STEPS - 1))
    assert "actions: action/move (2), action/turn (1), in this order." in found.notes
    assert any(
        note
        == "steps/action/stop is left out: 3x3 float32, where vectors of at most 1024 are read."
        for note in found.notes
    )


def test_what_has_no_pictures_or_no_actions_arrives_too(tmp_path):
    told = described({"state": tensor([3])}, action=tensor([2, 2]))
    found = ingest(folder(tmp_path / "in", told=told), tmp_path / "out", options=AT_5)
    dataset = open_dataset(found.out)
    assert (len(dataset), dict(dataset.cameras), dataset.read(0).actions) == (2, {}, None)
    assert "There are no actions." in found.notes


def test_png_and_smaller_pictures(tmp_path):
    source = folder(tmp_path / "in", [steps(0, suffix=".png")])
    ingest(source, tmp_path / "out", options=IngestOptions(fps=5, max_side=16))
    assert open_dataset(tmp_path / "out").picture_size("rgb") == (16, 16)


def test_a_camera_that_was_not_there_is_said(tmp_path):
    black = cv2.imencode(".jpg", np.zeros((SIDE, SIDE, 3), np.uint8))[1].tobytes()
    source = folder(tmp_path / "in", [steps(0, **{"steps/observation/wrist": [black] * STEPS})])
    found = ingest(source, tmp_path / "out", options=AT_5)
    assert any(n.startswith("wrist: the first picture of 1 episodes is black") for n in found.notes)


def test_names_of_cameras_lead_nowhere(tmp_path):
    keys = ["../../up", "a b", "a_b"]
    rows = steps(0)
    rows |= {f"steps/observation/{k}": rows["steps/observation/image"] for k in keys}
    told = described({key: image() for key in keys})
    found = ingest(folder(tmp_path / "in", [rows], told), tmp_path / "out", options=AT_5)
    assert set(open_dataset(found.out).cameras) == {"rgb", "a_b", "a_b_2"}
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["in", "out"]


def test_several_files_are_read_in_order_and_missing_ones_are_said(tmp_path):
    name = "toy-train.tfrecord-{:05d}-of-00003"
    folder(tmp_path / "in", [steps(1)], name=name.format(2))
    source = folder(tmp_path / "in", [steps(0)], name=name.format(0))
    found = ingest(source, tmp_path / "out", options=AT_5)
    sources = [open_dataset(found.out).read_low(n).source for n in (0, 1)]
    assert [said.rsplit("(", 1)[1] for said in sources] == ["task 0)", "task 1)"]
    assert f"{source / 'toy-train'}: 2 of its 3 files are there." in found.notes


# --- what is refused, in words ---------------------------------------------------------------


def refused(source: Path, out: Path, sentence: str, kind: type = FormatError, options=AT_5) -> None:
    with pytest.raises(kind, match=re.escape(sentence)):
        ingest(source, out, "rlds", options=options)
    assert not out.exists()


def test_a_rate_is_needed_and_others_say_which(tmp_path):
    source = folder(tmp_path / "in")
    said = "does not say how many steps a second has; pass --fps, e.g. 5 for BridgeData v2"
    refused(source, tmp_path / "out", said, ConfigError, IngestOptions())


def test_features_are_needed(tmp_path):
    source = folder(tmp_path / "in")
    (source / "features.json").rename(source / "toy_features.json")
    assert ingest(source, tmp_path / "out", options=AT_5).written == 2
    (source / "other_features.json").write_text("{}")
    refused(source, tmp_path / "no", "2 lie beside it (other_features.json, toy_features.json)")
    for file in source.glob("*features.json"):
        file.unlink()
    refused(source, tmp_path / "no", "wrote beside it, and there is none; copy the one")


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({}, "'its top' is no feature that is known here"),
        ([], "'its top' is no feature that is known here"),
        ({"type": "x", "content": {}}, "as TensorFlow Datasets 4 writes it was expected"),
        (mapping(image=image()), "describes no 'steps'; RLDS was expected"),
        (described({"depth": image(1)}), "has neither colour pictures nor vectors of numbers"),
        (described(action={"pythonClassName": "x", "tensor": 3}), "'steps/action' is no feature"),
        (described(action=tensor(["x"])), "'steps/action' is no feature"),  # type: ignore[list-item] - a damaged file has it
    ],
)
def test_features_that_are_none(tmp_path, told, sentence):
    source = folder(tmp_path / "in")
    (source / "features.json").write_text(json.dumps(told))
    refused(source, tmp_path / "out", sentence)


def test_features_without_end_are_refused(tmp_path):
    source = folder(tmp_path / "in")
    deep = image()
    for _ in range(40):
        deep = mapping(a=deep)
    (source / "features.json").write_text(json.dumps(deep))
    refused(source, tmp_path / "out", "is no feature that is known here")
    (source / "features.json").write_text('{"a":' * 100_000)
    refused(source, tmp_path / "out", "not valid JSON")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"steps/action": np.zeros(5)}, "'steps/action' has 5 numbers, 4 steps of 2 were expected"),
        ({"steps/action": [b"x"]}, "holds bytes values where float or int64 were expected"),
        ({"steps/observation/image": np.ones(4)}, "holds float values where bytes were expected"),
        ({"steps/observation/wrist": [b"x"] * 3}, "'wrist' has 3 pictures for 4 steps"),
        ({"steps/observation/image": [b"x"] * 4}, "step 0: is no picture of a format"),
        ({"steps/action": np.full((4, 2), np.nan)}, "the action of step 0 is NaN or infinite"),
    ],
)
def test_an_episode_that_is_not_as_told_is_skipped(tmp_path, changes, sentence):
    source = folder(tmp_path / "in", [steps(0, **changes), steps(1)])
    found = ingest(source, tmp_path / "out", options=AT_5)
    [(_, why)] = found.skipped
    assert found.written == 1
    assert sentence in why
    assert verify(tmp_path / "out").ok


def test_an_episode_that_lacks_a_feature_or_steps_is_skipped(tmp_path):
    short, lacking = steps(0, 1), steps(0)
    del lacking["steps/action"]
    source = folder(tmp_path / "in", [short, lacking, steps(1)])
    found = ingest(source, tmp_path / "out", options=AT_5)
    first, second = (why for _, why in found.skipped)
    assert first.endswith("episode 0: has 1 steps; 2 to 1000000 can be read.")
    assert "lacks 'steps/action', which its features.json describes" in second


def test_no_tfrecord_and_nothing_in_it(tmp_path):
    (tmp_path / "in").mkdir()
    refused(tmp_path / "in", tmp_path / "out", "holds no TFRecord; *.tfrecord or")
    source = folder(tmp_path / "in", [])
    refused(source, tmp_path / "out", "the file is empty; a TFRecord was expected")


def test_damage_of_the_frame_is_said_and_what_came_before_is_kept(tmp_path):
    source = folder(tmp_path / "in")
    [file] = source.glob("*.tfrecord*")
    whole = file.read_bytes()
    second = len(record(example(steps(0))))
    cases = {
        whole[:-30]: "the file is cut off in it. The rest of the file is left out.",
        whole[: second + 5]: f"byte {second} begins no record: the file is cut off.",
        whole[:second] + b"\0" + whole[second + 1 :]: "the checksum of its length is another one",
        whole[:-40] + b"\0\0" + whole[-38:]: "is damaged: its checksum is another one",
    }
    for number, (data, sentence) in enumerate(cases.items()):
        file.write_bytes(data)
        found = ingest(source, tmp_path / f"out{number}", options=AT_5)
        [(_, why)] = found.skipped
        assert found.written == 1
        assert sentence in why
    file.write_bytes(b"\x1f\x8b" + whole)
    refused(source, tmp_path / "out", "it is packed with gzip; unpack the file first")
    length = struct.pack("<Q", 1 << 62)
    file.write_bytes(length + masked(length) + whole)
    refused(source, tmp_path / "out", "more than the 1073741824 that are read")


def test_a_message_that_is_damaged_is_said():
    good = example(steps(0))
    for data in (good[:-1], b"\x0b" + good, b"\xff" * 12, good + b"\x0a"):
        with pytest.raises(FormatError, match=r"is damaged, or no tf\.train\.Example"):
            tf_example.read_example(data, "here")
    name = message(1, message(1, message(1, b"\xff")))
    with pytest.raises(FormatError, match="the name of a feature is no text"):
        tf_example.read_example(name, "here")


@pytest.mark.parametrize(
    "body",
    [
        message(3, message(1, b"\x80")),  # a number without an end
        message(3, message(1, b"\xff" * 10 + b"\x01")),  # and one that is too long
        message(2, message(1, b"\0\0\0")),  # three quarters of a float
        message(2, varint(1 << 3 | 1) + bytes(8)),  # a double
    ],
)
def test_a_list_that_is_damaged_is_said(body):
    data = message(1, message(1, message(1, b"k") + message(2, body)))
    with pytest.raises(FormatError, match="'k': its list of values is damaged"):
        tf_example.read_example(data, "here")["k"].numbers()


def test_lists_without_bound_are_refused(monkeypatch):
    monkeypatch.setattr(tf_example, "MAX_VALUES", 3)
    monkeypatch.setattr(tf_example, "MAX_INTEGERS", 3)
    data = example({"texts": [b"a"] * 4, "whole": np.arange(4)})
    found = tf_example.read_example(data, "here")
    with pytest.raises(FormatError, match="'texts': has more than 3 values; refused"):
        found["texts"].texts()
    with pytest.raises(FormatError, match="'whole': has more than 3 values; refused"):
        found["whole"].numbers()
    monkeypatch.setattr(tf_example, "MAX_FEATURES", 1)
    with pytest.raises(FormatError, match="more than 1 features"):
        tf_example.read_example(data, "here")


@pytest.mark.runs  # hundreds of damaged recordings: 5 s a seed
@pytest.mark.parametrize(
    "seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)]
)
def test_damage_anywhere_is_an_error_in_words_or_none(tmp_path, seed):
    chance = random.Random(seed)
    source = folder(tmp_path / "in", [steps(0, 2), steps(1, 2)])
    [file] = source.glob("*.tfrecord*")
    whole, told = file.read_bytes(), (source / "features.json").read_bytes()
    body = example(steps(0, 2))
    for number in range(50):
        what = number % 3
        if what == 0:
            file.write_bytes(mutated(whole, chance))
        elif what == 1:  # with a checksum that fits, so that the message itself is looked into
            file.write_bytes(record(mutated(body, chance)) + whole)
        else:
            file.write_bytes(whole)
        damaged = mutated(told, chance) if what == 2 else told
        (source / "features.json").write_bytes(damaged)
        try:
            with little_memory():
                found = ingest(source, tmp_path / f"out{number}", "rlds", options=AT_5)
        except ArmillaryError as error:
            assert str(error).strip()
        else:
            assert found.written


# --- the real thing --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bridge(tmp_path_factory) -> Path:
    if BRIDGE is None:
        pytest.skip(f"the sample of BridgeData v2 ({SAMPLE}) is not above this folder")
    out = tmp_path_factory.mktemp("bridge") / "out"
    found = ingest(BRIDGE, out, options=IngestOptions(fps=5, license="CC-BY-4.0"))
    assert (found.written, found.frames, found.skipped, found.left_out) == (25, 250, (), ())
    return out


def plainly_decoded(data: bytes) -> list[dict[str, list[bytes]]]:
    """Decode with another reader, which trusts the file."""

    def number(data: bytes, at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            value |= (data[at] & 127) << shift
            at, shift = at + 1, shift + 7
            if data[at - 1] < 128:
                return value, at

    def parts(data: bytes) -> list[bytes]:
        found, at = [], 0
        while at < len(data):
            _, at = number(data, at)
            length, at = number(data, at)
            found.append(data[at : at + length])
            at += length
        return found

    episodes, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        [features] = parts(data[at + 12 : at + 12 + length])
        entries = (parts(entry) for entry in parts(features))
        episodes.append({key.decode(): parts(parts(value)[0]) for key, value in entries})
        at += length + 16
    return episodes


def test_bridge_arrives_whole(bridge):
    assert BRIDGE is not None
    dataset = open_dataset(bridge)
    told = plainly_decoded(BRIDGE.read_bytes())
    assert (len(dataset), dataset.fps, len(told)) == (25, 5, 25)
    assert list(dataset.cameras) == ["rgb", "image_1", "image_2", "image_3"]
    for number, want in enumerate(told):
        episode = dataset.read(number)
        assert len(episode) == 10
        state = np.frombuffer(want["steps/observation/state"][0], "<f4").reshape(10, 7)
        acts = np.frombuffer(want["steps/action"][0], "<f4").reshape(10, 7)
        assert np.array_equal(episode.streams["proprio"].values, state)
        assert np.array_equal(episode.actions, acts[:-1])
        assert want["steps/language_instruction"][0].decode() in episode.source
        for camera, stream in enumerate(dataset.cameras if number % 6 == 0 else ()):
            files = want[f"steps/observation/image_{camera}"]
            images = [cv2.imdecode(np.frombuffer(f, np.uint8), cv2.IMREAD_COLOR_RGB) for f in files]
            assert np.array_equal(episode.streams[stream].values, images)
    assert verify(bridge).ok
