"""HDF5 as robomimic, Isaac Lab and ALOHA write it arrives; what leads out of the file does not."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from damage import little_memory

from armillary.core.errors import ArmillaryError, ConfigError, FormatError, MissingExtraError
from armillary.data import IngestOptions, ingest, open_dataset, verify
from armillary.data.sources import hdf5, hdf5_file

STEPS, SIDE = 5, 32
AT_20 = IngestOptions(fps=20)
NONE = IngestOptions()


def images(seed: int, steps: int = STEPS) -> np.ndarray:
    ramp = np.arange(SIDE, dtype=np.uint8) * 6
    frame = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], np.uint8(9 * seed)), axis=2)
    return np.stack([np.roll(frame, 3 * step, axis=1) for step in range(steps)])


def numbers(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def robomimic(
    path: Path, demos: int = 2, steps: int = STEPS, settings: object = None, **changes
) -> Path:
    """``changes`` replace what is in each ``obs``; None leaves it out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {"env_name": "Lift", "type": 1, "env_kwargs": {"control_freq": 20, "robots": ["Panda"]}}
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["total"] = demos * steps
        data.attrs["env_args"] = json.dumps(told if settings is None else settings)
        for number in range(demos):
            demo = data.create_group(f"demo_{number}")
            demo.attrs["num_samples"] = steps
            demo["actions"] = numbers(number, steps, 7)
            demo["states"] = numbers(number + 10, steps, 9)
            demo["rewards"], demo["dones"] = np.zeros(steps), np.zeros(steps, np.int64)
            seen = {
                "agentview_image": images(number, steps),
                "robot0_eye_in_hand_image": images(number + 3, steps),
                "robot0_eef_pos": numbers(number + 20, steps, 3),
                "robot0_gripper_qpos": numbers(number + 30, steps, 2),
                "object": numbers(number + 40, steps, 4),
            }
            for name, values in (seen | changes).items():
                if values is not None:
                    demo.create_dataset(f"obs/{name}", data=values, compression="gzip")
                    demo[f"next_obs/{name}"] = values
        file.create_dataset("mask/train", data=[b"demo_0"])
    return path


def isaac(path: Path, flat: bool = False) -> Path:
    told = {"env_name": "Isaac-Stack", "type": 2, "sim_args": {"dt": 0.01, "decimation": 5}}
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps(told)
        demo = data.create_group("demo_0")
        demo.attrs["num_samples"], demo.attrs["success"] = STEPS, True
        demo.create_dataset("actions", data=numbers(0, STEPS, 7), compression="gzip")
        demo["initial_state/articulation/robot/joint_position"] = numbers(1, 1, 9)
        demo["states/articulation/robot/joint_position"] = numbers(1, STEPS, 9)
        if flat:
            demo["obs"] = numbers(2, STEPS, 6).astype(np.float32)
            return path
        demo["obs/joint_pos"] = numbers(2, STEPS, 9).astype(np.float32)
        demo["obs/table_cam"] = images(1)
        demo["obs/datagen_info/eef_pose/franka"] = np.tile(np.eye(4), (STEPS, 1, 1))
        demo["obs/subtask/grasp_1"] = np.arange(STEPS) > 2
    return path


