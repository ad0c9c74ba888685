"""A folder of pictures is a recording once something tells when they were taken."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from armillary.core.errors import FormatError
from armillary.data import IngestOptions, ingest, open_dataset, verify
from armillary.data.sources.name_times import times_ns

AT_10 = IngestOptions(fps=10)


def pictures(folder, names, rows: int = 32):
    """Write pictures whose grey level is their place in ``names`` times 20."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        image = np.full((rows, 48, 3), 20 * number, np.uint8)
        assert cv2.imwrite(str(folder / name), image)
    return folder


def greys(path, episode: int = 0) -> list[int]:
    return open_dataset(path).read(episode).streams["rgb"].values[:, 16, 16, 0].tolist()


def test_counted_pictures_need_a_rate_and_keep_every_step(tmp_path):
    source = pictures(tmp_path / "in", ["f1.png", "f2.png", "f10.png", "f11.png", "f12.png"])
    asks = r"nothing tells when its 5 pictures \(f1.png, f2.png, ...\) were taken; say with --fps"
    with pytest.raises(FormatError, match=asks):
        ingest(source, tmp_path / "no")
    for fps in (7, 10, 29.97):
        found = ingest(source, tmp_path / f"out{fps}", options=IngestOptions(fps=fps))
        assert (found.written, found.frames) == (1, 5)
        assert greys(found.out) == [0, 20, 40, 60, 80]
        times = open_dataset(found.out).read_low(0).time_ns
        assert np.array_equal(times, np.rint(np.arange(5) * 1e9 / fps))
        assert verify(found.out).ok


@pytest.mark.parametrize(
    "names",
    [
        [f"{1700000000 + n / 10:.6f}.jpg" for n in range(4)],
        [f"cam_{1700000000 * 10**9 + n * 10**8}.png" for n in range(4)],
        [f"{1700000000 * 1000 + n * 100}.png" for n in range(4)],
        [f"2024-01-31-23-59-59-{n}00.png" for n in range(4)],
        [f"center_2024_01_31_23_59_59_{n}00.jpg" for n in range(4)],
    ],
)
def test_names_that_are_times_tell_the_rate(tmp_path, names):
    found = ingest(pictures(tmp_path / "in", names), tmp_path / "out")
    dataset = open_dataset(found.out)
    assert (found.frames, dataset.fps) == (4, 10)
    assert dataset.read_low(0).time_ns.tolist() == [0, 10**8, 2 * 10**8, 3 * 10**8]
    assert "times are from the names" in found.notes[0]
    fewer = ingest(tmp_path / "in", tmp_path / "few", options=IngestOptions(fps=5))
    assert fewer.frames == 2


def test_dates_cross_midnight_and_need_be_possible():
    names = ["a 2024-02-29T23.59.59", "a 2024-03-01T00.00.01"]
    assert np.diff(times_ns(names, "in")).tolist() == [2 * 10**9]
    assert times_ns(["20240131_120000", "20240131_120001"], "in") is not None
    for none in (
        ["2024-02-30-12-00-00"],
        ["2024-01-31"],
        ["2024-13-01-12-00-00"],
        ["img_0001"],
        ["2024-01-31-12-00-00_1", "2024-01-31-12-00-00_2"],
    ):
        assert times_ns(none, "in") is None


def test_each_folder_is_an_episode_and_what_else_lies_there_is_said(tmp_path):
    pictures(tmp_path / "in/a", ["0.png", "1.png"])
    pictures(tmp_path / "in/b", ["0.png", "1.png", "2.png"])
    pictures(tmp_path / "in/small", ["0.png", "1.png"], rows=40)
    (tmp_path / "in/drive.csv").write_text("steering\n")
    found = ingest(tmp_path / "in", tmp_path / "out", options=AT_10)
    assert open_dataset(found.out).lengths.tolist() == [2, 3]
    assert {path.name for path, _ in found.skipped} == {"small"}
    assert "files that are no pictures are left out: drive.csv" in found.notes


def test_depth_alone_is_not_taken_for_colour(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"in/{number}.png"), np.full((32, 32), 1500, np.uint16))
    with pytest.raises(FormatError, match="16 bits a pixel, as depth has"):
        ingest(tmp_path / "in", tmp_path / "out", options=AT_10)
    assert not (tmp_path / "out").exists()


def test_pictures_beside_a_video_do_not_hide_it(tmp_path):
    """Other formats may hold pictures; then they are what the folder is."""
    pictures(tmp_path / "in", ["0.png", "1.png"])
    (tmp_path / "in/a.xyz").write_text("0 1 2\n3 4 5\n" * 20)
    found = ingest(tmp_path / "in", tmp_path / "out")
    assert set(open_dataset(found.out).streams) == {"points", "world_from_points"}
    found = ingest(tmp_path / "in", tmp_path / "rgb", "pictures", options=AT_10)
    assert set(open_dataset(found.out).streams) == {"rgb"}
