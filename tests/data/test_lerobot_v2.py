"""LeRobot datasets of v2.0 and v2.1 become datasets of v3; what is missing or damaged is said."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from counting_world import SIDE, Counting
from damage import ingest_damaged

from armillary.core.errors import ArmillaryError, ConfigError, DatasetError, FormatError
from armillary.data import IngestOptions, ingest, open_dataset, verify
from armillary.data.video import encode

FPS, LENGTHS = 10, (7, 5, 9)
TOP, WRIST = "observation.images.top", "observation.images.wrist"
TASKS = ("push the block", "open the drawer", "close it")
OF_EPISODE = ((0,), (1, 2), (0,))  # the second does two things
DATA = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
VIDEO = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"


def numbers(episode: int, key: str = TOP) -> np.ndarray:
    """The numbers that an episode's pictures show."""
    return (1000 if key == WRIST else 0) + 100 * episode + np.arange(LENGTHS[episode])


def png(number: int) -> bytes:
    return cv2.imencode(".png", Counting.draw(number)[..., ::-1])[1].tobytes()


def feature(dtype: str, *shape: int, names: Any = None) -> dict:
    return {"dtype": dtype, "shape": list(shape), "names": names}


def features(embedded: bool) -> dict[str, dict]:
    kind, axes = "image" if embedded else "video", ["height", "width", "channels"]
    told = {TOP: feature(kind, SIDE, SIDE, 3, names=axes)}
    told[WRIST] = feature(kind, 3, SIDE, SIDE, names=["channels", "height", "width"])
    told["observation.state"] = feature("float32", 3, names={"motors": ["x", "y", "z"]})
    told["action"] = feature("float32", 2, names=["x", "y"])
    told["next.done"] = feature("bool", 1)
    told |= {name: feature("int64", 1) for name in ("frame_index", "episode_index", "index")}
    return told | {"timestamp": feature("float32", 1), "task_index": feature("int64", 1)}