def aloha(path: Path, compressed: bool = True, seed: int = 0, **attributes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.attrs["sim"], file.attrs["compress"] = False, compressed
        for name, value in attributes.items():
            file.attrs[name] = value
        for number, name in enumerate(("cam_left_wrist", "cam_high")):
            values = images(seed + number)
            if compressed:
                files = [jpeg(image) for image in values]
                longest = max(map(len, files))
                padded = [np.frombuffer(f.ljust(longest + 9, b"\0"), np.uint8) for f in files]
                values = np.stack(padded)
            chunks = (1, *values.shape[1:])
            file.create_dataset(f"observations/images/{name}", data=values, chunks=chunks)
        for number, name in enumerate(("qpos", "qvel", "effort")):
            file[f"observations/{name}"] = numbers(number + seed, STEPS, 14)
        file["action"] = numbers(seed + 9, STEPS, 14)
        if compressed:
            file["compress_len"] = np.zeros((2, STEPS))
    return path


def jpeg(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def decoded(image: np.ndarray) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(jpeg(image), np.uint8), cv2.IMREAD_COLOR_RGB)


# --- what arrives ----------------------------------------------------------------------------


def test_robomimic_arrives(tmp_path):
    source = robomimic(tmp_path / "in/low.hdf5", demos=11)
    assert hdf5.detect(source)
    assert hdf5.detect(source.parent)
    found = ingest(source.parent, tmp_path / "out", options=IngestOptions(license="MIT"))
    assert (found.written, found.frames, found.skipped, found.left_out) == (11, 55, (), ())
    dataset = open_dataset(tmp_path / "out")
    assert dataset.fps == 20
    assert dict(dataset.cameras) == {"rgb": "rgb", "robot0_eye_in_hand_image": "rgb"}
    sources = [dataset.read_low(number).source for number in range(11)]
    assert sources == [f"low.hdf5/data/demo_{number}" for number in range(11)]  # 2 before 10
    for number in (0, 1, 10):
        episode = dataset.read(number)
        state = np.hstack([numbers(number + 20, STEPS, 3), numbers(number + 30, STEPS, 2)])
        assert np.array_equal(episode.streams["proprio"].values, state.astype(np.float32))
        acts = numbers(number, STEPS, 7).astype(np.float32)
        assert np.array_equal(episode.actions, acts[:-1])
        for name, seed in (("object", 40), ("states", 10)):
            truth = numbers(number + seed, STEPS, 4 if name == "object" else 9)
            assert episode.streams[name].kind == "truth"
            assert np.array_equal(episode.streams[name].values, truth.astype(np.float32))
        assert np.array_equal(episode.time_ns, np.arange(STEPS) * 50_000_000)
        # encoded as H.264, so not to the bit
        seen = episode.streams["rgb"].values.astype(int)
        assert np.abs(seen - images(number)).mean() < 12
    assert verify(tmp_path / "out").ok
    assert found.notes == (
        "Cameras: rgb is agentview_image; also robot0_eye_in_hand_image. A model sees rgb.",
        "proprio: robot0_eef_pos (3), robot0_gripper_qpos (2), in this order.",
        "truth: object, states, known to the simulator alone.",
    )


def test_isaac_lab_arrives(tmp_path):
    found = ingest(isaac(tmp_path / "demos.hdf5"), tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert (dataset.fps, dict(dataset.cameras)) == (20, {"rgb": "rgb"})
    episode = dataset.read(0)
    state = np.column_stack([numbers(2, STEPS, 9), np.arange(STEPS) > 2]).astype(np.float32)
    assert np.array_equal(episode.streams["proprio"].values, state)
    assert np.array_equal(episode.actions, numbers(0, STEPS, 7).astype(np.float32)[:-1])
    assert "proprio: joint_pos (9), subtask/grasp_1 (1), in this order." in found.notes
    assert "states is left out: it is not one vector a step." in found.notes
    assert any(
        note.startswith("datagen_info/eef_pose/franka is left out: float64 [5, 4, 4]; 8-bit colour")
        for note in found.notes
    )


def test_isaac_lab_with_joined_observations_arrives(tmp_path):
    ingest(isaac(tmp_path / "demos.hdf5", flat=True), tmp_path / "out")
    episode = open_dataset(tmp_path / "out").read(0)
    values = numbers(2, STEPS, 6).astype(np.float32)
    assert np.array_equal(episode.streams["proprio"].values, values)


@pytest.mark.parametrize("compressed", [True, False])
def test_aloha_arrives(tmp_path, compressed):
    for number in (0, 1):
        aloha(tmp_path / f"in/episode_{number}.hdf5", compressed, seed=number)
    found = ingest(tmp_path / "in", tmp_path / "out", options=IngestOptions(fps=50))
    dataset = open_dataset(tmp_path / "out")
    assert (found.written, dataset.fps) == (2, 50)
    # the camera on the arm comes second
    assert list(dataset.cameras) == ["rgb", "cam_left_wrist"]
    for number in (0, 1):
        episode = dataset.read(number)
        state = np.hstack([numbers(n + number, STEPS, 14) for n in (2, 0, 1)]).astype(np.float32)
        assert np.array_equal(episode.streams["proprio"].values, state)  # effort, qpos, qvel
        acts = numbers(number + 9, STEPS, 14).astype(np.float32)
        assert np.array_equal(episode.actions, acts[:-1])
        seen, want = episode.streams["rgb"].values, images(number + 1)
        if compressed:
            assert np.array_equal(seen, [decoded(image) for image in want])
        else:
            assert np.abs(seen.astype(int) - want).mean() < 12
    assert verify(tmp_path / "out").ok


def test_a_rate_in_the_attributes_is_taken(tmp_path):
    ingest(aloha(tmp_path / "a.hdf5", frame_rate=30), tmp_path / "out")
    assert open_dataset(tmp_path / "out").fps == 30


def test_smaller_pictures_and_a_folder_with_another_h5(tmp_path):
    robomimic(tmp_path / "in/a.hdf5")
    with h5py.File(tmp_path / "in/tracks.h5", "w") as file:
        file["tracks"] = np.zeros((2, 3))
    options = IngestOptions(max_side=16)
    found = ingest(tmp_path / "in", tmp_path / "out", options=options)
    assert open_dataset(tmp_path / "out").picture_size("rgb") == (16, 16)
    [(path, why)] = found.skipped
    assert path.name == "tracks.h5"
    assert "is of no layout that is known: data/demo_0 with obs and actions" in why


def test_tracks_beside_a_video_are_no_demonstrations(tmp_path):
    with h5py.File(tmp_path / "tracks.h5", "w") as file:
        file["tracks"] = np.zeros((2, 3))
    (tmp_path / "text.hdf5").write_text("no HDF5")
    assert not hdf5.detect(tmp_path)
    assert not hdf5.detect(tmp_path / "text.hdf5")
    assert not hdf5.detect(tmp_path / "missing.h5")
    (tmp_path / "cut.h5").write_bytes(hdf5_file.SIGNATURE)
    assert not hdf5.detect(tmp_path)


def test_without_actions(tmp_path):
    source = robomimic(tmp_path / "a.hdf5")
    with h5py.File(source, "a") as file:
        for demo in file["data"].values():
            del demo["actions"]
    found = ingest(source, tmp_path / "out")
    assert open_dataset(found.out).read(0).actions is None
    assert "There are no actions." in found.notes


# --- what is refused, in words ---------------------------------------------------------------


def refused(source: Path, out: Path, sentence: str, kind: type = FormatError, options=NONE) -> None:
    with pytest.raises(kind, match=re.escape(sentence)):
        ingest(source, out, "hdf5", options=options)
    assert not out.exists()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        [],
        {"env_kwargs": 3},
        *({"env_kwargs": {"control_freq": wrong}} for wrong in ("fast", -1, True, None)),
        {"sim_args": {"dt": 0, "decimation": 5}},
    ],
)
def test_a_rate_is_needed(tmp_path, settings):
    source = robomimic(tmp_path / "a.hdf5", settings=settings)
    said = "does not say how many steps a second has; pass --fps, e.g. 20 for robomimic"
    refused(source, tmp_path / "no", said, ConfigError)
    ingest(source, tmp_path / "out", options=IngestOptions(fps=12.5))
    assert open_dataset(tmp_path / "out").fps == 12.5


