"""Datasets and episodes through the API: the same values as read by number, in Python's ways."""

from __future__ import annotations

import os
from pathlib import Path

import av
import numpy as np
import pytest

import armillary as arm
from armillary.core.errors import ConfigError, DatasetError, MissingEpisodeError, MissingStepError
from armillary.data import Cache, Dataset


def same(one, other) -> bool:
    pairs = zip(one.streams.items(), other.streams.items(), strict=True)
    return len(one) == len(other) and all(
        a == b and np.array_equal(x.values, y.values, equal_nan=True) for (a, x), (b, y) in pairs
    )


def video(path: Path, frames: int = 8) -> Path:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in range(frames):
            picture = np.full((48, 64, 3), 20 * level, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        file.mux(stream.encode())
    return path


def test_a_dataset_is_a_sequence_of_episodes(data: Dataset) -> None:
    assert len(data) == 4
    assert same(data[1], data.read(1))
    assert same(data[-1], data.read(3))
    assert same(data[np.int64(2)], data.read(2))
    assert [len(episode) for episode in data[1:3]] == [14, 14]
    assert all(same(one, data.read(k)) for k, one in enumerate(data))


@pytest.mark.parametrize("index", [4, -5])
def test_a_missing_episode_is_an_index_error_with_a_sentence(data: Dataset, index: int) -> None:
    with pytest.raises(IndexError, match=f"there is no episode {index}; it has 4"):
        data[index]
    with pytest.raises(MissingEpisodeError):
        data.read(99)


def test_an_index_is_a_whole_number(data: Dataset) -> None:
    with pytest.raises(TypeError):
        data["first"]  # pyrefly: ignore


def test_an_observation_is_what_the_sensors_gave(data: Dataset) -> None:
    episode = data[0]
    seen = episode.observation(-1)
    assert {*seen.streams} == {"rgb", "depth", "world_from_camera", "intrinsics"}
    assert np.array_equal(seen.streams["rgb"], episode.streams["rgb"].values[13])
    assert np.array_equal(seen.streams["intrinsics"], episode.streams["depth"].intrinsics)
    with pytest.raises(MissingStepError, match="There is no step 14; the episode has 14"):
        episode.observation(14)


def test_open_takes_what_was_returned(data: Dataset) -> None:
    assert arm.open_dataset(data) is data
    opened = arm.open_dataset(os.fspath(data))
    assert opened.identity() == arm.open_dataset(data.path).identity() == data.identity()
    prepared = arm.prepare(data, 32)
    assert isinstance(prepared, Cache) and prepared.arrays["rgb"].shape == (56, 32, 32, 3)
    assert arm.open_dataset(prepared).path == data.path.resolve()
    assert arm.prepare(str(data.path), (32, 32)).path == prepared.path


def test_a_cache_in_memory_has_no_dataset(data: Dataset) -> None:
    with pytest.raises(DatasetError, match="made in memory and has no dataset"):
        arm.open_dataset(Cache.from_episodes([data[0]], 32))


def test_record_takes_text_and_the_name_pose(tmp_path: Path) -> None:
    made = arm.record(
        "tabletop", str(tmp_path / "d"), episodes=1, steps=3, sensors=["rgb", "pose"], image_size=32
    )
    assert {"rgb", "world_from_camera"} <= {*made.streams} and "depth" not in made.streams
    assert made[0].streams["rgb"].values.shape == (3, 32, 32, 3)


def test_ingest_names_what_it_skips(tmp_path: Path) -> None:
    video(tmp_path / "clips.mp4")
    folder = tmp_path / "in"
    folder.mkdir()
    video(folder / "good.mp4")
    (folder / "bad.mp4").write_bytes(b"no video")
    with pytest.warns(UserWarning, match="bad.mp4"):
        made = arm.ingest(folder, tmp_path / "out", fps=5, license="CC0-1.0")
    assert (len(made), made.fps, made[0].license) == (1, 5.0, "CC0-1.0")
    with pytest.raises(ConfigError, match=r"no option of ingest called 'fsp'\. Did you mean 'fps'"):
        arm.ingest(folder, tmp_path / "other", fsp=5)


def test_reprs_are_short(data: Dataset) -> None:
    episode = data[0]
    values = (
        data,
        episode,
        episode.observation(0),
        arm.prepare(data, 32),
        *episode.streams.values(),
    )
    for value in values:
        assert len(repr(value)) < 200 + len(str(data.path)), repr(value)
    assert "4 episodes, 56 steps" in repr(data)
    assert repr(episode).startswith("Episode(14 steps, 1.3 s, actions of 2;")
    assert repr(episode.streams["depth"]) == "Stream(depth 14x64x64 float32 in m)"


def test_html_is_self_contained_and_escaped(data: Dataset, tmp_path: Path) -> None:
    table, sheet = data._repr_html_(), data[0]._repr_html_()
    assert table is not None and sheet is not None
    assert "4 episodes of 14 steps" in table and "<td>depth</td>" in table
    assert sheet.count("<img") == 16  # 8 steps, colour and depth
    assert sheet.count("data:image/png;base64,") == 16
    assert "http" not in table + sheet and "<script" not in table + sheet


def test_an_episode_without_pictures_is_a_table(data: Dataset) -> None:
    shown = data.read_low(0)._repr_html_()
    assert shown is not None and "<table>" in shown and "pusher_xy" in shown


def test_progress_is_told_or_silent(data: Dataset, tmp_path: Path, capsys) -> None:
    told = []
    arm.record(
        "tabletop",
        tmp_path / "a",
        episodes=2,
        steps=2,
        image_size=32,
        progress=lambda done, total, note="": told.append((done, total)),
    )
    assert told == [(1, 2), (2, 2)]
    assert capsys.readouterr() == ("", "")
