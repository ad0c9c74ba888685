"""Robots' logs: ROS bags as recordings, with the slowest camera as the clock.

A log without a camera has the times of its clouds, or of its laser scans. Every other topic gives
what is nearest to a step's time within the tolerance; commands give what holds at that time (the
last one sent). Poses come from tf, and from odometry where tf does not say where the robot is; they
are in the frame of the root of the tree.

Colour cameras are the streams ``rgb``, ``rgb_1``, ...; a laser scan is ``lidar``, a cloud
``points``, odometry or joints ``proprio``. Several of the latter are named after their topics, but
the one that ``--topics`` names. A step at which a state or a command is NaN is left out.

Axes: T steps, N messages, Q numbers, A action.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64

from armillary.core.errors import FormatError
from armillary.core.progress import Progress
from armillary.core.values import Stream
from armillary.data.resize import Size
from armillary.data.sources.counted_steps import with_notes
from armillary.data.sources.encoded_picture import EncodedPicture
from armillary.data.sources.foxglove import open_log
from armillary.data.sources.lens import Rectifier
from armillary.data.sources.recording import (
    Camera,
    Picture,
    Recording,
    Sweeps,
    write_recordings,
)
from armillary.data.sources.ros_bag import Bag, find_bags, is_bag
from armillary.data.sources.ros_clouds import CloudTopic, cloud_of, cloud_topics
from armillary.data.sources.ros_frames import FrameTree
from armillary.data.sources.ros_images import colour_of, depth_of, still_of
from armillary.data.sources.ros_topics import (
    TRANSFORMS,
    CameraTopic,
    Clock,
    Moments,
    cameras,
    clock_of,
    left_out,
    named_streams,
    numbered,
    odometry_of,
    of_kind,
    unread,
)
from armillary.data.sources.ros_vectors import (
    COMMANDS,
    POSE,
    ROWS,
    SCAN,
    JointRows,
    UnevenError,
    read_scans,
    read_vectors,
)
from armillary.data.sources.source import IngestOptions, IngestSummary
from armillary.data.sources.stamps import ApartError, held, matched
from armillary.data.sources.video_folder import SUFFIXES

OPTIONS = (
    "fps", "max_side", "tolerance_s", "depth_scale", "intrinsics", "topics", "action_topic",
    "ego_motion", "pictures",
)  # fmt: skip
LOOKS_FOR = ("*.bag or *.db3 or *.mcap or metadata.yaml",)
_ROBOT = "world_from_robot"


def detect(path: Path) -> bool:
    """Say whether a path is a ROS bag, or a folder of them without videos beside them."""
    beside = path.iterdir() if path.is_dir() and not is_bag(path) else []
    return bool(find_bags(path)) and not any(file.suffix.lower() in SUFFIXES for file in beside)


def ingest(source: Path, out: Path, progress: Progress, options: IngestOptions) -> IngestSummary:
    """Write a dataset of a ROS bag, or of a folder of them: an episode each.

    Raises:
        FormatError: no bag there, damaged, or without a camera, a cloud or a laser scan.
        MissingExtraError: the library for logs is not installed.
    """
    found = find_bags(source)
    if not found:
        raise FormatError(f"{source}: is no ROS bag (.bag, .db3, .mcap or a ROS 2 folder).")
    said: list[str] = []
    loads = [(path, lambda path=path: read(path, options, said)) for path in found]
    return with_notes(write_recordings(loads, out, progress, options, {"ingested": "ros"}), said)


@dataclass
class _Log:
    """A log while it is read: its steps, and what is learned of it on the way."""

    bag: Bag
    options: IngestOptions
    clock: Clock
    notes: list[str]
    named: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def times_ns(self) -> Int64[np.ndarray, " T"]:
        return self.clock.times_ns

    def where(self, topic: str) -> str:
        return f"{self.bag.path}: {topic}"

    def nearest(self, stamps_ns: Int64[np.ndarray, " N"], topic: str) -> np.ndarray:
        """Return which message belongs to each step, -1 where none does, which is noted."""
        where, within_s = self.where(topic), self.options.tolerance_s
        what, of = f"messages of {topic}", self.clock.step
        step = matched(self.times_ns, stamps_ns, within_s, what, where, of)
        lost = int((step < 0).sum())
        if lost:
            self.notes.append(
                f"{where}: has no message within {within_s:g} s of {lost} of the {len(step)} "
                f"{of}s; these steps are left out."
            )
        return step

    def taken(self, topic: str, moments: Moments, what: str) -> np.ndarray:
        """Return which of the messages that are taken belongs to each step; note the others."""
        if moments.dropped:
            self.notes.append(
                f"{self.where(topic)}: the time of {moments.dropped} of its {what}s repeats or "
                "runs back; these are left out."
            )
        if moments.empty:
            self.notes.append(
                f"{self.where(topic)}: {moments.empty} of its {what}s hold no point; these are "
                "left out."
            )
        return self.nearest(moments.stamps_ns, topic)

    @contextmanager
    def leaving_out(self, topic: str) -> Iterator[None]:
        """Note what is wrong with a topic, which is then left out, unless it cannot be.

        It cannot where it was asked for, or gives the steps.
        """
        try:
            yield
        except (UnevenError, ApartError) as error:
            if topic in self.options.topics or topic == self.clock.topic:
                raise
            self.notes.append(left_out(error, "topic"))


def read(path: Path, options: IngestOptions, said: list[str] | None = None) -> Recording:
    """Return the recording of one bag; its pictures and clouds are read when they are asked for.

    Args:
        path: the bag.
        options: what was chosen.
        said: where sentences about what was taken are added.

    Raises:
        FormatError: damaged, nothing that gives steps, several depth cameras, or clocks that do not
            meet.
    """
    with open_log(path) as bag:
        lost: dict[str, str] = {}
        there = cameras(bag, options, lost)
        clouds = cloud_topics(bag, options, lost)
        timed = [(topic.name, topic.moments) for topic in clouds.values()]
        clock = clock_of(bag, there, timed, options, lost)
        log = _Log(bag, options, clock, [*lost.values()])
        seen, views, usable = _cameras(log, there)
        sweeps, swept = _clouds(log, clouds)
        log.notes += unread(bag, options, {*(topic.name for topic in there.values()), *lost})
        scans = _scans(log)
        frames = _frames(seen, sweeps, scans)
        found = {**_poses(log, frames), **_states(log), **scans}
        for _, known in found.values():
            usable &= known
        others = {name: stream for name, (stream, _) in found.items()}
        actions, known = _actions(log)
    if said is not None:
        said += _said(seen)
    return Recording(
        path.name, clock.times_ns, usable & swept & known, views, others, actions,
        tuple(log.notes), log.named, clouds=sweeps,
    )  # fmt: skip


def _said(seen: Mapping[str, CameraTopic]) -> list[str]:
    """Return a sentence about several colour cameras."""
    colour = [f"{topic.name} is {name}" for name, topic in seen.items() if name != "depth"]
    if len(colour) < 2:
        return []
    return [f"{', '.join(colour)}; --topics chooses cameras, the first one named is rgb."]


def _cameras(
    log: _Log, there: Mapping[str, CameraTopic]
) -> tuple[dict[str, CameraTopic], dict[str, Camera], Bool[np.ndarray, " T"]]:
    """Return the cameras at the steps, by stream name, and where all of them have a picture.

    A further colour camera that was not named is left out where no picture of it can be read, or
    none is near the steps.
    """
    seen: dict[str, CameraTopic] = {}
    views: dict[str, Camera] = {}
    usable = np.ones(len(log.times_ns), bool)
    for name, topic in there.items():
        stream = name if name == "depth" else numbered("rgb", len(seen))
        try:
            step = log.taken(topic.name, topic.moments, "picture")
            views[stream] = _camera(log, topic, topic.moments.ordinals[step], stream)
        except FormatError as error:
            if name in ("rgb", "depth") or topic.name in log.options.topics:
                raise
            log.notes.append(left_out(error, "camera"))
            continue
        usable &= step >= 0
        seen[stream] = topic
    return seen, views, usable


def _camera(log: _Log, topic: CameraTopic, ordinals: np.ndarray, name: str) -> Camera:
    path, where = log.bag.path, log.where(topic.name)
    depth, scale = name == "depth", log.options.depth_scale

    def seen(message: Any, stills: bool) -> EncodedPicture:
        kept = still_of(message, depth, scale, where) if stills else None
        data, form = kept or (b"", None)
        if depth:
            return EncodedPicture(partial(depth_of, message, scale, where), where, data, form)
        return EncodedPicture(partial(colour_of, message, where), where, data, form)

    first = seen(log.bag.first(topic.name), False).decode()
    rectify = Rectifier(replace(topic.lenses.at(_size(first), where), distortion=()))

    def read(steps: Sequence[int], stills: bool) -> Iterator[Picture]:
        for message in _messages(path, topic.name, [int(ordinals[step]) for step in steps]):
            yield seen(message, stills).through(topic.lenses, rectify)

    return Camera("depth" if depth else "rgb", read, rectify.intrinsics)


def _clouds(
    log: _Log, topics: Mapping[str, CloudTopic]
) -> tuple[dict[str, Sweeps], Bool[np.ndarray, " T"]]:
    """Return the clouds at the steps, by stream name, and where all of them have one."""
    found: dict[str, Sweeps] = {}
    usable = np.ones(len(log.times_ns), bool)
    for name, topic in topics.items():
        with log.leaving_out(topic.name):
            step = log.taken(topic.name, topic.moments, "cloud")
            usable &= step >= 0
            read = partial(_sweeps, log.bag.path, topic, topic.moments.ordinals[step])
            found[name] = Sweeps(read, topic.columns, topic.frame)
    return found, usable


def _sweeps(
    path: Path, topic: CloudTopic, ordinals: np.ndarray, steps: Sequence[int]
) -> Iterator[np.ndarray]:
    where = f"{path}: {topic.name}"
    for message in _messages(path, topic.name, [int(ordinals[step]) for step in steps]):
        cloud = cloud_of(message, where)
        if cloud.columns != topic.columns:
            raise FormatError(
                f"{where}: a cloud has the features {', '.join(cloud.columns)}, the first one "
                f"{', '.join(topic.columns)}; record them as topics of their own."
            )
        yield cloud.values


def _messages(path: Path, topic: str, wanted: Sequence[int]) -> Iterator[Any]:
    """Yield the messages with these numbers, which ascend and may repeat."""
    at = 0
    with open_log(path) as bag:
        for number, (_, message) in enumerate(bag.messages(topic)):
            while at < len(wanted) and wanted[at] == number:
                yield message
                at += 1
            if at == len(wanted):
                return


Known = tuple[Stream, Bool[np.ndarray, " T"]]


def _poses(log: _Log, frames: dict[str, str]) -> dict[str, Known]:
    """Return the poses of frames, by the names of their streams."""
    bag, tree = log.bag, FrameTree(str(log.bag.path), log.clock.step)
    for topic in [name for kind in TRANSFORMS for name in of_kind(bag, kind)]:
        for _, message in bag.messages(topic):
            tree.add(message, moves="static" not in topic)
    odometry = odometry_of(bag, log.options)
    if odometry is not None:
        tree.add_odometry(message for _, message in bag.messages(odometry))
    log.notes += [
        f"{bag.path}: {odometry} does not place {child!r}, as a static transform does; it is a "
        "stream of numbers."
        for child in tree.passed_over
    ]
    found = {}
    for name, frame in frames.items():
        if tree.knows(frame):
            found[name] = _pose(log, tree, frame)
            if tree.rests(frame):
                log.notes.append(
                    f"{bag.path}: no transform leads from the frame {frame!r} to what moves; "
                    f"{name} stands still in {found[name][0].frame!r}. If the sensor is carried, "
                    "record the transforms between the two as well."
                )
        else:
            log.notes.append(
                f"{bag.path}: neither tf nor odometry says where the frame {frame!r} is; there is "
                f"no {name}."
            )
    # what carries a laser is known, though not where on it the laser is
    alone = odometry is not None and bag.topics[odometry].kind == POSE
    if odometry is not None and (alone or log.clock.step != "picture"):
        robot = bag.first(odometry).child_frame_id
        carried = any(tree.knows(frame) and not tree.rests(frame) for frame in frames.values())
        if not carried and tree.knows(robot):
            found[_ROBOT] = _pose(log, tree, robot)
    return found


def _pose(log: _Log, tree: FrameTree, frame: str) -> Known:
    root, poses, known = tree.poses(frame, log.times_ns, log.options.tolerance_s)
    return Stream("pose", poses, "m", root), known


def _frames(
    seen: Mapping[str, CameraTopic], clouds: Mapping[str, Sweeps], scans: Mapping[str, Known]
) -> dict[str, str]:
    """Return the frames of cameras and scanners by what their poses are called.

    Depth has a pose of its own only if that camera is elsewhere than the first one of colour.
    """
    colour = [topic.frame for name, topic in seen.items() if name != "depth"]
    frames = {f"world_from_{numbered('camera', at)}": frame for at, frame in enumerate(colour)}
    if "depth" in seen and seen["depth"].frame != next(iter(colour), None):
        frames["world_from_depth" if colour else "world_from_camera"] = seen["depth"].frame
    frames |= {f"world_from_{name}": each.frame for name, each in clouds.items()}
    return frames | {f"world_from_{name}": stream.frame for name, (stream, _) in scans.items()}


def _states(log: _Log) -> dict[str, Known]:
    """Return odometry and joints; a single one, or the one that is named, is ``proprio``."""
    topics = [topic for kind in ROWS for topic in of_kind(log.bag, kind)]
    topics = [topic for topic in topics if topic != log.options.action_topic]
    found = {}
    for name, topic in named_streams(topics, "proprio", log.options).items():
        row = ROWS[log.bag.topics[topic].kind]()
        with log.leaving_out(topic):
            stamps_ns, rows = read_vectors(log.bag, topic, row)
            step = log.nearest(stamps_ns, topic)
            stream = Stream("proprio", rows[step], "", _frame(log.bag, topic))
            found[name] = stream, _whole(log, topic, rows, step)
            if isinstance(row, JointRows):
                log.named[name] = row.names
    return found


def _scans(log: _Log) -> dict[str, Known]:
    """Return laser scans; a single one, or the one that is named, is ``lidar``."""
    found = {}
    for name, topic in named_streams(of_kind(log.bag, SCAN), "lidar", log.options).items():
        with log.leaving_out(topic):
            stamps_ns, ranges_m, beams_rad = read_scans(log.bag, topic)
            step = log.nearest(stamps_ns, topic)
            frame = _frame(log.bag, topic)
            stream = Stream("lidar", ranges_m[step], "m", frame, beams_rad=beams_rad)
            found[name] = stream, step >= 0
    return found


def _frame(bag: Bag, topic: str) -> str:
    return bag.first(topic).header.frame_id


def _whole(
    log: _Log, topic: str, rows: Float[np.ndarray, "N Q"], step: np.ndarray
) -> Bool[np.ndarray, " T"]:
    """Return where a step has a row of numbers; what is NaN is noted."""
    known = (step >= 0) & np.isfinite(rows[step]).all(1)
    lost = int(((step >= 0) & ~known).sum())
    if lost:
        log.notes.append(
            f"{log.where(topic)}: holds NaN or infinity at {lost} of the {len(step)} "
            f"{log.clock.step}s; these steps are left out."
        )
    return known


def _actions(log: _Log) -> tuple[Float[np.ndarray, "T A"] | None, Bool[np.ndarray, " T"]]:
    """Return the command that holds at each step, and where there was one yet."""
    bag, topic, times_ns = log.bag, log.options.action_topic, log.times_ns
    if not topic:
        return None, np.ones(len(times_ns), bool)
    kind = bag.topics[topic].kind
    if kind not in COMMANDS:
        there = [name for known in COMMANDS for name in of_kind(bag, known)]
        raise FormatError(
            f"{bag.path}: {topic} is of type {kind}, which is no command that is read; known: "
            f"{', '.join(COMMANDS)}. Its topics of commands: {', '.join(there) or 'none'}."
        )
    row = COMMANDS[kind]()
    stamps_ns, rows = read_vectors(bag, topic, row)
    step = held(times_ns, stamps_ns)
    if (step < 0).all() or stamps_ns[-1] < times_ns[0]:
        # a command holds until the next, but one clock that is behind would hold its last for ever
        matched(times_ns, stamps_ns, 0.0, "commands", log.where(topic), log.clock.step)
    if isinstance(row, JointRows):
        log.named["action"] = row.names
    return rows[step], _whole(log, topic, rows, step)


def _size(image: np.ndarray) -> Size:
    return image.shape[0], image.shape[1]
