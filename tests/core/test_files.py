"""Nobody ever reads half of anything, and what the disk says becomes a sentence."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from armillary.core.errors import FormatError, StorageError
from armillary.core.files import (
    read_json,
    replacing,
    replacing_folder,
    storage_errors,
    write_json,
)


def test_a_file_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "a.txt"
    with replacing(target) as beside:
        beside.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert [path.name for path in target.parent.iterdir()] == ["a.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), replacing(target) as beside:
        beside.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "run"
    for content in ("first", "second"):
        with replacing_folder(target) as beside:
            (beside / content).write_text(content)
    assert [path.name for path in target.iterdir()] == ["second"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_failing_folder_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "run"
    target.mkdir()
    (target / "kept").write_text("kept")
    with pytest.raises(RuntimeError), replacing_folder(target) as beside:
        (beside / "half").write_text("half")
        raise RuntimeError
    assert [path.name for path in target.iterdir()] == ["kept"]
    assert list(tmp_path.iterdir()) == [target]


WRITER = """
import sys, time
from pathlib import Path
from armillary.core.files import replacing
with replacing(Path(sys.argv[1])) as beside:
    beside.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def test_killed_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    command = [sys.executable, "-c", WRITER, str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        writer.send_signal(signal.SIGKILL)
        writer.wait(timeout=10)
    assert target.read_text() == "old"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.ENOSPC, "the disk is full; free some space and run the command again."),
        (errno.EDQUOT, "the disk is full; free some space and run the command again."),
        (errno.EACCES, "not writable; choose another folder with --out or change its permissions."),
        (errno.EROFS, "not writable; choose another folder with --out or change its permissions."),
        (errno.ENOENT, "not writable; choose another folder with --out or change its permissions."),
        (errno.ENAMETOOLONG, "the name is too long for this file system; choose a shorter one."),
        (errno.ENOTDIR, "a file stands where a folder is wanted (or the reverse); move it away."),
    ],
)
def test_the_disk_says_no_in_one_sentence(tmp_path: Path, code: int, said: str) -> None:
    target = tmp_path / "a.txt"
    with pytest.raises(StorageError) as caught, replacing(target) as beside:
        beside.write_text("half")
        raise OSError(code, os.strerror(code))
    assert str(caught.value) == f"{target}: {said}"
    assert list(tmp_path.iterdir()) == []


def test_what_the_disk_did_not_say_passes_through(tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError), storage_errors(tmp_path):
        raise ConnectionResetError


def test_a_file_where_a_folder_belongs(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(StorageError, match="a file stands where a folder is wanted"):
        write_json(tmp_path / "out" / "a.json", {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_not_writable(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="not writable"):
        write_json(tmp_path / "a.json", {})


@pytest.fixture
def tiny_disk(tmp_path: Path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    yield disk
    # Retried: another process may be looking at the folder (an indexer, a backup).
    while subprocess.run(["umount", str(disk)], capture_output=True).returncode != 0:
        time.sleep(0.1)


def test_a_disk_that_is_really_full(tiny_disk: Path) -> None:
    target = tiny_disk / "a.json"
    write_json(target, "small")
    with pytest.raises(StorageError, match="the disk is full"):
        write_json(target, "x" * 200_000)
    assert read_json(target) == "small"
    assert list(tiny_disk.iterdir()) == [target]


def test_json_goes_and_comes(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, None], "b": "ä"}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["{", "", "[" * 100_000])
def test_bad_json_is_a_sentence_with_the_path(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(FormatError, match="not valid JSON") as caught:
        read_json(path)
    assert str(path) in str(caught.value)


def test_missing_and_huge_json(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such file"):
        read_json(tmp_path / "none.json")
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(FormatError, match="larger than 64 MiB"):
        read_json(huge)


def test_values_written_are_plain_text(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1})
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": 1}