def test_the_rate_of_a_file_cannot_be_changed(tmp_path):
    source = robomimic(tmp_path / "a.hdf5")
    said = "runs at 20 steps/s, which cannot be changed"
    refused(source, tmp_path / "no", said, ConfigError, IngestOptions(fps=10))
    ingest(source, tmp_path / "out", options=AT_20)


def test_h5py_is_an_extra(tmp_path, monkeypatch):
    source = robomimic(tmp_path / "a.hdf5")
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    # so that the sentence is about what is missing
    assert hdf5.detect(source)
    assert hdf5.detect(tmp_path)
    said = "h5py is needed to read HDF5 files. Install it with: pip install 'armillary[hdf5]'"
    refused(source, tmp_path / "out", said, MissingExtraError)


def test_no_file_no_layout_and_no_hdf5(tmp_path):
    (tmp_path / "in").mkdir()
    refused(tmp_path / "in", tmp_path / "out", "holds no HDF5 file; .hdf5, .h5 was looked for")
    (tmp_path / "in/a.h5").write_bytes(b"")
    refused(tmp_path / "in", tmp_path / "out", "is damaged, or no HDF5 that can be read (")
    whole = robomimic(tmp_path / "b.hdf5").read_bytes()
    (tmp_path / "in/a.h5").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "in", tmp_path / "out", "truncated file")
    with h5py.File(tmp_path / "in/a.h5", "w") as file:
        file["data/demo_0/else"] = np.zeros(3)
    refused(tmp_path / "in", tmp_path / "out", "is of no layout that is known")


