"""A rawlog written byte by byte here arrives as it was; what is damaged or unknown is refused."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from armillary.core.errors import FormatError
from armillary.core.progress import silent
from armillary.data import IngestOptions, open_dataset, verify
from armillary.data.sources.rawlog import detect, ingest, read_rawlog

TICK = 10_000_000  # per second, since the year 1601
BEAMS = 5
MOUNT = (0.5, 0.0, 0.3)
MOVES = [(1.0, 0.0, np.pi / 2), (2.0, 0.5, 0.0)]
RANGES = np.arange(15, dtype=np.float32).reshape(3, BEAMS) + 1


def packed(name: str, version: int, fields: bytes) -> bytes:
    return bytes([0x80 | len(name)]) + name.encode() + bytes([version]) + fields + b"\x88"


def mounted(version: int = 1) -> bytes:
    if version == 2:
        return packed("CPose3D", 2, struct.pack("<7d", *MOUNT, 1.0, 0.0, 0.0, 0.0))
    pose = np.eye(4)
    pose[:3, 3] = MOUNT
    matrix = packed("CMatrixD", 0, struct.pack("<2I", 4, 4) + pose.astype("<f8").tobytes())
    return packed("CPose3D", 1, matrix)


def scan(
    ranges, valid=None, seconds=0.0, right_to_left=True, pose_version=1, count=None, version=6
) -> bytes:
    valid = np.ones(len(ranges), np.uint8) if valid is None else np.array(valid, np.uint8)
    fields = struct.pack("<f?f", np.pi, right_to_left, 80.0) + mounted(pose_version)
    fields += struct.pack("<I", len(ranges) if count is None else count)
    fields += np.asarray(ranges, "<f4").tobytes() + valid.tobytes()
    fields += struct.pack("<fQf", 0.01, 10**17 + round(seconds * TICK), 0.004)
    fields += struct.pack("<I", 4) + b"SICK" + struct.pack("<d", 0.0)
    return packed("CObservation2DRangeScan", version, fields)


def frame(*scans: bytes) -> bytes:
    return packed("CSensoryFrame", 2, struct.pack("<I", len(scans)) + b"".join(scans))


def action(move, method=0) -> bytes:
    fields = struct.pack("<I", method)
    fields += packed("CPose2D", 1, struct.pack("<3d", *move))
    fields += struct.pack("<I6f", 0, *[0.1] * 6) + struct.pack("<I6f", 300, *[0.1] * 6)
    fields += struct.pack("<?2f?2iQ", True, 0.5, 0.1, False, 0, 0, 10**17)
    movement = packed("CActionRobotMovement2D", 6, fields)
    return packed("CActionCollection", 0, struct.pack("<I", 1) + movement)


def three_sweeps(**changes) -> bytes:
    parts = [action((9.0, 9.0, 9.0))]  # leads from nothing: left out
    for number, ranges in enumerate(RANGES):
        parts.append(frame(scan(ranges, seconds=number / 4, **changes)))
        parts += [action(MOVES[number])] if number < 2 else []
    return b"".join(parts)


def written(folder: Path, data: bytes, plain: bool = False) -> Path:
    path = folder / "tiny.rawlog"
    path.write_bytes(data if plain else gzip.compress(data))
    return path


@pytest.mark.parametrize(("plain", "pose_version"), [(False, 1), (True, 2)])
def test_ranges_actions_times_and_poses_arrive(tmp_path, plain, pose_version):
    path = written(tmp_path, three_sweeps(pose_version=pose_version), plain)
    assert detect(path)
    log = read_rawlog(path, license="BSD-3-Clause")
    episode = log.episode
    assert np.array_equal(episode.streams["lidar"].values, RANGES)
    assert episode.streams["lidar"].values.dtype == np.float32
    assert np.array_equal(episode.actions, MOVES)
    assert np.array_equal(episode.time_ns, np.arange(3) * 250_000_000)
    assert np.allclose(log.angles_rad, np.linspace(-np.pi / 2, np.pi / 2, BEAMS))
    assert np.allclose(log.robot_from_lidar[:3, 3], MOUNT)
    poses = episode.streams["world_from_lidar"].values
    assert np.allclose(poses[0, :3, 3], MOUNT)
    # after a quarter turn at (1, 0) the laser sits half a metre to the left of it
    assert np.allclose(poses[1, :3, 3], [1.0, 0.5, 0.3])
    # and 2 m ahead, 0.5 m left are then y + 2, x - 0.5
    assert np.allclose(poses[2, :3, 3], [0.5, 2.5, 0.3])


@pytest.mark.parametrize("place", [(0.5, np.nan, 0.3), (0.0, 0.0, 0.0)])
def test_a_mount_that_is_none_is_said(tmp_path, place):
    quaternion = (1.0, 0.0, 0.0, 0.0) if np.isnan(place).any() else (0.0,) * 4
    good = packed("CPose3D", 2, struct.pack("<7d", *MOUNT, 1.0, 0.0, 0.0, 0.0))
    bad = packed("CPose3D", 2, struct.pack("<7d", *place, *quaternion))
    data = three_sweeps(pose_version=2).replace(good, bad)
    with pytest.raises(FormatError, match=r"NaN .*Expected: CPose3D, where the laser sits"):
        read_rawlog(written(tmp_path, data))


def test_a_mount_with_a_scale_is_said(tmp_path):
    row = struct.pack("<4d", 1.0, 0.0, 0.0, MOUNT[0])
    data = three_sweeps().replace(row, struct.pack("<4d", 2.0, 0.0, 0.0, MOUNT[0]))
    with pytest.raises(FormatError, match=r"not orthonormal .*Expected: CPose3D"):
        read_rawlog(written(tmp_path, data))


def test_invalid_and_far_beams_are_nan_and_clockwise_sweeps_are_turned(tmp_path):
    ranges, valid = [1.0, 2.0, 80.0, np.inf, 0.0], [1, 0, 1, 1, 1]
    one = frame(scan(ranges, valid, right_to_left=False))
    log = read_rawlog(written(tmp_path, one + action(MOVES[0]) + one))
    last = np.array([np.nan, np.nan, np.nan, np.nan, 1.0], np.float32)
    assert np.array_equal(log.episode.streams["lidar"].values[0], last, equal_nan=True)


def test_a_dataset_comes_of_it(tmp_path):
    path = written(tmp_path, three_sweeps())
    done = ingest(path, tmp_path / "out", silent, IngestOptions(license="BSD-3-Clause"))
    assert (done.written, done.frames, done.skipped) == (1, 3, ())
    dataset = open_dataset(tmp_path / "out")
    episode = dataset.read(0)
    assert dataset.fps == 4
    assert np.array_equal(episode.streams["lidar"].values, RANGES)
    assert np.allclose(episode.actions, MOVES)
    assert episode.license == "BSD-3-Clause"
    assert verify(tmp_path / "out").ok


def test_every_cut_is_refused_in_words(tmp_path):
    data = three_sweeps()
    # after a whole object the file may end; everywhere else it is cut off
    for end in range(1, len(data), 7):
        with pytest.raises(FormatError, match=r"cut off|at least two|no object"):
            read_rawlog(written(tmp_path, data[:end], plain=True))
    path = tmp_path / "cut.rawlog"
    path.write_bytes(gzip.compress(data)[:-20])
    with pytest.raises(FormatError, match=r"its packing \(gzip\) does not end"):
        read_rawlog(path)


def test_unknown_classes_and_versions_are_named(tmp_path):
    strange = packed("CObservationImage", 4, b"")
    with pytest.raises(FormatError, match="CObservationImage version 4 at byte 0 is not known"):
        read_rawlog(written(tmp_path, strange))
    newer = frame(scan(RANGES[0], version=7))
    words = "CObservation2DRangeScan version 7 at byte 19 is not known; versions 6 are"
    with pytest.raises(FormatError, match=words):
        read_rawlog(written(tmp_path, newer))
    misplaced = frame(packed("CPose2D", 1, struct.pack("<3d", 0, 0, 0)))
    with pytest.raises(FormatError, match=r"CPose2D version 1 .* where a CObservation2DRangeScan"):
        read_rawlog(written(tmp_path, misplaced))
    with pytest.raises(FormatError, match=r"estimate \(method 1\)"):
        read_rawlog(written(tmp_path, action(MOVES[0], method=1)))


def test_huge_counts_are_not_believed(tmp_path):
    with pytest.raises(FormatError, match="promises 4294967295 beams"):
        read_rawlog(written(tmp_path, frame(scan(RANGES[0], count=2**32 - 1))))
    many = packed("CSensoryFrame", 2, struct.pack("<I", 10**6))
    with pytest.raises(FormatError, match="promises 1000000 observations"):
        read_rawlog(written(tmp_path, many))
    # within its bound, but more than there is
    with pytest.raises(FormatError, match="cut off: 360000 bytes were expected"):
        read_rawlog(written(tmp_path, frame(scan(RANGES[0], count=90_000))))


def test_a_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("armillary.data.sources.rawlog.MAX_BYTES", 1 << 20)
    with pytest.raises(FormatError, match="unpacks to more than 1 MiB"):
        read_rawlog(written(tmp_path, bytes(2 << 20)))


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 nothing of the kind", b"\x1f\x8bnot packed"])
def test_other_files_are_no_rawlogs(tmp_path, data):
    path = written(tmp_path, data, plain=True)
    assert not detect(path)
    with pytest.raises(FormatError):
        read_rawlog(path)


def test_sweeps_need_one_action_between_them(tmp_path):
    one = frame(scan(RANGES[0]))
    with pytest.raises(FormatError, match="0 actions lead from sweep 0"):
        read_rawlog(written(tmp_path, one + one))
    with pytest.raises(FormatError, match="frame 0 holds 2 sweeps"):
        read_rawlog(written(tmp_path, frame(scan(RANGES[0]), scan(RANGES[1]))))
    other = frame(scan(RANGES[0][:3]))
    with pytest.raises(FormatError, match="sweep 1 is of another laser"):
        read_rawlog(written(tmp_path, one + action(MOVES[0]) + other))


@pytest.mark.parametrize("seed", range(40))
def test_flipped_bytes_never_end_in_anything_but_a_sentence(tmp_path, seed):
    data = bytearray(three_sweeps())
    rng = np.random.default_rng(seed)
    for place in rng.integers(len(data), size=4):
        data[place] = rng.integers(256)
    try:
        read_rawlog(written(tmp_path, bytes(data), plain=True))
    except FormatError as error:
        assert "tiny.rawlog" in str(error)
