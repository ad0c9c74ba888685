"""What killed ingests left is removed, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from armillary.data.ingest import clear_leftovers

NOBODY, LONG_AGO = 999_999_999, 1_000_000_000


def left(folder: Path, name: str, old: bool = True) -> Path:
    path = folder / name
    path.mkdir()
    (path / "half.mp4").write_bytes(bytes(10))
    for one in (path / "half.mp4", path):
        os.utime(one, (LONG_AGO, LONG_AGO) if old else None)
    return path


def test_the_part_of_a_dead_process_goes(tmp_path):
    part = left(tmp_path, f".data.{NOBODY}.part")
    clear_leftovers(tmp_path / "data")
    assert not part.exists()


@pytest.mark.parametrize(
    ("name", "old"),
    [
        (f".data.{os.getpid()}.part", True),  # of a living process
        (f".data.{NOBODY}.part", False),  # perhaps of a living one on another machine
        (f".other.{NOBODY}.part", True),
        (f"data.{NOBODY}.part", True),
        (".data.x.part", True),
    ],
    ids=["living", "young", "another dataset", "no leftover", "no process"],
)
def test_what_may_be_somebody_s_stays(tmp_path, name, old):
    part = left(tmp_path, name, old)
    clear_leftovers(tmp_path / "data")
    assert (part / "half.mp4").exists()


def test_a_link_is_not_followed(tmp_path):
    precious = left(tmp_path, "precious")
    (tmp_path / f".data.{NOBODY}.part").symlink_to(precious)
    clear_leftovers(tmp_path / "data")
    assert (precious / "half.mp4").exists()


def test_a_dataset_that_was_moved_aside_is_put_back(tmp_path):
    left(tmp_path, f".data.{NOBODY}.old")
    clear_leftovers(tmp_path / "data")
    assert (tmp_path / "data" / "half.mp4").exists()
    again = left(tmp_path, f".data.{NOBODY}.old")
    clear_leftovers(tmp_path / "data")
    assert (tmp_path / "data" / "half.mp4").exists() and not again.exists()