def rows(episode: int, embedded: bool) -> pa.Table:
    """One episode as LeRobot 0.3 writes it: images as {bytes, path}, vectors as lists."""
    length = LENGTHS[episode]
    step = np.arange(length)
    number = 100 * episode + step
    columns: dict[str, Any] = {}
    if embedded:
        for key in (TOP, WRIST):
            pictures = [{"bytes": png(n), "path": f"frame_{n}.png"} for n in numbers(episode, key)]
            columns[key] = pa.array(
                pictures, pa.struct({"bytes": pa.binary(), "path": pa.string()})
            )
    state, action = np.stack([number, step, -step], 1), np.stack([number, step / 4], 1)
    columns["observation.state"] = pa.array(state.tolist(), pa.list_(pa.float32(), 3))
    columns["action"] = pa.array(action.tolist(), pa.list_(pa.float32()))
    columns["next.done"] = pa.array(step == length - 1)
    columns["timestamp"] = pa.array((step / FPS).astype(np.float32))
    columns["frame_index"] = pa.array(step)
    columns["episode_index"] = pa.array(np.full(length, episode))
    columns["index"] = pa.array(sum(LENGTHS[:episode]) + step)
    of = OF_EPISODE[episode]
    columns["task_index"] = pa.array(np.array(of)[step * len(of) // length])
    return pa.table(columns)


def lines(file: Path, values: list[dict]) -> None:
    file.write_text("".join(json.dumps(value) + "\n" for value in values))


def old(path: Path, version: str = "v2.1", *, embedded: bool = False, chunk: int = 1000) -> Path:
    """Write a dataset of v2.0 or v2.1 from what LeRobot 0.3.3 documents of it."""
    (path / "meta").mkdir(parents=True)
    for episode in range(len(LENGTHS)):
        place = {"episode_chunk": episode // chunk, "episode_index": episode}
        file = path / DATA.format(**place)
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows(episode, embedded), file)
        for key in () if embedded else (TOP, WRIST):
            pictures = [Counting.draw(number) for number in numbers(episode, key)]
            encode(path / VIDEO.format(**place, video_key=key), pictures, FPS, "rgb")
    info = {
        "codebase_version": version, "robot_type": "so100", "fps": FPS,
        "total_episodes": len(LENGTHS), "total_frames": sum(LENGTHS), "total_tasks": len(TASKS),
        "total_videos": 0 if embedded else 2 * len(LENGTHS), "total_chunks": 1,
        "chunks_size": chunk, "splits": {"train": f"0:{len(LENGTHS)}"}, "data_path": DATA,
        "video_path": None if embedded else VIDEO, "features": features(embedded),
    }  # fmt: skip
    (path / "meta/info.json").write_text(json.dumps(info, indent=4))
    told = [{"episode_index": n, "tasks": [TASKS[task] for task in OF_EPISODE[n]],
             "length": length} for n, length in enumerate(LENGTHS)]  # fmt: skip
    lines(path / "meta/episodes.jsonl", told)
    lines(path / "meta/tasks.jsonl", [{"task_index": n, "task": t} for n, t in enumerate(TASKS)])
    stats = [stats_of(rows(episode, embedded)) for episode in range(len(LENGTHS))]
    if version == "v2.0":
        (path / "meta/stats.json").write_text(json.dumps(stats[0]))
    else:
        told = [{"episode_index": n, "stats": each} for n, each in enumerate(stats)]
        lines(path / "meta/episodes_stats.jsonl", told)
    (path / "README.md").write_text("---\nlicense: apache-2.0\n---\nA test.")
    return path


def stats_of(table: pa.Table) -> dict[str, dict]:
    found = {}
    for name in table.column_names:
        if name in (TOP, WRIST):
            continue
        values = np.array(table[name].to_pylist(), np.float64).reshape(table.num_rows, -1)
        each = {"min": values.min(0), "max": values.max(0), "mean": values.mean(0)}
        each = {key: value.tolist() for key, value in (each | {"std": values.std(0)}).items()}
        found[name] = each | {"count": [table.num_rows]}
    pixels = {"min": 0.0, "max": 1.0, "mean": 0.5, "std": 0.2}
    for name in (TOP, WRIST):
        found[name] = {key: [[[value]]] * 3 for key, value in pixels.items()}
        found[name]["count"] = [table.num_rows]
    return found


def edit_info(path: Path, **changes: Any) -> None:
    file = path / "meta/info.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def edit_rows(path: Path, episode: int, name: str, values: Any) -> None:
    file = path / DATA.format(episode_chunk=0, episode_index=episode)
    table = pq.read_table(file)
    at = table.column_names.index(name)
    pq.write_table(table.set_column(at, name, pa.array(values)), file)


def check(out: Path, episodes: tuple[int, ...] = (0, 1, 2)) -> None:
    """Hold a dataset against the episodes that it should have, in this order."""
    dataset = open_dataset(out)
    assert (dataset.fps, len(dataset)) == (FPS, len(episodes))
    assert dataset.streams == {"rgb": "rgb", "wrist": "rgb", "proprio": "proprio"}
    assert dataset.info["robot_type"] == "so100"
    for place, number in enumerate(episodes):
        episode = dataset.read(place)
        shown, step = numbers(number), np.arange(LENGTHS[number])
        assert Counting.read(episode.streams["rgb"].values).tolist() == shown.tolist()
        assert Counting.read(episode.streams["wrist"].values).tolist() == (shown + 1000).tolist()
        assert np.array_equal(episode.streams["proprio"].values, np.stack([shown, step, -step], 1))
        assert episode.actions is not None
        assert np.array_equal(episode.actions, np.stack([shown, step / 4], 1)[:-1])
        assert episode.time_ns.tolist() == (step * 100_000_000).tolist()
        assert episode.task == " / ".join(TASKS[task] for task in OF_EPISODE[number])
        assert episode.license == "apache-2.0"
        assert episode.source.endswith(f"/{number}")
    assert verify(out).ok


@pytest.mark.parametrize("version", ["v2.0", "v2.1"])
@pytest.mark.parametrize("embedded", [False, True])
def test_streams_actions_and_tasks_arrive(tmp_path, version, embedded):
    source = old(tmp_path / "in", version, embedded=embedded)
    summary = ingest(source, tmp_path / "out")
    assert (summary.written, summary.frames) == (3, 21)
    assert (summary.skipped, summary.left_out) == ((), ())
    check(tmp_path / "out")


def test_episodes_lie_in_the_chunks_that_info_names(tmp_path):
    ingest(old(tmp_path / "in", chunk=2), tmp_path / "out")
    check(tmp_path / "out")


def test_pictures_can_be_made_smaller(tmp_path):
    ingest(old(tmp_path / "in"), tmp_path / "out", options=IngestOptions(max_side=16))
    assert open_dataset(tmp_path / "out").read(1).streams["wrist"].values.shape == (5, 16, 16, 3)


def test_depth_inside_parquet_is_millimetres(tmp_path):
    source = old(tmp_path / "in", embedded=True)
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    for n, length in enumerate(LENGTHS):
        depth = np.full((SIDE, SIDE), 1250, np.uint16)
        depth[:4] = 0
        data = cv2.imencode(".png", depth)[1].tobytes()
        edit_rows(source, n, WRIST, pa.array([{"bytes": data, "path": None}] * length, kind))
    told = features(embedded=True)
    told[WRIST] = feature("image", SIDE, SIDE, 1) | {"info": {"is_depth_map": True}}
    edit_info(source, features=told)
    ingest(source, tmp_path / "out")
    values = open_dataset(tmp_path / "out").read(0).streams["depth"].values
    assert np.isnan(values[:, :4]).all()
    assert np.allclose(values[:, 4:], 1.25)


def test_another_rate_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"runs at 10\.0 steps/s"):
        ingest(old(tmp_path / "in"), tmp_path / "out", options=IngestOptions(fps=5))


def test_tasks_of_the_rows_count_where_episodes_name_none(tmp_path):
    source = old(tmp_path / "in")
    told = [{"episode_index": n, "length": length} for n, length in enumerate(LENGTHS)]
    lines(source / "meta/episodes.jsonl", told)
    ingest(source, tmp_path / "out")
    check(tmp_path / "out")
    lines(source / "meta/tasks.jsonl", [{"task_index": 0, "task": TASKS[0]}])
    summary = ingest(source, tmp_path / "less")
    assert "episode 1: its task 1 is not in meta/tasks.jsonl" in summary.skipped[0][1]
    (source / "meta/tasks.jsonl").unlink()
    assert ingest(source, tmp_path / "none").written == 3
    assert open_dataset(tmp_path / "none").read_low(0).task == ""


def test_columns_that_other_programs_leave_out_are_not_needed(tmp_path):
    source = old(tmp_path / "in")
    for file in (source / "data").rglob("*.parquet"):
        table = pq.read_table(file)
        pq.write_table(table.drop_columns(["frame_index", "next.done", "task_index"]), file)
    ingest(source, tmp_path / "out")
    check(tmp_path / "out")


# --- episodes that cannot be used ------------------------------------------------------------


def spoil_rows(path: Path) -> None:
    file = path / DATA.format(episode_chunk=0, episode_index=1)
    pq.write_table(pq.read_table(file).slice(0, 3), file)


def other_rows(path: Path) -> None:
    (first, second) = (path / DATA.format(episode_chunk=0, episode_index=n) for n in (0, 1))
    shutil.copy(first, second)
    told = [json.loads(line) for line in (path / "meta/episodes.jsonl").read_text().splitlines()]
    told[1]["length"] = LENGTHS[0]
    lines(path / "meta/episodes.jsonl", told)
    edit_info(path, total_frames=sum(LENGTHS) + LENGTHS[0] - LENGTHS[1])


def video(path: Path, key: str = WRIST) -> Path:
    return path / VIDEO.format(episode_chunk=0, episode_index=1, video_key=key)


def write_video(path: Path, count: int, side: int = SIDE) -> None:
    pictures = [cv2.resize(Counting.draw(1100 + n), (side, side)) for n in range(count)]
    encode(video(path), pictures, FPS, "rgb")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda p: video(p).unlink(), f"videos/chunk-000/{WRIST}/episode_000001.mp4 is missing"),
        (lambda p: (p / DATA.format(episode_chunk=0, episode_index=1)).unlink(),
         "data/chunk-000/episode_000001.parquet is missing"),
        (lambda p: video(p).write_bytes(b"x" * 4000), "video"),
        (lambda p: (p / DATA.format(episode_chunk=0, episode_index=1)).write_bytes(b"PAR1x"),
         "cannot be read as parquet"),
        (spoil_rows, "has 3 rows, meta/episodes.jsonl promises 5"),
        (other_rows, "has rows of another episode"),
        (lambda p: edit_rows(p, 1, "frame_index", [0, 1, 3, 4, 5]), "missing or out of order"),
        (lambda p: edit_rows(p, 1, "timestamp", [0.0, 0.1, 0.3, 0.4, 0.5]), "first at step 2"),
        (lambda p: edit_rows(p, 1, "timestamp", [0.0, float("nan"), 0.2, 0.3, 0.4]), "step 1"),
        (lambda p: edit_rows(p, 1, "action", [[1.0]] * 5), "'action' has 1 numbers a step"),
        (lambda p: edit_rows(p, 1, "action", [[1.0, float("inf")]] * 5), "NaN or infinite"),
        (lambda p: edit_rows(p, 1, "action", [["left", "up"]] * 5), "'action' holds no numbers"),
        (lambda p: edit_rows(p, 1, "observation.state", [["a"] * 3] * 5), "holds no numbers"),
        (lambda p: edit_rows(p, 1, "timestamp", ["now"] * 5), "'timestamp' holds no numbers"),
        (lambda p: write_video(p, 3), "has no frame at 0.300 s"),
        (lambda p: write_video(p, 5, 48), r"'wrist' are \[48, 48\], meta/info.json promises \[32"),
    ],
)  # fmt: skip
def test_an_episode_that_cannot_be_used_is_named(tmp_path, spoil, sentence):
    source = old(tmp_path / "in")
    spoil(source)
    summary = ingest(source, tmp_path / "out")
    ((_, why),) = summary.skipped
    with pytest.raises(FormatError, match=sentence):
        raise FormatError(why)
    assert f"{source}: episode 1: " in why
    check(tmp_path / "out", (0, 2))


