"""What is written is read back, whoever wrote it and however often they were interrupted."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from counting_world import begin, write_some, write_until_killed

from armillary.core.errors import ConfigError, DatasetError
from armillary.data import DatasetWriter, open_dataset, verify


def test_every_stream_comes_back(counted, counting):
    dataset = open_dataset(counted)
    assert dataset.num_episodes == 4
    assert dataset.lengths.tolist() == [11, 13, 15, 17]
    for index in range(4):
        want, got = counting.episode(index, 11 + 2 * index), dataset.read(index)
        assert got.streams.keys() == want.streams.keys()
        for name, stream in want.streams.items():
            found = got.streams[name]
            assert (found.kind, found.unit, found.frame) == (stream.kind, stream.unit, stream.frame)
            if name != "rgb":
                assert np.allclose(found.values, stream.values, atol=5e-4, equal_nan=True)
        assert counting.read(got.streams["rgb"].values).tolist() == [
            100 * index + t for t in range(len(want))
        ]
        assert np.array_equal(got.streams["rgb"].intrinsics, want.streams["rgb"].intrinsics)
        assert np.array_equal(got.actions, want.actions)
        assert np.array_equal(got.time_ns, want.time_ns)
        assert (got.source, got.license) == (want.source, want.license)


def test_depth_is_exact_in_millimetres(counted, counting):
    got = open_dataset(counted).read(2).streams["depth"].values
    want = counting.episode(2, 15).streams["depth"].values
    assert np.array_equal(np.rint(got * 1000), np.rint(want * 1000), equal_nan=True)


def test_lerobot_columns_and_counts(counted):
    info = json.loads((counted / "meta/info.json").read_text())
    assert (info["codebase_version"], info["fps"], info["splits"]) == ("v3.0", 20, {"train": "0:4"})
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (4, 56, 1)
    assert info["features"]["observation.images.depth"]["is_depth_map"] is True
    rows = [pq.read_table(counted / f"data/chunk-000/file-00{i}.parquet") for i in range(4)]
    index = np.concatenate([table["index"].to_numpy() for table in rows])
    assert index.tolist() == list(range(56))
    assert rows[0].column_names == [
        key for key, spec in info["features"].items() if spec["dtype"] != "video"
    ]
    episodes = pq.read_table(counted / "meta/episodes/chunk-000/file-000.parquet")
    assert episodes["dataset_from_index"].to_pylist() == [0, 11, 24, 39]
    assert episodes["dataset_to_index"].to_pylist() == [11, 24, 39, 56]
    assert episodes["videos/observation.images.rgb/to_timestamp"].to_pylist()[0] == 11 / 20
    tasks = pq.read_table(counted / "meta/tasks.parquet")
    assert tasks.to_pylist() == [{"task_index": 0, "__index_level_0__": "count up"}]
    stats = json.loads((counted / "meta/stats.json").read_text())
    assert stats["index"]["mean"] == [27.5]
    assert np.isclose(stats["index"]["std"][0], np.arange(56).std())
    assert stats["truth.count"]["max"] == [316.0]


@pytest.mark.runs  # processes start: 8 s
def test_the_order_and_number_of_writers_do_not_change_a_byte(tmp_path, counted):
    spawn = multiprocessing.get_context("spawn")
    writers = [
        spawn.Process(target=write_some, args=(tmp_path / "other", indices))
        for indices in ([3, 0], [2, 1])
    ]
    for process in writers:
        process.start()
    for process in writers:
        process.join()
    assert begin(tmp_path / "other").finished() == {0, 1, 2, 3}
    begin(tmp_path / "other").finalize()
    assert _all_bytes(tmp_path / "other") == _all_bytes(counted)


def test_finalizing_again_changes_nothing(fresh):
    before = _all_bytes(fresh)
    begin(fresh).finalize()
    assert _all_bytes(fresh) == before


def test_more_episodes_may_follow_after_finalize(tmp_path, counting, counted):
    for count in (2, 4):
        writer = begin(tmp_path / "grown")
        for index in set(range(count)) - writer.finished():
            writer.write(index, counting.episode(index, 11 + 2 * index))
        writer.finalize()
    assert _all_bytes(tmp_path / "grown") == _all_bytes(counted)


def test_a_killed_writer_loses_nothing_it_reported(tmp_path, counting):
    path = tmp_path / "killed"
    process = multiprocessing.get_context("spawn").Process(target=write_until_killed, args=(path,))
    process.start()
    writer = begin(path)
    deadline = time.monotonic() + 30
    while len(writer.finished()) < 3 and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    done = writer.finished()
    assert len(done) >= 3
    for index in set(range(max(done) + 3)) - done:
        writer.write(index, counting.episode(index, 11 + 2 * index))
    writer.finalize()
    assert verify(path).ok
    dataset = open_dataset(path)
    assert all(
        counting.read(dataset.read(i).streams["rgb"].values)[0] == 100 * i for i in sorted(done)
    )
    assert not [p for p in path.rglob(".*") if p.is_file()]


def test_a_gap_cannot_be_finalized(tmp_path, counting):
    writer = DatasetWriter(tmp_path / "gap", 20)
    for index in (0, 2):
        writer.write(index, counting.episode(index))
    with pytest.raises(DatasetError, match="episode 1 is not complete"):
        writer.finalize()
    with pytest.raises(DatasetError, match="was begun but never finished"):
        open_dataset(tmp_path / "gap")


def test_other_settings_do_not_continue_a_dataset(fresh):
    with pytest.raises(ConfigError, match=r"begun with other settings \(fps differ\)"):
        DatasetWriter(fresh, 30, "counting", "count up")


def test_a_writer_does_not_move_into_a_used_folder(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigError, match="holds other files"):
        DatasetWriter(tmp_path, 20)


def test_actions_that_are_not_numbers_are_refused_by_episode(tmp_path, counting):
    episode = counting.episode(0)
    episode.actions[4, 1] = np.nan
    writer = DatasetWriter(tmp_path / "nan", 20)
    with pytest.raises(DatasetError, match="Episode 7: the action of step 4 is NaN"):
        writer.write(7, episode)
    assert writer.finished() == set()


def test_plain_video_has_no_actions(tmp_path, counting):
    writer = DatasetWriter(tmp_path / "plain", 20)
    writer.write(0, counting.episode(0, actions=False))
    writer.finalize()
    dataset = open_dataset(tmp_path / "plain")
    assert not dataset.has_actions
    assert dataset.read(0).actions is None


def _all_bytes(path: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()
    }
