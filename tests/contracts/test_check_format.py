"""``check_format`` passes our own format and names what each unsound reader or writer loses."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from armillary.core.errors import CheckFailedError
from armillary.core.values import Episode
from armillary.data import DatasetWriter, check_format, open_dataset
from armillary.data.check import counting_episodes


def write(path: Path, episodes: Sequence[Episode]) -> None:
    writer = DatasetWriter(path, 20)
    for index, episode in enumerate(episodes):
        writer.write(index, episode)
    writer.finalize()


def read(path: Path) -> list[Episode]:
    dataset = open_dataset(path)
    return [dataset.read(index) for index in range(dataset.num_episodes)]


class Memory:
    """A format that loses nothing: episodes stay in memory, and a file says that they are there."""

    def __init__(self, change=lambda episode: episode, reorder=lambda episodes: episodes) -> None:
        self.kept: dict[Path, list[Episode]] = {}
        self.change, self.reorder = change, reorder

    def write(self, path: Path, episodes: Sequence[Episode]) -> None:
        self.kept[path] = list(episodes)
        path.write_text("kept")

    def read(self, path: Path) -> list[Episode]:
        return self.reorder([self.change(episode) for episode in self.kept[path]])


def changed(name: str, change, attribute: str = "values"):
    def of(episode: Episode) -> Episode:
        stream = episode.streams[name]
        stream = replace(stream, **{attribute: change(getattr(stream, attribute))})
        return replace(episode, streams={**episode.streams, name: stream})

    return of


def late(values):
    """Off by one: each step holds what came a step before."""
    return np.concatenate([values[:1], values[:-1]])


def acting(change):
    def of(episode: Episode) -> Episode:
        other = replace(episode)
        # past the frozen fields, and past the shape check of tests that users do not have
        vars(other)["actions"] = change(episode.actions)
        return other

    return of


def on_a_grid(episode: Episode) -> Episode:
    return replace(episode, time_ns=np.arange(len(episode), dtype=np.int64) * 50_000_000)


def renamed(episode: Episode) -> Episode:
    streams = {name.replace("count", "state"): s for name, s in episode.streams.items()}
    return replace(episode, streams=streams)


LOSSES = {
    "pictures late": (changed("rgb", late), "rgb: frames of episode 0 show"),
    "blue for red": (changed("rgb", lambda v: v[..., ::-1]), "rgb: frames of episode 0 show"),
    "upside down": (changed("rgb", lambda v: v[:, ::-1]), "rgb: frames of episode 0 show"),
    "transposed": (changed("rgb", lambda v: v.swapaxes(1, 2)), "rgb: is uint8"),
    "depth late": (changed("depth", late), "depth: step 1 of episode 0 is exact"),
    "depth in centimetres": (
        changed("depth", lambda v: v.round(2)),
        "depth: step 0 of episode 0 is exact",
    ),
    "gaps become zero": (changed("depth", np.nan_to_num), "depth: invalid pixels"),
    "depth in double": (changed("depth", lambda v: v.astype(np.float64)), "depth: is float32"),
    "labels late": (changed("segmentation", late), "segmentation: step"),
    "poses late": (changed("world_from_camera", late), "world_from_camera: step 1"),
    "poses the other way round": (
        changed("world_from_camera", np.linalg.inv),
        "world_from_camera: step 0",
    ),
    "proprio late": (changed("proprio", late), "proprio: step 1"),
    "truth late": (changed("count", late), "count: step 1"),
    "points late": (changed("points", late), "points: step 1"),
    "points without gaps": (changed("points", np.nan_to_num), "points: step"),
    "columns lost": (changed("points", lambda _: (), "columns"), "columns: 'points' of episode 0"),
    "ranges late": (changed("lidar", late), "lidar: step 1"),
    "no return becomes zero": (changed("lidar", np.nan_to_num), "lidar: step 0"),
    "beams turned": (changed("lidar", lambda b: -b, "beams_rad"), "beams: 'lidar' of episode 0"),
    "beams lost": (changed("lidar", lambda _: None, "beams_rad"), "beams: 'lidar' of episode 0"),
    "unit lost": (changed("count", lambda _: "", "unit"), "units: 'count' keeps"),
    "lens lost": (changed("rgb", lambda _: None, "intrinsics"), "intrinsics: 'rgb' of episode 0"),
    "actions late": (acting(late), "actions: action 1 of episode 0 leads from step 1 to step 2"),
    "actions wrong": (acting(lambda a: a + 1), "actions: action 0 of episode 0"),
    "one action too many": (
        acting(lambda a: np.concatenate([a, a[-1:]])),
        "actions: 9 steps have 8 actions",
    ),
    "actions lost": (acting(lambda a: None), "actions: 9 steps have 8 actions"),
    "times from the rate": (on_a_grid, "times: episode 0"),
    "a name changed": (renamed, "names: episode 0"),
    "licence lost": (lambda episode: replace(episode, license=""), "source: episode 0"),
}


def test_our_own_format_passes() -> None:
    check_format(write, read)


def test_a_format_may_carry_less() -> None:
    """Without poses, labels and truth; what is left is held to the same."""
    memory = Memory()
    check_format(memory.write, memory.read, without=("world_from_camera", "segmentation", "count"))


@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_lost_or_out_of_place_is_named(loss: str) -> None:
    change, promise = LOSSES[loss]
    memory = Memory(change)
    with pytest.raises(CheckFailedError, match=promise):
        check_format(memory.write, memory.read)


def test_episodes_out_of_order_or_missing_are_named() -> None:
    for reorder in (lambda episodes: episodes[::-1], lambda episodes: episodes[:-1]):
        memory = Memory(reorder=reorder)
        with pytest.raises(CheckFailedError, match="lengths: episodes"):
            check_format(memory.write, memory.read)


def test_a_writer_with_a_clock_is_named() -> None:
    memory = Memory()

    def write_dated(path: Path, episodes: Sequence[Episode]) -> None:
        memory.write(path, episodes)
        path.write_bytes(os.urandom(8))

    with pytest.raises(CheckFailedError, match="bytes: written twice"):
        check_format(write_dated, memory.read)


def test_actions_made_up_for_plain_video_are_named() -> None:
    zeros = acting(lambda a: np.zeros((8, 2)) if a is None else a)
    memory = Memory(zeros)
    with pytest.raises(CheckFailedError, match="plain video"):
        check_format(memory.write, memory.read)


def test_the_episodes_differ_from_each_other() -> None:
    first, second, _ = counting_episodes()
    assert len(first) != len(second)
    assert not np.array_equal(first.streams["rgb"].values, second.streams["rgb"].values[:9])
