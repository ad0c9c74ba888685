"""Robots' logs: ROS bags as recordings, with the slowest camera as the clock.

Every other topic gives what is nearest to the camera's time within the tolerance; commands give
what holds at that time (the last one sent). Poses come from tf, and from odometry where tf does
not say where the robot is; they are in the frame of the root of the tree.

A laser scan is the stream ``lidar``, odometry or joints ``proprio``; several are named after their
topics, but the one that ``--topics`` names. Point clouds are not read here. A step at which a state
or a command is NaN is left out.

Axes: T steps, N messages, Q numbers, A action.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64

from armillary.core.errors import FormatError
from armillary.core.progress import Progress
from armillary.core.values import Stream
from armillary.data.resize import Size
from armillary.data.sources.encoded_picture import EncodedPicture
from armillary.data.sources.lens import Rectifier
from armillary.data.sources.recording import Camera, Picture, Recording, write_recordings
from armillary.data.sources.ros_bag import Bag, find_bags, is_bag
from armillary.data.sources.ros_frames import FrameTree
from armillary.data.sources.ros_images import colour_of, depth_of, still_of
from armillary.data.sources.ros_topics import (
    TRANSFORMS,
    CameraTopic,
    cameras,
    odometry_of,
    of_kind,
    stream_name,
    unread,
)
from armillary.data.sources.ros_vectors import (
    COMMANDS,
    ROWS,
    SCAN,
    JointRows,
    UnevenError,
    read_scans,
    read_vectors,
)
from armillary.data.sources.source import IngestOptions, IngestSummary
from armillary.data.sources.stamps import ApartError, held, matched, period_ns
from armillary.data.sources.video_folder import SUFFIXES

OPTIONS = (
    "fps", "max_side", "tolerance_s", "depth_scale", "intrinsics", "topics", "action_topic",
    "ego_motion", "pictures",
)  # fmt: skip
LOOKS_FOR = ("*.bag or *.db3 or *.mcap or metadata.yaml",)


def detect(path: Path) -> bool:
    """Say whether a path is a ROS bag, or a folder of them without videos beside them."""
    beside = path.iterdir() if path.is_dir() and not is_bag(path) else []
    return bool(find_bags(path)) and not any(file.suffix.lower() in SUFFIXES for file in beside)


def ingest(source: Path, out: Path, progress: Progress, options: IngestOptions) -> IngestSummary:
    """Write a dataset of a ROS bag, or of a folder of them: an episode each.

    Raises:
        FormatError: no bag there, damaged, or without a camera.
        MissingExtraError: the library for logs is not installed.
    """
    found = find_bags(source)
    if not found:
        raise FormatError(f"{source}: is no ROS bag (.bag, .db3, .mcap or a ROS 2 folder).")
    loads = [(path, lambda path=path: read(path, options)) for path in found]
    return write_recordings(loads, out, progress, options, {"ingested": "ros"})


def read(path: Path, options: IngestOptions) -> Recording:
    """Return the recording of one bag; its pictures are read when they are asked for.

    Raises:
        FormatError: damaged, no camera, several that would do, or clocks that do not meet.
    """
    with Bag(path) as bag:
        topics = cameras(bag, options)
        clock = max(topics.values(), key=lambda topic: period_ns(topic.stamps_ns))
        times_ns = clock.stamps_ns
        usable = np.ones(len(times_ns), bool)
        notes = list(unread(bag, options, [topic.name for topic in topics.values()]))
        named: dict[str, tuple[str, ...]] = {}
        seen = {}
        for name, topic in topics.items():
            if topic.dropped:
                notes.append(
                    f"{path}: {topic.name}: the time of {topic.dropped} of its pictures repeats or "
                    "runs back; these are left out."
                )
            step = _nearest(bag, times_ns, topic.stamps_ns, topic.name, options, notes)
            usable &= step >= 0
            seen[name] = _camera(bag, topic, topic.ordinals[step], name, options)
        found = {
            **_poses(bag, _frames(bag, topics, options), times_ns, options, notes),
            **_states(bag, times_ns, options, notes, named),
            **_scans(bag, times_ns, options, notes),
        }
        for _, known in found.values():
            usable &= known
        others = {name: stream for name, (stream, _) in found.items()}
        actions, known = _actions(bag, times_ns, options, notes, named)
    usable &= known
    return Recording(path.name, times_ns, usable, seen, others, actions, tuple(notes), named)


def _nearest(
    bag: Bag,
    times_ns: Int64[np.ndarray, " T"],
    stamps_ns: Int64[np.ndarray, " N"],
    topic: str,
    options: IngestOptions,
    notes: list[str],
) -> np.ndarray:
    """Return which message belongs to each time, -1 where none does, which is noted."""
    where = f"{bag.path}: {topic}"
    step = matched(times_ns, stamps_ns, options.tolerance_s, f"messages of {topic}", where)
    lost = int((step < 0).sum())
    if lost:
        notes.append(
            f"{where}: has no message within {options.tolerance_s:g} s of {lost} of the "
            f"{len(times_ns)} pictures; these steps are left out."
        )
    return step


def _camera(
    bag: Bag, topic: CameraTopic, ordinals: np.ndarray, name: str, options: IngestOptions
) -> Camera:
    path, where = bag.path, f"{bag.path}: {topic.name}"
    depth, scale = name != "rgb", options.depth_scale

    def seen(message: Any, stills: bool) -> EncodedPicture:
        kept = still_of(message, depth, scale, where) if stills else None
        data, form = kept or (b"", None)
        if depth:
            return EncodedPicture(partial(depth_of, message, scale, where), where, data, form)
        return EncodedPicture(partial(colour_of, message, where), where, data, form)

    first = seen(bag.first(topic.name), False).decode()
    rectify = Rectifier(replace(topic.lenses.at(_size(first), where), distortion=()))

    def read(steps: Sequence[int], stills: bool) -> Iterator[Picture]:
        with Bag(path) as again:
            for message in _numbered(again, topic.name, [int(ordinals[step]) for step in steps]):
                yield seen(message, stills).through(topic.lenses, rectify)

    return Camera("depth" if depth else "rgb", read, rectify.intrinsics)


def _numbered(bag: Bag, topic: str, wanted: Sequence[int]) -> Iterator[Any]:
    """Yield the messages with these numbers, which ascend and may repeat."""
    at = 0
    for number, (_, message) in enumerate(bag.messages(topic)):
        while at < len(wanted) and wanted[at] == number:
            yield message
            at += 1
        if at == len(wanted):
            return


Known = tuple[Stream, Bool[np.ndarray, " T"]]


def _poses(
    bag: Bag,
    frames: dict[str, str],
    times_ns: Int64[np.ndarray, " T"],
    options: IngestOptions,
    notes: list[str],
) -> dict[str, Known]:
    """Return the poses of frames, by the names of their streams."""
    tree = FrameTree(str(bag.path))
    for topic in [name for kind in TRANSFORMS for name in of_kind(bag, kind)]:
        for _, message in bag.messages(topic):
            tree.add(message, moves="static" not in topic)
    odometry = odometry_of(bag, options)
    if odometry is not None:
        tree.add_odometry(message for _, message in bag.messages(odometry))
    notes += [
        f"{bag.path}: {odometry} does not place {child!r}, as a static transform does; it is a "
        "stream of numbers."
        for child in tree.passed_over
    ]
    found = {}
    for name, frame in frames.items():
        if tree.knows(frame):
            root, poses, known = tree.poses(frame, times_ns, options.tolerance_s)
            found[name] = Stream("pose", poses, "m", root), known
            if tree.rests(frame):
                notes.append(
                    f"{bag.path}: no transform leads from the frame {frame!r} to what moves; "
                    f"{name} stands still in {root!r}. If the sensor is carried, record the "
                    "transforms between the two as well."
                )
        else:
            notes.append(
                f"{bag.path}: neither tf nor odometry says where the frame {frame!r} is; there is "
                f"no {name}."
            )
    return found


def _frames(bag: Bag, topics: dict[str, CameraTopic], options: IngestOptions) -> dict[str, str]:
    """Return the frames of cameras and scanners by what their poses are called.

    Depth has a pose of its own only if that camera is elsewhere than the one of colour.
    """
    main = topics.get("rgb") or topics["depth"]
    frames = {"world_from_camera": main.frame}
    if "depth" in topics and topics["depth"].frame != main.frame:
        frames["world_from_depth"] = topics["depth"].frame
    scans = _named(of_kind(bag, SCAN), "lidar", options)
    return frames | {f"world_from_{n}": _frame(bag, topic) for n, topic in scans.items()}


def _states(
    bag: Bag,
    times_ns: Int64[np.ndarray, " T"],
    options: IngestOptions,
    notes: list[str],
    named: dict[str, tuple[str, ...]],
) -> dict[str, Known]:
    """Return odometry and joints; a single one, or the one that is named, is ``proprio``."""
    topics = [topic for kind in ROWS for topic in of_kind(bag, kind)]
    topics = [topic for topic in topics if topic != options.action_topic]
    found = {}
    for name, topic in _named(topics, "proprio", options).items():
        row = ROWS[bag.topics[topic].kind]()
        with _left_out(topic, options, notes):
            stamps_ns, rows = read_vectors(bag, topic, row)
            step = _nearest(bag, times_ns, stamps_ns, topic, options, notes)
            stream = Stream("proprio", rows[step], "", _frame(bag, topic))
            found[name] = stream, _whole(bag, topic, rows, step, notes)
            if isinstance(row, JointRows):
                named[name] = row.names
    return found


def _scans(
    bag: Bag, times_ns: Int64[np.ndarray, " T"], options: IngestOptions, notes: list[str]
) -> dict[str, Known]:
    """Return laser scans; a single one, or the one that is named, is ``lidar``."""
    found = {}
    for name, topic in _named(of_kind(bag, SCAN), "lidar", options).items():
        with _left_out(topic, options, notes):
            stamps_ns, ranges_m, beams_rad = read_scans(bag, topic)
            step = _nearest(bag, times_ns, stamps_ns, topic, options, notes)
            frame = _frame(bag, topic)
            stream = Stream("lidar", ranges_m[step], "m", frame, beams_rad=beams_rad)
            found[name] = stream, step >= 0
    return found


@contextmanager
def _left_out(topic: str, options: IngestOptions, notes: list[str]) -> Iterator[None]:
    """Note what is wrong with a topic, which is then left out, unless it was asked for."""
    try:
        yield
    except (UnevenError, ApartError) as error:
        if topic in options.topics:
            raise
        notes.append(f"{str(error).removesuffix('.')}; the topic is left out.")


def _named(topics: Sequence[str], single: str, options: IngestOptions) -> dict[str, str]:
    """Return topics by stream name: that of the only one, or the only one named, is given."""
    chosen = [topic for topic in topics if topic in options.topics] if len(topics) > 1 else topics
    main = chosen[0] if len(chosen) == 1 else ""
    return {single if topic == main else stream_name(topic): topic for topic in topics}


def _frame(bag: Bag, topic: str) -> str:
    return bag.first(topic).header.frame_id


def _whole(
    bag: Bag, topic: str, rows: Float[np.ndarray, "N Q"], step: np.ndarray, notes: list[str]
) -> Bool[np.ndarray, " T"]:
    """Return where a step has a row of numbers; what is NaN is noted."""
    known = (step >= 0) & np.isfinite(rows[step]).all(1)
    lost = int(((step >= 0) & ~known).sum())
    if lost:
        notes.append(
            f"{bag.path}: {topic}: holds NaN or infinity at {lost} of the {len(step)} pictures; "
            "these steps are left out."
        )
    return known


def _actions(
    bag: Bag,
    times_ns: Int64[np.ndarray, " T"],
    options: IngestOptions,
    notes: list[str],
    named: dict[str, tuple[str, ...]],
) -> tuple[Float[np.ndarray, "T A"] | None, Bool[np.ndarray, " T"]]:
    """Return the command that holds at each step, and where there was one yet."""
    topic = options.action_topic
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
        matched(times_ns, stamps_ns, 0.0, "commands", f"{bag.path}: {topic}")
    if isinstance(row, JointRows):
        named["action"] = row.names
    return rows[step], _whole(bag, topic, rows, step, notes)


def _size(image: np.ndarray) -> Size:
    return image.shape[0], image.shape[1]