def test_short_and_uneven_demonstrations_are_skipped(tmp_path):
    source = robomimic(tmp_path / "a.hdf5", demos=4)
    with h5py.File(source, "a") as file:
        for name, steps in (("demo_0", 1), ("demo_1", 3)):
            demo = file["data"][name]
            for place in ["actions"] if steps == 3 else ["actions", "states", *seen_in(demo)]:
                values = demo[place][:steps]
                del demo[place]
                demo[place] = values
        del file["data/demo_2/actions"]
        file["data/demo_2/actions"] = np.zeros(STEPS)
    found = ingest(source, tmp_path / "out")
    short, uneven, flat = (why for _, why in found.skipped)
    assert found.written == 1
    assert short.endswith("demo_0: has 1 steps; 2 to 1000000 can be read.")
    assert "'actions' has 3 steps, 'agentview_image' has 5; all of a demonstration must" in uneven
    assert flat.endswith("its actions are [5]; vectors [T A] were expected.")
    assert verify(tmp_path / "out").ok


def seen_in(demo) -> list[str]:
    return [f"obs/{name}" for name in demo["obs"]]


def test_numbers_that_are_none_are_skipped(tmp_path):
    source = robomimic(tmp_path / "a.hdf5", robot0_eef_pos=np.full((STEPS, 3), np.nan))
    refused(source, tmp_path / "out", "'proprio' of step 0 is NaN or infinite")


def test_a_picture_that_is_none_is_named(tmp_path):
    source = aloha(tmp_path / "a.hdf5")
    with h5py.File(source, "a") as file:
        file["observations/images/cam_high"][4] = 7
    found = ingest(source, tmp_path / "out", options=AT_20)
    assert (found.written, found.frames) == (1, 4)
    assert "cam_high, step 4: is no picture of a format" in found.left_out[0][1]


# --- what leads out of the file, or takes memory ---------------------------------------------


def test_links_are_not_followed(tmp_path):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["values"] = numbers(5, STEPS, 3)
    source = robomimic(tmp_path / "a.hdf5", demos=1)
    with h5py.File(source, "a") as file:
        demo = file["data/demo_0"]
        demo["obs/outside"] = h5py.ExternalLink(str(secret), "values")
        demo["obs/inside"] = h5py.SoftLink("/data/demo_0/actions")
        for number in range(60):  # hard links to the group that holds them, 60^5 ways round
            demo[f"obs/around_{number}"] = demo["obs"]
    found = ingest(source, tmp_path / "out")
    assert open_dataset(found.out).read(0).streams["proprio"].values.shape[1] == 5
    with h5py.File(source, "a") as file:
        del file["data/demo_0/obs"]
        file["data/demo_0/obs"] = h5py.ExternalLink(str(secret), "/")
    refused(source, tmp_path / "no", "has no observation that can be read")
    with h5py.File(source, "a") as file:
        del file["data"]
        file["data"] = h5py.ExternalLink(str(secret), "/")
    refused(source, tmp_path / "no", "is of no layout that is known", options=AT_20)


def test_arrays_of_other_files_are_not_read(tmp_path):
    raw = tmp_path / "raw.bin"
    raw.write_bytes(b"secret!!" * 100)
    source = robomimic(tmp_path / "a.hdf5", demos=1, robot0_eef_pos=None)
    layout = h5py.VirtualLayout(shape=(STEPS, 2), dtype="f8")
    layout[:] = h5py.VirtualSource(str(tmp_path / "b.h5"), "v", shape=(STEPS, 2))
    with h5py.File(source, "a") as file:
        seen = file["data/demo_0/obs"]
        seen.create_dataset("other", (STEPS, 2), "f8", external=[(str(raw), 0, 80)])
        seen.create_virtual_dataset("virtual", layout)
    found = ingest(source, tmp_path / "out")
    assert open_dataset(found.out).read(0).streams["proprio"].values.shape[1] == 2
    for name in ("other", "virtual"):
        assert f"{name} is left out: values that lie in another file." in found.notes


