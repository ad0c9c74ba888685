"""MRPT rawlogs: 2-D laser sweeps and the odometry between them, as an episode.

A rawlog is a row of objects, mostly packed with gzip as a whole: a frame of what was observed, a
collection of actions, the next frame, and so on.

Axes: T sweeps, P beams.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from armillary.core.errors import FormatError
from armillary.core.files import replacing_folder
from armillary.core.progress import Progress, silent
from armillary.core.values import Episode, Stream
from armillary.data.sources.rawlog_objects import ObjectFile, Sweep
from armillary.data.sources.source import IngestOptions, IngestSummary
from armillary.data.writer import DatasetWriter
from armillary.spatial import planar_pose

OPTIONS = ()
LOOKS_FOR = ("*.rawlog",)
RANGES, POSE = "lidar", "world_from_lidar"
MAX_BYTES = 256 << 20  # unpacked
_TICK_NS = 100  # times are counted in 100 ns since the year 1601
_FIRST = (b"\x8dCSensoryFrame", b"\x91CActionCollection")


@dataclass(frozen=True)
class Rawlog:
    """A recording with what the episode cannot carry.

    Attributes:
        episode: streams ``lidar`` [T P] (metres, NaN where nothing was measured) and
            ``world_from_lidar`` [T 4 4] (odometry added up; the world is the robot's first frame);
            actions [T-1 3]: dx m, dy m, dyaw rad of the robot in its earlier frame.
        angles_rad: [P] of the beams, anticlockwise, 0 ahead.
        max_range_m: beyond it nothing is measured.
        robot_from_lidar: [4 4].
    """

    episode: Episode
    angles_rad: Float[np.ndarray, " P"]
    max_range_m: float
    robot_from_lidar: Float[np.ndarray, "4 4"]


def detect(path: Path) -> bool:
    """Say whether a file begins like a rawlog with frames; reads a few bytes only."""
    try:
        return path.is_file() and _read(path, len(_FIRST[1])).startswith(_FIRST)
    except (OSError, EOFError, zlib.error):
        return False


def ingest(source: Path, out: Path, progress: Progress, options: IngestOptions) -> IngestSummary:
    """Write a dataset of one episode from a rawlog.

    The steps per second are those of the median pause; ``time_ns`` keeps the true times.

    Raises:
        FormatError: the file is no rawlog that is known here.
        StorageError: ``out`` cannot be written; nothing is left there.
    """
    log = read_rawlog(source, progress, options.license)
    episode = log.episode
    pause_ns = float(np.median(np.diff(episode.time_ns)))
    if pause_ns <= 0:
        raise FormatError(f"{source}: its sweeps carry no times that ascend; a rate is needed.")
    about = {
        "ingested": "rawlog",
        "max_range_m": log.max_range_m,
        "robot_from_lidar": log.robot_from_lidar.tolist(),
    }
    with replacing_folder(out) as beside:
        writer = DatasetWriter(beside, round(1e9 / pause_ns, 3), "rawlog", "", about)
        writer.write(0, episode)
        writer.finalize()
    return IngestSummary(1, (), len(episode), out)


def read_rawlog(path: Path, progress: Progress = silent, license: str = "") -> Rawlog:
    """Read a rawlog of laser sweeps with odometry between them.

    Actions before the first sweep and after the last lead from or to nothing and are left out.

    Raises:
        FormatError: not readable, not a rawlog, cut off, a class or version that is not known, a
            count beyond its bound, no sweep, or sweeps that do not fit together.
    """
    file = ObjectFile(_unpacked(path), str(path))
    sweeps: list[Sweep] = []
    moves: list[list[np.ndarray]] = []
    while not file.at_end():
        name, found = file.object()
        if name == "CSensoryFrame":
            sweeps.append(_only_sweep(found, path, len(sweeps)))
            moves.append([])
            progress(file.position, len(file.data), f"{len(sweeps)} sweeps")
        elif name == "CActionCollection":
            if moves:
                moves[-1] += found
        else:
            raise FormatError(f"{path}: a {name} stands alone; frames and actions were expected.")
    if len(sweeps) < 2:
        raise FormatError(f"{path}: holds {len(sweeps)} sweeps; at least two are needed.")
    return _assembled(path, sweeps, moves[:-1], license)


def _read(path: Path, size: int) -> bytes:
    """Return the first bytes of what is in a file, packed with gzip or not."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with gzip.open(path) if packed else path.open("rb") as file:
        return file.read(size)


def _unpacked(path: Path) -> bytes:
    if not path.is_file():
        raise FormatError(f"{path}: there is no such file; a rawlog was expected.")
    try:
        data = _read(path, MAX_BYTES + 1)
    except EOFError as error:
        raise FormatError(f"{path}: is cut off: its packing (gzip) does not end.") from error
    except (OSError, zlib.error) as error:
        raise FormatError(f"{path}: cannot be unpacked as gzip ({error}).") from error
    if len(data) > MAX_BYTES:
        raise FormatError(f"{path}: unpacks to more than {MAX_BYTES >> 20} MiB; refused.")
    return data


def _only_sweep(found: list[Sweep], path: Path, number: int) -> Sweep:
    if len(found) != 1:
        raise FormatError(f"{path}: frame {number} holds {len(found)} sweeps; one was expected.")
    return found[0]


def _assembled(
    path: Path, sweeps: list[Sweep], moves: list[list[np.ndarray]], license: str
) -> Rawlog:
    first = sweeps[0]
    for number, sweep in enumerate(sweeps):
        if len(sweep.ranges_m) != len(first.ranges_m) or not np.allclose(
            [sweep.angles_rad[0], sweep.max_range_m, *sweep.robot_from_lidar.flat],
            [first.angles_rad[0], first.max_range_m, *first.robot_from_lidar.flat],
        ):
            raise FormatError(f"{path}: sweep {number} is of another laser than the first.")
    counts = [len(between) for between in moves]
    if counts != [1] * len(counts):
        number = next(number for number, count in enumerate(counts) if count != 1)
        raise FormatError(
            f"{path}: {counts[number]} actions lead from sweep {number} to the next; one was "
            "expected."
        )
    actions = np.stack([between[0] for between in moves])
    poses = [np.eye(4)]
    for earlier_from_later in planar_pose(torch.from_numpy(actions)).numpy():
        poses.append(poses[-1] @ earlier_from_later)
    ranges_m = np.stack([sweep.ranges_m for sweep in sweeps])
    beams_rad = np.stack([first.angles_rad, np.zeros_like(first.angles_rad)], axis=1)
    ticks = np.array([sweep.ticks - first.ticks for sweep in sweeps], np.int64)
    streams = {
        RANGES: Stream("lidar", ranges_m, "m", "lidar", beams_rad=beams_rad),
        POSE: Stream("pose", np.stack(poses) @ first.robot_from_lidar, "m", "world"),
    }
    episode = Episode(streams, ticks * _TICK_NS, actions, path.name, license)
    return Rawlog(episode, first.angles_rad, first.max_range_m, first.robot_from_lidar)
