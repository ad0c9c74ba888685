"""Points of a depth camera: the right ones, with their colours, and one picture at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from armillary.core.values import Episode, Stream
from armillary.data import Dataset, DatasetWriter, open_dataset
from armillary.services.view import episodes as view_episodes
from armillary.services.view.episodes import episode_view

ROWS, COLUMNS, STEPS = 90, 120, 5
LENS = np.array([[100.0, 0.0, 59.5], [0.0, 100.0, 44.5], [0.0, 0.0, 1.0]])


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    rng = np.random.default_rng(0)
    depth = rng.uniform(0.5, 3.0, (STEPS, ROWS, COLUMNS)).astype(np.float32)
    depth[:, :10] = np.nan
    rgb = np.zeros((STEPS, ROWS, COLUMNS, 3), np.uint8)
    rgb[:, :, COLUMNS // 2 :] = 200  # right of the lens's axis
    streams = {
        "rgb": Stream("rgb", rgb, intrinsics=LENS),
        "depth": Stream("depth", depth, "m", intrinsics=LENS),
    }
    writer = DatasetWriter(tmp_path / "set", 10)
    writer.write(0, Episode(streams, np.arange(STEPS) * 100_000_000, source="made here"))
    writer.finalize()
    return open_dataset(tmp_path / "set")


def test_points_of_a_depth_camera_lie_on_the_rays_of_its_pixels(dataset: Dataset) -> None:
    cloud = episode_view(dataset, 0).clouds["points of depth"]
    depths = list(dataset.frames(0, "depth"))
    for points, colours, depth_mm in zip(cloud.points, cloud.colours, depths, strict=True):
        assert points.shape == (6000, 3) and points.dtype == np.float32
        ahead, left, up = points.T
        columns = np.rint(59.5 - 100 * left / ahead).astype(int)
        rows = np.rint(44.5 - 100 * up / ahead).astype(int)
        assert len({*zip(rows.tolist(), columns.tolist(), strict=True)}) == 6000
        assert rows.min() >= 10  # above nothing was measured
        assert np.allclose(depth_mm[rows, columns] / 1000, ahead, atol=1e-6)
        bright = colours.mean(axis=1) > 100
        inside = np.abs(columns - 59.5) > 2  # where the two shades meet, video blurs them
        assert np.array_equal(bright[inside], (columns >= 60)[inside])


def test_one_picture_at_a_time_and_only_drawn_pixels_become_points(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, placed = [], []
    whole, unproject = Dataset.frames, view_episodes.unproject

    def frames(self, index, name, steps=None):
        for picture in whole(self, index, name, steps):
            read.append(name)
            yield picture

    def noted(pixels, depth_m, lens):
        placed.append((len(pixels), read.count("depth"), read.count("rgb")))
        return unproject(pixels, depth_m, lens)

    monkeypatch.setattr(Dataset, "frames", frames)
    monkeypatch.setattr(view_episodes, "unproject", noted)
    view_episodes._depth_frames(dataset, 0, "depth", tuple(range(STEPS)))
    assert placed == [(6000, step + 1, step + 1) for step in range(STEPS)]