def test_values_that_are_no_numbers_are_left_out(tmp_path):
    source = robomimic(tmp_path / "a.hdf5", demos=1)
    with h5py.File(source, "a") as file:
        seen = file["data/demo_0/obs"]
        seen.create_dataset("bits", (STEPS,), h5py.vlen_dtype(np.uint8))
        seen.create_dataset("refs", (STEPS,), h5py.ref_dtype)
        seen.create_dataset("rows", (STEPS,), [("a", "f4"), ("b", "i4")])
        seen.create_dataset("words", data=["a"] * STEPS)
        seen.create_dataset("nothing", data=h5py.Empty("f4"))
        seen.create_dataset("depth", data=np.zeros((STEPS, 8, 8, 1), np.float32))
        seen.create_dataset("wide", data=np.zeros((STEPS, 2000), np.float32))
    found = ingest(source, tmp_path / "out")
    said = " ".join(found.notes)
    for name in ("bits", "refs", "rows", "words"):
        assert f"{name} is left out: values of type" in said
    assert "nothing is left out: shape [], where steps come first" in said
    assert "depth is left out: float32 [5, 8, 8, 1]; 8-bit colour [T H W 3] or vectors" in said
    assert "wide is left out: float32 [5, 2000]" in said


def test_filters_of_libraries_and_large_shapes_are_refused(tmp_path):
    source = robomimic(tmp_path / "a.hdf5", demos=1)
    with h5py.File(source, "a") as file:
        seen = file["data/demo_0/obs"]
        space, plan = h5py.h5s.create_simple((STEPS, 2)), h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((1, 2))
        plan.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, ())  # blosc
        h5py.h5d.create(seen.id, b"blosc", h5py.h5t.IEEE_F64LE, space, plan)
        seen.create_dataset("long", (1 << 40, 2), "f4", chunks=(16, 2))
        seen.create_dataset("large", (STEPS, 1 << 15, 1 << 15, 3), "u1", chunks=(1, 64, 64, 3))
        seen.create_dataset("lump", (STEPS, 1 << 10), "f4", chunks=(1 << 18, 1 << 10),
                            maxshape=(None, None))  # fmt: skip
    found = ingest(source, tmp_path / "out")
    said = " ".join(found.notes)
    assert "blosc is left out: the filter 32001, which would be loaded from a library" in said
    assert "long is left out: shape [1099511627776, 2], larger than what is read" in said
    assert "large is left out: shape [5, 32768, 32768, 3], larger than what is read" in said
    assert "lump is left out: chunks of shape [262144, 1024], larger than" in said


def test_long_tables_and_many_names_are_refused(tmp_path, monkeypatch):
    source = robomimic(tmp_path / "a.hdf5", demos=1)
    monkeypatch.setattr(hdf5_file, "MAX_NUMBERS", 9)
    refused(source, tmp_path / "out", "shape [5, 3] is more than what is read at once")
    monkeypatch.setattr(hdf5_file, "MAX_CHILDREN", 2)
    refused(source, tmp_path / "out", "holds more than 2 names; refused", options=AT_20)


def test_an_attribute_is_one_text_or_number(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["many"], file.attrs["one"] = [1.0, 2.0], [3]
        file.attrs["refs"] = np.array([file.ref], h5py.ref_dtype)
        file.attrs["text"], file.attrs["bytes"] = "abc", np.bytes_("abc")
        values = {name: hdf5_file.attribute(file, name) for name in (*file.attrs, "no")}
        assert values == {
            "many": None, "one": 3.0, "refs": None, "text": "abc", "bytes": "abc", "no": None
        }  # fmt: skip
        monkeypatch.setattr(hdf5_file, "_MAX_TEXT_BYTES", 2)
        with pytest.raises(FormatError, match="the attribute 'bytes' is too long"):
            hdf5_file.attribute(file, "bytes")


@pytest.mark.runs  # hundreds of damaged recordings: 5 s a seed
@pytest.mark.parametrize(
    "seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)]
)
def test_damage_anywhere_is_an_error_in_words_or_none(tmp_path, seed):
    chance = random.Random(seed)
    made = [robomimic(tmp_path / "r.hdf5", demos=1, steps=2), aloha(tmp_path / "a.hdf5")]
    wholes = [path.read_bytes() for path in made]
    damaged = tmp_path / "damaged.hdf5"
    for number in range(50):
        whole = wholes[number % 2]
        changed = bytearray(whole)
        for _ in range(chance.choice([1, 2, 8, 64])):
            changed[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        end = chance.randrange(len(whole)) if chance.random() < 0.2 else len(whole)
        damaged.write_bytes(changed[:end])
        options = AT_20 if number % 2 else NONE
        try:
            with little_memory():
                found = ingest(damaged, tmp_path / f"out{number}", "hdf5", options=options)
        except ArmillaryError as error:
            assert str(error).strip()
        else:
            assert found.written