def test_embedded_pictures_are_bounded_and_never_looked_for_elsewhere(tmp_path):
    source = old(tmp_path / "in", embedded=True)
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    (tmp_path / "secret.png").write_bytes(png(7))
    elsewhere = [{"bytes": None, "path": str(tmp_path / "secret.png")}] * LENGTHS[1]
    edit_rows(source, 1, TOP, pa.array(elsewhere, kind))
    # a header of 60,000 x 60,000 pixels in a file of a few hundred bytes
    huge = png(1)[:16] + (60_000).to_bytes(4, "big") * 2 + png(1)[24:]
    edit_rows(source, 2, TOP, pa.array([{"bytes": huge, "path": None}] * LENGTHS[2], kind))
    summary = ingest(source, tmp_path / "out")
    assert [why.split(": ", 1)[1] for _, why in summary.skipped] == [
        f"episode {number}: The picture of row 0 is missing or cannot be decoded."
        for number in (1, 2)
    ]
    check(tmp_path / "out", (0,))


def test_frames_after_the_last_row_are_told(tmp_path):
    source = old(tmp_path / "in")
    write_video(source, 7)
    summary = ingest(source, tmp_path / "out")
    assert [why for _, why in summary.left_out] == [
        "episode 1: 2 frames of 'wrist' after its last row, 5"
    ]
    check(tmp_path / "out")


