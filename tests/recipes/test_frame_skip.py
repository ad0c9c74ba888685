"""A step of the model is short enough that a picture resembles the one before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from armillary.core.values import Episode, Stream
from armillary.data import Dataset, DatasetWriter, open_dataset
from armillary.recipes.frame_skip import frame_skip_for
from armillary.recipes.world import adapted, world

SIDE, FPS, STEPS = 64, 50, 100


def arm(turn: float) -> np.ndarray:
    """Return a picture of an arm that points at an angle, in radians."""
    rows, columns = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    along = columns * np.cos(turn) + rows * np.sin(turn)
    across = rows * np.cos(turn) - columns * np.sin(turn)
    on = (np.abs(across) < 4) & (along > 0) & (along < 28)
    return np.repeat(np.where(on, 220, 60).astype(np.uint8)[..., None], 3, axis=2)


def recording(
    path: Path, turned: Callable[[np.random.Generator], np.ndarray], steps: int = STEPS
) -> Dataset:
    """Write four episodes of an arm whose turn at each step is drawn by ``turned``."""
    writer = DatasetWriter(path, FPS)
    for number in range(4):
        turns = turned(np.random.default_rng(number))[:steps]
        rgb = np.stack([arm(turn) for turn in turns])
        times = (np.arange(steps) * 1e9 / FPS).astype(np.int64)
        writer.write(number, Episode(streams={"rgb": Stream("rgb", rgb)}, time_ns=times))
    writer.finalize()
    return open_dataset(path)


def wandering(speed: float) -> Callable[[np.random.Generator], np.ndarray]:
    """Return how an arm turns that changes its speed, in radians a step, all the time."""
    return lambda rng: np.cumsum(np.repeat(rng.normal(0, speed, STEPS // 5), 5))


@pytest.mark.parametrize(
    ("speed", "least", "most"), [(0.02, 5, 5), (0.4, 1, 3), (3.0, 1, 1)], ids=["slow", "fast", "x"]
)
def test_what_turns_fast_gets_a_short_step(
    tmp_path: Path, speed: float, least: int, most: int
) -> None:
    data = recording(tmp_path / "data", wandering(speed))
    found = frame_skip_for(data)
    assert least <= found <= most
    assert found == frame_skip_for(data), "the same every time"
    assert adapted(world(), data).model.frame_skip == found


def test_what_rests_or_is_short_gets_a_tenth_of_a_second(tmp_path: Path) -> None:
    resting = recording(tmp_path / "resting", lambda _: np.zeros(STEPS))
    short = recording(tmp_path / "short", wandering(3.0), steps=25)
    assert frame_skip_for(resting) == frame_skip_for(short) == 5


def test_an_episode_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    recording(folder, wandering(3.0))
    videos = sorted((folder / "videos").rglob("*.mp4"))
    for left in (1, 0):
        for video in videos[left:]:
            video.write_bytes(b"no video")
        assert frame_skip_for(open_dataset(folder)) == (1 if left else 5)
