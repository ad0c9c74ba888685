"""Pictures on a surprise page are those of the steps they stand for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from armillary.core.values import Episode, Stream
from armillary.data import DatasetWriter
from armillary.data.sources.video_folder import resampled
from armillary.data.video import encode
from armillary.services.surprise_page import clip_pictures, write_surprise_page
from armillary.understanding.unusual import UnusualEvent

SHADES = np.arange(0, 240, 12, np.uint8)  # of 20 frames at 10 per second
FRAMES = np.repeat(SHADES, 40 * 64 * 3).reshape(-1, 40, 64, 3)
TIMES_S = [0.0, 0.4, 0.6, 1.8]
WANTED = SHADES[[0, 4, 6, 18]]


@dataclass
class Found:
    surprise: list[float] = field(default_factory=lambda: [1.0, 1.1, 7.25, 0.9, 1.0, 1.2, 1.0])
    copy_last: list[float] = field(default_factory=lambda: [1.0] * 7)
    pixel_difference: list[float] = field(default_factory=lambda: [0.05] * 7)
    time_s: list[float] = field(default_factory=lambda: [0.2 * k for k in range(1, 8)])
    peak_step: int = 3
    normal: str = "2 other episodes"
    events: list[UnusualEvent] | None = None


def episode() -> Episode:
    return Episode({"rgb": Stream("rgb", FRAMES)}, np.arange(20) * 100_000_000, source="made here")


def check(pictures: np.ndarray | None) -> None:
    assert pictures is not None and pictures.shape == (4, 40, 64, 3)
    assert np.abs(pictures.mean(axis=(1, 2, 3)) - WANTED).max() < 3


def test_of_a_file_a_dataset_and_an_episode(tmp_path: Path) -> None:
    encode(tmp_path / "clip.mp4", FRAMES, 10, "rgb")
    check(clip_pictures(str(tmp_path / "clip.mp4"), TIMES_S))
    writer = DatasetWriter(tmp_path / "set", 10)
    writer.write(0, episode())
    writer.finalize()
    check(clip_pictures(f"{tmp_path / 'set'}:0", TIMES_S))
    check(clip_pictures(episode(), TIMES_S))


def test_large_frames_of_a_file_are_converted_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def noted(path, fps, size):
        sizes.append(tuple(size))
        return resampled(path, fps, size)

    monkeypatch.setattr("armillary.services.surprise_page.resampled", noted)
    large = np.repeat(SHADES, 320 * 640 * 3).reshape(-1, 320, 640, 3)
    encode(tmp_path / "clip.mp4", large, 10, "rgb")
    pictures = clip_pictures(tmp_path / "clip.mp4", TIMES_S)
    assert sizes == [(128, 256)]
    assert pictures is not None and pictures.shape == (4, 128, 256, 3)
    assert np.abs(pictures.mean(axis=(1, 2, 3)) - WANTED).max() < 3


def test_the_page_names_the_most_surprising_moments_first(tmp_path: Path) -> None:
    page = write_surprise_page(Found(), episode(), "out/run", 0.2, tmp_path / "surprise.html")
    text = page.read_text()
    assert text.count('class="still') == 3  # those of 7 steps that lie 2 apart
    assert "1. 0.60 s: 7.25" in text and "at 0.60 s: 7.25" in text
    assert 'data-start="3"' in text
    assert "pixel change over its median" in text and "2 other episodes" in text


def test_the_page_names_events_and_shows_the_strongest_first(tmp_path: Path) -> None:
    weak, strong = (
        UnusualEvent(0.4, 0.4, "appearance", 1.5),
        UnusualEvent(1.0, 1.2, "standstill", 4.0),
    )
    page = write_surprise_page(
        Found(events=[weak, strong]), episode(), "out/run", 0.2, tmp_path / "surprise.html"
    )
    text = page.read_text()
    assert "something appeared, vanished or jumped" in text and "1.0 to 1.2 s" in text
    assert "1. 1.00 s" in text and "2. 0.40 s" in text and "2 strongest events" in text
    none = write_surprise_page(Found(events=[]), episode(), "out/run", 0.2, tmp_path / "none.html")
    assert "events unlike normal pictures" in none.read_text()


def test_a_clip_without_colour_has_a_page_of_curves(tmp_path: Path) -> None:
    blind = Episode({"state": Stream("proprio", np.zeros((20, 2), np.float32))}, episode().time_ns)
    found = Found(pixel_difference=[])
    text = write_surprise_page(found, blind, "run", 0.2, tmp_path / "page.html").read_text()
    assert "<canvas" not in text and 'type="range"' in text
    assert "pixel change" not in text