def test_nothing_is_written_where_no_episode_is_usable(tmp_path):
    source = old(tmp_path / "in")
    shutil.rmtree(source / "videos")
    with pytest.raises(FormatError, match=r"no usable episode; the first: .*episode 0: videos/"):
        ingest(source, tmp_path / "out")
    assert [each.name for each in tmp_path.iterdir()] == ["in"]


# --- what ``meta`` says ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"data_path": "../{episode_chunk}/{episode_index}"}, "must stay inside the dataset"),
        ({"data_path": "/etc/{episode_index}"}, "must stay inside the dataset"),
        ({"data_path": "{episode_index.__class__}"}, "path template"),
        ({"data_path": "{}/{episode_index}"}, "path template"),
        ({"data_path": "{episode_index:09999999d}"}, "path template"),
        ({"data_path": "{episode_index!r:>3}"}, "path template"),
        ({"data_path": "data/{episode_chunk}"}, "must have {episode_index}"),
        ({"data_path": "data/chunk-{chunk_index}/{file_index}"}, "path template"),
        ({"video_path": "{video_key:03d}/{episode_index}"}, "path template"),
        ({"video_path": "{episode_index}.mp4"}, "must have {video_key}"),
        ({"video_path": None}, "missing or not text"),
        ({"chunks_size": 0}, "'chunks_size' must be"),
        ({"chunks_size": "many"}, "'chunks_size' must be"),
        ({"fps": -1}, "'fps' must be a number"),
        ({"total_episodes": 4}, "promises 4 episodes, meta/episodes.jsonl has 3, and no episode 3"),
        ({"total_frames": 22}, "promises 22 frames, the episodes of meta/episodes.jsonl have 21"),
        ({"features": {"../x": feature("video", 32, 32, 3)}}, "refused as part of a path"),
        ({"features": {TOP: feature("video", 32)}}, "'features' must give"),
        ({"codebase_version": "v1.6"}, "Convert it with the release of LeRobot"),
        ({"codebase_version": "v2.7"}, "Convert it with the release of LeRobot"),
    ],
)
def test_what_info_says_is_checked(tmp_path, changes, sentence):
    source = old(tmp_path / "in")
    edit_info(source, **changes)
    with pytest.raises(DatasetError, match=sentence):
        ingest(source, tmp_path / "out", "lerobot")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "there is no such file; a LeRobot dataset of v2 has it"),
        ("", "holds no episode"),
        ("{", "line 1 is not valid JSON"),
        ("[" * 100_000, "line 1 is not valid JSON"),
        ("\n7\n", "line 2 is no object"),
        ('{"length": 7}', "line 1: 'episode_index' must be a whole number"),
        ('{"episode_index": true, "length": 7}', "line 1: 'episode_index' must be"),
        ('{"episode_index": 0}', "episode 0: its 'length' in meta/episodes.jsonl is None"),
        ('{"episode_index": 0, "length": 1e9}', "episode 0: its 'length'"),
        ('{"episode_index": 0, "length": 9999999999}', "episode 0: its 'length'"),
        ('{"episode_index": -1, "length": 7}', "and no episode 0"),
        ('{"episode_index": 0, "length": 7, "tasks": {"a": 1}}', "its 'tasks' in"),
    ],
)
def test_the_table_of_episodes_is_checked(tmp_path, text, sentence):
    source = old(tmp_path / "in")
    file = source / "meta/episodes.jsonl"
    file.unlink() if text is None else file.write_text(text)
    edit_info(source, total_episodes=1, total_frames=7)
    with pytest.raises(DatasetError, match=sentence):
        ingest(source, tmp_path / "out")


def test_a_table_that_is_too_large_is_refused_unread(tmp_path):
    source = old(tmp_path / "in")
    with (source / "meta/episodes.jsonl").open("wb") as file:
        file.truncate(1 << 34)  # a file with a hole, that fills no disk
    with pytest.raises(DatasetError, match="larger than 64 MiB"):
        ingest(source, tmp_path / "out")


def test_half_of_a_letter_in_a_task_is_replaced(tmp_path):
    source = old(tmp_path / "in")
    told = [{"episode_index": n, "length": length, "tasks": ["go \ud800"]}
            for n, length in enumerate(LENGTHS)]  # fmt: skip
    lines(source / "meta/episodes.jsonl", told)
    ingest(source, tmp_path / "out")
    assert open_dataset(tmp_path / "out").read_low(0).task == "go ?"


def test_training_on_it_directly_says_how_to_convert_it(tmp_path):
    with pytest.raises(DatasetError, match="`armillary ingest` reads it and writes"):
        open_dataset(old(tmp_path / "in"))


@pytest.mark.runs  # 30 damaged recordings: 6 s
@pytest.mark.parametrize("embedded", [False, True])
def test_damage_is_an_error_in_words_or_a_dataset(tmp_path, embedded):
    old(tmp_path / "in", embedded=embedded)
    ingest_damaged(tmp_path, tmp_path / "in", "lerobot", seed=5, runs=30)


@pytest.mark.runs  # 60 damaged recordings: 6 s
def test_values_of_the_wrong_kind_in_info_are_errors_in_words(tmp_path):
    source = old(tmp_path / "in")
    whole = json.loads((source / "meta/info.json").read_text())
    chance = random.Random(3)
    odd = [None, True, -1, 0, 10**12, 0.5, "", "x", [], {}, [[]], {"a": 1}]
    for _ in range(60):
        info = json.loads(json.dumps(whole))
        inner = chance.choice([info, info["features"], *info["features"].values()])
        inner[chance.choice(sorted(inner))] = chance.choice(odd)
        (source / "meta/info.json").write_text(json.dumps(info))
        with contextlib.suppress(ArmillaryError):
            ingest(source, tmp_path / "out", "lerobot")
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
